//! The operator's side: a new database, the network file, partners' keys; and reading all of it back.

use anyhow::{Context, bail, ensure};
use diesel::prelude::*;
use jiff::tz::TimeZone;
use migrations::schema::{agreement, head, net_debit_cap, partner, programme, rate, settlement_window, signing_key};
use migrations::{Conn, DbError, Url, each_backend};
use partner_sdk::agreement::{Agreement, AgreementKind, Rate, RateTerms, Terms};
use partner_sdk::jws::{VerifyingKey, to_hex};
use partner_sdk::{Currency, KeyId, Money, PartnerId};
use settlement::Calendar;

use super::head::lock_head;
use super::rows::read;
use crate::directory::{Directory, Partner, Programme, ProgrammeTerms, Status};
use crate::network::{Network, PartnerEntry};

/// Creates the tables and the one row of `head`; on a database that has them, only checks that sandbox and real don't mix.
pub fn init(conn: &mut Conn, sandbox: bool) -> anyhow::Result<()> {
    conn.migrate()?;
    let row = (
        head::id.eq(1),
        head::next_seq.eq(1i64),
        head::directory_version.eq(1i64),
        head::sandbox.eq(sandbox),
        head::calendar.eq(""),
    );
    each_backend!(conn, |c| diesel::insert_into(head::table)
        .values(row)
        .on_conflict_do_nothing()
        .execute(c))?;
    ensure!(
        is_sandbox(conn)? == sandbox,
        "this database was made {} a sandbox",
        if sandbox { "without being" } else { "as" }
    );
    Ok(())
}

/// Whether the database was made as a sandbox, in which the clock may be set.
pub fn is_sandbox(conn: &mut Conn) -> Result<bool, DbError> {
    let made: Option<bool> = each_backend!(conn, |c| head::table.select(head::sandbox).first(c).optional())?;
    made.ok_or_else(|| DbError::Corrupt("no clearinghouse is in it; `clearing init` makes one".into()))
}

/// Opens a database that `clearing init` made, and brings its tables up to date. Nothing is made anew: a name typed wrong is an error.
pub fn open(url: &Url) -> anyhow::Result<Conn> {
    if let Some(path) = url.sqlite_path() {
        ensure!(
            path.exists(),
            "there is no database {}: `clearing init` makes one; else look at `database` in the configuration",
            path.display()
        );
    }
    let mut conn = Conn::open(url).context("the database of the configuration")?;
    conn.migrate()?;
    is_sandbox(&mut conn)?;
    Ok(conn)
}

/// The calendar of the settlement windows; an error says that no network file was applied yet.
pub fn calendar(conn: &mut Conn) -> anyhow::Result<Calendar> {
    let text: String = each_backend!(conn, |c| head::table.select(head::calendar).first(c)).map_err(DbError::from)?;
    ensure!(
        !text.is_empty(),
        "the database has no network yet: run `clearing network apply FILE`"
    );
    serde_json::from_str(&text).context("head.calendar")
}

/// Makes the database hold what the network file states. Agreements and rates are only ever added: a later `valid_from` supersedes.
pub fn apply_network(conn: &mut Conn, network: &Network) -> anyhow::Result<()> {
    conn.transaction(|conn| -> Result<(), Refused> {
        let (_, version) = lock_head(conn)?;
        set_calendar(conn, &network.calendar)?;
        for entry in &network.partners {
            put_partner(conn, entry)?;
        }
        for terms in &network.programmes {
            put_programme(conn, terms)?;
        }
        let mut directory = load_directory(conn).map_err(Refused::from)?;
        for terms in &network.agreements {
            put_agreement(conn, &mut directory, terms).with_context(|| {
                format!(
                    "agreement of {} for {}, {:?}, from {}",
                    terms.partner, terms.programme, terms.kind, terms.valid_from
                )
            })?;
        }
        for terms in &network.rates {
            put_rate(conn, &mut directory, terms)
                .with_context(|| format!("rate {} -> {} from {}", terms.programme, terms.to_programme, terms.valid_from))?;
        }
        load_directory(conn).context("with what this file adds, what is there already doesn't fit together")?;
        grow_version(conn, version)?;
        Ok(())
    })
    .map_err(|refused| refused.0)
}

