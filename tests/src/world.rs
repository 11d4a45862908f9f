//! One clearinghouse with its partners, and a clock to move.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use clearing::audit::{self, Depth};
use clearing::clock::Clock;
use clearing::commands::demo::sandbox::Sandbox;
use jiff::{Span, Timestamp};
use ledger::network::Network;
use partner_sdk::client::Client;
use partner_sdk::wire::{Answer, Outcome, Quantity};
use partner_sdk::{Amount, Body, Code, KeyId, Message, MessageId, PartnerId, Receipt};
use settlement::Settlement;
use store::trail;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::postgres::Cluster;

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A file in the test's own folder.
    Sqlite,
    /// A database of the test's own in the private cluster.
    Postgres,
}

impl Backend {
    /// A fresh database.
    pub fn database(self) -> String {
        match self {
            Backend::Sqlite => "clearing.db".to_owned(),
            Backend::Postgres => Cluster::shared().create_database().expect("a database in the private cluster"),
        }
    }
}

/// A sandbox that runs, on 2026-11-20 at 10:00 in Hong Kong. When it goes, the books must balance.
pub struct World {
    /// The clearinghouse.
    pub sandbox: Sandbox,
    /// For what a test awaits.
    pub runtime: Runtime,
    clients: BTreeMap<PartnerId, Client>,
    posted: usize,
    altered: AtomicBool,
    folder: TempDir,
}

impl World {
    /// Starts a clearinghouse with a network of its own, given as TOML.
    pub fn new(backend: Backend, network: &str) -> Self {
        let network = Network::parse(network).expect("the test's network");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = Clock::sandbox("2026-11-20T02:00:00Z".parse().expect("a time"));
        let mut sandbox = Sandbox::open(&folder.path().join("sandbox"), &backend.database(), &network, clock).expect("a sandbox");
        sandbox.statements_in(&folder.path().join("statements"));
        sandbox.start().expect("the service starts");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut world = Self {
            sandbox,
            runtime,
            clients: BTreeMap::new(),
            posted: 0,
            altered: AtomicBool::new(false),
            folder,
        };
        world.connect();
        world
    }

    /// Connects every partner anew, as after a restart.
    pub fn connect(&mut self) {
        let ids = self.sandbox.parties.keys();
        self.clients = ids.map(|id| (id.clone(), self.sandbox.client(id).expect("a client"))).collect();
    }

    /// The folder of the statements.
    pub fn statements(&self) -> std::path::PathBuf {
        self.folder.path().join("statements")
    }

    /// The test's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A partner's connection.
    pub fn client(&self, partner: &str) -> Client {
        self.clients
            .get(&PartnerId::new(partner).expect("a partner id"))
            .expect("a partner of the network")
            .clone()
    }

    /// How many entries the log has.
    pub fn entries(&self) -> u64 {
        let mut conn = self.sandbox.database().expect("a connection");
        let next = store::next_seq(&mut conn).expect("the ledger's head");
        u64::try_from(next - 1).expect("a number of entries")
    }

    /// The clearinghouse's time.
    pub fn now(&self) -> Timestamp {
        self.sandbox.clock.now()
    }

    /// Lets time pass.
    pub fn wait(&self, span: Span) {
        let later = self
            .now()
            .to_zoned(jiff::tz::TimeZone::UTC)
            .checked_add(span)
            .expect("a later time");
        self.sandbox.clock.set(later.timestamp());
    }

    /// Moves the clock to an instant, e.g. `2026-11-21T10:00+08`.
    pub fn at(&self, instant: &str) {
        self.sandbox.clock.set(instant.parse().expect("an instant"));
    }

    /// Lets the night happen, as late as it is now.
    pub fn night(&self) {
        self.sandbox.close_due().expect("the night");
    }

    /// A partner's statement of a window, as its file says.
    pub fn statement(&self, date: &str, partner: &str) -> settlement::Statement {
        let file = self.statements().join(date).join(format!("{partner}.json"));
        serde_json::from_slice(&std::fs::read(file).expect("a statement's file")).expect("a statement")
    }

    /// Fails where a line of any statement so far isn't the sum of the messages that its partner finds; how many lines there are.
    pub fn lines_add_up(&self) -> usize {
        let mut conn = self.sandbox.database().expect("a connection");
        let dates = settlement::advised_dates(&mut conn).expect("the windows");
        let mut lines = 0;
        for date in dates {
            for (partner, client) in &self.clients {
                let statement = self.statement(&date.to_string(), partner.as_str());
                lines += crate::lines::add_up(&self.runtime, client, &statement);
            }
        }
        lines
    }

    /// What a window says of points that expired: (kind, points, value) of each line of an issuer's statement, sorted.
    pub fn breakage(&self, date: &str, issuer: &str) -> Vec<(String, String, String)> {
        let lines = self.statement(date, issuer).breakage.into_iter();
        let mut lines: Vec<_> = lines.map(|line| (line.kind, line.points, line.value)).collect();
        lines.sort();
        lines
    }

