//! The operator's people at work: proposing, approving, looking.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use migrations::Conn;
use partner_sdk::KeyId;
use partner_sdk::change::{Change, Proposal};
use partner_sdk::client::{new_message_id, new_salt};
use partner_sdk::document::{self, Act, Action, Kind};
use partner_sdk::jws::general::{General, Signature};
use partner_sdk::jws::{SigningKey, TYP_AGREEMENT, TYP_CHANGE, VerifyingKey};
use serde::Deserialize;

use super::{At, open};
use crate::clock::timestamp;
use crate::config::Config;
use crate::documents::{Fault, agreements, changes};
use crate::pki;
use crate::store::documents::{self, Document, Person};
use crate::store::events::{self, EVERYBODY, OPERATOR};
use crate::store::keys;

/// Who acts.
#[derive(Args)]
pub struct Who {
    /// Your name, as `clearing person list` shows it.
    #[arg(long = "as")]
    pub(super) name: String,
    /// The file with your signing key, as `clearing person key` made it.
    #[arg(long)]
    pub(super) key: PathBuf,
}

#[derive(Subcommand)]
pub enum PersonCommand {
    /// Make a signing key for yourself: writes the secret to a file and prints what to register.
    Key {
        /// The file for the secret; it is never overwritten.
        file: PathBuf,
    },
    /// Register one of the first two people. From then on a further person takes a proposal and an approval.
    Add {
        #[command(flatten)]
        at: At,
        /// The name that stands in the trail.
        name: String,
        /// The id of the signing key.
        #[arg(long)]
        kid: KeyId,
        /// The Ed25519 public key: 32 bytes as unpadded base64url.
        #[arg(long, allow_hyphen_values = true)]
        key: String,
    },
    /// Who proposes and approves.
    List {
        #[command(flatten)]
        at: At,
    },
}

#[derive(Subcommand)]
pub enum DocumentCommand {
    /// Every document with its state, newest first.
    List {
        #[command(flatten)]
        at: At,
    },
    /// One document: what it says, and who signed it.
    Show {
        #[command(flatten)]
        at: At,
        /// Its hash, or the beginning of it.
        hash: String,
    },
}

/// What a person writes to propose a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    reason: String,
    change: Change,
}

/// Runs a `clearing person` command.
pub fn person(command: PersonCommand) -> anyhow::Result<()> {
    match command {
        PersonCommand::Key { file } => {
            let key = pki::random_key(KeyId::new("new")?)?;
            pki::write_secret(&file, &key.secret_base64url()).with_context(|| format!("cannot write {}", file.display()))?;
            println!("public key: {}", key.verifying_key().to_base64url());
            println!("the secret is in {}: keep it to yourself", file.display());
        }
        PersonCommand::Add { at, name, kid, key } => {
            let (_, mut conn) = open(&at.config)?;
            let person = Person {
                name: name.clone(),
                kid: kid.to_string(),
                key: VerifyingKey::from_base64url(&key).context("--key")?,
            };
            changes::found(&mut conn, Timestamp::now(), &person).map_err(plain)?;
            println!("{name} proposes and approves");
        }
        PersonCommand::List { at } => {
            let (_, mut conn) = open(&at.config)?;
            for person in documents::people(&mut conn)? {
                println!("{}  {}  {}", person.name, person.kid, person.key.to_base64url());
            }
        }
    }
    Ok(())
}

/// What a refusal says, for people.
fn plain(fault: Fault) -> anyhow::Error {
    match fault {
        Fault::Refused(problem) => anyhow::anyhow!("{}: {} {}", problem.code, problem.detail, problem.what_to_do),
        Fault::Db(error) => error.into(),
    }
}

fn signing_key(conn: &mut Conn, who: &Who) -> anyhow::Result<SigningKey> {
    let person = documents::people(conn)?.into_iter().find(|one| one.name == who.name);
    let person = person.with_context(|| format!("there is no person `{}`; see: clearing person list", who.name))?;
    let secret = std::fs::read_to_string(&who.key).with_context(|| format!("cannot read {}", who.key.display()))?;
    let key = SigningKey::from_base64url(KeyId::new(&person.kid)?, &secret).with_context(|| who.key.display().to_string())?;
    ensure!(
        key.verifying_key() == person.key,
        "{} isn't the key of {}",
        who.key.display(),
        who.name
    );
    Ok(key)
}

/// `clearing propose`: a change from a TOML file.
pub fn propose(at: &At, file: &Path, who: &Who) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let draft: Draft = toml::from_str(&text).with_context(|| format!("in {}", file.display()))?;
    let filed = put_forward(&mut conn, who, draft.reason, draft.change, Timestamp::now())?;
    print_document(&filed);
    println!("now another person: clearing approve {}", filed.hash);
    Ok(())
}

