//! Three hostile partners do all they can at once, from the outside of the release server: idle connections, bodies that never end, heads without an end, silent
//! handshakes, floods. What the server takes of memory, what it refuses them, and how an honest partner fares meanwhile is printed, and held to its bounds.
//!
//! The short form runs with the other suites. The long one by hand, for `ATTACK_SECONDS` (up to 600) seconds:
//! `ATTACK_SECONDS=120 ./tests/run attack:: --nocapture`. All traffic stays on loopback addresses.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clearing::clock::Clock;
use clearing::demo::sandbox::{Party, Sandbox};
use clearing::network::Network;
use partner_sdk::Message;
use partner_sdk::client::{Client, new_message_id};
use partner_sdk::jws::VerifyingKey;
use tests::child::Child;
use tests::earn;
use tests::raw::{Raw, socket};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clearing-under-test");
const POOL: &str = include_str!("networks/pool.toml");
/// The most memory that the server may take, in KiB.
const MOST_KIB: u64 = 128 * 1024;
/// The honest partner's bound, 99 of 100, where nothing else runs; and beside the other suites, which want the processors too.
const P99: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// Hostile partners, the last one suspended.
const HOSTILE: [&str; 3] = ["hangseng", "pool", "ikea"];

/// What the hostile ones got to see: statuses, and connections that weren't made or broke off.
type Seen = Arc<Mutex<BTreeMap<String, u64>>>;

struct Attack {
    base: String,
    party: Party,
    key: VerifyingKey,
    /// The address that it comes from: 127.0.0.`from`.
    from: u8,
    enrol: String,
    stop: Arc<AtomicBool>,
    seen: Seen,
}

impl Attack {
    fn note(&self, what: &str) {
        *self.seen.lock().expect("not poisoned").entry(what.to_owned()).or_default() += 1;
    }

    fn over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn raw(&self) -> Option<Raw> {
        let raw = Raw::connect(&self.base, &self.party.identity, self.from).ok();
        if raw.is_none() {
            self.note("no connection");
        }
        raw
    }

    /// Notes an answer's status.
    fn answered(&self, raw: &mut Raw) {
        let answer = raw.read();
        self.note(answer.get(9..12).unwrap_or("broken off"));
    }

