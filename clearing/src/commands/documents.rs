//! `clearing document`: what there is, what waits for whom, and what one says.

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use jiff::{SignedDuration, Timestamp};
use migrations::Conn;
use partner_sdk::dispute::ANSWER_WITHIN_DAYS;
use partner_sdk::document::{Act, Kind, State};
use partner_sdk::text::{counted, quoted};
use serde_json::Value;

use super::at::{At, open};
use crate::commands::out;
use crate::documents::changes::OPEN_FOR;
use crate::say;
use ledger::timestamp;
use store::documents::{self, Document};
use store::listing::{self, Listed};
use store::load_directory;
use store::people::{self, CLEARING};

#[derive(Subcommand)]
pub enum DocumentCommand {
    /// The documents with what they are about and since when they stand where they do, newest first.
    List {
        #[command(flatten)]
        at: At,
        /// How many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=100_000))]
        limit: i64,
    },
    /// What waits for you, longest waiting first: what another has proposed, and agreements that both partners signed. For a partner: what it has to sign.
    Inbox {
        #[command(flatten)]
        at: At,
        /// Your name, as `clearing person list` shows it, or a partner's id.
        name: String,
    },
    /// One document: what it says, who signed it, and what was done to it.
    Show {
        #[command(flatten)]
        at: At,
        /// Its hash, or at least the first six digits of it.
        hash: String,
    },
}

/// Runs a `clearing document` command.
pub fn run(command: DocumentCommand) -> anyhow::Result<()> {
    match command {
        DocumentCommand::List { at, limit } => {
            let (_, mut conn) = open(&at.config)?;
            let (found, all) = listing::newest(&mut conn, limit)?;
            found.iter().try_for_each(print_listed)?;
            let older = all - found.len() as i64;
            if older > 0 {
                say!("and {}: --limit {all} shows them", counted(older, "older one"))?;
            }
        }
        DocumentCommand::Inbox { at, name } => inbox(&at, &name)?,
        DocumentCommand::Show { at, hash } => {
            let (_, mut conn) = open(&at.config)?;
            let document = named(&mut conn, &hash)?;
            print(&document)?;
            for one in listing::acts(&mut conn, &document.hash)? {
                let act = Act::open(&one.bytes).ok().and_then(|jws| Act::parse(&jws.payload).ok());
                let reason = act
                    .and_then(|act| act.reason)
                    .map_or_else(String::new, |reason| format!(": {reason}"));
                say!("{} by {} at {}{reason}", one.action, quoted(&one.signer), timestamp(one.at))?;
            }
        }
    }
    Ok(())
}

/// How long a dispute waits for the other party's answer.
const ANSWER_WITHIN: SignedDuration = SignedDuration::from_hours(24 * ANSWER_WITHIN_DAYS);

fn inbox(at: &At, name: &str) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    let is_person = people::people(&mut conn)?.iter().any(|one| one.name == name);
    let is_partner = load_directory(&mut conn)?.partners.keys().any(|id| id.as_str() == name);
    ensure!(
        is_person || is_partner,
        "there is no person or partner `{name}`; see: clearing person list, clearing partner list"
    );
    let now = Timestamp::now();
    let waits = |one: &&Listed| match (one.kind, one.state) {
        (Kind::Change, State::Proposed) => is_person && one.proposer != name && now <= timestamp(one.proposed_at) + OPEN_FOR,
        (Kind::Agreement, State::Signed) => is_person,
        (Kind::Agreement, State::Proposed) => is_partner && one.counterparty == name,
        (Kind::Dispute, State::Declined) => is_person,
        (Kind::Dispute, State::Proposed) if one.counterparty == CLEARING => is_person,
        (Kind::Dispute, State::Proposed) => match now <= timestamp(one.proposed_at) + ANSWER_WITHIN {
            true => is_partner && one.counterparty == name,
            false => is_person,
        },
        _ => false,
    };
    let open = listing::open(&mut conn)?;
    let waiting: Vec<_> = open.iter().filter(waits).collect();
    waiting.iter().try_for_each(|one| print_listed(one))?;
    match waiting.len() {
        0 => say!("nothing waits for {name}")?,
        _ if is_person => say!(
            "read one with clearing document show HASH, then clearing approve or clearing decline; a dispute is decided by [change.decide]"
        )?,
        _ => {}
    }
    Ok(())
}

