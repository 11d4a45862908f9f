//! An entry that is no message, done again: by the function that did it first, from what was signed for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::{Conn, DbError};
use partner_sdk::document::Kind;
use partner_sdk::jws::general::General;
use partner_sdk::jws::{Compact, VerifyingKey, sha256_hex};
use partner_sdk::wire::keys::{KeyName, NewCertificate, NewKey, Revocation, Spki, TYP_CERTIFICATE, TYP_KEY, TYP_REVOCATION};
use partner_sdk::{KeyId, PartnerId};
use settlement::{Pace, Payments, State};
use store::documents::{Document, Signed};
use store::kept::Other;
use store::keys::{By, NewSigningKey};
use store::people::{CLEARING, NEWCOMER};
use store::{admin, archive, invitations, keys, pending};

use crate::documents::{self, Countersigner, agreements, changes, disputes, people};
use crate::office::pki;

/// The members of an entry.
struct Fields(BTreeMap<String, String>);

impl Fields {
    fn read(entry: &Other) -> anyhow::Result<Self> {
        serde_json::from_str(&entry.body).map(Self).context("it isn't an object of texts")
    }

    fn maybe(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn text(&self, name: &str) -> anyhow::Result<&str> {
        self.maybe(name).with_context(|| format!("it lacks `{name}`"))
    }

    fn get<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str) -> anyhow::Result<T> {
        let text = self.text(name)?;
        text.parse().map_err(|error| anyhow::anyhow!("`{name}`: {error}"))
    }

    fn key(&self) -> anyhow::Result<VerifyingKey> {
        VerifyingKey::from_base64url(self.text("public_key")?).context("`public_key`")
    }

    fn spki(&self) -> anyhow::Result<Spki> {
        self.get("spki")
    }

    fn kid(&self) -> anyhow::Result<KeyId> {
        self.get("kid")
    }

    fn key_name(&self) -> anyhow::Result<KeyName> {
        Ok(match self.maybe("kid") {
            Some(_) => KeyName::Kid(self.kid()?),
            None => KeyName::Spki(self.spki()?),
        })
    }
}

/// Does an entry of `source` again in the scratch ledger.
pub(super) fn redo(source: &mut Conn, scratch: &mut Conn, entry: &Other) -> anyhow::Result<()> {
    let fields = Fields::read(entry)?;
    let at: Timestamp = fields.get("posted_at")?;
    match entry.kind.as_str() {
        admin::INIT => admin::init(scratch, fields.text("sandbox")? == "yes", at),
        admin::NETWORK => {
            let network = serde_json::from_str(fields.text("network")?).context("`network`")?;
            admin::apply_network(scratch, &network, at)
        }
        keys::OWN_ENTRY => Ok(keys::own(scratch, &fields.kid()?, &fields.key()?, fields.maybe("origin"), at)?),
        keys::ENTRY => of_keys(scratch, &fields, at),
        store::documents::ENTRY => of_documents(source, scratch, &fields, at),
        documents::REFUSED => refused(scratch, &fields, at),
        pending::QUERIES => {
            let directory = store::load_directory(scratch)?;
            pending::ask_once(scratch, &directory, at.as_microsecond())?;
            Ok(())
        }
        settlement::WINDOW => of_windows(source, scratch, &fields, at),
        settlement::STATEMENTS => {
            settlement::keep(scratch, fields.get("window")?, at, Pace::Full)?;
            Ok(())
        }
        archive::ENTRY => archive::enter(scratch, &archive::Archived::read(&entry.body)?, at),
        other => bail!("nobody knows what a {other} is"),
    }
}

fn of_windows(source: &mut Conn, scratch: &mut Conn, fields: &Fields, at: Timestamp) -> anyhow::Result<()> {
    let date: Date = fields.get("window")?;
    let state = fields.text("state")?;
    if state == State::Open.as_str() {
        settlement::open_first(scratch, at)?;
    } else if state == State::Closed.as_str() {
        scratch.transaction(|conn| {
            store::lock_head(conn)?;
            settlement::close_due(conn, at, None)
        })?;
    } else if state == State::Netted.as_str() {
        net(source, scratch, date, at)?;
    } else if state == State::Advised.as_str() {
        settlement::mark_advised(scratch, date, at, documents::settled::advised)?;
    } else if state == State::Settled.as_str() {
        settlement::settle(scratch, date, at, fields.text("by")?)?;
    } else {
        bail!("a window is never {state}");
    }
    Ok(())
}