/// Proposes a change in somebody's name.
pub fn put_forward(conn: &mut Conn, who: &Who, reason: String, change: Change, now: Timestamp) -> anyhow::Result<Document> {
    let key = signing_key(conn, who)?;
    let proposal = Proposal {
        id: new_message_id(),
        proposed_at: now,
        reason,
        salt: new_salt(),
        change,
    };
    let general = General::sign(&key, TYP_CHANGE, document::write(&proposal).as_bytes());
    changes::propose(conn, now, &general.to_json()).map_err(plain)
}

/// `clearing approve`: an agreement that both partners signed, or a change that another person proposed.
pub fn approve(at: &At, hash: &str, who: &Who) -> anyhow::Result<()> {
    let (config, mut conn) = open(&at.config)?;
    let key = signing_key(&mut conn, who)?;
    let document = named(&mut conn, hash)?;
    print_document(&document);
    let (clearing, now) = (clearing_key(&config)?, Timestamp::now());
    keys::own(&mut conn, clearing.kid(), &clearing.verifying_key(), now)?;
    let payload = document.payload.as_bytes();
    let approved = match document.kind {
        Kind::Agreement => {
            let signature = Signature::new(&key, TYP_AGREEMENT, payload);
            agreements::approve(&mut conn, now, &clearing, &document.hash, &signature)
        }
        Kind::Change => {
            let signature = Signature::new(&key, TYP_CHANGE, payload);
            changes::approve(&mut conn, now, &clearing, &document.hash, &signature)
        }
    };
    println!("{} is {}", document.hash, approved.map_err(plain)?.state);
    Ok(())
}

/// `clearing decline` and `clearing withdraw`.
pub fn turn_down(at: &At, hash: &str, who: &Who, action: Action) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    let key = signing_key(&mut conn, who)?;
    let document = named(&mut conn, hash)?;
    let now = Timestamp::now();
    let act = Act {
        action,
        document: document.hash.clone(),
        issued_at: now,
        ends_at: None,
    };
    let text = act.sign(&key);
    let done = match action {
        Action::Withdraw => changes::withdraw(&mut conn, now, &document.hash, &text),
        _ => changes::decline(&mut conn, now, document.kind, &document.hash, &text),
    };
    println!("{} is {}", document.hash, done.map_err(plain)?.state);
    Ok(())
}

/// The key that signs receipts and countersigns documents.
pub fn clearing_key(config: &Config) -> anyhow::Result<SigningKey> {
    let path = &config.operator.key;
    let secret = std::fs::read_to_string(path).with_context(|| format!("cannot read {}: countersigning needs it", path.display()))?;
    SigningKey::from_base64url(KeyId::new(&config.operator.kid)?, &secret).context("operator.key")
}

/// The document whose hash begins like this; at least six digits.
fn named(conn: &mut Conn, hash: &str) -> anyhow::Result<Document> {
    if let Some(document) = documents::find(conn, hash)? {
        return Ok(document);
    }
    let digits = hash.len() >= 6 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut all = if digits { documents::beginning(conn, hash)? } else { vec![] };
    match all.len() {
        1 => all.pop().context("no document"),
        0 => bail!("there is no document {hash}; see: clearing document list"),
        _ => bail!("several documents begin with {hash}: give more of the hash"),
    }
}

/// Runs a `clearing document` command.
pub fn document(command: DocumentCommand) -> anyhow::Result<()> {
    match command {
        DocumentCommand::List { at } => {
            let (_, mut conn) = open(&at.config)?;
            for kind in [Kind::Agreement, Kind::Change] {
                for one in documents::list(&mut conn, kind, None)? {
                    let parties = [one.proposer.as_str(), one.counterparty.as_str()].join(" ");
                    println!("{}  {}  {}  {}", &one.hash[..16], kind.as_str(), one.state, parties.trim_end());
                }
            }
        }
        DocumentCommand::Show { at, hash } => {
            let (_, mut conn) = open(&at.config)?;
            print_document(&named(&mut conn, &hash)?);
        }
    }
    Ok(())
}

fn print_document(document: &Document) {
    println!("{} {}: {}", document.kind.as_str(), document.hash, document.state);
    let value: serde_json::Value = serde_json::from_str(&document.payload).unwrap_or_default();
    println!("{}", serde_json::to_string_pretty(&value).unwrap_or_default());
    for one in &document.signatures {
        println!(
            "signed as {} by {} ({}) at {}",
            one.role,
            one.signer,
            one.signature.kid,
            timestamp(one.at)
        );
    }
}

/// `clearing events`: the operator's feed, refusals included.
pub fn events(at: &At, after: i64) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    let mut after = after;
    loop {
        let found = events::after(&mut conn, &[OPERATOR, EVERYBODY], after, 1000)?;
        let Some(last) = found.last() else { return Ok(()) };
        after = last.no;
        for event in found {
            let facts: Vec<String> = event.facts.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let (at, facts) = (timestamp(event.at), facts.join(" "));
            let line = format!("{}  {at}  {}  {}  {facts}", event.no, event.kind, event.subject);
            // What others wrote doesn't steer this terminal.
            println!("{}", line.replace(char::is_control, "?"));
        }
    }
}
