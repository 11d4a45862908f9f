//! Every calendar that was put in force: windows are a function of them. Pure.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
pub use partner_sdk::calendar::{Calendar, CalendarError, Weekday};

/// The first business date of the calendar that a network is founded with.
pub const BEGINNING: Date = jiff::civil::date(1, 1, 1);

/// The most days without a window in a row that are looked back over.
const LONGEST_PAUSE: usize = 400;

/// Calendars in the order in which they were put in force. Each governs the business dates from its first on, so a date has the last of those that begin
/// on it or before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendars(Vec<(Date, Calendar)>);

impl Calendars {
    /// Calendars with their first dates, each of which can be used.
    pub fn new(all: Vec<(Date, Calendar)>) -> Result<Self, CalendarError> {
        all.iter().try_for_each(|(_, calendar)| calendar.check())?;
        Ok(Self(all))
    }

    /// All of them with their first dates, in the order in which they were put in force.
    pub fn all(&self) -> &[(Date, Calendar)] {
        &self.0
    }

    /// The calendar of a date.
    pub fn of(&self, date: Date) -> Result<&Calendar, CalendarError> {
        let mut latest = self.0.iter().rev();
        let found = latest.find(|(first, _)| *first <= date);
        found.map(|(_, calendar)| calendar).ok_or(CalendarError::None)
    }

    /// The first business date after `date`, which may be any date, and the instant at which its window ends.
    pub fn next(&self, date: Date) -> Result<(Date, Timestamp), CalendarError> {
        let mut next = date;
        loop {
            next = next.tomorrow().map_err(CalendarError::Range)?;
            let calendar = self.of(next)?;
            if calendar.is_open(next) {
                return Ok((next, calendar.cut_off_at(next)?));
            }
        }
    }

    /// The business date of the window that an instant falls in, and the instant at which it ends. That of a cut-off is in the next window.
    pub fn window_at(&self, at: Timestamp) -> Result<(Date, Timestamp), CalendarError> {
        // Wherever it is, the date before yesterday in UTC is over.
        let yesterday = at.to_zoned(TimeZone::UTC).date().yesterday();
        let mut date = yesterday.and_then(Date::yesterday).map_err(CalendarError::Range)?;
        loop {
            let (next, cut_off) = self.next(date)?;
            if cut_off > at {
                return Ok((next, cut_off));
            }
            date = next;
        }
    }

    /// With one more calendar from a date on; refused where its first window would end before or with the one before.
    pub fn with(&self, first: Date, calendar: Calendar) -> Result<Self, CalendarError> {
        let mut all = self.0.clone();
        all.push((first, calendar));
        let with = Self::new(all)?;
        let (after, cut_off) = with.next(first.yesterday().map_err(CalendarError::Range)?)?;
        match with.last_before(first)? {
            Some((before, end)) if end >= cut_off => Err(CalendarError::Backwards { before, after }),
            _ => Ok(with),
        }
    }

    /// The last business date before a date, and when its window ends.
    fn last_before(&self, date: Date) -> Result<Option<(Date, Timestamp)>, CalendarError> {
        let mut before = date;
        for _ in 0..LONGEST_PAUSE {
            before = before.yesterday().map_err(CalendarError::Range)?;
            match self.of(before) {
                Ok(calendar) if calendar.is_open(before) => return Ok(Some((before, calendar.cut_off_at(before)?))),
                Ok(_) => {}
                Err(CalendarError::None) => return Ok(None),
                Err(other) => return Err(other),
            }
        }
        Ok(None)
    }

    /// The zones of the members' day, each with the instant from which it counts: the end of the last window of the calendar before.
    pub fn zones(&self) -> Result<Vec<(Timestamp, TimeZone)>, CalendarError> {
        let mut firsts: Vec<Date> = self.0.iter().map(|(first, _)| *first).collect();
        firsts.sort_unstable();
        firsts.dedup();
        let mut zones: Vec<(Timestamp, TimeZone)> = vec![];
        for first in firsts {
            let zone = self.of(first)?.time_zone()?;
            let from = match zones.is_empty() {
                true => Timestamp::MIN,
                false => self.last_before(first)?.map_or(Timestamp::MIN, |(_, end)| end),
            };
            zones.push((from, zone));
        }
        Ok(zones)
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
    fn each_date_has_the_last_calendar_that_begins_by_then() {
        let founded = Calendars::new(vec![(BEGINNING, calendar("Asia/Hong_Kong", "24:00"))]).expect("good");
        let holiday = Calendar {
            holidays: vec![date("2026-12-25")],
            ..calendar("Asia/Hong_Kong", "18:00")
        };
        let later = founded.with(date("2026-12-24"), holiday.clone()).expect("grows");
        assert_eq!(
            later.next(date("2026-12-22")).expect("old"),
            (date("2026-12-23"), at("2026-12-23T16:00:00Z"))
        );
        assert_eq!(
            later.next(date("2026-12-23")).expect("new"),
            (date("2026-12-24"), at("2026-12-24T10:00:00Z"))
        );
        assert_eq!(later.next(date("2026-12-24")).expect("new").0, date("2026-12-26"));
        // What is put in force last counts, also where one that begins later was there before; that one is over.
        let sooner = later.with(date("2026-12-23"), calendar("Asia/Hong_Kong", "12:00")).expect("grows");
        assert_eq!(sooner.next(date("2026-12-24")).expect("newest").0, date("2026-12-25"));
        assert_eq!(
            sooner.window_at(at("2026-12-23T04:00:00Z")).expect("a cut-off"),
            (date("2026-12-24"), at("2026-12-24T04:00:00Z"))
        );
        assert!(matches!(Calendars::default().next(date("2026-01-01")), Err(CalendarError::None)));
    }

    #[test]
    fn windows_do_not_end_before_those_before() {
        let west = Calendars::new(vec![(BEGINNING, calendar("Pacific/Pago_Pago", "24:00"))]).expect("good");
        let east = calendar("Pacific/Kiritimati", "00:01");
        assert!(matches!(
            west.with(date("2026-12-24"), east.clone()),
            Err(CalendarError::Backwards { .. })
        ));
        let pause = Calendar {
            holidays: vec![date("2026-12-24"), date("2026-12-25")],
            ..east
        };
        let moved = west.with(date("2026-12-24"), pause).expect("after a pause");
        let ends = moved.last_before(date("2026-12-24")).expect("one").expect("one").1;
        let zones = moved.zones().expect("zones");
        assert_eq!(zones.len(), 2);
        assert_eq!((zones[0].0, zones[1].0), (Timestamp::MIN, ends));
    }

    #[test]
    fn an_instant_has_one_window_wherever_it_is() {
        for zone in ["Pacific/Pago_Pago", "UTC", "Pacific/Kiritimati", "America/Sao_Paulo"] {
            let one = calendar(zone, "24:00");
            let all = Calendars::new(vec![(BEGINNING, one.clone())]).expect("good");
            for hour in 0..240 {
                let at = at("2018-10-30T00:30:00Z") + jiff::SignedDuration::from_hours(hour);
                assert_eq!(
                    all.window_at(at).expect("a window").0,
                    one.business_date(at).expect("a date"),
                    "{zone} {at}"
                );
            }
        }
    }
}
