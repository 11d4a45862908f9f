//! Revisions of windows whose statements are out: a partner in default is taken out, and the rest pays what is left. The statements stay as they are; what changes is kept beside them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::{Currency, Money, PartnerId};

use crate::book::{payment, payment_line, whole};
use crate::dues::Due;
use crate::error::SettlementError;
use crate::fx;
use crate::netting::net_positions;
use crate::period::Period;
use crate::reached::reached;
use crate::render;
use crate::revision::{Moved, TakenOut, all_of, effects, moved};
use crate::run::open_window;
use crate::settle::{close_if_paid, may_settle};
use crate::statement::{
    Debt, REVISION_FORMAT, Revised, RevisedNet, RevisedPosition, Revision, SETTLEMENT_REVISION_FORMAT, SettlementRevision, TakenOutLine,
};
use crate::store::{self, Accounts, Advised, NamedBytes, State};

/// What a revision has done.
#[derive(Debug)]
pub struct Outcome {
    /// Which run of the window it is.
    pub run: i64,
    /// Whom it concerns, and how.
    pub moved: Vec<Moved>,
    /// Whether nothing is left to be paid, so that the window is settled.
    pub settled: bool,
}

/// In which currencies a partner can be taken out of a window: those in which a payment of its own is open, and none was made. An error where there is none, or where the window isn't advised, or is settled.
pub fn may_default(conn: &mut Conn, partner: &PartnerId, date: Date) -> Result<BTreeSet<Currency>, SettlementError> {
    may_settle(conn, date)?;
    let dues = store::dues_of(conn, date)?;
    let own = || dues.iter().filter(|due| due.partner == *partner);
    // What it has paid, or was paid, by an earlier run would have to go back.
    let made: BTreeSet<Currency> = own().filter(|due| due.confirmed.is_some()).map(|due| due.currency).collect();
    let open = own().filter(|due| due.is_open() && !made.contains(&due.currency));
    let currencies: BTreeSet<Currency> = open.map(|due| due.currency).collect();
    match currencies.is_empty() {
        true => Err(SettlementError::NothingOpen {
            partner: partner.clone(),
            date,
        }),
        false => Ok(currencies),
    }
}

/// Takes a partner out of an advised window, in the currencies in which it hasn't paid (or wasn't paid): its debts and claims there stay between it and the others, and their payments are made anew.
/// Both runs are kept. For a transaction that has locked the ledger.
pub fn default_locked(conn: &mut Conn, partner: &PartnerId, date: Date, now: Timestamp, by: &str) -> Result<Outcome, SettlementError> {
    let currencies = may_default(conn, partner, date)?;
    let (before, _) = store::taken_of(conn, date)?;
    let taken = all_of(partner, &currencies, &store::payable(conn, date)?, &before)?;
    take_out(conn, date, &taken, Cause::Default(partner), now, by)
}

/// What is taken out of a window's payments where a debtor disputes a debt: the debt in the currency in which the window pays it, or nothing where debtor or creditor has paid in that currency already, or was paid.
/// An error where a default has taken out what is between the two.
pub fn may_dispute(conn: &mut Conn, date: Date, debt: &TakenOut) -> Result<Option<TakenOut>, SettlementError> {
    let window = reached(conn, date, State::Advised)?;
    let debt = match store::rates(conn, date)?.get(&debt.currency) {
        Some(rate) => fx::debt_at(debt, *rate)?,
        None => debt.clone(),
    };
    if store::is_in_default(conn, date, (&debt.debtor, &debt.creditor), debt.currency)? {
        return Err(SettlementError::InDefault {
            debtor: debt.debtor,
            creditor: debt.creditor,
            date,
        });
    }
    let concerns = |due: &Due| due.currency == debt.currency && [&debt.debtor, &debt.creditor].contains(&&due.partner);
    let is_paid = store::dues_of(conn, date)?
        .iter()
        .any(|due| due.confirmed.is_some() && concerns(due));
    let is_open = window.state == State::Advised && window.value_date.is_some() && !is_paid;
    Ok(Some(debt).filter(|debt| is_open && debt.amount > Money::ZERO))
}

