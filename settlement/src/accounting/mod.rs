//! Accounting data for a programme's issuer: what is outstanding, what of the price of points is deferred at an expected rate of redemption, how that went from one state to the next, and what is to
//! expire when. Pure; data for the accountant and no ruling.

mod cohort;
mod deferral;
mod document;
mod error;
mod estimate;
mod form;
mod journal;
mod lots;
mod month;
mod report;
mod sheets;
mod state;

pub use cohort::{Basis, Cohort, Points};
pub use deferral::Deferral;
pub use document::{
    ACCOUNTING_FORMAT, Accounting, BreakagePoints, CohortLine, EstimateLine, ForecastLine, NOTICE, OutstandingLine, PointsLine,
    RollForwardLine,
};
pub use error::AccountingError;
pub use estimate::{Estimate, Estimates};
pub use form::AccountingForm;
pub use lots::Lots;
pub use month::Month;
pub use report::{Subject, report};
pub use state::{Owing, Parcel, State};

#[cfg(test)]
mod tests;
