//! A hundred signing keys and a hundred TLS keys are revoked behind the service's back, as the operator's command does it, and each is refused within five seconds on a connection that
//! is open and worked.

use std::fmt::Write;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use migrations::{Conn, Url};
use partner_sdk::client::{Client, ClientError, new_message_id};
use partner_sdk::jws::SigningKey;
use partner_sdk::wire::keys::{Issued, KeyName, Keys, Revocation};
use partner_sdk::{Code, Message, PartnerId};
use store::keys::{self, By};
use tests::office::Office;
use tests::{Backend, World, earn, on_both};

const PARTNERS: usize = 100;

on_both!(a_hundred_of_a_hundred_are_refused_in_time);

fn network() -> String {
    let mut text = include_str!("networks/pool.toml").to_owned();
    for no in 0..PARTNERS {
        write!(
            text,
            "[[partner]]\nid = \"shop-{no}\"\nname = \"Shop {no}\"\n[[agreement]]\nkind = \"earn\"\npartner = \"shop-{no}\"\n\
             programme = \"YUU\"\nprice = \"0.0055\"\ncurrency = \"HKD\"\nvalid_from = \"2026-01-01T00:00:00Z\"\n"
        )
        .expect("memory");
    }
    text
}

/// A partner with its connection.
#[derive(Clone)]
struct Shop {
    id: PartnerId,
    client: Client,
    key: SigningKey,
    /// One of the operator's people.
    person: SigningKey,
    at: Timestamp,
}

impl Shop {
    /// Posts a message; the code of its refusal.
    async fn post(&self, no: usize) -> Option<Code> {
        let message = Message {
            id: format!("m{no}").parse().expect("an id"),
            sender: self.id.clone(),
            issued_at: self.at,
            occurred_at: self.at,
            body: earn("YUU", "m1", "1"),
        };
        match self.client.post(&message.sign(&self.key)).await {
            Ok(answer) => answer.problem.map(|problem| problem.code),
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads something that no transaction of the ledger is needed for; the code of its refusal.
    async fn read(&self) -> Option<Code> {
        match self.client.keys().await {
            Ok(_) => None,
            Err(ClientError::Refused(problem)) => Some(problem.code),
            Err(error) => panic!("{error}"),
        }
    }

    /// Revokes a key behind the service's back; how long after that the first refusal was answered, on the connection that was there before.
    async fn until_refused(&self, name: KeyName, url: String) -> Duration {
        let (posts, now) = (matches!(name, KeyName::Kid(_)), self.at);
        let revocation = Revocation {
            issued: Issued {
                id: new_message_id(),
                issued_at: now,
            },
            key: name,
            reason: "stolen".parse().expect("a reason"),
        };
        let signed = revocation.sign(&self.person);
        let revoke = move || {
            let mut conn = Conn::open(&Url::new(url)).expect("a connection of its own");
            keys::revoke(&mut conn, &revocation.key, &revocation.reason, &By::Person(&signed), now).expect("revoked");
        };
        tokio::task::spawn_blocking(revoke).await.expect("revoked");
        let start = Instant::now();
        for no in 1.. {
            let (code, expected) = match posts {
                true => (self.post(no).await, Code::KeyRevoked),
                false => (self.read().await, Code::CertificateRevoked),
            };
            if code.is_some() {
                assert_eq!(code, Some(expected));
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{} is never refused", self.id);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        start.elapsed()
    }
}

/// Revokes one key of each, spread over six seconds, so that they meet every moment between two looks of the service.
fn revoke_all(world: &World, what: &str, shops: &[Shop], name: impl Fn(&Keys) -> KeyName) {
    let names: Vec<KeyName> = shops
        .iter()
        .map(|shop| name(&world.runtime.block_on(shop.client.keys()).expect("it worked")))
        .collect();
    let tasks: Vec<_> = shops
        .iter()
        .cloned()
        .zip(names)
        .enumerate()
        .map(|(no, (shop, name))| {
            let url = world.sandbox.config.database.clone();
            world.runtime.spawn(async move {
                tokio::time::sleep(Duration::from_millis(60 * u64::try_from(no).expect("small"))).await;
                shop.until_refused(name, url).await
            })
        })
        .collect();
    let mut took: Vec<Duration> = tasks
        .into_iter()
        .map(|task| world.runtime.block_on(task).expect("a task"))
        .collect();
    took.sort();
    let in_time = took.iter().filter(|took| **took < Duration::from_secs(5)).count();
    println!(
        "{what}: {in_time} of {PARTNERS} revocations refused within 5 s, median {:?}, slowest {:?}",
        took[PARTNERS / 2],
        took[PARTNERS - 1]
    );
    assert_eq!(in_time, PARTNERS);
}

fn a_hundred_of_a_hundred_are_refused_in_time(backend: Backend) {
    let world = World::new(backend, &network());
    let office = Office::found(&world.sandbox);
    let shop = |no: usize| {
        let id: PartnerId = format!("shop-{no}").parse().expect("a partner");
        let shop = Shop {
            client: world.client(id.as_str()),
            key: world.sandbox.parties.get(&id).expect("of the network").key.clone(),
            person: office.first.clone(),
            at: world.now(),
            id,
        };
        assert_eq!(world.runtime.block_on(shop.post(0)), None);
        shop
    };
    let shops: Vec<Shop> = (0..PARTNERS).map(shop).collect();
    revoke_all(&world, &format!("{backend:?}, signing keys"), &shops, |own| {
        KeyName::Kid(own.signing[0].kid.clone())
    });
    // Nobody posts any more, so only the service's own look finds these.
    revoke_all(&world, &format!("{backend:?}, TLS keys"), &shops, |own| {
        KeyName::Spki(own.tls[0].spki_sha256)
    });
}
