//! What a hostile partner does, each way for itself and again and again until it is told to stop.

use partner_sdk::Trust;
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clearing::commands::demo::sandbox::Party;
use clearing::edge::listen::most_connections;
use partner_sdk::client::{Client, ClientError};
use partner_sdk::wire::MAX_BATCH;
use tests::raw::{Raw, socket, socket_at};

use super::{message, runtime};

/// What the hostile ones got to see: statuses, and connections that weren't made or broke off.
type Seen = Arc<Mutex<BTreeMap<String, u64>>>;

pub struct Attack {
    pub base: String,
    pub party: Party,
    pub trust: Trust,
    /// The address that it comes from: 127.0.0.`from`.
    pub from: u8,
    /// The listeners for those without a certificate.
    pub others: [String; 2],
    pub stop: Arc<AtomicBool>,
    pub seen: Seen,
}

/// Every way there is.
pub const WAYS: [fn(&Attack); 10] = [
    Attack::idle,
    Attack::bodies,
    Attack::heads,
    Attack::unread,
    Attack::flood,
    Attack::batches,
    Attack::silent,
    Attack::unread_batches,
    Attack::lists,
    Attack::bad_signatures,
];

impl Attack {
    fn note(&self, what: &str) {
        *self.seen.lock().expect("not poisoned").entry(what.to_owned()).or_default() += 1;
    }

    fn over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// The attacker's own pace: what it keeps open meanwhile is what hurts. Nothing is awaited.
    fn linger(&self, millis: u64) {
        std::thread::sleep(Duration::from_millis(millis));
    }

    fn raw(&self) -> Option<Raw> {
        let raw = Raw::connect(&self.base, &self.party.identity, self.from).ok();
        if raw.is_none() {
            self.note("no connection");
        }
        raw
    }

    fn client(&self) -> Client {
        Client::new(&self.base, &self.party.identity, self.trust.clone()).expect("a client")
    }

    /// Notes an answer's status.
    fn answered(&self, raw: &mut Raw) -> String {
        let answer = raw.read();
        let status = answer.get(9..12).unwrap_or("broken off");
        self.note(status);
        status.to_owned()
    }

    /// Connections that do nothing, more than one may have; and sockets that say nothing, at all listeners.
    fn idle(&self) {
        let mut kept: Vec<Raw> = vec![];
        let mut silent: Vec<TcpStream> = vec![];
        while !self.over() {
            kept.extend((0..50).filter_map(|_| self.raw()));
            for base in self.others.iter().chain([&self.base]) {
                silent.extend((0..100).filter_map(|_| socket(base, self.from).ok()));
            }
            if kept.len() > 300 {
                kept.clear();
                silent.clear();
            }
            self.linger(300);
        }
    }

    /// Sockets that say nothing or a byte, each from another address, at all listeners: thousands, as many of them open as this process may have.
    fn silent(&self) {
        let (mut kept, mut no) = (VecDeque::new(), 0_u16);
        while !self.over() {
            for base in self.others.iter().chain([&self.base]).cycle().take(150) {
                let [high, low] = no.to_be_bytes();
                let made = socket_at(base, Ipv4Addr::new(127, 100 + self.from, high, low.max(1)));
                self.note(if made.is_ok() { "a silent socket" } else { "no socket" });
                let mut made = made.ok();
                if let Some(made) = made.as_mut().filter(|_| no % 4 != 0) {
                    let _ = made.write(b"\x16");
                }
                kept.extend(made);
                no = no.wrapping_add(1);
            }
            kept.drain(..kept.len().saturating_sub(most_connections() / 8));
            self.linger(100);
        }
    }

    /// Bodies of 4 MiB that lack their last byte.
    fn bodies(&self) {
        let body = vec![b'x'; 64 * 1024];
        while !self.over() {
            let mut kept = vec![];
            for path in ["/v1/batches", "/v1/keys"].into_iter().cycle().take(24) {
                let Some(mut raw) = self.raw() else { continue };
                let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4194304\r\n\r\n");
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
            self.linger(200);
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
            self.linger(200);
        }
    }

    /// Hundreds of requests down each connection, whose answers nobody takes.
    fn unread(&self) {
        let asks = ["/v1/keys", "/v1/rates", "/v1/agreements", "/v1/events?limit=250", "/v1/positions"];
        let asks = asks
            .map(|path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .concat()
            .repeat(100);
        while !self.over() {
            let mut kept: Vec<Raw> = (0..20).filter_map(|_| self.raw()).collect();
            for raw in &mut kept {
                let _ = raw.write_within(asks.as_bytes(), Duration::from_millis(50));
            }
            self.linger(1_000);
        }
    }

    /// The same with batches: each answer is a hundred times as large as what was asked.
    fn unread_batches(&self) {
        let asks = batch("x\n".repeat(MAX_BATCH)).repeat(20);
        while !self.over() {
            let mut kept: Vec<Raw> = (0..20).filter_map(|_| self.raw()).collect();
            for raw in &mut kept {
                let _ = raw.write_within(asks.as_bytes(), Duration::from_millis(50));
            }
            self.linger(2_000);
        }
    }

    /// Everything that can be read, read.
    fn lists(&self) {
        let asks = ["/v1/agreements", "/v1/events?limit=250"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.ask_on(8, &asks);
    }

    /// Full batches of messages whose signature is another's.
    fn bad_signatures(&self) {
        let (mut bad, other) = (message(&self.party), message(&self.party));
        let signature = |jws: &str| jws.rfind('.').expect("three parts");
        bad.replace_range(signature(&bad).., &other[signature(&other)..]);
        self.ask_on(8, &[batch((bad + "\n").repeat(MAX_BATCH))]);
    }

    /// Asks all this on so many connections at once, and reads the answers.
    fn ask_on(&self, connections: usize, asks: &[String]) {
        let mut kept: Vec<Raw> = vec![];
        for ask in asks.iter().cycle() {
            if self.over() {
                return;
            }
            kept.extend((kept.len()..connections).filter_map(|_| self.raw()));
            kept.retain_mut(|raw| raw.write(ask.as_bytes()).is_ok());
            kept.retain_mut(|raw| self.answered(raw) == "200");
        }
    }

    /// Messages, as fast as they go, whatever is answered.
    fn flood(&self) {
        let client = self.client();
        runtime().block_on(async {
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

    /// Full batches of messages that are in order, each sent twice.
    fn batches(&self) {
        let (client, runtime) = (self.client(), runtime());
        while !self.over() {
            let batch: Vec<String> = (0..MAX_BATCH).map(|_| message(&self.party)).collect();
            for _ in 0..2 {
                match runtime.block_on(client.post_batch(&batch)) {
                    Ok(_) => self.note("a batch"),
                    Err(ClientError::Refused(problem)) => self.note(&format!("a batch {}", problem.code)),
                    Err(_) => self.note("a batch broken off"),
                }
            }
        }
    }
}

/// A batch as it is sent.
fn batch(lines: String) -> String {
    format!(
        "POST /v1/batches HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{lines}",
        lines.len()
    )
}
