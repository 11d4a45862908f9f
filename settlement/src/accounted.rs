//! Accounting data of a programme: its postings read window by window, and made into the states before a period and at its end. What was posted later makes no difference.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use migrations::{Conn, DbError};
use partner_sdk::ProgrammeCode;

use crate::accounting::{
    Accounting, AccountingError, Basis, Cohort, Estimates, Lots, Month, Owing, Parcel, Points, State, Subject, report,
};
use crate::period::Period;
use crate::store::{self, DRAWN_BACK, Issued, Lotted, Moved, Pace, Window};

/// The most cohorts, members with a debt, and lots of those that are put together: all of them are in memory.
const MOST_COHORTS: usize = 50_000;
const MOST_OWING: usize = 50_000;
const MOST_LOTS: usize = 500_000;

/// What is asked for.
pub struct AccountingRequest {
    /// Whose points.
    pub programme: ProgrammeCode,
    /// Of which dates.
    pub period: Period,
    /// How many of them are expected to be redeemed.
    pub estimates: Estimates,
    /// How much of a processor may be taken.
    pub pace: Pace,
    /// How long reading may take, if that is bounded.
    pub within: Option<Duration>,
    /// How many days before the open window the period may have ended, if that is bounded.
    pub back: Option<i32>,
}

/// The accounting data of a programme for a period. All windows by its end have to be netted.
pub fn accounting(conn: &mut Conn, asked: &AccountingRequest) -> Result<Accounting, AccountingError> {
    let Issued { issuer, scale } = store::issued(conn, &asked.programme)?.ok_or(AccountingError::NoProgramme)?;
    let (windows, closing) = windows(conn, asked)?;
    let opening_window = windows.iter().rev().find(|date| **date < asked.period.from()).copied();
    let agreements = store::agreements(conn)?.into_iter().map(|(no, agreed)| (no, agreed.hash)).collect();
    let reader = Reader {
        asked,
        issuer: issuer.as_str(),
        agreements,
        zone: store::calendars(conn)?.of(closing.business_date)?.time_zone()?,
        windows,
        opening: opening_window,
        began: Instant::now(),
    };
    let states = reader.states(conn)?;
    let subject = Subject {
        programme: asked.programme.clone(),
        scale,
        issuer: issuer.clone(),
        period: asked.period,
        opening_window,
        closing_window: closing.business_date,
        closing_at: closing.cut_off_at,
    };
    report(&subject, &states[0], &states[1], &asked.estimates)
}

/// The windows up to the end of the period, oldest first, and the last of them.
fn windows(conn: &mut Conn, asked: &AccountingRequest) -> Result<(Vec<Date>, Window), AccountingError> {
    use store::State::{Advised, Closed, Netted, Open, Settled};
    let until = asked.period.until();
    let unnetted = store::windows_in(conn, &[Open, Closed])?;
    if let Some(window) = unnetted.iter().find(|window| window.business_date <= until) {
        return Err(AccountingError::NotYet(window.business_date));
    }
    let open = unnetted.last().map_or(until, |window| window.business_date);
    let days = until.until(open).map_or(i32::MAX, |span| span.get_days());
    if let Some(back) = asked.back.filter(|back| days > *back) {
        return Err(AccountingError::Old(back));
    }
    let mut windows = store::windows_in(conn, &[Netted, Advised, Settled])?;
    windows.retain(|window| window.business_date <= until);
    let dates = windows.iter().map(|window| window.business_date).collect();
    Ok((dates, windows.pop().ok_or(AccountingError::Empty)?))
}

/// The cohorts that have been seen, by number: each is in memory once.
#[derive(Default)]
struct Cohorts {
    numbers: BTreeMap<Cohort, usize>,
    /// Under which agreements.
    agreements: BTreeSet<i32>,
}

impl Cohorts {
    /// A cohort's number: the next, where it is new.
    fn number(&mut self, cohort: Cohort) -> Result<usize, AccountingError> {
        let next = self.numbers.len();
        let number = *self.numbers.entry(cohort).or_insert(next);
        match number < MOST_COHORTS {
            true => Ok(number),
            false => Err(AccountingError::Many(MOST_COHORTS, "cohorts")),
        }
    }
}