fn print_listed(one: &Listed) -> Result<(), out::OutputError> {
    let with = match one.counterparty.as_str() {
        "" => String::new(),
        other => format!(" with {}", quoted(other)),
    };
    say!(
        "{}  {}  {}  since {}  by {}{with}  {}",
        &one.hash[..one.hash.len().min(16)],
        one.kind.as_str(),
        one.state,
        since(one.changed_at),
        quoted(&one.proposer),
        about(one.kind, &one.payload)
    )
}

/// An instant to the second, for people.
fn since(micros: i64) -> Timestamp {
    let at = timestamp(micros);
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// What stands in nobody's list: who a member is, and what nobody reads anyway.
const PASSED_OVER: [&str; 5] = ["member", "token_sha256", "public_key", "salt", "csr"];
/// What tells one agreement from another.
const TERMS: [&str; 7] = [
    "kind",
    "programme",
    "to_programme",
    "price",
    "currency",
    "valid_from",
    "valid_until",
];

/// What tells one dispute from another.
const DISPUTED: [&str; 4] = ["business_date", "amount", "currency", "reason"];

/// What a document is about, in one line, from what was signed.
fn about(kind: Kind, payload: &str) -> String {
    let payload: Value = serde_json::from_str(payload).unwrap_or_default();
    let fact = |(name, value): (&str, &Value)| value.as_str().map(|text| format!("{name}={}", quoted(text)));
    let facts: Vec<String> = match kind {
        Kind::Dispute => DISPUTED.iter().filter_map(|name| fact((*name, payload.get(*name)?))).collect(),
        Kind::Agreement => TERMS.iter().filter_map(|name| fact((*name, payload.get(*name)?))).collect(),
        Kind::Change => {
            let Some((what, terms)) = payload.get("change").and_then(|change| change.as_object()?.iter().next()) else {
                return String::new();
            };
            let terms = terms.as_object().into_iter().flatten();
            let shown = terms.filter(|(name, _)| !PASSED_OVER.contains(&name.as_str()));
            let facts = shown.filter_map(|(name, value)| fact((name, value)));
            [what.replace('_', " ")].into_iter().chain(facts).collect()
        }
    };
    facts.join(" ")
}

/// Prints a document, with who signed it.
pub fn print(document: &Document) -> Result<(), out::OutputError> {
    say!("{} {}: {}", document.kind.as_str(), document.hash, document.state)?;
    let value: Value = serde_json::from_str(&document.payload).unwrap_or_default();
    out::lines(&serde_json::to_string_pretty(&value).unwrap_or_default())?;
    for one in &document.signatures {
        let (signer, at) = (quoted(&one.signer), timestamp(one.at));
        say!("signed as {} by {signer} ({}) at {at}", one.role, one.signature.kid)?;
    }
    Ok(())
}

/// The fewest digits that name a document.
const FEWEST_DIGITS: usize = 6;

/// The document whose hash begins like this.
pub fn named(conn: &mut Conn, hash: &str) -> anyhow::Result<Document> {
    let wanted = hash.trim().to_ascii_lowercase();
    ensure!(
        wanted.bytes().all(|b| b.is_ascii_hexdigit()) && wanted.len() <= 64,
        "`{hash}` is no hash: a document is named by the 64 hexadecimal digits of its hash (0-9, a-f), or by at least the first {FEWEST_DIGITS} of them"
    );
    ensure!(
        wanted.len() >= FEWEST_DIGITS,
        "`{hash}` is too short: give at least the first {FEWEST_DIGITS} digits of the document's hash, this has {}; see: clearing document list",
        wanted.len()
    );
    let mut all = documents::beginning(conn, &wanted)?;
    match all.len() {
        1 => all.pop().context("no document"),
        0 => bail!("there is no document {hash}; see: clearing document list"),
        _ => bail!("several documents begin with {hash}: give more of the hash"),
    }
}