/// Takes what a debtor disputes out of an advised window. It counts against its cap until it is [decided](dispute_over_locked); the creditor isn't owed it meanwhile. For a transaction that has locked the ledger.
pub fn dispute_locked(conn: &mut Conn, date: Date, taken: &TakenOut, now: Timestamp, by: &str) -> Result<Outcome, SettlementError> {
    let outcome = take_out(conn, date, std::slice::from_ref(taken), Cause::Dispute, now, by)?;
    store::add_exposure(conn, &taken.debtor, taken.currency, taken.amount.0.into())?;
    Ok(outcome)
}

/// What a dispute has taken out, if it has, is decided: from now on what is posted for it counts. For a transaction that has locked the ledger.
pub fn dispute_over_locked(conn: &mut Conn, dispute: &str) -> Result<(), SettlementError> {
    for taken in store::taken_by(conn, dispute)? {
        store::add_exposure(conn, &taken.debtor, taken.currency, -i128::from(taken.amount.0))?;
    }
    Ok(())
}

/// Why something is taken out of a window.
#[derive(Debug, Clone, Copy)]
enum Cause<'a> {
    /// A partner is in default.
    Default(&'a PartnerId),
    /// A debtor says that it doesn't owe it.
    Dispute,
}

impl Cause<'_> {
    fn as_str(self) -> &'static str {
        match self {
            Self::Default(_) => "default",
            Self::Dispute => "dispute",
        }
    }

    fn defaulted(self) -> Option<PartnerId> {
        match self {
            Self::Default(partner) => Some(partner.clone()),
            Self::Dispute => None,
        }
    }
}

/// Takes debts out of an advised window: its next run, by the document `by`. For a transaction that has locked the ledger.
fn take_out(conn: &mut Conn, date: Date, taken: &[TakenOut], cause: Cause, now: Timestamp, by: &str) -> Result<Outcome, SettlementError> {
    // As the entry has it, by which it is done again.
    let now = store::time(conn, now)?;
    let (before, last) = store::taken_of(conn, date)?;
    let mut nets = net_positions(&store::payable(conn, date)?)?;
    for (key, effect) in effects(&before) {
        *nets.entry(key).or_default() += effect;
    }
    let open = open_window(conn)?.business_date;
    let (value_date, _) = store::calendars(conn)?.next(open)?;
    let moved = moved(&nets, &store::dues_of(conn, date)?, taken, (date, value_date))?;
    let of = Revised {
        business_date: date,
        run: last + 1,
        cause: cause.as_str().into(),
        defaulted: cause.defaulted(),
        document: by.to_owned(),
        revised_at: now,
    };
    let exposed = store::exposed(conn, date)?;
    write(conn, &of, taken, &moved)?;
    let left = store::exposed(conn, date)?;
    store::recount(conn, &exposed, &left)?;
    let files = files(&of, taken, &moved, &store::accounts(conn)?)?;
    store::keep_files(conn, date, &files, now)?;
    let settled = close_if_paid(conn, date, now, by)?;
    let run = of.run;
    Ok(Outcome { run, moved, settled })
}

fn write(conn: &mut Conn, of: &Revised, taken: &[TakenOut], moved: &[Moved]) -> Result<(), SettlementError> {
    store::take_out(conn, of.business_date, of.run, taken, &of.document)?;
    for reference in moved.iter().filter_map(|line| line.replaced.as_ref()) {
        store::replace(conn, reference, &of.document)?;
    }
    let new: Vec<_> = moved.iter().filter_map(|line| line.due.clone()).collect();
    Ok(store::insert_dues(conn, &new, of.run)?)
}