/// What is summed up to some window.
#[derive(Clone, Default)]
struct Sums {
    /// By the numbers of their cohorts.
    points: Vec<Points>,
    refunded: BTreeMap<Parcel, i128>,
    /// Since which message each member has owed, and how many points.
    owing: BTreeMap<String, (i64, i128)>,
    /// Given to members, less taken from them.
    balance: i128,
}

/// What a member owes by a posting: the message, whether it is of the account that an exchange credited, and how many points.
type Owed = (i64, bool, i128);

struct Reader<'a> {
    asked: &'a AccountingRequest,
    issuer: &'a str,
    agreements: HashMap<i32, String>,
    zone: TimeZone,
    windows: Vec<Date>,
    /// The last of them before the period.
    opening: Option<Date>,
    began: Instant,
}

impl Reader<'_> {
    /// The states before the period and at its end.
    fn states(&self, conn: &mut Conn) -> Result<[State; 2], AccountingError> {
        let (mut cohorts, mut sums, mut opening) = (Cohorts::default(), Sums::default(), Sums::default());
        for date in &self.windows {
            self.each(conn, *date, |conn, piece| {
                let mut owed = vec![];
                for moved in piece {
                    owed.extend(self.add(&mut cohorts, &mut sums, moved)?);
                }
                owe(conn, &mut sums, &owed)
            })?;
            if Some(*date) == self.opening {
                opening = sums.clone();
            }
        }
        let lots = self.lots(conn, &mut cohorts, &sums)?;
        Ok([state(&cohorts, &opening, &lots, 0)?, state(&cohorts, &sums, &lots, 1)?])
    }

    fn each(
        &self,
        conn: &mut Conn,
        date: Date,
        each: impl FnMut(&mut Conn, Vec<Moved>) -> Result<(), AccountingError>,
    ) -> Result<(), AccountingError> {
        let more = || match self.asked.within.filter(|within| self.began.elapsed() > *within) {
            Some(within) => Err(AccountingError::Long(within.as_secs())),
            None => Ok(()),
        };
        store::each_moved(conn, &self.asked.programme, date, self.asked.pace, more, each)
    }

    /// Adds a posting. Returns what a member owes by it.
    fn add(&self, cohorts: &mut Cohorts, sums: &mut Sums, moved: Moved) -> Result<Option<Owed>, AccountingError> {
        let points = i128::from(moved.points);
        if !moved.of_points {
            return self.refund(cohorts, sums, &moved).map(|()| None);
        }
        let given = if moved.to_member { points } else { -points };
        sums.balance += given;
        let Some(lot) = &moved.lot else {
            let credited = matches!(moved.kind.as_str(), "exchange_reversal" | "bonus_reversal");
            return Ok(Some((moved.seq, credited, -given)));
        };
        cohorts.agreements.insert(lot.agreement);
        let number = cohorts.number(self.cohort(lot)?)?;
        if sums.points.len() <= number {
            sums.points.resize(number + 1, Points::default());
        }
        let of = &mut sums.points[number];
        match (moved.kind.as_str(), moved.to_member) {
            ("earn" | "exchange" | "bonus", true) => of.issued += points,
            ("earn_reversal" | "exchange_reversal" | "bonus_reversal", false) => of.taken_back += points,
            ("burn" | "exchange", false) => of.redeemed += points,
            ("burn_reversal" | "exchange_reversal" | "earn_reversal" | "bonus_reversal", true) | ("given_back", _) => of.redeemed -= given,
            ("expiry", false) | ("expiry_reversal", true) => of.expired -= given,
            _ => return Err(AccountingError::Broken("a posting of points is of no known kind")),
        }
        Ok(None)
    }

    /// Notes points whose price went back from the issuer to whoever funded them.
    fn refund(&self, cohorts: &Cohorts, sums: &mut Sums, moved: &Moved) -> Result<(), AccountingError> {
        // Refunds are of all programmes, and what is refunded of this one was issued before.
        if !moved.agreement.is_some_and(|no| cohorts.agreements.contains(&no)) {
            return Ok(());
        }
        let Some(agreement) = moved.agreement.and_then(|no| self.agreements.get(&no)) else {
            return Err(AccountingError::Broken("a refund is of no known agreement"));
        };
        let funder = moved.credit.parse().map_err(|_| AccountingError::Broken("a refund is to nobody"))?;
        let prepaid = moved.kind == DRAWN_BACK;
        let parcel = (agreement.clone(), funder, moved.price, prepaid);
        *sums.refunded.entry(parcel).or_default() += i128::from(moved.points);
        Ok(())
    }

    fn cohort(&self, lot: &Lotted) -> Result<Cohort, AccountingError> {
        let agreement = self.agreements.get(&lot.agreement);
        let agreement = agreement.ok_or(AccountingError::Broken("a lot is of no known agreement"))?;
        let basis = match () {
            () if lot.funder.as_str() == self.issuer => Basis::Own,
            () if lot.prepaid => Basis::Prepaid,
            () if lot.at_redemption => Basis::Redemption,
            () => Basis::Issue,
        };
        // It ends with a day: what counts is that day, and the instant is the next day's first.
        let last = Timestamp::from_microsecond(lot.expires_at.saturating_sub(1)).ok();
        let expires = last.filter(|_| lot.expires_at < i64::MAX);
        Ok(Cohort {
            agreement: agreement.clone(),
            funder: lot.funder.clone(),
            price: lot.price,
            currency: lot.currency,
            basis,
            issued_in: lot.window.into(),
            expires_in: expires.map(|at| Month::from(at.to_zoned(self.zone.clone()).date())),
        })
    }

    /// What the lots of members that have owed have left by their postings.
    fn lots(&self, conn: &mut Conn, cohorts: &mut Cohorts, sums: &Sums) -> Result<Lots, AccountingError> {
        let mut lots = Lots::new(sums.owing.keys().cloned(), MOST_LOTS);
        if sums.owing.is_empty() {
            return Ok(lots);
        }
        for date in &self.windows {
            let posted = [self.opening.is_some_and(|opening| *date <= opening), true];
            self.each(conn, *date, |_, piece| {
                for moved in piece.iter().filter(|moved| moved.of_points) {
                    if let Some(lot) = moved.lot.as_ref().filter(|lot| lots.wants(&lot.member)) {
                        let given = if moved.to_member { moved.points } else { -moved.points };
                        let cohort = cohorts.number(self.cohort(lot)?)?;
                        lots.add(&lot.member, lot.key, cohort, given, posted)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(lots)
    }
}

/// Notes what members owe by the postings of a piece.
fn owe(conn: &mut Conn, sums: &mut Sums, owed: &[Owed]) -> Result<(), AccountingError> {
    let messages: BTreeSet<i64> = owed.iter().map(|(seq, ..)| *seq).collect();
    let members = store::members_of(conn, &Vec::from_iter(messages))?;
    for (seq, credited, points) in owed {
        let of = members.get(seq);
        let member = of.and_then(|of| if *credited { of.credited.as_ref() } else { of.of.as_ref() });
        let member = member.ok_or(AccountingError::Broken("a debt is of a message that names no member"))?;
        match sums.owing.get_mut(member) {
            Some((_, sum)) => *sum += points,
            None => _ = sums.owing.insert(member.clone(), (*seq, *points)),
        }
    }
    match sums.owing.len() > MOST_OWING {
        true => Err(AccountingError::Many(MOST_OWING, "members with a debt")),
        false => Ok(()),
    }
}

/// A state (0 before the period, 1 at its end) from its sums; what members have in it is what postings gave them.
fn state(cohorts: &Cohorts, sums: &Sums, lots: &Lots, which: usize) -> Result<State, AccountingError> {
    let mut named: Vec<(usize, &Cohort)> = cohorts.numbers.iter().map(|(cohort, number)| (*number, cohort)).collect();
    named.sort_unstable_by_key(|(number, _)| *number);
    // They were numbered in the order in which they came, so the first so many were there.
    let all = named
        .iter()
        .zip(&sums.points)
        .map(|((_, cohort), points)| ((*cohort).clone(), *points));
    let mut state = State {
        cohorts: all.collect(),
        debt: 0,
    };
    state.refund(&sums.refunded);
    state.set_off(sums.owing.iter().map(|(member, (since, points))| {
        let of_member = lots.of(member, which, *since).into_iter();
        Owing {
            points: *points,
            lots: of_member.map(|(cohort, left)| (named[cohort].1, i128::from(left))).collect(),
        }
    }));
    match state.balance() == sums.balance {
        true => Ok(state),
        false => Err(DbError::Corrupt("a programme's cohorts don't add up to its postings".into()).into()),
    }
}