    /// Connections that do nothing, more than one may have; and sockets without a handshake, at both listeners.
    fn idle(&self) {
        let mut kept: Vec<Raw> = vec![];
        let mut silent: Vec<TcpStream> = vec![];
        while !self.over() {
            kept.extend((0..50).filter_map(|_| self.raw()));
            for base in [&self.base, &self.enrol] {
                silent.extend((0..100).filter_map(|_| socket(base, self.from).ok()));
            }
            if kept.len() > 300 {
                kept.clear();
                silent.clear();
            }
            // The attacker's own pace: what it keeps open is what hurts.
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Bodies of 4 MiB that lack their last byte.
    fn bodies(&self) {
        let body = vec![b'x'; 64 * 1024];
        while !self.over() {
            let mut kept = vec![];
            for _ in 0..16 {
                let Some(mut raw) = self.raw() else { continue };
                let head = "POST /v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4194304\r\n\r\n";
                let _ = raw.write(head.as_bytes());
                let sent = (0..63).all(|_| raw.write(&body).is_ok());
                if !sent {
                    self.answered(&mut raw);
                }
                kept.push(raw);
                if self.over() {
                    return;
                }
            }
            // Held for a while, then all anew.
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Heads that are too large, not HTTP, HTTP/2, or never whole.
    fn heads(&self) {
        let large = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}", "x".repeat(256 * 1024));
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned() + &"\0".repeat(4096);
        let mut slow = vec![];
        while !self.over() {
            for text in [&large, &preface, &"\n".repeat(1000)] {
                if let Some(mut raw) = self.raw() {
                    let _ = raw.write(text.as_bytes());
                    self.answered(&mut raw);
                }
            }
            slow.extend((0..20).filter_map(|_| self.raw()));
            // A byte of each now and then.
            slow.retain_mut(|raw| raw.write(b"G").is_ok());
            slow.truncate(200);
            // The time between two bytes of a head that never ends.
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Messages, as fast as they go, whatever is answered.
    fn flood(&self) {
        let runtime = runtime();
        let client = Client::new(&self.base, &self.party.identity, self.key.clone()).expect("a client");
        runtime.block_on(async {
            while !self.over() {
                let posts = (0..16).map(|_| {
                    let (client, jws) = (client.clone(), message(&self.party));
                    tokio::spawn(async move { client.post(&jws).await })
                });
                for post in posts.collect::<Vec<_>>() {
                    match post.await.expect("a task") {
                        Ok(answer) => self.note(answer.problem.map_or("accepted", |problem| problem.code.as_str())),
                        Err(_) => self.note("broken off"),
                    }
                }
            }
        });
    }
}

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

/// A message every 10 ms at most; how long each took, and what was refused.
fn honest(client: &Client, party: &Party, stop: &AtomicBool) -> (Vec<Duration>, Vec<String>) {
    let runtime = runtime();
    let (mut took, mut refused) = (vec![], vec![]);
    while !stop.load(Ordering::SeqCst) {
        let (jws, start) = (message(party), Instant::now());
        match runtime.block_on(client.post(&jws)) {
            Ok(answer) => refused.extend(answer.problem.map(|problem| problem.to_string())),
            Err(error) => refused.push(format!("{error}: {error:?}")),
        }
        took.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    took.sort();
    (took, refused)
}

fn sandbox(folder: &Path) -> Sandbox {
    let network = POOL.replace("expires_after = \"1 day\"", "expires_after = \"12 months\"");
    let network = network.replace("name = \"IKEA\"", "name = \"IKEA\"\nstatus = \"suspended\"");
    Sandbox::open(
        folder,
        "clearing.db",
        &Network::parse(&network).expect("the network"),
        Clock::System,
    )
    .expect("a clearinghouse")
}

#[test]
fn three_hostile_partners_take_nothing_from_an_honest_one() {
    let seconds: Option<u64> = std::env::var("ATTACK_SECONDS").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs(seconds.unwrap_or(12).min(600));
    let folder = tempfile::tempdir().expect("a folder");
    let sandbox = sandbox(folder.path());
    let party = |id: &str| {
        sandbox
            .parties
            .get(&id.parse().expect("a partner"))
            .expect("of the network")
            .clone()
    };
    let child = Child::serve_with(
        PROGRAM,
        folder.path(),
        &[
            ("REQUESTS_PER_SECOND", "100"),
            ("MESSAGES_PER_SECOND", "100"),
            ("HANDSHAKES_PER_SECOND", "50"),
        ],
    );
    let (stop, peak) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let attacks = HOSTILE.into_iter().zip(2u8..).map(|(id, from)| {
        Arc::new(Attack {
            base: child.base.clone(),
            party: party(id),
            key: sandbox.clearing_key.clone(),
            from,
            enrol: child.enrol.clone().expect("an enrolment listener"),
            stop: stop.clone(),
            seen: Seen::default(),
        })
    });
    let attacks: Vec<Arc<Attack>> = attacks.collect();
    let client = Client::new(&child.base, &party("wellcome").identity, sandbox.clearing_key.clone()).expect("a client");
    let (own, done) = (party("wellcome"), stop.clone());
    let before = resident(child.pid());
    let (took, refused) = std::thread::scope(|scope| {
        for attack in &attacks {
            for way in [Attack::idle, Attack::bodies, Attack::heads, Attack::flood] {
                scope.spawn(move || way(attack));
            }
        }
        let honest = scope.spawn(|| honest(&client, &own, &done));
        let start = Instant::now();
        while start.elapsed() < length {
            peak.fetch_max(resident(child.pid()), Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::SeqCst);
        honest.join().expect("it went to its end")
    });
    let p99 = took[took.len() * 99 / 100];
    let peak = peak.load(Ordering::SeqCst);
    println!("{} s; memory before {} KiB, at most {peak} KiB", length.as_secs(), before);
    println!(
        "honest: {} messages, {} refused, median {:?}, p99 {p99:?}",
        took.len(),
        refused.len(),
        took[took.len() / 2]
    );
    for attack in &attacks {
        println!("{}: {:?}", attack.party.id, attack.seen.lock().expect("not poisoned"));
    }
    assert!(child.terminate().success());
    assert_eq!(refused, Vec::<String>::new());
    assert!(peak < MOST_KIB, "{peak} KiB");
    assert!(p99 < P99[usize::from(seconds.is_none())], "{p99:?}");
}
