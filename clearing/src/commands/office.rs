//! The operator's people at work: proposing, approving, looking.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use migrations::Conn;
use partner_sdk::KeyId;
use partner_sdk::agreement::Terms;
use partner_sdk::change::{Change, PersonTerms, Proposal};
use partner_sdk::client::{new_message_id, new_salt};
use partner_sdk::document::{self, Act, Action, Kind};
use partner_sdk::jws::general::{General, Signature};
use partner_sdk::jws::{SigningKey, TYP_AGREEMENT, TYP_CHANGE};
use partner_sdk::text::{self, Why, counted, quoted};
use serde::Deserialize;

use super::at::{At, open};
use super::documents::{named, print};
use crate::commands::out;
use crate::documents::{agreements, changes};
use crate::office::config::Config;
use crate::office::pki;
use crate::say;
use ledger::timestamp;
use store::documents::Document;
use store::events::{self, EVERYBODY, OPERATOR};
use store::{keys, people};

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

/// One of the first people: NAME:KID:FILE.
#[derive(Debug, Clone)]
pub struct Founder {
    name: String,
    kid: KeyId,
    file: PathBuf,
}

impl std::str::FromStr for Founder {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let (Some(name), Some(kid), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("must be NAME:KID:FILE, such as ann:ann-1:ann.key".to_owned());
        };
        Ok(Self {
            name: name.to_owned(),
            kid: KeyId::new(kid).map_err(|e| e.to_string())?,
            file: file.into(),
        })
    }
}

#[derive(Subcommand)]
pub enum PersonCommand {
    /// Make a signing key for yourself: writes the secret to a file and prints the public key.
    Key {
        /// The file for the secret; it is never overwritten.
        file: PathBuf,
    },
    /// Agree to be one of them: sign the change that names you, by your own key. Nobody can approve it before.
    Accept {
        #[command(flatten)]
        at: At,
        /// The change's hash, or at least the first six digits of it.
        hash: String,
        /// The file with your signing key, as `clearing person key` made it.
        #[arg(long)]
        key: PathBuf,
    },
    /// Who proposes and approves.
    List {
        #[command(flatten)]
        at: At,
    },
}

/// What a person writes to propose a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    #[serde(deserialize_with = "text::reason")]
    reason: String,
    change: Change,
}

impl Draft {
    /// Reads a file's text, which states one change.
    fn read(text: &str) -> anyhow::Result<Self> {
        let table: toml::Table = toml::from_str(text)?;
        let changes = table.get("change").and_then(toml::Value::as_table).map_or(0, toml::Table::len);
        ensure!(
            changes == 1,
            "the file states {}, and a proposal is of one: write one table such as [change.status]; docs/OPERATIONS.md lists them",
            counted(i64::try_from(changes)?, "change")
        );
        Ok(toml::from_str(text)?)
    }
}

/// Runs a `clearing person` command.
pub fn person(command: PersonCommand) -> anyhow::Result<()> {
    match command {
        PersonCommand::Key { file } => {
            let key = pki::random_key(KeyId::new("new")?)?;
            pki::write_secret(&file, &key.secret_base64url()).with_context(|| format!("cannot write {}", file.display()))?;
            let public = say!("public key: {}", key.verifying_key().to_base64url());
            out::done(public.and_then(|()| say!("the secret is in {}: keep it to yourself", file.display())))?;
        }
        PersonCommand::Accept { at, hash, key } => accept(&at, &hash, &key)?,
        PersonCommand::List { at } => {
            let (_, mut conn) = open(&at.config)?;
            for person in people::people(&mut conn)? {
                say!("{}  {}  {}", quoted(&person.name), person.kid, person.key.to_base64url())?;
            }
        }
    }
    Ok(())
}

pub(super) fn signing_key(conn: &mut Conn, who: &Who) -> anyhow::Result<SigningKey> {
    let person = people::people(conn)?.into_iter().find(|one| one.name == who.name);
    let person = person.with_context(|| format!("there is no person `{}`; see: clearing person list", who.name))?;
    let secret = pki::read_secret(&who.key)?;
    let key = SigningKey::from_base64url(KeyId::new(&person.kid)?, &secret).with_context(|| who.key.display().to_string())?;
    ensure!(
        key.verifying_key() == person.key,
        "{} isn't the key of {}",
        who.key.display(),
        who.name
    );
    Ok(key)
}

/// `clearing person accept`: who is to be a person signs the change that says so.
fn accept(at: &At, hash: &str, file: &Path) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    let document = named(&mut conn, hash)?;
    let person =
        people::newcomer(&document).with_context(|| format!("{} names no new person; see: clearing document show", document.hash))?;
    let secret = pki::read_secret(file)?;
    let key = SigningKey::from_base64url(KeyId::new(&person.kid)?, &secret).with_context(|| file.display().to_string())?;
    ensure!(
        key.verifying_key() == person.key,
        "{} isn't the key by which this change names {}: that is {}",
        file.display(),
        person.name,
        person.key.to_base64url()
    );
    let signature = Signature::new(&key, TYP_CHANGE, document.payload.as_bytes());
    let accepted = changes::accept(&mut conn, Timestamp::now(), &document.hash, &signature)?;
    let told = print(&accepted);
    out::done(told.and_then(|()| say!("now another person than who has proposed it: clearing approve {}", accepted.hash)))
}