/// The files of a revision, by name: what it is for each whom it concerns, and for the operator.
fn files(of: &Revised, taken: &[TakenOut], moved: &[Moved], accounts: &Accounts) -> Result<Vec<NamedBytes>, SettlementError> {
    let mut files = vec![(format!("settlement.{}.json", of.run), render::to_json(&whole_of(of, taken, moved))?)];
    let parties: BTreeSet<&PartnerId> = moved.iter().map(|line| &line.partner).collect();
    for party in parties {
        let own = own_of(party, of, taken, moved, accounts);
        files.push((revision_file(party, of.run), render::to_json(&own)?));
    }
    files.sort();
    Ok(files)
}

/// The name of the file with what a run changes for a partner; no partner's id has a dot.
fn revision_file(partner: &PartnerId, run: i64) -> String {
    format!("{partner}.{run}.json")
}

fn own_of(partner: &PartnerId, of: &Revised, taken: &[TakenOut], moved: &[Moved], accounts: &Accounts) -> Revision {
    let line = |one: &TakenOut| {
        let (counterparty, sign) = match (one.debtor == *partner, one.creditor == *partner) {
            (true, _) => (&one.creditor, -1),
            (_, true) => (&one.debtor, 1),
            _ => return None,
        };
        Some(TakenOutLine {
            counterparty: counterparty.clone(),
            currency: one.currency,
            amount: whole(sign * i128::from(one.amount.0), one.currency),
        })
    };
    let own = || moved.iter().filter(|line| line.partner == *partner);
    Revision {
        format: REVISION_FORMAT.into(),
        partner: partner.clone(),
        of: of.clone(),
        taken_out: taken.iter().filter_map(line).collect(),
        net: own().map(revised_net).collect(),
        replaced: own().filter_map(|line| line.replaced.clone()).collect(),
        payments: own()
            .filter_map(|line| line.due.clone())
            .map(|due| payment_line(due, accounts))
            .collect(),
    }
}

fn whole_of(of: &Revised, taken: &[TakenOut], moved: &[Moved]) -> SettlementRevision {
    let debt = |one: &TakenOut| Debt {
        debtor: one.debtor.clone(),
        creditor: one.creditor.clone(),
        currency: one.currency,
        amount: whole(one.amount.0.into(), one.currency),
    };
    let position = |line: &Moved| RevisedPosition {
        partner: line.partner.clone(),
        net: revised_net(line),
    };
    SettlementRevision {
        format: SETTLEMENT_REVISION_FORMAT.into(),
        of: of.clone(),
        taken_out: taken.iter().map(debt).collect(),
        net_positions: moved.iter().map(position).collect(),
        replaced: moved.iter().filter_map(|line| line.replaced.clone()).collect(),
        payments: moved.iter().filter_map(|line| line.due.clone()).map(payment).collect(),
    }
}

fn revised_net(line: &Moved) -> RevisedNet {
    let money = |micros| whole(micros, line.currency);
    RevisedNet {
        currency: line.currency,
        before: money(line.before),
        taken_out: money(line.taken_out),
        after: money(line.after()),
        paid: money(line.paid),
        open: money(line.after() - line.paid),
    }
}

/// What revisions of a window have changed for a partner, the oldest first, to the byte; none where it wasn't revised, or the partner isn't concerned.
pub fn revisions(conn: &mut Conn, date: Date, partner: &PartnerId) -> Result<Vec<Advised>, SettlementError> {
    let (_, last) = store::taken_of(conn, date)?;
    let mut found = vec![];
    for run in store::FIRST_RUN + 1..=last {
        found.extend(store::kept_file(conn, date, &revision_file(partner, run))?);
    }
    Ok(found)
}

/// The same of a period, where that is a day.
pub fn revisions_in(conn: &mut Conn, period: Period, partner: &PartnerId) -> Result<Vec<Advised>, SettlementError> {
    period.day().map_or(Ok(vec![]), |date| revisions(conn, date, partner))
}
