//! Revisions of windows whose statements are out: a partner in default is taken out, and the rest pays what is left. The statements stay as they are; what changes is kept beside them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Conn;
use partner_sdk::PartnerId;

use crate::book::{payment, payment_line, whole};
use crate::dues::Due;
use crate::error::SettlementError;
use crate::group::{Group, Taken};
use crate::period::Period;
use crate::reached::reached;
use crate::render;
use crate::revised::{
    Debt, REVISION_FORMAT, REVISION_FORMAT_2, Revised, RevisedNet, RevisedPosition, Revision, SETTLEMENT_REVISION_FORMAT,
    SETTLEMENT_REVISION_FORMAT_2, SettlementRevision, TakenOutLine,
};
use crate::revision::{Moved, TakenOut, all_of, moved};
use crate::run::open_window;
use crate::settle::{close_if_paid, may_settle};
use crate::store::{self, Accounts, Advised, NamedBytes, State};

/// What a revision has done.
#[derive(Debug)]
pub struct Outcome {
    /// The window: where several are paid together, the one that has the payments.
    pub business_date: Date,
    /// Which run of it this is.
    pub run: i64,
    /// Whom it concerns, and how.
    pub moved: Vec<Moved>,
    /// The windows of which nothing is left to be paid, so that they are settled.
    pub settled: Vec<Date>,
}

/// What of a partner can be taken out of a window and those that are paid with it, in the currencies in which a payment of its own is open: of each window none was made for. An error where
/// there is nothing, or where the window isn't advised, is settled, or is paid with another.
pub fn may_default(conn: &mut Conn, partner: &PartnerId, date: Date) -> Result<Taken, SettlementError> {
    may_settle(conn, date)?;
    let group = Group::of(conn, date)?;
    let dues = group.dues(conn)?;
    let open = || dues.iter().filter(|due| due.partner == *partner && due.is_open());
    let mut taken = Taken::new();
    for date in group.dates() {
        // What it has paid, or was paid, would have to go back.
        let made = store::paid_up_to(conn, date)?;
        let currencies = open().map(|due| due.currency);
        let currencies = currencies.filter(|currency| !made.contains_key(&(*currency, partner.clone())));
        let (before, _) = store::taken_of(conn, date)?;
        let all = all_of(partner, &currencies.collect(), &store::payable(conn, date)?, &before)?;
        if !all.is_empty() {
            taken.insert(date, all);
        }
    }
    match taken.is_empty() {
        true => Err(SettlementError::NothingOpen {
            partner: partner.clone(),
            date,
        }),
        false => Ok(taken),
    }
}

/// Takes a partner out of an advised window and those that are paid with it, in the currencies in which it hasn't paid (or wasn't paid): its debts and claims there stay between it and the others, and their payments are made anew.
/// Both runs are kept. For a transaction that has locked the ledger.
pub fn default_locked(conn: &mut Conn, partner: &PartnerId, date: Date, now: Timestamp, by: &str) -> Result<Outcome, SettlementError> {
    let taken = may_default(conn, partner, date)?;
    take_out(conn, date, &taken, Cause::Default(partner), now, by)
}

/// Whether what a debtor disputes can be taken out of a window's payments: until the end of the value date, where neither of the two has paid or was paid in the currency, where it owes the other as much net by that window, and where that
/// is paid in its own currency. An error where a default has taken out what is between the two.
pub fn may_dispute(conn: &mut Conn, date: Date, debt: &TakenOut) -> Result<bool, SettlementError> {
    let window = reached(conn, date, State::Advised)?;
    if store::is_in_default(conn, date, (&debt.debtor, &debt.creditor), debt.currency)? {
        return Err(SettlementError::InDefault {
            debtor: debt.debtor.clone(),
            creditor: debt.creditor.clone(),
            date,
        });
    }
    if window.state != State::Advised || window.value_date.is_none() || store::rates(conn, date)?.contains_key(&debt.currency) {
        return Ok(false);
    }
    let made = store::paid_up_to(conn, date)?;
    let parties = [&debt.debtor, &debt.creditor];
    if parties.into_iter().any(|party| made.contains_key(&(debt.currency, party.clone()))) {
        return Ok(false);
    }
    let dues = Group::of(conn, date)?.dues(conn)?;
    let own = |due: &&Due| due.is_open() && due.currency == debt.currency && parties.contains(&&due.partner);
    let due_on = dues.iter().filter(own).map(|due| due.value_date).max().or(window.value_date);
    let today = open_window(conn)?.business_date;
    if due_on.is_none_or(|due_on| due_on < today) {
        return Ok(false);
    }
    let (before, _) = store::taken_of(conn, date)?;
    let owed = all_of(&debt.debtor, &[debt.currency].into(), &store::payable(conn, date)?, &before)?;
    let owed = owed.iter().find(|one| one.debtor == debt.debtor && one.creditor == debt.creditor);
    Ok(owed.is_some_and(|owed| owed.amount >= debt.amount))
}

