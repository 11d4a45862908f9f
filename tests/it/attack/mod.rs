//! Three hostile partners do all they can at once, from the outside of the release server with the limits that it has where nobody set any: idle connections, bodies
//! and heads without an end, sockets that say nothing or a byte from thousands of addresses, answers that nobody takes, lists, floods of messages and of full batches, with bad signatures too. What the server takes of memory, what it refuses
//! them, and how an honest partner, a newcomer who enrols and a watcher of its health fare meanwhile is printed, and held to its bounds.
//!
//! The short form runs alone before the other suites. The long one by hand, for `ATTACK_SECONDS` (up to 600) seconds:
//! `ATTACK_SECONDS=120 ./tests/run attack:: --nocapture`. All traffic stays on loopback addresses.

mod hostile;

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clearing::clock::Clock;
use clearing::commands::demo::sandbox::{Party, Sandbox};
use clearing::office::pki;
use ledger::network::Network;
use partner_sdk::Message;
use partner_sdk::change::Change;
use partner_sdk::client::keys::enrol;
use partner_sdk::client::{Client, new_message_id};
use partner_sdk::jws::sha256_hex;
use partner_sdk::wire::keys::Enrolment;
use tests::child::Child;
use tests::earn;
use tests::office::Office;
use tests::raw::socket;

use self::hostile::{Attack, WAYS};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clearing-under-test");
const POOL: &str = include_str!("../networks/pool.toml");
/// The most memory that the server may take, in KiB.
const MOST_KIB: u64 = 128 * 1024;
/// The honest partner's bound, 99 of 100: in a long attack; and in a short one, where that is the slowest of all, or other suites run beside it.
const P99: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// How many are invited meanwhile.
const NEWCOMERS: usize = 5;
/// Hostile partners, the last one suspended.
const HOSTILE: [&str; 3] = ["hangseng", "pool", "ikea"];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn message(party: &Party) -> String {
    let now = jiff::Timestamp::now();
    let message = Message {
        id: new_message_id(),
        sender: party.id.clone(),
        issued_at: now,
        occurred_at: now,
        body: earn("YUU", "m1", "1"),
    };
    message.sign(&party.key)
}

/// The memory of a process now, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What somebody honest got to see: how long each of its requests took, and what was refused.
#[derive(Default)]
struct Fared {
    took: Vec<Duration>,
    refused: Vec<String>,
}

impl Fared {
    fn note(&mut self, start: Instant, refused: Option<String>) {
        self.took.push(start.elapsed());
        self.refused.extend(refused);
    }

    fn print(&mut self, who: &str) -> Duration {
        self.took.sort();
        let p99 = self.took[self.took.len() * 99 / 100];
        let median = self.took[self.took.len() / 2];
        println!(
            "{who}: {}, {} refused, median {median:?}, p99 {p99:?}",
            self.took.len(),
            self.refused.len()
        );
        p99
    }
}

/// A message every 10 ms at most.
fn honest(client: &Client, party: &Party, stop: &AtomicBool) -> Fared {
    let runtime = runtime();
    let mut fared = Fared::default();
    while !stop.load(Ordering::SeqCst) {
        let (jws, start) = (message(party), Instant::now());
        let refused = match runtime.block_on(client.post(&jws)) {
            Ok(answer) => answer.problem.map(|problem| problem.to_string()),
            Err(error) => Some(format!("{error}: {error:?}")),
        };
        fared.note(start, refused);
        // The pace of a till, which is what its answer times are about; nothing is awaited.
        std::thread::sleep(Duration::from_millis(10));
    }
    fared
}

