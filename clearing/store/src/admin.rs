//! The operator's side: a new database, the network file; and reading all of it back.

use anyhow::{Context, bail, ensure};
use diesel::prelude::*;
use jiff::Timestamp;
use migrations::schema::{agreement, head, holders, net_debit_cap, partner, programme, rate, settlement_window};
use migrations::{Conn, DbError, Url, each_backend};
use partner_sdk::agreement::{Agreement, Terms};
use partner_sdk::banking::AccountTerms;
use partner_sdk::rate::{Bonus, BonusTerms, Rate, RateTerms};
use partner_sdk::{PartnerId, ProgrammeCode};
use settlement::Calendar;

use super::directory::{BONUS, RATE, check_agreement, check_bonus, check_rate, load_directory};
use super::head::{grow_version, is_sandbox, lock_head};
use super::people::is_founded;
use ledger::directory::{Directory, Numbered, Programme, ProgrammeTerms, agreement_key};
use ledger::draft::{Draft, Unread};
use ledger::gains;
use ledger::network::{Network, PartnerEntry};

/// What `entry` says in the log's first entry.
pub const INIT: &str = "init";
/// What `entry` says in the log's entries about network files.
pub const NETWORK: &str = "network";

/// Creates the tables and the one row of `head`; on a database that has them, only checks that sandbox and real don't mix.
pub fn init(conn: &mut Conn, sandbox: bool, now: Timestamp) -> anyhow::Result<()> {
    conn.migrate()?;
    let row = (
        head::id.eq(1),
        head::next_seq.eq(1i64),
        head::last_at.eq(0i64),
        head::next_event.eq(1i64),
        head::directory_version.eq(1i64),
        head::sandbox.eq(sandbox),
        head::founding.eq(""),
        head::tree_size.eq(0i64),
    );
    conn.transaction(|conn| {
        let made = each_backend!(conn, |c| diesel::insert_into(head::table)
            .values(row)
            .on_conflict_do_nothing()
            .execute(c))?;
        match made {
            0 => Ok(()),
            _ => settlement::append(conn, now, INIT, "", &[("sandbox", if sandbox { "yes" } else { "no" })]),
        }
    })?;
    ensure!(
        is_sandbox(conn)? == sandbox,
        "this database was made {} a sandbox",
        if sandbox { "without being" } else { "as" }
    );
    Ok(())
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

/// An error says that no network file was applied yet.
pub fn has_network(conn: &mut Conn) -> anyhow::Result<()> {
    ensure!(
        settlement::founding_calendar(conn)?.is_some(),
        "the database has no network yet: run `clearing network apply FILE`"
    );
    Ok(())
}

/// Makes the database hold what the network file states. Agreements, rates and bonuses are only ever added: a later `valid_from` supersedes. The error has a line
/// for each fault, and then nothing has changed.
pub fn apply_network(conn: &mut Conn, network: &Network, now: Timestamp) -> anyhow::Result<()> {
    let text = serde_json::to_string(network)?;
    let done = conn.transaction(|conn| {
        if !is_sandbox(conn)? && is_founded(conn)? {
            let why = "the network is founded, and people answer for it: no file changes it any more";
            return Err(Stopped::Faults(vec![why.to_owned()]));
        }
        match put_network(conn, network, &Unread::default())? {
            faults if faults.is_empty() => Ok(settlement::append(conn, now, NETWORK, "", &[("network", &text)])?),
            faults => Err(Stopped::Faults(faults)),
        }
    });
    match done {
        Err(Stopped::Faults(faults)) => bail!(faults.join("\n")),
        Err(Stopped::Failed(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

/// Everything for which [`apply_network`] would refuse the file, by doing it as far as it can be read and taking it back.
pub fn try_network(conn: &mut Conn, draft: &Draft) -> anyhow::Result<Vec<String>> {
    let mut all = draft.faults.clone();
    match conn.transaction(|conn| Err::<(), _>(Stopped::Faults(put_network(conn, &draft.network, &draft.unread)?))) {
        Err(Stopped::Failed(error)) => return Err(error),
        Err(Stopped::Faults(faults)) => all.extend(faults),
        Ok(()) => {}
    }
    Ok(all)
}

/// Puts all of a network file in place and says what can't be. What refers to something that can't be used isn't at fault for that, and isn't put either.
fn put_network(conn: &mut Conn, network: &Network, unread: &Unread) -> anyhow::Result<Vec<String>> {
    let (_, version) = lock_head(conn)?;
    let mut faults = Faults {
        told: vec![],
        unusable: unread.clone(),
    };
    if !unread.calendar {
        faults.note(set_calendar(conn, &network.calendar))?;
    }
    let mut directory = load_directory(conn)?;
    for entry in &network.partners {
        if !faults.note(put_partner(conn, &directory, entry))? {
            faults.unusable.partners.insert(entry.id.to_string());
        }
    }
    directory = load_directory(conn)?;
    for terms in &network.programmes {
        let place = || format!("programme {}", terms.code);
        let issuer = faults.partner(&directory, &terms.issuer, "issuer", place);
        // What is wrong with its own terms doesn't hang on the issuer.
        let put = match issuer {
            true => put_programme(conn, terms),
            false => Programme::admit(terms.clone()).map(drop).map_err(anyhow::Error::msg),
        };
        if !(faults.note(put)? && issuer) {
            faults.unusable.programmes.insert(terms.code.to_string());
        }
    }
    directory = load_directory(conn)?;
    for terms in &network.agreements {
        let place = || {
            format!(
                "agreement of {} for {}, {:?}, from {}",
                terms.partner, terms.programme, terms.kind, terms.valid_from
            )
        };
        let partner = faults.partner(&directory, &terms.partner, "partner", place);
        let programme = faults.programme(&directory, &terms.programme, "programme", place);
        let to = terms.to_programme.as_ref();
        let to_programme = to.is_none_or(|to| faults.programme(&directory, to, "to_programme", place));
        let there = partner && programme && to_programme;
        if !(there && faults.note(put_agreement(conn, &mut directory, terms).with_context(place))?) {
            let to = to.map(ToString::to_string).unwrap_or_default();
            faults.unusable.pairs.insert((terms.programme.to_string(), to));
        }
    }
    for terms in &network.rates {
        let place = || format!("rate {} -> {} from {}", terms.programme, terms.to_programme, terms.valid_from);
        if faults.pair(&directory, &terms.programme, &terms.to_programme, place) {
            let put = put_rate(conn, &mut directory, terms).with_context(place);
            faults.unusable.published |= !faults.note(put)?;
        }
    }
    for terms in &network.bonuses {
        let place = || format!("bonus {} -> {} from {}", terms.programme, terms.to_programme, terms.valid_from);
        if faults.pair(&directory, &terms.programme, &terms.to_programme, place) {
            let put = put_bonus(conn, &mut directory, terms).with_context(place);
            faults.unusable.published |= !faults.note(put)?;
        }
    }
    put_accounts(conn, &directory, &network.accounts, &mut faults)?;
    let together = load_directory(conn).context("with what this file adds, what is there already doesn't fit together")?;
    // Where a rate is missing, those before it would go on.
    let whole = faults.unusable.pairs.is_empty() && !faults.unusable.published;
    if let Some(cycle) = gains::gain(&together, i64::MIN).filter(|_| whole) {
        faults
            .told
            .push(format!("points sent around a cycle of exchanges would grow: {cycle}"));
    }
    grow_version(conn, version)?;
    Ok(faults.told)
}

/// Puts accounts of partners that there are, and the clearinghouse's.
fn put_accounts(conn: &mut Conn, directory: &Directory, accounts: &[AccountTerms], faults: &mut Faults) -> anyhow::Result<()> {
    for terms in accounts {
        let place = || format!("account of {} in {}", terms.partner, terms.currency);
        if terms.partner == PartnerId::clearing() || faults.partner(directory, &terms.partner, "partner", place) {
            faults.note(put_account(conn, terms).with_context(place))?;
        }
    }
    Ok(())
}

/// The file is what there is instead of a document.
fn put_account(conn: &mut Conn, terms: &AccountTerms) -> anyhow::Result<()> {
    match terms.account().fault() {
        Some((field, why)) => bail!("`{field}`: {why}"),
        None => Ok(settlement::put_account(conn, terms, NETWORK)?),
    }
}

/// What is wrong with a file, a line each, and what can't be used for that.
struct Faults {
    told: Vec<String>,
    unusable: Unread,
}

impl Faults {
    /// Whether there is such a partner. One that nobody states is a fault; one that the file states in a way that can't be used isn't a second one.
    fn partner(&mut self, directory: &Directory, id: &PartnerId, field: &str, place: impl Fn() -> String) -> bool {
        let there = directory.partners.contains_key(id);
        if !there && !self.unusable.partners.contains(id.as_str()) {
            self.told.push(format!("{}: `{field}` names no partner: {id}", place()));
        }
        there
    }

    /// The same for a programme.
    fn programme(&mut self, directory: &Directory, code: &ProgrammeCode, field: &str, place: impl Fn() -> String) -> bool {
        let there = directory.programmes.contains_key(code);
        if !there && !self.unusable.programmes.contains(code.as_str()) {
            self.told.push(format!("{}: `{field}` names no programme: {code}", place()));
        }
        there
    }

    /// Whether a rate or bonus between these can be put.
    fn pair(&mut self, directory: &Directory, from: &ProgrammeCode, to: &ProgrammeCode, place: impl Fn() -> String) -> bool {
        let gives = self.programme(directory, from, "programme", &place);
        let takes = self.programme(directory, to, "to_programme", &place);
        gives && takes && !self.unusable.pairs.contains(&(from.to_string(), to.to_string()))
    }

    /// Keeps what is wrong with the file, and goes on: whether nothing was. Where the database failed, there is no going on.
    fn note(&mut self, put: anyhow::Result<()>) -> anyhow::Result<bool> {
        match put {
            Err(error)
                if error
                    .chain()
                    .any(|cause| cause.is::<DbError>() || cause.is::<diesel::result::Error>()) =>
            {
                Err(error)
            }
            Err(error) => {
                self.told.push(format!("{error:#}"));
                Ok(false)
            }
            Ok(()) => Ok(true),
        }
    }
}

/// Why a network file isn't applied: the transaction rolls back.
enum Stopped {
    /// Its author's doing.
    Faults(Vec<String>),
    /// The database's.
    Failed(anyhow::Error),
}

impl From<DbError> for Stopped {
    fn from(error: DbError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<anyhow::Error> for Stopped {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

fn set_calendar(conn: &mut Conn, new: &Calendar) -> anyhow::Result<()> {
    let windows: i64 = each_backend!(conn, |c| settlement_window::table.count().get_result(c))?;
    if windows > 0 {
        ensure!(
            settlement::founding_calendar(conn)?.as_ref() == Some(new),
            "the file's calendar can't change once a window is open: from then on it changes by `clearing propose`, from a window that hasn't opened"
        );
        return Ok(());
    }
    Ok(settlement::found_calendar(conn, new)?)
}

fn put_partner(conn: &mut Conn, directory: &Directory, entry: &PartnerEntry) -> anyhow::Result<()> {
    if let Some(other) = directory.namesake(&entry.id, &entry.name) {
        bail!(
            "partner {}: {other} has the name `{}` already, case and blanks aside",
            entry.id,
            entry.name
        );
    }
    let caps = entry
        .net_debit_cap
        .iter()
        .map(|(currency, amount)| Ok((currency, amount.to_units(6)?)));
    let caps: Vec<_> = caps
        .collect::<Result<_, partner_sdk::amount::AmountError>>()
        .with_context(|| format!("partner {}: net_debit_cap", entry.id))?;
    let status = entry.status.as_str();
    let row = (
        partner::id.eq(entry.id.as_str()),
        partner::name.eq(&entry.name),
        partner::status.eq(status),
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
    for (currency, micros) in caps {
        let row = (
            net_debit_cap::partner.eq(entry.id.as_str()),
            net_debit_cap::currency.eq(currency),
            net_debit_cap::micros.eq(micros),
        );
        each_backend!(conn, |c| diesel::insert_into(net_debit_cap::table).values(row).execute(c))?;
    }
    Ok(())
}

/// Adds a programme, or holds the same rules against those that are there.
pub fn put_programme(conn: &mut Conn, terms: &ProgrammeTerms) -> anyhow::Result<()> {
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
            Programme::admit(terms.clone()).map_err(anyhow::Error::msg)?;
            let row = (
                programme::code.eq(terms.code.as_str()),
                programme::issuer.eq(terms.issuer.as_str()),
                programme::terms.eq(&text),
            );
            each_backend!(conn, |c| diesel::insert_into(programme::table).values(row).execute(c)).map_err(DbError::from)?;
            let nobody = (holders::programme.eq(terms.code.as_str()), holders::members.eq(0i64));
            each_backend!(conn, |c| diesel::insert_into(holders::table).values(nobody).execute(c)).map_err(DbError::from)?;
        }
    }
    Ok(())
}

fn put_agreement(conn: &mut Conn, directory: &mut Directory, terms: &Terms) -> anyhow::Result<()> {
    let item = check_agreement(directory, terms)?;
    if directory.agreement_named(&item.hash).is_some() {
        return Ok(());
    }
    let versions = directory.versions(&agreement_key(terms));
    if versions.iter().any(|a| a.from >= terms.valid_from) {
        bail!("an agreement with other terms starts then or later: a new version needs a later valid_from");
    }
    insert_agreement(conn, directory, item, 0)?;
    Ok(())
}

/// Puts an agreement in force from its own date, but not from before `published_at` (microseconds since 1970; 0: just from its date).
pub fn insert_agreement(conn: &mut Conn, directory: &mut Directory, item: Agreement, published_at: i64) -> Result<(), DbError> {
    let no = 1 + directory.agreements().map(|a| a.no).max().unwrap_or(0);
    let row = (
        agreement::no.eq(no),
        agreement::hash.eq(&item.hash),
        agreement::published_at.eq(published_at),
        agreement::terms.eq(item.terms.canonical()),
    );
    each_backend!(conn, |c| diesel::insert_into(agreement::table).values(row).execute(c))?;
    let own = (item.terms.valid_from, item.terms.valid_until);
    directory.add_agreement(Numbered::new(no, item, own, published_at));
    Ok(())
}

fn put_rate(conn: &mut Conn, directory: &mut Directory, terms: &RateTerms) -> anyhow::Result<()> {
    let (no_agreement, item) = check_rate(directory, terms, Timestamp::MIN)?;
    if directory.rates().any(|r| r.item.hash == item.hash) {
        return Ok(());
    }
    let same = |r: &RateTerms| r.programme == terms.programme && r.to_programme == terms.to_programme && r.valid_from >= terms.valid_from;
    if directory.rates().any(|r| same(&r.item.terms)) {
        bail!("another rate starts then or later: a new rate needs a later valid_from");
    }
    insert_rate(conn, directory, item, no_agreement, 0)?;
    Ok(())
}

/// Puts a rate in force from its own date, but not from before `published_at` (microseconds since 1970; 0: just from its date).
pub fn insert_rate(conn: &mut Conn, directory: &mut Directory, item: Rate, no_agreement: i32, published_at: i64) -> Result<(), DbError> {
    let no = directory.next_rate_no();
    insert_row(conn, (no, RATE, &item.hash, no_agreement, published_at, &item.canonical()))?;
    let own = (item.terms.valid_from, item.terms.valid_until);
    directory.add_rate(Numbered::new(no, item, own, published_at).under(no_agreement));
    Ok(())
}

fn put_bonus(conn: &mut Conn, directory: &mut Directory, terms: &BonusTerms) -> anyhow::Result<()> {
    let (no_agreement, item) = check_bonus(directory, terms, Timestamp::MIN)?;
    if directory.bonuses().any(|b| b.item.hash == item.hash) {
        return Ok(());
    }
    if let Some(other) = directory.overlapping(terms) {
        let (from, until) = (other.valid_from, other.valid_until);
        bail!("it overlaps another bonus, which is in force from {from} until {until}");
    }
    insert_bonus(conn, directory, item, no_agreement, 0)?;
    Ok(())
}

/// Puts a bonus in force from its own date, but not from before `published_at` (as for a rate).
pub fn insert_bonus(conn: &mut Conn, directory: &mut Directory, item: Bonus, no_agreement: i32, published_at: i64) -> Result<(), DbError> {
    let no = directory.next_rate_no();
    insert_row(conn, (no, BONUS, &item.hash, no_agreement, published_at, &item.canonical()))?;
    let own = (item.terms.valid_from, Some(item.terms.valid_until));
    directory.add_bonus(Numbered::new(no, item, own, published_at).under(no_agreement));
    Ok(())
}

/// (number, kind, hash, agreement, published at, terms)
type RateRow<'a> = (i32, &'a str, &'a str, i32, i64, &'a str);

fn insert_row(conn: &mut Conn, (no, kind, hash, agreement, published_at, terms): RateRow<'_>) -> Result<(), DbError> {
    let row = (
        rate::no.eq(no),
        rate::kind.eq(kind),
        rate::hash.eq(hash),
        rate::agreement.eq(agreement),
        rate::published_at.eq(published_at),
        rate::terms.eq(terms),
    );
    each_backend!(conn, |c| diesel::insert_into(rate::table).values(row).execute(c))?;
    Ok(())
}

/// A rate or bonus that hasn't begun never does, by a change.
pub fn take_back(conn: &mut Conn, no: i32, change: &str) -> Result<(), DbError> {
    let row = diesel::update(rate::table.find(no)).set(rate::taken_back_by.eq(change));
    each_backend!(conn, |c| row.execute(c))?;
    Ok(())
}