/// Takes what a debtor disputes out of an advised window. It counts against its cap until it is [decided](dispute_over_locked); the creditor isn't owed it meanwhile. For a transaction that has locked the ledger.
pub fn dispute_locked(conn: &mut Conn, date: Date, taken: &TakenOut, now: Timestamp, by: &str) -> Result<Outcome, SettlementError> {
    let taken_out = Taken::from([(date, vec![taken.clone()])]);
    let outcome = take_out(conn, date, &taken_out, Cause::Dispute, now, by)?;
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

/// Takes debts out of advised windows that are paid together, one of which is that of `date`: their next run, by the document `by`. For a transaction that has locked the ledger.
fn take_out(conn: &mut Conn, date: Date, taken: &Taken, cause: Cause, now: Timestamp, by: &str) -> Result<Outcome, SettlementError> {
    // As the entry has it, by which it is done again.
    let now = store::time(conn, now)?;
    let group = Group::of(conn, date)?;
    let (nets, dues) = (group.nets(conn)?, group.dues(conn)?);
    let all: Vec<TakenOut> = taken.values().flatten().cloned().collect();
    let mut moved = moved(&nets, &dues, &all, (group.lead, due_on(conn)?))?;
    if let Cause::Dispute = cause {
        as_due_before(&mut moved, &dues);
    }
    let of = Revised {
        business_date: group.lead,
        joined: group.others(),
        lead: None,
        run: group.last_run(conn)? + 1,
        cause: cause.as_str().into(),
        defaulted: cause.defaulted(),
        document: by.to_owned(),
        revised_at: now,
    };
    let exposed = group.exposed(conn)?;
    for (date, taken) in taken {
        store::take_out(conn, *date, of.run, taken, by)?;
    }
    pay_anew(conn, &of, &moved)?;
    let left = group.exposed(conn)?;
    store::recount(conn, &exposed, &left)?;
    keep(conn, &of, taken, &moved)?;
    let settled = close_if_paid(conn, &group, now, by)?;
    Ok(Outcome {
        business_date: group.lead,
        run: of.run,
        moved,
        settled,
    })
}

/// Nobody puts off a payment by disputing a part of it.
fn as_due_before(moved: &mut [Moved], dues: &[Due]) {
    for line in moved {
        let replaced = dues.iter().filter(|due| line.replaced.contains(&due.reference));
        if let (Some(due), Some(value_date)) = (&mut line.due, replaced.map(|due| due.value_date).max()) {
            due.value_date = value_date;
        }
    }
}

/// When payments that are made anew now fall due: on the business date after the open window's.
pub fn due_on(conn: &mut Conn) -> Result<Date, SettlementError> {
    let open = open_window(conn)?.business_date;
    let (value_date, _) = store::calendars(conn)?.next(open)?;
    Ok(value_date)
}

/// Marks what is replaced, and writes down what is paid in its place.
pub fn pay_anew(conn: &mut Conn, of: &Revised, moved: &[Moved]) -> Result<(), SettlementError> {
    let replaced: Vec<_> = moved.iter().flat_map(|line| &line.replaced).collect();
    store::replace(conn, &replaced, &of.document)?;
    let new: Vec<_> = moved.iter().filter_map(|line| line.due.clone()).collect();
    Ok(store::insert_dues(conn, &new, of.run)?)
}

/// Keeps a revision's files beside the statements of its window.
pub fn keep(conn: &mut Conn, of: &Revised, taken: &Taken, moved: &[Moved]) -> Result<(), SettlementError> {
    let files = files(of, taken, moved, &store::accounts(conn)?)?;
    Ok(store::keep_files(conn, of.business_date, &files, of.revised_at)?)
}

/// The files of a revision, by name: what it is for each whom it concerns, and for the operator.
fn files(of: &Revised, taken: &Taken, moved: &[Moved], accounts: &Accounts) -> Result<Vec<NamedBytes>, SettlementError> {
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

fn own_of(partner: &PartnerId, of: &Revised, taken: &Taken, moved: &[Moved], accounts: &Accounts) -> Revision {
    let line = |(date, one): (Option<Date>, &TakenOut)| {
        let (counterparty, sign) = match (one.debtor == *partner, one.creditor == *partner) {
            (true, _) => (&one.creditor, -1),
            (_, true) => (&one.debtor, 1),
            _ => return None,
        };
        Some(TakenOutLine {
            business_date: date,
            counterparty: counterparty.clone(),
            currency: one.currency,
            amount: whole(sign * i128::from(one.amount.0), one.currency),
        })
    };
    let own = || moved.iter().filter(|line| line.partner == *partner);
    Revision {
        format: if is_alone(of) { REVISION_FORMAT } else { REVISION_FORMAT_2 }.into(),
        partner: partner.clone(),
        of: of.clone(),
        taken_out: dated(of, taken).filter_map(line).collect(),
        net: own().map(revised_net).collect(),
        replaced: own().flat_map(|line| line.replaced.clone()).collect(),
        payments: own()
            .filter_map(|line| line.due.clone())
            .map(|due| payment_line(due, accounts))
            .collect(),
    }
}

fn whole_of(of: &Revised, taken: &Taken, moved: &[Moved]) -> SettlementRevision {
    let debt = |(date, one): (Option<Date>, &TakenOut)| Debt {
        business_date: date,
        debtor: one.debtor.clone(),
        creditor: one.creditor.clone(),
        currency: one.currency,
        amount: whole(one.amount.0.into(), one.currency),
    };
    let position = |line: &Moved| RevisedPosition {
        partner: line.partner.clone(),
        net: revised_net(line),
    };
    let format = if is_alone(of) {
        SETTLEMENT_REVISION_FORMAT
    } else {
        SETTLEMENT_REVISION_FORMAT_2
    };
    SettlementRevision {
        format: format.into(),
        of: of.clone(),
        taken_out: dated(of, taken).map(debt).collect(),
        net_positions: moved.iter().map(position).collect(),
        replaced: moved.iter().flat_map(|line| line.replaced.clone()).collect(),
        payments: moved.iter().filter_map(|line| line.due.clone()).map(payment).collect(),
    }
}

/// Whether the window is paid by itself.
fn is_alone(of: &Revised) -> bool {
    of.joined.is_empty() && of.lead.is_none()
}

/// What is taken out, with its window where there are several.
fn dated<'a>(of: &Revised, taken: &'a Taken) -> impl Iterator<Item = (Option<Date>, &'a TakenOut)> {
    let is_alone = is_alone(of);
    let one = move |(date, all): (&Date, &'a Vec<TakenOut>)| {
        let date = (!is_alone).then_some(*date);
        all.iter().map(move |one| (date, one))
    };
    taken.iter().flat_map(one)
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

/// What revisions of a window have changed for a partner, the oldest first, to the byte: since the window is paid with another, that one's. None where it wasn't revised, or the partner
/// isn't concerned.
pub fn revisions(conn: &mut Conn, date: Date, partner: &PartnerId) -> Result<Vec<Advised>, SettlementError> {
    let group = Group::of(conn, date)?;
    let joined_in = group.joined.iter().find(|(joined, _)| *joined == date).map(|(_, run)| *run);
    let mut found = vec![];
    for run in store::FIRST_RUN + 1..=group.last_run(conn)? {
        let of = match joined_in {
            Some(joined_in) if run > joined_in => group.lead,
            _ => date,
        };
        found.extend(store::kept_file(conn, of, &revision_file(partner, run))?);
    }
    Ok(found)
}

/// The same of a period, where that is a day.
pub fn revisions_in(conn: &mut Conn, period: Period, partner: &PartnerId) -> Result<Vec<Advised>, SettlementError> {
    period.day().map_or(Ok(vec![]), |date| revisions(conn, date, partner))
}