/// Nets a window, as the night does: all that was due has expired by then, and what it did about holds and lots that wait is done now. Whether it wrote down
/// payments the window of `source` says; the entry has it too, to which what comes of it is held.
pub(super) fn net(source: &mut Conn, scratch: &mut Conn, date: Date, at: Timestamp) -> anyhow::Result<()> {
    let directory = Arc::new(store::load_directory(scratch)?);
    let window = settlement::pending(scratch)?
        .into_iter()
        .find(|window| window.business_date == date);
    let window = window.with_context(|| format!("the window of {date} isn't closed"))?;
    let late = store::expire_left(scratch, &directory, &window, at.as_microsecond())?;
    ensure!(
        late == 0,
        "{late} lots were due at the cut-off of {date}, and the log doesn't have that they expired"
    );
    let payments = match settlement::window(source, date)?.and_then(|window| window.value_date) {
        Some(_) => Payments::OneByOne,
        None => Payments::AsAWhole,
    };
    Ok(settlement::net(scratch, date, at, Pace::Full, payments)?)
}

fn refused(scratch: &mut Conn, fields: &Fields, at: Timestamp) -> anyhow::Result<()> {
    let known = ["by", "action", "code", "field"];
    let facts = known
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), fields.maybe(name)?.to_owned())));
    let (facts, about) = (facts.collect(), fields.maybe("document").unwrap_or_default());
    Ok(scratch.transaction(|conn| -> Result<(), DbError> {
        store::lock_head(conn)?;
        documents::record_refusal(conn, at, about, facts)
    })?)
}

fn of_keys(scratch: &mut Conn, fields: &Fields, at: Timestamp) -> anyhow::Result<()> {
    let partner: PartnerId = fields.get("partner")?;
    let action = fields.text("action")?;
    let asked;
    let by = match fields.maybe("request") {
        Some(request) => {
            asked = requested(scratch, fields, (&partner, action), request)?;
            By::Partner(&partner, &asked.0, asked.1, request)
        }
        None => By::Person(fields.maybe("revocation").unwrap_or_default()),
    };
    match action {
        "registered" => keys::register(scratch, &partner, fields.spki()?, &fields.kid()?, &fields.key()?, at)?,
        "enrolled" => {
            let (kid, key) = (fields.kid()?, fields.key()?);
            invitations::enrol(scratch, fields.text("token_sha256")?, &partner, fields.spki()?, (&kid, &key), at)?;
        }
        "invited" => drop(invitations::invite(scratch, &partner, fields.text("token_sha256")?, at)?),
        "tls_added" => drop(keys::add_tls(scratch, &partner, fields.spki()?, &by, at)?),
        "signing_added" => {
            let new = NewSigningKey {
                partner: partner.clone(),
                kid: fields.kid()?,
                key: fields.key()?,
                valid_from: fields.get("valid_from")?,
                valid_until: fields.maybe("valid_until").map(|_| fields.get("valid_until")).transpose()?,
            };
            drop(keys::add_signing(scratch, &new, &by, at)?);
        }
        "revoked" => {
            drop(keys::revoke(scratch, &fields.key_name()?, &fields.get("reason")?, &by, at)?);
        }
        other => bail!("nobody knows what it is to be {other}"),
    }
    Ok(())
}

/// The key with which a partner has signed a request about its keys, and when: it has to ask for what was done.
fn requested(scratch: &mut Conn, fields: &Fields, (partner, action): (&PartnerId, &str), text: &str) -> anyhow::Result<(KeyId, Timestamp)> {
    let typ = match action {
        "signing_added" => TYP_KEY,
        "tls_added" => TYP_CERTIFICATE,
        _ => TYP_REVOCATION,
    };
    let jws = Compact::parse_as(text, typ).context("`request`")?;
    let directory = store::load_directory(scratch)?;
    let key = directory.keys.signing(&jws.kid).filter(|key| key.partner == *partner);
    let key = key.with_context(|| format!("`request` isn't signed by a key of {partner}"))?;
    jws.verify(&key.key).context("`request`")?;
    let (issued, same) = match action {
        "signing_added" => {
            let new = NewKey::parse(&jws.payload).context("`request`")?;
            let same = new.kid == fields.kid()? && new.public_key == fields.text("public_key")?;
            let until = fields.maybe("valid_until").map(|_| fields.get("valid_until")).transpose()?;
            (new.issued, same && new.valid_until == until)
        }
        "tls_added" => {
            let new = NewCertificate::parse(&jws.payload).context("`request`")?;
            (new.issued, pki::request_spki(&new.csr)? == fields.spki()?.0)
        }
        _ => {
            let asked = Revocation::parse(&jws.payload).context("`request`")?;
            (
                asked.issued,
                asked.key == fields.key_name()? && asked.reason == fields.get("reason")?,
            )
        }
    };
    ensure!(same, "`request` asks for something else");
    Ok((jws.kid, issued.issued_at))
}

