//! Whatever is killed, and when: an exchange with a programme that is kept elsewhere ends once, the same way on both sides, and the member loses nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clearing::clock::Clock;
use clearing::commands::demo::sandbox::{Party, Sandbox};
use ledger::network::Network;
use partner_sdk::client::Client;
use partner_sdk::wire::{Answer, Event, ExchangeState, Outcome};
use partner_sdk::{Message, MessageId};
use store::books;
use tests::child::Child;
use tests::custodian::{Custodian, Died};
use tests::load::Draw;
use tests::{earn, exchange, quote};
use tokio::sync::watch;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clearing-under-test");
const MEMBERS: [&str; 4] = ["m0", "m1", "m2", "m3"];
const POINTS: i64 = 10_000_000;

/// A clearinghouse in processes of its own that are killed, its bank, and an airline with its own books.
struct Saga {
    sandbox: Sandbox,
    child: Option<Child>,
    /// Where it listens now.
    base: watch::Sender<String>,
    folder: tempfile::TempDir,
}

fn client(party: &Party, base: &str, sandbox: &Sandbox) -> Client {
    Client::new(base, &party.identity, sandbox.trust.clone()).expect("a client")
}

fn party(sandbox: &Sandbox, id: &str) -> Party {
    sandbox.parties.get(&id.parse().expect("a partner")).expect("a partner").clone()
}

impl Saga {
    /// The members have their points.
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let network = Network::parse(include_str!("networks/elsewhere.toml")).expect("the network");
        let sandbox = Sandbox::open(&folder.path().join("clearing"), "clearing.db", &network, Clock::System).expect("a clearinghouse");
        let mut saga = Self {
            sandbox,
            child: None,
            base: watch::Sender::new(String::new()),
            folder,
        };
        saga.serve();
        let bank = party(&saga.sandbox, "bank");
        for member in MEMBERS {
            let message = Message::now(bank.id.clone(), earn("BANK", member, &POINTS.to_string()));
            saga.bank().send(&message, &bank.key).await.expect("points");
        }
        saga
    }

    fn serve(&mut self) {
        let child = Child::serve(PROGRAM, &self.sandbox.folder);
        self.base.send_replace(child.base.clone());
        self.child = Some(child);
    }

    fn kill(&mut self) {
        self.child.take().expect("it runs").kill_9();
    }

    fn bank(&self) -> Client {
        client(&party(&self.sandbox, "bank"), &self.base.borrow(), &self.sandbox)
    }

    fn airline(&self) -> Client {
        client(&party(&self.sandbox, "airline"), &self.base.borrow(), &self.sandbox)
    }

    fn books(&self) -> PathBuf {
        self.folder.path().join("airline.json")
    }

    /// Both sides agree on every exchange that was accepted, and nothing is on its way any more.
    async fn check(&self, exchanges: &BTreeMap<MessageId, String>) -> (usize, usize) {
        let (bank, books) = (self.bank(), Custodian::open(&self.books(), party(&self.sandbox, "airline")));
        assert_eq!(bank.open_exchanges(0).await.expect("a list"), [], "every exchange has ended");
        let mut ended: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for event in all_events(&bank).await {
            if ["exchange.captured", "exchange.released"].contains(&event.kind.as_str()) {
                ended.entry(event.subject).or_default().push(event.kind);
            }
        }
        let mut captured: BTreeMap<&str, i64> = BTreeMap::new();
        let (mut captures, mut releases) = (0, 0);
        let sender = "bank".parse().expect("a partner");
        for (id, member) in exchanges {
            let one = bank.instructed_exchange(&sender, id).await.expect("an exchange");
            let credited = books.credited(&format!("bank/{id}"));
            let kinds = ended.remove(id.as_str()).unwrap_or_default();
            match one.state {
                ExchangeState::Captured => {
                    assert_eq!((credited, kinds), (Some(true), vec!["exchange.captured".to_owned()]), "{id}");
                    *captured.entry(member).or_default() += 1;
                    captures += 1;
                }
                ExchangeState::Released => {
                    assert_eq!((credited, kinds), (Some(false), vec!["exchange.released".to_owned()]), "{id}");
                    releases += 1;
                }
                open => panic!("{id} is {open}"),
            }
        }
        assert!(ended.is_empty(), "something ended that nobody sent: {ended:?}");
        assert_eq!(books.decided(), exchanges.len(), "the airline knows of others");
        for member in MEMBERS {
            let times = captured.get(member).copied().unwrap_or(0);
            let account: serde_json::Value = bank.get(&format!("/v1/accounts/BANK/{member}")).await.expect("a balance");
            assert_eq!(account["balance"], (POINTS - 100 * times).to_string(), "{member}");
            assert_eq!(account["held"], "0", "{member}");
            assert_eq!(books.balance(member), 1000 * times, "{member} at the airline");
        }
        let mut conn = self.sandbox.database().expect("a connection");
        assert_eq!(books::check(&mut conn).expect("the check runs"), Vec::<String>::new());
        (captures, releases)
    }
}