    /// A message of a partner, issued now, with an id that no other has.
    pub fn message(&mut self, sender: &str, body: Body) -> Message {
        self.posted += 1;
        let id = MessageId::new(format!("{sender}-{:06}", self.posted)).expect("an id");
        Message {
            id,
            sender: PartnerId::new(sender).expect("a partner id"),
            issued_at: self.now(),
            occurred_at: self.now(),
            body,
        }
    }

    /// Asks for a quote and takes it up at once, within the same member's accounts: the receipt of the exchange, or the code of whichever was refused.
    pub fn exchange_at_quote(
        &mut self,
        sender: &str,
        programme: &str,
        to_programme: &str,
        member: &str,
        points: &str,
    ) -> Result<Receipt, Code> {
        let quoted = self.message(sender, quote(programme, to_programme, points));
        self.send(&quoted)?;
        self.post(sender, exchange(programme, to_programme, member, points, &quoted.id))
    }

    /// Signs a message with its sender's key.
    pub fn sign(&self, message: &Message) -> String {
        message.sign(&self.sandbox.parties.get(&message.sender).expect("a partner of the network").key)
    }

    /// Posts a JWS over a partner's connection.
    pub fn post_jws(&self, partner: &str, jws: &str) -> Answer {
        self.runtime.block_on(self.client(partner).post(jws)).expect("an answer")
    }

    /// Posts a message: the receipt, or the code of the rejection.
    pub fn post(&mut self, sender: &str, body: Body) -> Result<Receipt, Code> {
        let message = self.message(sender, body);
        self.send(&message)
    }

    /// Posts a message that a test made.
    pub fn send(&self, message: &Message) -> Result<Receipt, Code> {
        let answer = self.post_jws(message.sender.as_str(), &self.sign(message));
        self.read(message.sender.as_str(), &answer)
    }

    /// Posts messages of one sender as one batch.
    pub fn send_all(&self, sender: &str, messages: &[Message]) -> Vec<Result<Receipt, Code>> {
        let signed: Vec<String> = messages.iter().map(|m| self.sign(m)).collect();
        let answers = self.runtime.block_on(self.client(sender).post_batch(&signed)).expect("answers");
        answers.iter().map(|answer| self.read(sender, answer)).collect()
    }

    /// The receipt of an acceptance, the code of a rejection.
    pub fn read(&self, partner: &str, answer: &Answer) -> Result<Receipt, Code> {
        match (answer.outcome, &answer.problem) {
            (Some(Outcome::Accepted), None) => {
                let receipt = answer.receipt.as_deref().expect("an acceptance has a receipt");
                Ok(self.client(partner).verify_receipt(receipt).expect("a good receipt"))
            }
            (_, Some(problem)) => Err(problem.code),
            _ => panic!("an answer without outcome and problem"),
        }
    }

    /// What a partner sees of a member: (balance, held, available).
    pub fn balance(&self, partner: &str, programme: &str, member: &str) -> (String, String, String) {
        let path = format!("/v1/accounts/{programme}/{member}");
        let answer: serde_json::Value = self.runtime.block_on(self.client(partner).get(&path)).expect("a balance");
        let field = |name: &str| answer[name].as_str().expect("a text").to_owned();
        (field("balance"), field("held"), field("available"))
    }

    /// Just the balance.
    pub fn points(&self, partner: &str, programme: &str, member: &str) -> String {
        self.balance(partner, programme, member).0
    }

    /// Moves the clock to the open window's cut-off and lets the night happen; returns the last window's settlement.
    pub fn close(&self) -> Settlement {
        let mut conn = self.sandbox.database().expect("a connection");
        let window = settlement::open_window(&mut conn).expect("an open window");
        self.sandbox.clock.set(window.cut_off_at.max(self.now()));
        let dates = self.sandbox.close_due().expect("the night");
        let last = *dates.last().expect("a window was due");
        settlement::settlement(&mut conn, last).expect("a settlement").expect("netted")
    }

    /// Says that the test alters rows behind the service's back, or messages' bytes with them: from now on only sums and documents are looked at.
    pub fn alters_rows(&self) {
        self.altered.store(true, Ordering::SeqCst);
    }

    /// Fails where the books aren't what the log makes of them, or something is in force that wasn't signed.
    pub fn check_books(&self) {
        assert_eq!(self.findings(), Vec::<String>::new());
    }

    /// What the check finds.
    pub fn findings(&self) -> Vec<String> {
        let mut conn = self.sandbox.database().expect("a connection");
        let kid = KeyId::new(&self.sandbox.config.operator.kid).expect("a kid");
        let depth = match self.altered.load(Ordering::SeqCst) {
            true => Depth::Quick,
            false => Depth::Whole(self.folder.path()),
        };
        let archive = &self.sandbox.config.archive;
        audit::check(&mut conn, (&kid, self.sandbox.trust.key()), archive, depth, &mut |_, _| {}).expect("the check runs")
    }

