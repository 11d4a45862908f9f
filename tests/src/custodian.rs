//! An issuer that keeps its members' points in books of its own: a file, always whole. What it has not filed, it forgets.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clearing::commands::demo::sandbox::Party;
use partner_sdk::client::Client;
use partner_sdk::wire::{Event, Outcome};
use partner_sdk::{Body, Message};
use serde::{Deserialize, Serialize};

use crate::load::Draw;

/// What is in the file.
#[derive(Default, Serialize, Deserialize)]
struct Books {
    /// The last event that was acted on.
    last: i64,
    /// Members' points.
    balances: BTreeMap<String, i64>,
    /// By sender and exchange: whether it was credited, and the signed answer.
    decided: BTreeMap<String, (bool, String)>,
}

/// The issuer.
pub struct Custodian {
    path: PathBuf,
    party: Party,
    books: Books,
}

/// Why it stopped.
#[derive(Debug)]
pub enum Died {
    /// Between two of its steps.
    AtRandom,
    /// The clearinghouse didn't answer.
    Unanswered {
        /// What was unanswered: its own answer, or its question for events.
        answering: bool,
    },
}

impl Custodian {
    /// Starts with what it has filed.
    pub fn open(path: &Path, party: Party) -> Self {
        let books = match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).expect("books that are whole"),
            Err(_) => Books::default(),
        };
        Self {
            path: path.to_owned(),
            party,
            books,
        }
    }

    /// Writes the books beside the old ones and puts them in their place.
    fn write(&self) {
        let new = self.path.with_extension("new");
        let mut file = std::fs::File::create(&new).expect("a file");
        file.write_all(&serde_json::to_vec(&self.books).expect("JSON")).expect("written");
        file.sync_all().expect("synced");
        std::fs::rename(&new, &self.path).expect("in place");
    }

    /// What it was told to credit and hasn't filed yet.
    pub async fn read(&self, client: &Client) -> Result<Vec<Event>, Died> {
        let events = client.events(self.books.last, Duration::from_secs(1)).await;
        events.map_err(|_| Died::Unanswered { answering: false })
    }

    /// Credits or refuses, once: in one write with the signed answer, which it returns. `None` for an event about something else.
    pub fn decide(&mut self, event: &Event, refuses: bool) -> Option<String> {
        if !["exchange.instructed", "exchange.queried"].contains(&event.kind.as_str()) {
            return None;
        }
        let fact = |name: &str| event.fact(name).expect("a fact").to_owned();
        let (key, number) = (format!("{}/{}", fact("sender"), event.subject), |name| {
            fact(name).parse::<i64>().expect("points")
        });
        if let Some((_, answer)) = self.books.decided.get(&key) {
            return Some(answer.clone());
        }
        let (sender_of, exchange) = (fact("sender").parse().expect("a partner"), event.subject.parse().expect("an id"));
        let body = if refuses {
            Body::Refuse {
                sender_of,
                exchange,
                reason: "member_unknown".parse().expect("a reason"),
            }
        } else {
            *self.books.balances.entry(fact("to_member")).or_default() += number("credited") + number("bonus");
            Body::Acknowledge {
                sender_of,
                exchange,
                reference: Some(format!("FF-{}", self.books.decided.len()).parse().expect("a reference")),
            }
        };
        let answer = Message::now(self.party.id.clone(), body).sign(&self.party.key);
        self.books.decided.insert(key, (!refuses, answer.clone()));
        self.write();
        Some(answer)
    }

    /// Notes that everything up to this event is done.
    pub fn file(&mut self, no: i64) {
        self.books.last = no;
        self.write();
    }

    /// Follows the feed for one answer of it, and dies at random. One in five exchanges is refused.
    pub async fn follow(&mut self, client: &Client, draw: &mut Draw) -> Result<(), Died> {
        for event in self.read(client).await? {
            let mut survive = || if draw.upto(12) == 1 { Err(Died::AtRandom) } else { Ok(()) };
            survive()?;
            let refuses = event.no % 5 == 0;
            if let Some(answer) = self.decide(&event, refuses) {
                survive()?;
                let heard = client.post(&answer).await.ok().and_then(|heard| heard.outcome);
                match heard {
                    Some(Outcome::Accepted) => {}
                    Some(Outcome::Rejected) => panic!("a good answer was rejected"),
                    None => return Err(Died::Unanswered { answering: true }),
                }
                survive()?;
            }
            self.file(event.no);
            survive()?;
        }
        Ok(())
    }

    /// Whether it has credited an exchange; `None` where it hasn't decided.
    pub fn credited(&self, key: &str) -> Option<bool> {
        self.books.decided.get(key).map(|(credited, _)| *credited)
    }

    /// How many exchanges it has decided.
    pub fn decided(&self) -> usize {
        self.books.decided.len()
    }

    /// A member's points.
    pub fn balance(&self, member: &str) -> i64 {
        self.books.balances.get(member).copied().unwrap_or(0)
    }
}