async fn all_events(client: &Client) -> Vec<Event> {
    let (mut all, mut after) = (vec![], 0);
    loop {
        let page = client.events(after, Duration::ZERO).await.expect("events");
        let Some(last) = page.last() else { return all };
        after = last.no;
        all.extend(page);
    }
}

/// A quote and the exchange by it, signed once: whatever happens, the same bytes are sent again.
fn order(bank: &Party, member: &str) -> (MessageId, [String; 2]) {
    let quoted = Message::now(bank.id.clone(), quote("BANK", "MILES", "100"));
    let exchanged = Message::now(bank.id.clone(), exchange("BANK", "MILES", member, "100", &quoted.id));
    (exchanged.id.clone(), [quoted.sign(&bank.key), exchanged.sign(&bank.key)])
}

fn accepted(answers: &[Answer]) -> bool {
    let all = answers.iter().all(|answer| answer.outcome == Some(Outcome::Accepted));
    assert!(all || answers.iter().any(|a| a.receipt.is_none()), "rejected: {:?}", answers.last());
    all
}

/// Where in an exchange's way the service is killed.
const STEPS: [&str; 8] = [
    "before the exchange",
    "during the exchange",
    "after the receipt",
    "after the airline has read",
    "after it has credited",
    "during the answer",
    "after the answer's receipt",
    "after the airline has filed it",
];

#[test]
fn killed_at_each_step() {
    let runtime = runtime();
    let mut draw = Draw::new();
    runtime.block_on(async {
        let mut saga = Saga::start().await;
        let bank = party(&saga.sandbox, "bank");
        let mut exchanges = BTreeMap::new();
        for (step, refuses) in STEPS.iter().flat_map(|step| [(*step, false), (*step, true)]) {
            let kill = |saga: &mut Saga, here: &str| {
                if here == step {
                    saga.kill();
                    saga.serve();
                }
            };
            kill(&mut saga, STEPS[0]);
            let (id, signed) = order(&bank, "m1");
            if step == STEPS[1] {
                interrupted(&mut saga, &mut draw, signed.to_vec(), "bank").await;
            }
            assert!(accepted(&saga.bank().post_batch(&signed).await.expect("answers")), "{step}");
            exchanges.insert(id.clone(), "m1".to_owned());
            kill(&mut saga, STEPS[2]);
            // At each kill the airline is gone too, and has what it has filed.
            let mut airline = Custodian::open(&saga.books(), party(&saga.sandbox, "airline"));
            let told = airline.read(&saga.airline()).await.expect("events");
            let told: Vec<Event> = told.into_iter().filter(|event| event.subject == id.as_str()).collect();
            assert_eq!(told.len(), 1, "{step}");
            kill(&mut saga, STEPS[3]);
            let answer = airline.decide(&told[0], refuses).expect("an instruction");
            kill(&mut saga, STEPS[4]);
            let mut airline = Custodian::open(&saga.books(), party(&saga.sandbox, "airline"));
            assert_eq!(airline.decide(&told[0], !refuses), Some(answer.clone()), "what is decided stays so");
            if step == STEPS[5] {
                interrupted(&mut saga, &mut draw, vec![answer.clone()], "airline").await;
            }
            assert!(accepted(&[saga.airline().post(&answer).await.expect("an answer")]), "{step}");
            kill(&mut saga, STEPS[6]);
            assert!(accepted(&[saga.airline().post(&answer).await.expect("an answer")]), "{step}");
            airline.file(told[0].no);
            kill(&mut saga, STEPS[7]);
        }
        assert_eq!(saga.check(&exchanges).await, (STEPS.len(), STEPS.len()));
        saga.kill();
    });
}

/// Messages are on their way when the service is killed; nobody hears an answer.
async fn interrupted(saga: &mut Saga, draw: &mut Draw, signed: Vec<String>, by: &str) {
    let client = client(&party(&saga.sandbox, by), &saga.base.borrow(), &saga.sandbox);
    // The connection stands already, so that the kill hits the posting.
    client.get::<serde_json::Value>("/v1/health").await.expect("alive");
    let post = tokio::spawn(async move { client.post_batch(&signed).await.map(drop) });
    tokio::time::sleep(Duration::from_micros(draw.upto(6000))).await;
    saga.kill();
    let _ = post.await.expect("a task");
    saga.serve();
}