fn of_documents(source: &mut Conn, scratch: &mut Conn, fields: &Fields, at: Timestamp) -> anyhow::Result<()> {
    let (hash, by, digest) = (fields.text("document")?, fields.text("by")?, fields.text("signed_sha256")?);
    let kind: Kind = fields.get("kind")?;
    let document = store::documents::find(source, hash)?.with_context(|| format!("the document {hash} is missing"))?;
    let signature = || -> anyhow::Result<&Signed> {
        let found = document.signatures.iter().find(|one| documents::digest([&one.signature]) == digest);
        found.with_context(|| format!("the signature of {by} under the document {hash} is missing, or another one"))
    };
    let general = |signatures: Vec<&Signed>| {
        let signatures = signatures.into_iter().map(|one| one.signature.clone()).collect();
        let payload = document.payload.clone().into_bytes();
        General { payload, signatures }.to_json()
    };
    let partner = || by.parse::<PartnerId>().map_err(|error| anyhow::anyhow!("`by`: {error}"));
    match (kind, fields.text("action")?) {
        (Kind::Agreement, "propose") => agreements::propose(scratch, at, &partner()?, &general(vec![signature()?]))?,
        (Kind::Agreement, "sign") => agreements::sign(scratch, at, &partner()?, hash, &general(vec![signature()?]))?,
        (Kind::Agreement, "act") => agreements::act(scratch, at, &partner()?, hash, &act(source, (hash, at), digest)?)?,
        (Kind::Agreement, "approve") => agreements::approve(scratch, at, countersigned(&document)?, hash, &signature()?.signature)?,
        (Kind::Dispute, "propose") => disputes::propose(scratch, at, &partner()?, &general(vec![signature()?]))?,
        (Kind::Dispute, "sign") => disputes::sign(scratch, at, &partner()?, hash, &general(vec![signature()?]))?,
        (Kind::Dispute, "act") => disputes::act(scratch, at, &partner()?, hash, &act(source, (hash, at), digest)?)?,
        (_, "decline") => changes::decline(scratch, at, kind, hash, &act(source, (hash, at), digest)?)?,
        (Kind::Change, "propose") => changes::propose(scratch, at, &general(vec![signature()?]))?,
        (Kind::Change, "accept") => changes::accept(scratch, at, hash, &signature()?.signature)?,
        (Kind::Change, "approve") => changes::approve(scratch, at, countersigned(&document)?, hash, &signature()?.signature)?,
        (Kind::Change, "withdraw") => changes::withdraw(scratch, at, hash, &act(source, (hash, at), digest)?)?,
        (Kind::Change, "found") => {
            let founders = document
                .signatures
                .iter()
                .filter(|one| one.role != CLEARING && one.role != NEWCOMER)
                .collect();
            people::found(scratch, at, countersigned(&document)?, &general(founders))?
        }
        (_, other) => bail!("nobody knows what it is to {other} a document"),
    };
    Ok(())
}

/// What the clearinghouse has put its own signature to.
fn countersigned(document: &Document) -> anyhow::Result<Countersigner<'_>> {
    let own = document.signatures.iter().find(|one| one.role == CLEARING);
    let own = own.with_context(|| format!("the clearinghouse's signature under the document {} is missing", document.hash))?;
    Ok(Countersigner::Kept(&own.signature))
}

/// The signed word with this digest, said about a document at an instant.
fn act(source: &mut Conn, (hash, at): (&str, Timestamp), digest: &str) -> anyhow::Result<String> {
    let acts = store::documents::acts(source, hash, at)?;
    let found = acts.into_iter().find(|act| sha256_hex(act.as_bytes()) == digest);
    found.with_context(|| format!("what was signed about the document {hash} is missing, or is something else"))
}
