//! The business calendar: which window an instant falls in, and when that window ends. Pure.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// When windows end. Window D ends at the local `cut_off` on date D and begins where the window before it ended; holidays and closed weekdays
/// have no window, and what falls there goes to the next business date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// A zone of the tz database, e.g. `Asia/Hong_Kong`.
    pub zone: String,
    /// Local time `HH:MM`, `00:01` to `24:00` (the start of the next local day). A time that the clocks skip counts as much later as they
    /// jump; of a time that they repeat, the first counts.
    #[serde(default = "midnight")]
    pub cut_off: String,
    /// Dates without a window.
    #[serde(default)]
    pub holidays: Vec<Date>,
    /// Weekdays without a window.
    #[serde(default)]
    pub closed_weekdays: Vec<Weekday>,
}

/// The calendar that governs the business dates from `first_date` on, as it is proposed. It names the fields of [`Calendar`] once more because serde can't
/// refuse unknown fields of what it flattens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarTerms {
    /// The first business date that it governs; its window may not have opened yet.
    pub first_date: Date,
    /// As in [`Calendar`].
    pub zone: String,
    /// As in [`Calendar`].
    #[serde(default = "midnight")]
    pub cut_off: String,
    /// As in [`Calendar`]: all of them, not those that are new.
    #[serde(default)]
    pub holidays: Vec<Date>,
    /// As in [`Calendar`].
    #[serde(default)]
    pub closed_weekdays: Vec<Weekday>,
}

impl CalendarTerms {
    /// The calendar.
    pub fn calendar(&self) -> Calendar {
        Calendar {
            zone: self.zone.clone(),
            cut_off: self.cut_off.clone(),
            holidays: self.holidays.clone(),
            closed_weekdays: self.closed_weekdays.clone(),
        }
    }
}

fn midnight() -> String {
    "24:00".into()
}

/// A day of the week by its English name in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    const ALL: [Self; 7] = [
        Self::Monday,
        Self::Tuesday,
        Self::Wednesday,
        Self::Thursday,
        Self::Friday,
        Self::Saturday,
        Self::Sunday,
    ];

    fn of(date: Date) -> Self {
        use jiff::civil::Weekday as W;
        match date.weekday() {
            W::Monday => Self::Monday,
            W::Tuesday => Self::Tuesday,
            W::Wednesday => Self::Wednesday,
            W::Thursday => Self::Thursday,
            W::Friday => Self::Friday,
            W::Saturday => Self::Saturday,
            W::Sunday => Self::Sunday,
        }
    }
}

/// Why a calendar can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CalendarError {
    /// The tz database has no such zone.
    #[error("`{zone}` is no zone of the tz database")]
    Zone {
        /// What the calendar says.
        zone: String,
        /// What the database says.
        #[source]
        source: jiff::Error,
    },
    /// The cut-off isn't a time of day.
    #[error("cut_off `{0}` must be HH:MM, from 00:01 to 24:00")]
    CutOff(String),
    /// Midnight could be either end of the date.
    #[error("cut_off 00:00 would end a window before its date begins: write 24:00 for the end of the date")]
    Midnight,
    /// There would be no window ever.
    #[error("at least one weekday must be open")]
    NeverOpen,
    /// The window after would end no later than the one before.
    #[error("the window of {after} would end before or with that of {before}")]
    Backwards {
        /// The last date of the calendar before.
        before: Date,
        /// The first date of this one.
        after: Date,
    },
    /// No calendar was ever put in force.
    #[error("there is no calendar yet")]
    None,
    /// The dates of the calendar end (in the year 9999).
    #[error("the date is outside what a calendar can hold")]
    Range(#[source] jiff::Error),
}

impl Calendar {
    /// Whether the calendar can be used: a known zone, a cut-off from 00:01 to 24:00, and at least one open weekday.
    pub fn check(&self) -> Result<(), CalendarError> {
        self.faults().next().map_or(Ok(()), Err)
    }

    /// Whatever keeps the calendar from being used.
    pub fn faults(&self) -> impl Iterator<Item = CalendarError> {
        let never = Weekday::ALL.iter().all(|day| self.closed_weekdays.contains(day));
        let faults = [self.time_zone().err(), self.time().err(), never.then_some(CalendarError::NeverOpen)];
        faults.into_iter().flatten()
    }