#[test]
fn killed_at_200_moments() {
    const KILLS: usize = 200;
    let runtime = runtime();
    let mut draw = Draw::new();
    runtime.block_on(async {
        let mut saga = Saga::start().await;
        let stop = Arc::new(AtomicBool::new(false));
        let members = MEMBERS.map(|member| {
            let bank = party(&saga.sandbox, "bank");
            let (base, key) = (saga.base.subscribe(), saga.sandbox.trust.clone());
            let connect = move |base: &str| Client::new(base, &bank.identity, key.clone()).expect("a client");
            let bank = party(&saga.sandbox, "bank");
            tokio::spawn(exchange_until(stop.clone(), base, connect, bank, member))
        });
        let airline = party(&saga.sandbox, "airline");
        let (base, key) = (saga.base.subscribe(), saga.sandbox.trust.clone());
        let connect = {
            let airline = airline.clone();
            move |base: &str| Client::new(base, &airline.identity, key.clone()).expect("a client")
        };
        let (books, seed) = (saga.books(), draw.upto(u64::MAX / 2));
        let settled = Arc::new(AtomicBool::new(false));
        let custodian = tokio::spawn(answer_until(settled.clone(), base, connect, books, airline, seed));
        for _ in 0..KILLS {
            tokio::time::sleep(Duration::from_micros(20_000 + draw.upto(80_000))).await;
            saga.kill();
            saga.serve();
        }
        stop.store(true, Ordering::SeqCst);
        let (mut exchanges, mut unheard) = (BTreeMap::new(), 0);
        for (member, task) in MEMBERS.iter().zip(members) {
            let (ids, again) = task.await.expect("a member's orders");
            unheard += again;
            exchanges.extend(ids.into_iter().map(|id| (id, (*member).to_owned())));
        }
        let bank = saga.bank();
        while !bank.open_exchanges(0).await.expect("a list").is_empty() {
            assert!(!custodian.is_finished(), "the airline has failed: nobody answers any more");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        settled.store(true, Ordering::SeqCst);
        let (deaths, again) = custodian.await.expect("the airline");
        let (captures, releases) = saga.check(&exchanges).await;
        println!(
            "{KILLS} kills, {captures} captured, {releases} released, {unheard} orders and {again} answers sent again, the airline died {deaths} times"
        );
        assert!(captures > 20 && releases > 5, "too few exchanges to show anything");
        assert!(unheard > 20 && again > 5 && deaths > 20, "the kills hit nothing on its way");
        saga.kill();
    });
}

/// Sends one order after the other, each until it is accepted; returns the exchanges, and how often an order was sent again.
async fn exchange_until(
    stop: Arc<AtomicBool>,
    mut base: watch::Receiver<String>,
    connect: impl Fn(&str) -> Client,
    bank: Party,
    member: &str,
) -> (BTreeSet<MessageId>, usize) {
    let (mut ids, mut again) = (BTreeSet::new(), 0);
    let mut client = connect(&base.borrow_and_update());
    while !stop.load(Ordering::SeqCst) {
        let (id, signed) = order(&bank, member);
        while !matches!(client.post_batch(&signed).await, Ok(answers) if accepted(&answers)) {
            again += 1;
            let _ = tokio::time::timeout(Duration::from_millis(50), base.changed()).await;
            client = connect(&base.borrow_and_update());
        }
        ids.insert(id);
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    (ids, again)
}

/// The airline: follows the feed, credits and answers, and dies at random between its steps; returns how often it died, and how often an answer was
/// sent again.
async fn answer_until(
    settled: Arc<AtomicBool>,
    mut base: watch::Receiver<String>,
    connect: impl Fn(&str) -> Client,
    books: PathBuf,
    party: Party,
    seed: u64,
) -> (usize, usize) {
    let (mut draw, mut deaths, mut again) = (Draw::from(seed), 0, 0);
    let mut client = connect(&base.borrow_and_update());
    while !settled.load(Ordering::SeqCst) {
        // All that it knew is gone but its books.
        let mut airline = Custodian::open(&books, party.clone());
        match airline.follow(&client, &mut draw).await {
            Ok(()) => {}
            Err(Died::AtRandom) => deaths += 1,
            Err(Died::Unanswered { answering }) => {
                again += usize::from(answering);
                let _ = tokio::time::timeout(Duration::from_millis(50), base.changed()).await;
                client = connect(&base.borrow_and_update());
            }
        }
    }
    (deaths, again)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}