/// An error of the operator's doing, which rolls the transaction back.
struct Refused(anyhow::Error);

impl From<DbError> for Refused {
    fn from(error: DbError) -> Self {
        Self(error.into())
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

fn grow_version(conn: &mut Conn, version: i64) -> Result<(), DbError> {
    each_backend!(conn, |c| diesel::update(head::table)
        .set(head::directory_version.eq(version + 1))
        .execute(c))?;
    Ok(())
}

fn set_calendar(conn: &mut Conn, new: &Calendar) -> anyhow::Result<()> {
    let windows: i64 = each_backend!(conn, |c| settlement_window::table.count().get_result(c))?;
    if windows > 0 {
        ensure!(calendar(conn)? == *new, "the calendar can't change once a window is open");
    }
    let text = serde_json::to_string(new)?;
    each_backend!(conn, |c| diesel::update(head::table).set(head::calendar.eq(&text)).execute(c))?;
    Ok(())
}

fn put_partner(conn: &mut Conn, entry: &PartnerEntry) -> anyhow::Result<()> {
    let status = if entry.status == Status::Active { "active" } else { "suspended" };
    let row = (
        partner::id.eq(entry.id.as_str()),
        partner::name.eq(&entry.name),
        partner::status.eq(status),
        partner::spki_sha256.eq(None::<String>),
    );
    each_backend!(conn, |c| {
        let insert = diesel::insert_into(partner::table).values(row).on_conflict(partner::id);
        insert
            .do_update()
            .set((partner::name.eq(&entry.name), partner::status.eq(status)))
            .execute(c)
    })?;
    each_backend!(conn, |c| diesel::delete(
        net_debit_cap::table.filter(net_debit_cap::partner.eq(entry.id.as_str()))
    )
    .execute(c))?;
    for (currency, amount) in &entry.net_debit_cap {
        let micros = amount.to_units(6).with_context(|| format!("partner {}: net_debit_cap", entry.id))?;
        let row = (
            net_debit_cap::partner.eq(entry.id.as_str()),
            net_debit_cap::currency.eq(currency),
            net_debit_cap::micros.eq(micros),
        );
        each_backend!(conn, |c| diesel::insert_into(net_debit_cap::table).values(row).execute(c))?;
    }
    Ok(())
}

fn put_programme(conn: &mut Conn, terms: &ProgrammeTerms) -> anyhow::Result<()> {
    Programme::new(terms.clone()).map_err(anyhow::Error::msg)?;
    let text = serde_json::to_string(terms)?;
    let known: Option<String> = each_backend!(conn, |c| programme::table
        .find(terms.code.as_str())
        .select(programme::terms)
        .first(c)
        .optional())?;
    match known {
        Some(known) => ensure!(
            known == text,
            "programme {}: the rules of a programme in use can't change",
            terms.code
        ),
        None => {
            let row = (
                programme::code.eq(terms.code.as_str()),
                programme::issuer.eq(terms.issuer.as_str()),
                programme::terms.eq(&text),
            );
            each_backend!(conn, |c| diesel::insert_into(programme::table).values(row).execute(c))
                .with_context(|| format!("programme {}: is its issuer `{}` a partner?", terms.code, terms.issuer))?;
        }
    }
    Ok(())
}

fn put_agreement(conn: &mut Conn, directory: &mut Directory, terms: &Terms) -> anyhow::Result<()> {
    let item = check_agreement(directory, terms)?;
    if directory.agreements().any(|a| a.item.hash == item.hash) {
        return Ok(());
    }
    let key = |t: &Terms| (t.kind, t.partner.clone(), t.programme.clone(), t.to_programme.clone());
    if directory
        .agreements()
        .any(|a| key(&a.item.terms) == key(terms) && a.item.terms.valid_from >= terms.valid_from)
    {
        bail!("an agreement with other terms starts then or later: a new version needs a later valid_from");
    }
    let no = 1 + directory.agreements().map(|a| a.no).max().unwrap_or(0);
    let row = (
        agreement::no.eq(no),
        agreement::hash.eq(&item.hash),
        agreement::terms.eq(terms.canonical()),
    );
    each_backend!(conn, |c| diesel::insert_into(agreement::table).values(row).execute(c))?;
    directory.add_agreement(no, item);
    Ok(())
}

fn check_agreement(directory: &Directory, terms: &Terms) -> anyhow::Result<Agreement> {
    let programme = |code: &partner_sdk::ProgrammeCode| {
        directory
            .programmes
            .get(code)
            .with_context(|| format!("there is no programme {code}"))
    };
    ensure!(
        directory.partners.contains_key(&terms.partner),
        "there is no partner {}",
        terms.partner
    );
    let from = &programme(&terms.programme)?.terms;
    let priced = terms.to_programme.as_ref().map_or(Ok(from), |to| programme(to).map(|p| &p.terms))?;
    if terms.kind == AgreementKind::Exchange {
        ensure!(
            from.issuer == terms.partner,
            "the partner of an exchange agreement must be the issuer of {}",
            terms.programme
        );
        ensure!(
            terms.to_programme.as_ref() != Some(&terms.programme),
            "an exchange needs two programmes"
        );
    }
    Ok(Agreement::new(terms.clone(), from.scale, priced.scale)?)
}

fn put_rate(conn: &mut Conn, directory: &mut Directory, terms: &RateTerms) -> anyhow::Result<()> {
    let (no_agreement, item) = check_rate(directory, terms)?;
    if directory.rates().any(|r| r.item.hash == item.hash) {
        return Ok(());
    }
    let same = |r: &RateTerms| r.programme == terms.programme && r.to_programme == terms.to_programme && r.valid_from >= terms.valid_from;
    if directory.rates().any(|r| same(&r.item.terms)) {
        bail!("another rate starts then or later: a new rate needs a later valid_from");
    }
    let no = 1 + directory.rates().map(|r| r.no).max().unwrap_or(0);
    let row = (
        rate::no.eq(no),
        rate::hash.eq(&item.hash),
        rate::agreement.eq(no_agreement),
        rate::terms.eq(item.canonical()),
    );
    each_backend!(conn, |c| diesel::insert_into(rate::table).values(row).execute(c))?;
    directory.add_rate(no, item);
    Ok(())
}

/// The exchange agreement in force when the rate starts, and the rate in smallest units.
fn check_rate(directory: &Directory, terms: &RateTerms) -> anyhow::Result<(i32, Rate)> {
    let programme = |code| {
        directory
            .programmes
            .get(code)
            .with_context(|| format!("there is no programme {code}"))
    };
    let (from, to) = (&programme(&terms.programme)?.terms, &programme(&terms.to_programme)?.terms);
    let key = (
        AgreementKind::Exchange,
        from.issuer.clone(),
        terms.programme.clone(),
        Some(terms.to_programme.clone()),
    );
    let agreement = directory
        .agreement(&key, terms.valid_from)
        .context("no exchange agreement is in force when the rate starts")?;
    Ok((agreement.no, Rate::new(terms.clone(), from.scale, to.scale, &agreement.item)?))
}

/// Registers a partner's TLS key (by its SHA-256) and signing key. The same again changes nothing.
pub fn register_partner(conn: &mut Conn, id: &PartnerId, spki: &[u8; 32], kid: &KeyId, key: &VerifyingKey) -> anyhow::Result<()> {
    conn.transaction(|conn| -> Result<(), Refused> {
        let (_, version) = lock_head(conn)?;
        let mut register = || -> anyhow::Result<()> {
            let rows = each_backend!(conn, |c| diesel::update(partner::table.find(id.as_str()))
                .set(partner::spki_sha256.eq(to_hex(spki)))
                .execute(c))
            .context("is this TLS key another partner's?")?;
            ensure!(
                rows == 1,
                "there is no partner `{id}`: add it to the network file and apply that first"
            );
            let known: Option<(String, String)> = each_backend!(conn, |c| signing_key::table
                .find(kid.as_str())
                .select((signing_key::partner, signing_key::public_key))
                .first(c)
                .optional())?;
            let new = (id.as_str().to_owned(), key.to_base64url());
            match known {
                Some(known) => ensure!(
                    known == new,
                    "kid `{kid}` is registered for another key or partner: choose a new kid"
                ),
                None => {
                    let row = (
                        signing_key::kid.eq(kid.as_str()),
                        signing_key::partner.eq(&new.0),
                        signing_key::public_key.eq(&new.1),
                    );
                    each_backend!(conn, |c| diesel::insert_into(signing_key::table).values(row).execute(c))?;
                }
            }
            Ok(())
        };
        register()?;
        grow_version(conn, version)?;
        Ok(())
    })
    .map_err(|refused| refused.0)
}

/// Reads all reference data.
pub fn load_directory(conn: &mut Conn) -> Result<Directory, DbError> {
    let (version, text): (i64, String) = each_backend!(conn, |c| head::table.select((head::directory_version, head::calendar)).first(c))?;
    let zone = if text.is_empty() { TimeZone::UTC } else { zone_of(&text)? };
    let mut directory = Directory::new(version, zone);
    load_partners(conn, &mut directory)?;
    for text in each_backend!(conn, |c| programme::table.select(programme::terms).load::<String>(c))? {
        let terms: ProgrammeTerms = json(&text, "programme.terms")?;
        directory
            .programmes
            .insert(terms.code.clone(), Programme::new(terms).map_err(DbError::Corrupt)?);
    }
    for (no, text) in each_backend!(conn, |c| agreement::table
        .select((agreement::no, agreement::terms))
        .load::<(i32, String)>(c))?
    {
        let item = check_agreement(&directory, &json(&text, "agreement.terms")?)
            .map_err(|e| DbError::Corrupt(format!("agreement {no}: {e:#}")))?;
        directory.add_agreement(no, item);
    }
    for (no, text) in each_backend!(conn, |c| rate::table.select((rate::no, rate::terms)).load::<(i32, String)>(c))? {
        let (_, item) = check_rate(&directory, &json(&text, "rate.terms")?).map_err(|e| DbError::Corrupt(format!("rate {no}: {e:#}")))?;
        directory.add_rate(no, item);
    }
    Ok(directory)
}

fn json<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|e| DbError::Corrupt(format!("{what}: {e}")))
}