    /// The business date of the window that an instant falls in. The instant of a cut-off is already in the next window.
    pub fn business_date(&self, at: Timestamp) -> Result<Date, CalendarError> {
        // The window of the local date's eve may still be open: where clocks jump, a cut-off can fall after midnight.
        let mut date = at.to_zoned(self.time_zone()?).date().yesterday().map_err(CalendarError::Range)?;
        while !self.is_open(date) || self.cut_off_at(date)? <= at {
            date = self.next(date)?;
        }
        Ok(date)
    }

    /// The first business date after `date`, which may be any date.
    pub fn next(&self, date: Date) -> Result<Date, CalendarError> {
        // Without this a calendar that nobody checked would walk to the end of time.
        self.check()?;
        let mut next = date.tomorrow().map_err(CalendarError::Range)?;
        while !self.is_open(next) {
            next = next.tomorrow().map_err(CalendarError::Range)?;
        }
        Ok(next)
    }

    /// The instant at which the window of `date` ends.
    pub fn cut_off_at(&self, date: Date) -> Result<Timestamp, CalendarError> {
        let local = match self.time()? {
            Some(time) => date.to_datetime(time),
            None => DateTime::from_parts(date.tomorrow().map_err(CalendarError::Range)?, Time::midnight()),
        };
        let zone = self.time_zone()?;
        zone.to_ambiguous_zoned(local)
            .compatible()
            .map(|zoned| zoned.timestamp())
            .map_err(CalendarError::Range)
    }

    /// Whether a date has a window.
    pub fn is_open(&self, date: Date) -> bool {
        !self.holidays.contains(&date) && !self.closed_weekdays.contains(&Weekday::of(date))
    }

    /// The zone, which is that of the members' day too.
    pub fn time_zone(&self) -> Result<TimeZone, CalendarError> {
        TimeZone::get(&self.zone).map_err(|source| CalendarError::Zone {
            zone: self.zone.clone(),
            source,
        })
    }

