//! A partner's statements of several windows put together: a day, a month, or any range of days. Pure; every sum is one of the statements' own figures, so what they say of a day this says of a period.

mod dates;
mod statement;
mod together;

pub use dates::{MOST_DAYS, Period, PeriodError};
pub use statement::{DayLine, PERIOD_FORMAT, PERIOD_FORMAT_2, PeriodStatement, WindowLine};
pub use together::Together;

#[cfg(test)]
mod tests;