/// A look at the service's health ten times a second at most, each on a connection of its own.
fn watcher(health: &str, stop: &AtomicBool) -> Fared {
    let ask = || -> std::io::Result<String> {
        let mut socket = socket(health, 1)?;
        socket.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let mut fared = Fared::default();
    while !stop.load(Ordering::SeqCst) {
        let start = Instant::now();
        let answer = ask().unwrap_or_else(|error| error.to_string());
        fared.note(start, (!answer.starts_with("HTTP/1.1 200 ")).then_some(answer));
        // The watcher's pace.
        std::thread::sleep(Duration::from_millis(100));
    }
    fared
}

/// The operator's people invite newcomers, who bring in a key each.
fn newcomers(base: &str, sandbox: &Sandbox) -> Fared {
    let (runtime, office, mut fared) = (runtime(), Office::found(sandbox), Fared::default());
    for no in 0..NEWCOMERS {
        // They come one after the other, spread over the attack.
        std::thread::sleep(Duration::from_secs(1));
        let party = &sandbox.parties[&format!("newcomer-{no}").parse().expect("a partner")];
        let token = pki::random_token().expect("a token");
        let change = Change::Invite {
            partner: party.id.clone(),
            token_sha256: sha256_hex(token.as_bytes()),
        };
        office.change(sandbox, change).expect("approved");
        let kid = format!("{}-2", party.id).parse().expect("a kid");
        let (csr, _) = pki::new_request(&party.id).expect("a request");
        let jws = Enrolment::sign(&party.id, &token, &csr, &pki::random_key(kid).expect("a key"));
        let start = Instant::now();
        let refused = runtime.block_on(enrol(base, &party.identity.ca_pem, &jws)).err();
        fared.note(start, refused.map(|error| format!("{error}: {error:?}")));
    }
    fared
}

fn sandbox(folder: &Path) -> Sandbox {
    let network = POOL.replace("expires_after = \"1 day\"", "expires_after = \"12 months\"");
    let network = network.replace("name = \"IKEA\"", "name = \"IKEA\"\nstatus = \"suspended\"");
    let newcomers = (0..NEWCOMERS).map(|no| format!("[[partner]]\nid = \"newcomer-{no}\"\nname = \"Newcomer {no}\"\n"));
    let network = newcomers.fold(network, |all, one| all + &one);
    Sandbox::open(
        folder,
        "clearing.db",
        &Network::parse(&network).expect("the network"),
        Clock::System,
    )
    .expect("a clearinghouse")
}

#[test]
fn three_hostile_partners_take_nothing_from_honest_ones() {
    let seconds: Option<u64> = std::env::var("ATTACK_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(12).min(600));
    let folder = tempfile::tempdir().expect("a folder");
    let sandbox = sandbox(folder.path());
    let party = |id: &str| sandbox.parties[&id.parse().expect("a partner")].clone();
    let own = party("wellcome");
    let child = Child::serve_as_set_up(PROGRAM, folder.path());
    let enrolment = child.enrol.clone().expect("an enrolment listener");
    let health = child.health.clone().expect("a health listener");
    let (stop, peak) = (Arc::new(AtomicBool::new(false)), AtomicU64::new(0));
    let attacks = HOSTILE.into_iter().zip(2u8..).map(|(id, from)| Attack {
        base: child.base.clone(),
        party: party(id),
        trust: sandbox.trust.clone(),
        from,
        others: [enrolment.clone(), health.clone()],
        stop: stop.clone(),
        seen: Arc::default(),
    });
    let attacks: Vec<Attack> = attacks.collect();
    let client = Client::new(&child.base, &own.identity, sandbox.trust.clone()).expect("a client");
    let before = resident(child.pid());
    let mut fared = std::thread::scope(|scope| {
        for attack in &attacks {
            for way in WAYS {
                scope.spawn(move || way(attack));
            }
        }
        let honest = scope.spawn(|| honest(&client, &own, &stop));
        let watcher = scope.spawn(|| watcher(&health, &stop));
        let newcomers = scope.spawn(|| newcomers(&enrolment, &sandbox));
        let start = Instant::now();
        while start.elapsed() < length || !newcomers.is_finished() {
            peak.fetch_max(resident(child.pid()), Ordering::SeqCst);
            // Between two samples: the kernel tells nobody when memory grows.
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::SeqCst);
        [("messages", honest), ("looks at its health", watcher), ("enrolments", newcomers)]
            .map(|(who, thread)| (who, thread.join().expect("it went to its end")))
    });
    let peak = peak.into_inner();
    println!("{} s; memory before {before} KiB, at most {peak} KiB", length.as_secs());
    for attack in &attacks {
        println!("{}: {:?}", attack.party.id, attack.seen.lock().expect("not poisoned"));
    }
    let p99 = fared.each_mut().map(|(who, fared)| fared.print(who));
    assert!(child.terminate().success());
    for (who, fared) in fared {
        assert_eq!(fared.refused, Vec::<String>::new(), "{who}");
    }
    assert!(peak < MOST_KIB, "{peak} KiB");
    assert!(p99.iter().all(|p99| *p99 < P99[usize::from(seconds.is_none())]), "{p99:?}");
}