    /// The cut-off's time of day; `None` for 24:00.
    fn time(&self) -> Result<Option<Time>, CalendarError> {
        let bad = || CalendarError::CutOff(self.cut_off.clone());
        let [h1, h2, b':', m1, m2] = self.cut_off.as_bytes() else {
            return Err(bad());
        };
        if ![h1, h2, m1, m2].into_iter().all(u8::is_ascii_digit) {
            return Err(bad());
        }
        let number = |tens: &u8, ones: &u8| ((tens - b'0') * 10 + (ones - b'0')) as i8;
        match (number(h1, h2), number(m1, m2)) {
            (24, 0) => Ok(None),
            (0, 0) => Err(CalendarError::Midnight),
            (hour, minute) => Time::new(hour, minute, 0, 0).map(Some).map_err(|_| bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(zone: &str, cut_off: &str) -> Calendar {
        Calendar {
            zone: zone.into(),
            cut_off: cut_off.into(),
            holidays: vec![],
            closed_weekdays: vec![],
        }
    }

    fn date(text: &str) -> Date {
        text.parse().expect(text)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect(text)
    }

    #[test]
    fn calendars_are_checked() {
        for good in ["24:00", "00:01", "23:59", "17:30"] {
            assert!(calendar("Asia/Hong_Kong", good).check().is_ok(), "{good}");
        }
        for bad in ["", "24:01", "25:00", "12:60", "1:30", "+1:30", "12-30", "12:30:00", "12:3٠"] {
            assert!(
                matches!(calendar("Asia/Hong_Kong", bad).check(), Err(CalendarError::CutOff(_))),
                "{bad}"
            );
        }
        let midnight = calendar("UTC", "00:00").check().expect_err("midnight").to_string();
        assert!(midnight.contains("write 24:00"), "{midnight}");
        assert!(matches!(
            calendar("Asia/Atlantis", "24:00").check(),
            Err(CalendarError::Zone { .. })
        ));
        let closed = Calendar {
            closed_weekdays: Weekday::ALL.to_vec(),
            ..calendar("UTC", "24:00")
        };
        assert!(matches!(closed.check(), Err(CalendarError::NeverOpen)));
        assert!(closed.next(date("2026-01-01")).is_err() && closed.business_date(at("2026-01-01T00:00:00Z")).is_err());
    }

    #[test]
    fn a_calendar_reads_as_it_is_written() {
        let read = |json: &str| serde_json::from_str::<Calendar>(json);
        assert_eq!(
            read(r#"{"zone":"Asia/Hong_Kong"}"#).expect("defaults"),
            calendar("Asia/Hong_Kong", "24:00")
        );
        let full = Calendar {
            holidays: vec![date("2026-12-25")],
            closed_weekdays: vec![Weekday::Saturday, Weekday::Sunday],
            ..calendar("Asia/Hong_Kong", "17:30")
        };
        let json = r#"{"zone":"Asia/Hong_Kong","cut_off":"17:30","holidays":["2026-12-25"],"closed_weekdays":["saturday","sunday"]}"#;
        assert_eq!(serde_json::to_string(&full).expect("json"), json);
        assert_eq!(read(json).expect("full"), full);
        assert!(read(r#"{"zone":"UTC","cutoff":"17:30"}"#).is_err());
        assert!(read(r#"{"zone":"UTC","closed_weekdays":["Sunday"]}"#).is_err());
    }

    #[test]
    fn windows_meet_at_the_cut_off() {
        let hk = calendar("Asia/Hong_Kong", "24:00");
        assert_eq!(hk.cut_off_at(date("2017-01-01")).expect("time"), at("2017-01-01T16:00:00Z"));
        assert_eq!(
            hk.business_date(at("2017-01-01T15:59:59.999999Z")).expect("date"),
            date("2017-01-01")
        );
        assert_eq!(hk.business_date(at("2017-01-01T16:00:00Z")).expect("date"), date("2017-01-02"));
        let noon = calendar("Asia/Hong_Kong", "12:00");
        assert_eq!(noon.business_date(at("2017-01-01T03:59:59Z")).expect("date"), date("2017-01-01"));
        assert_eq!(noon.business_date(at("2017-01-01T04:00:00Z")).expect("date"), date("2017-01-02"));
    }

    #[test]
    fn closed_days_go_to_the_next_business_date() {
        let closed_weekdays = vec![Weekday::Saturday, Weekday::Sunday];
        let cal = Calendar {
            holidays: vec![date("2026-12-25"), date("2026-12-28")],
            closed_weekdays,
            ..calendar("Asia/Hong_Kong", "18:00")
        };
        assert_eq!(cal.next(date("2026-12-24")).expect("date"), date("2026-12-29"));
        assert_eq!(cal.business_date(at("2026-12-24T09:59:59Z")).expect("date"), date("2026-12-24"));
        for closed in [
            "2026-12-24T10:00:00Z",
            "2026-12-26T00:00:00Z",
            "2026-12-28T12:00:00Z",
            "2026-12-29T09:59:59Z",
        ] {
            assert_eq!(cal.business_date(at(closed)).expect("date"), date("2026-12-29"), "{closed}");
        }
    }

    #[test]
    fn clocks_that_jump() {
        // New York skips 02:00 to 03:00 on 8 March 2026 and repeats 01:00 to 02:00 on 1 November.
        assert_eq!(
            calendar("America/New_York", "02:30").cut_off_at(date("2026-03-08")).expect("gap"),
            at("2026-03-08T07:30:00Z")
        );
        let fold = calendar("America/New_York", "01:30");
        assert_eq!(fold.cut_off_at(date("2026-11-01")).expect("fold"), at("2026-11-01T05:30:00Z"));
        // The second 01:15 comes after the first 01:30, so it is in the next window.
        assert_eq!(fold.business_date(at("2026-11-01T06:15:00Z")).expect("date"), date("2026-11-02"));
        // Sao Paulo began summer time at midnight: 4 November 2018 starts at 01:00.
        let sao_paulo = calendar("America/Sao_Paulo", "24:00");
        assert_eq!(sao_paulo.cut_off_at(date("2018-11-03")).expect("gap"), at("2018-11-04T03:00:00Z"));
        assert_eq!(
            sao_paulo.business_date(at("2018-11-04T02:59:59Z")).expect("date"),
            date("2018-11-03")
        );
        assert_eq!(
            sao_paulo.business_date(at("2018-11-04T03:00:00Z")).expect("date"),
            date("2018-11-04")
        );
    }

    #[test]
    fn a_date_that_a_zone_left_out_is_an_empty_window() {
        // Samoa went from 29 to 31 December 2011.
        let apia = calendar("Pacific/Apia", "24:00");
        assert_eq!(
            apia.cut_off_at(date("2011-12-29")).expect("time"),
            apia.cut_off_at(date("2011-12-30")).expect("time")
        );
        assert_eq!(apia.business_date(at("2011-12-30T09:59:59Z")).expect("date"), date("2011-12-29"));
        assert_eq!(apia.business_date(at("2011-12-30T10:00:00Z")).expect("date"), date("2011-12-31"));
    }
}
