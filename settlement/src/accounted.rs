//! Accounting data of a programme: its postings read window by window, and made into the states before a period and at its end. What was posted later makes no difference.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use migrations::{Conn, DbError};
use partner_sdk::ProgrammeCode;

use crate::accounting::{Accounting, AccountingError, Basis, Cohort, Estimates, Month, Owing, Parcel, Points, State, Subject, report};
use crate::period::Period;
use crate::store::{self, DRAWN_BACK, Issued, Lotted, Moved, Pace, Window};

/// The most cohorts and the most members with a debt that are put together: all of them are in memory.
const MOST_COHORTS: usize = 50_000;
const MOST_OWING: usize = 50_000;

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

/// What is summed up to some window.
#[derive(Clone, Default)]
struct Sums {
    cohorts: BTreeMap<Cohort, Points>,
    /// What lots' postings leave, by cohort.
    left: BTreeMap<Cohort, i128>,
    refunded: BTreeMap<Parcel, i128>,
    /// Since which message each member has owed, and how many points.
    owing: BTreeMap<String, (i64, i128)>,
    /// Given to members, less taken from them.
    balance: i128,
}

/// What a member's lots have left, each with its cohort.
type MemberLots = HashMap<String, BTreeMap<(i64, i32), (Cohort, i128)>>;

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
        let (mut sums, mut opening) = (Sums::default(), Sums::default());
        for date in &self.windows {
            let mut owed = vec![];
            self.each(conn, *date, |moved| self.add(&mut sums, moved, &mut owed))?;
            for (seq, credited, points) in owed {
                let member = store::member_of(conn, seq, credited)?;
                sums.owing.entry(member).or_insert((seq, 0)).1 += points;
            }
            if sums.owing.len() > MOST_OWING {
                return Err(AccountingError::Many(MOST_OWING, "members with a debt"));
            }
            if Some(*date) == self.opening {
                opening = sums.clone();
            }
        }
        let members: BTreeSet<&str> = sums.owing.keys().map(String::as_str).collect();
        let lots = self.lots(conn, &members)?;
        Ok([state(&opening, &lots[0])?, state(&sums, &lots[1])?])
    }

    fn each(&self, conn: &mut Conn, date: Date, each: impl FnMut(Moved) -> Result<(), AccountingError>) -> Result<(), AccountingError> {
        let more = || match self.asked.within.filter(|within| self.began.elapsed() > *within) {
            Some(within) => Err(AccountingError::Long(within.as_secs())),
            None => Ok(()),
        };
        store::each_moved(conn, &self.asked.programme, date, self.asked.pace, more, each)
    }

    /// Adds a posting; what a member owes by it is noted, with the message and whether it is of the account that an exchange credited.
    fn add(&self, sums: &mut Sums, moved: Moved, owed: &mut Vec<(i64, bool, i128)>) -> Result<(), AccountingError> {
        let points = i128::from(moved.points);
        if !moved.of_points {
            return self.refund(sums, &moved);
        }
        let given = if moved.to_member { points } else { -points };
        sums.balance += given;
        let Some(lot) = &moved.lot else {
            let credited = matches!(moved.kind.as_str(), "exchange_reversal" | "bonus_reversal");
            owed.push((moved.seq, credited, -given));
            return Ok(());
        };
        let cohort = self.cohort(lot)?;
        *sums.left.entry(cohort.clone()).or_default() += given;
        let of = sums.cohorts.entry(cohort).or_default();
        match (moved.kind.as_str(), moved.to_member) {
            ("earn" | "exchange" | "bonus", true) => of.issued += points,
            ("earn_reversal" | "exchange_reversal" | "bonus_reversal", false) => of.taken_back += points,
            ("burn" | "exchange", false) => of.redeemed += points,
            ("burn_reversal" | "exchange_reversal" | "earn_reversal" | "bonus_reversal", true) | ("given_back", _) => of.redeemed -= given,
            ("expiry", false) | ("expiry_reversal", true) => of.expired -= given,
            _ => return Err(AccountingError::Broken("a posting of points is of no known kind")),
        }
        match sums.cohorts.len() > MOST_COHORTS {
            true => Err(AccountingError::Many(MOST_COHORTS, "cohorts")),
            false => Ok(()),
        }
    }

    /// Notes points whose price went back from the issuer to whoever funded them.
    fn refund(&self, sums: &mut Sums, moved: &Moved) -> Result<(), AccountingError> {
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

    /// What the lots of some members have left by their postings, before the period and at its end.
    fn lots(&self, conn: &mut Conn, members: &BTreeSet<&str>) -> Result<[MemberLots; 2], AccountingError> {
        let (mut lots, mut opening) = (MemberLots::new(), MemberLots::new());
        if members.is_empty() {
            return Ok([opening, lots]);
        }
        for date in &self.windows {
            self.each(conn, *date, |moved| {
                let of_them = moved
                    .lot
                    .as_ref()
                    .filter(|lot| moved.of_points && members.contains(lot.member.as_str()));
                let Some(lot) = of_them else { return Ok(()) };
                let cohort = self.cohort(lot)?;
                let points = i128::from(moved.points);
                let of_member = lots.entry(lot.member.clone()).or_default();
                let left = &mut of_member.entry(lot.key).or_insert((cohort, 0)).1;
                *left += if moved.to_member { points } else { -points };
                Ok(())
            })?;
            if Some(*date) == self.opening {
                opening = lots.clone();
            }
        }
        Ok([opening, lots])
    }
}

/// A state from its sums, once they add up.
fn state(sums: &Sums, lots: &MemberLots) -> Result<State, AccountingError> {
    let add_up = sums
        .cohorts
        .iter()
        .all(|(of, points)| sums.left.get(of) == Some(&points.outstanding()));
    let mut state = State {
        cohorts: sums.cohorts.clone(),
        debt: 0,
    };
    state.refund(&sums.refunded);
    state.set_off(sums.owing.iter().map(|(member, (since, points))| {
        let all = lots.get(member);
        let (later, earlier): (Vec<_>, Vec<_>) = all.into_iter().flatten().partition(|((seq, _), _)| seq > since);
        Owing {
            points: *points,
            lots: later.into_iter().chain(earlier).map(|(_, lot)| lot.clone()).collect(),
        }
    }));
    match add_up && state.balance() == sums.balance {
        true => Ok(state),
        false => Err(DbError::Corrupt("a programme's cohorts don't add up to its postings".into()).into()),
    }
}