    /// What is wrong with the documents.
    pub fn check_trail(&self) -> Vec<String> {
        let mut conn = self.sandbox.database().expect("a connection");
        let kid = KeyId::new(&self.sandbox.config.operator.kid).expect("a kid");
        trail::check(&mut conn, &kid, self.sandbox.trust.key()).expect("the check runs")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.sandbox.stop();
            self.check_books();
        }
    }
}

/// A network with a bonus from BANK to MILES over the year 2026, of which the bank pays half.
pub fn with_bonus(network: &str, percent: &str) -> String {
    format!(
        "{network}\n[[bonus]]\nprogramme = \"BANK\"\nto_programme = \"MILES\"\npercent = \"{percent}\"\nfunded_percent = \"50\"\n\
         valid_from = \"2026-01-01T00:00:00Z\"\nvalid_until = \"2027-01-01T00:00:00Z\"\n"
    )
}

/// An answer with the entry of its receipt, which stays the same; the proof may be by a later head of the log.
pub fn said(mut answer: Answer) -> Answer {
    let entry = |receipt: &mut String| receipt.truncate(receipt.find('\n').unwrap_or(receipt.len()));
    answer.receipt.as_mut().map(entry);
    answer.problem.as_mut().and_then(|problem| problem.receipt.as_mut()).map(entry);
    answer
}

/// The id of a message that was accepted.
pub fn id(receipt: Result<Receipt, Code>) -> MessageId {
    receipt.expect("accepted").id.expect("an id")
}

/// Runs statements on the database, behind the service's back.
pub fn execute(conn: &mut migrations::Conn, sql: &str) {
    migrations::each_backend!(conn, |c| diesel::connection::SimpleConnection::batch_execute(c, sql)).expect("done");
}

/// An amount from its text.
pub fn amount(text: &str) -> Amount {
    text.parse().expect("an amount")
}

/// An earn.
pub fn earn(programme: &str, member: &str, points: &str) -> Body {
    Body::Earn {
        programme: programme.parse().expect("a programme"),
        member: member.parse().expect("a member"),
        points: amount(points),
        spend: None,
    }
}

/// An earn that states what was paid.
pub fn earn_spend(programme: &str, member: &str, points: &str, spend: &str) -> Body {
    Body::Earn {
        programme: programme.parse().expect("a programme"),
        member: member.parse().expect("a member"),
        points: amount(points),
        spend: Some(amount(spend)),
    }
}

/// A burn.
pub fn burn(programme: &str, member: &str, points: &str) -> Body {
    Body::Burn {
        programme: programme.parse().expect("a programme"),
        member: member.parse().expect("a member"),
        points: amount(points),
    }
}

/// A hold, for as long as the agreement allows.
pub fn authorise(programme: &str, member: &str, points: &str) -> Body {
    Body::Authorise {
        programme: programme.parse().expect("a programme"),
        member: member.parse().expect("a member"),
        points: amount(points),
        expires_at: None,
    }
}

/// A capture of a hold.
pub fn capture(authorisation: &MessageId, points: &str) -> Body {
    Body::Capture {
        authorisation: authorisation.clone(),
        points: amount(points),
    }
}

/// The release of a hold.
pub fn void(authorisation: &MessageId) -> Body {
    Body::Void {
        authorisation: authorisation.clone(),
    }
}

/// A request for a quote.
pub fn quote(programme: &str, to_programme: &str, points: &str) -> Body {
    Body::Quote {
        programme: programme.parse().expect("a programme"),
        to_programme: to_programme.parse().expect("a programme"),
        points: amount(points),
    }
}

/// An exchange by a quote, between the same member's accounts.
pub fn exchange(programme: &str, to_programme: &str, member: &str, points: &str, quote: &MessageId) -> Body {
    Body::Exchange {
        programme: programme.parse().expect("a programme"),
        member: member.parse().expect("a member"),
        to_programme: to_programme.parse().expect("a programme"),
        to_member: member.parse().expect("a member"),
        points: amount(points),
        quote: quote.clone(),
    }
}

/// Points bought in advance.
pub fn prepay(programme: &str, points: &str) -> Body {
    Body::Prepay {
        programme: programme.parse().expect("a programme"),
        points: amount(points),
    }
}

/// A reversal by points.
pub fn reverse(message: &MessageId, points: &str) -> Body {
    Body::Reverse {
        message: message.clone(),
        quantity: Quantity::Points(amount(points)),
    }
}

/// A reversal by spend.
pub fn reverse_spend(message: &MessageId, spend: &str) -> Body {
    Body::Reverse {
        message: message.clone(),
        quantity: Quantity::Spend(amount(spend)),
    }
}