fn zone_of(calendar: &str) -> Result<TimeZone, DbError> {
    let calendar: Calendar = json(calendar, "head.calendar")?;
    TimeZone::get(&calendar.zone).map_err(|e| DbError::Corrupt(format!("head.calendar: {e}")))
}

fn load_partners(conn: &mut Conn, directory: &mut Directory) -> Result<(), DbError> {
    for (id, name, status, spki) in each_backend!(conn, |c| partner::table.load::<(String, String, String, Option<String>)>(c))? {
        let id: PartnerId = read(&id, "partner.id")?;
        let status = if status == "active" { Status::Active } else { Status::Suspended };
        let spki = spki.as_deref().map(from_hex).transpose()?;
        if let Some(spki) = spki {
            directory.by_spki.insert(spki, id.clone());
        }
        directory.partners.insert(
            id.clone(),
            Partner {
                id,
                name,
                status,
                spki,
                caps: Default::default(),
            },
        );
    }
    for (partner, currency, micros) in each_backend!(conn, |c| net_debit_cap::table.load::<(String, String, i64)>(c))? {
        let currency: Currency = read(&currency, "net_debit_cap.currency")?;
        if let Some(partner) = directory.partners.get_mut(&read::<PartnerId>(&partner, "net_debit_cap.partner")?) {
            partner.caps.insert(currency, Money(micros));
        }
    }
    for (kid, partner, key) in each_backend!(conn, |c| signing_key::table.load::<(String, String, String)>(c))? {
        let key = VerifyingKey::from_base64url(&key).map_err(|e| DbError::Corrupt(format!("signing_key.public_key: {e}")))?;
        directory
            .keys
            .insert(read(&kid, "signing_key.kid")?, (read(&partner, "signing_key.partner")?, key));
    }
    Ok(())
}

fn from_hex(text: &str) -> Result<[u8; 32], DbError> {
    let corrupt = || DbError::Corrupt("partner.spki_sha256".into());
    let bytes: Option<Vec<u8>> = (0..text.len() / 2)
        .map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok())
        .collect();
    bytes.and_then(|b| b.try_into().ok()).ok_or_else(corrupt)
}