/// `clearing propose`: a change from a TOML file.
pub fn propose(at: &At, file: &Path, who: &Who) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let draft = Draft::read(&text).with_context(|| format!("in {}", file.display()))?;
    let filed = put_forward(&mut conn, who, draft.reason, draft.change, Timestamp::now())?;
    let when = from_when(&mut conn, &filed, Timestamp::now())?;
    let told = print(&filed).and_then(|()| say!("in force {when}"));
    let comes = people::newcomer(&filed).map_or(Ok(()), |one| {
        say!(
            "first {} itself: clearing person accept {} --key FILE",
            quoted(&one.name),
            filed.hash
        )
    });
    let told = told.and(comes);
    out::done(told.and_then(|()| say!("now another person: clearing approve {}", filed.hash)))
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
    Ok(changes::propose(conn, now, &general.to_json())?)
}

/// `clearing approve`: an agreement that both partners signed, or a change that another person proposed.
pub fn approve(at: &At, hash: &str, who: &Who) -> anyhow::Result<()> {
    let (config, mut conn) = open(&at.config)?;
    let key = signing_key(&mut conn, who)?;
    let document = named(&mut conn, hash)?;
    let when = from_when(&mut conn, &document, Timestamp::now())?;
    let (clearing, now) = (clearing_key(&config)?, Timestamp::now());
    keys::own(&mut conn, clearing.kid(), &clearing.verifying_key(), None, now)?;
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
        Kind::Dispute => bail!(
            "a dispute is decided by a change that says how much isn't owed: clearing propose FILE with [change.decide], dispute = \"{}\", upheld = \"...\"",
            document.hash
        ),
    };
    let approved = approved?;
    // It is done, whether anybody reads what is printed or not.
    let told = print(&approved).and_then(|()| say!("in force {when}"));
    out::done(told.and_then(|()| say!("{} is {}", approved.hash, approved.state)))
}

/// From when on a document is in force, if it is approved now.
fn from_when(conn: &mut Conn, document: &Document, now: Timestamp) -> anyhow::Result<String> {
    let at = |from: Timestamp| match from > now {
        true => format!("from {from}"),
        false => format!("from its approval: its own start, {from}, is over"),
    };
    let payload = document.payload.as_bytes();
    if document.kind == Kind::Agreement {
        return Ok(at(document::read::<Terms>(payload)?.valid_from));
    }
    Ok(match document::read::<Proposal>(payload)?.change {
        Change::Rate(terms) => at(terms.valid_from),
        Change::Bonus(terms) => format!("{}, until {}", at(terms.valid_from), terms.valid_until),
        Change::Calendar(terms) => {
            let calendars = settlement::calendars(conn)?.with(terms.first_date, terms.calendar())?;
            let (first, ends) = calendars.next(terms.first_date.yesterday()?)?;
            format!("from the window of {first}, which ends at {ends}")
        }
        Change::Fx(terms) => format!("for the window of {}, if it is approved before that is netted", terms.business_date),
        _ => "from its approval".to_owned(),
    })
}

/// `clearing network found`: the first people, each with the file of its key, and the network that they have looked at.
pub fn found(at: &At, people: &[Founder], network: &str) -> anyhow::Result<()> {
    let (config, mut conn) = open(&at.config)?;
    let (clearing, now) = (clearing_key(&config)?, Timestamp::now());
    keys::own(&mut conn, clearing.kid(), &clearing.verifying_key(), None, now)?;
    let mut signers = vec![];
    for one in people {
        let secret = pki::read_secret(&one.file)?;
        signers.push(SigningKey::from_base64url(one.kid.clone(), &secret).with_context(|| one.file.display().to_string())?);
    }
    let terms = people.iter().zip(&signers).map(|(one, key)| PersonTerms {
        name: one.name.clone(),
        kid: one.kid.clone(),
        public_key: key.verifying_key().to_base64url(),
    });
    let calendar = settlement::founding_calendar(&mut conn)?;
    let proposal = Proposal {
        id: new_message_id(),
        proposed_at: now,
        reason: "the founding".to_owned(),
        salt: new_salt(),
        change: Change::Found {
            people: terms.collect(),
            calendar: calendar.context("the database has no network yet: run `clearing network apply FILE`")?,
            network: network.to_owned(),
        },
    };
    let payload = document::write(&proposal);
    let general = General {
        signatures: signers
            .iter()
            .map(|key| Signature::new(key, TYP_CHANGE, payload.as_bytes()))
            .collect(),
        payload: payload.into_bytes(),
    };
    let founded = crate::documents::people::found(&mut conn, now, &clearing, &general.to_json())?;
    let told = print(&founded);
    out::done(told.and_then(|()| say!("the network is founded: from now on one of them proposes, and another approves")))
}

/// `clearing decline` and `clearing withdraw`.
pub fn turn_down(at: &At, hash: &str, who: &Who, action: Action, reason: Option<Why>) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    let key = signing_key(&mut conn, who)?;
    let document = named(&mut conn, hash)?;
    let now = Timestamp::now();
    let act = Act {
        action,
        document: document.hash.clone(),
        issued_at: now,
        ends_at: None,
        reason,
    };
    let text = act.sign(&key);
    let done = match action {
        Action::Withdraw => changes::withdraw(&mut conn, now, &document.hash, &text),
        _ => changes::decline(&mut conn, now, document.kind, &document.hash, &text),
    };
    out::done(say!("{} is {}", document.hash, done?.state))
}

/// The key that signs receipts and countersigns documents.
pub fn clearing_key(config: &Config) -> anyhow::Result<SigningKey> {
    let path = &config.operator.key;
    let secret = pki::read_secret(path).context("countersigning needs it")?;
    SigningKey::from_base64url(KeyId::new(&config.operator.kid)?, &secret).context("operator.key")
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
            let facts: Vec<String> = event
                .facts
                .iter()
                .map(|(name, value)| format!("{name}={}", quoted(value)))
                .collect();
            let (at, subject, facts) = (timestamp(event.at), quoted(&event.subject), facts.join(" "));
            say!("{}  {at}  {}  {subject}  {facts}", event.no, event.kind)?;
        }
    }
}
