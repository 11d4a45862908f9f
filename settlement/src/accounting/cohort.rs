//! Points that are alike: one agreement, funder and price, issued in one month, to expire in one month.

use partner_sdk::{Currency, PartnerId};

use super::month::Month;

/// When the price of points is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// When they are issued.
    Issue,
    /// Before: they were drawn from a block.
    Prepaid,
    /// When they are spent.
    Redemption,
    /// Never: the issuer funds them itself.
    Own,
}

impl Basis {
    /// The name in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Prepaid => "prepaid",
            Self::Redemption => "redemption",
            Self::Own => "own",
        }
    }

    /// Whether something was received for them that may be deferred.
    pub fn defers(self) -> bool {
        matches!(self, Self::Issue | Self::Prepaid)
    }
}

/// What points of a cohort have in common. Cohorts of one agreement are in the order of their age.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cohort {
    /// The agreement's hash.
    pub agreement: String,
    /// Who funds them.
    pub funder: PartnerId,
    /// In micros for the smallest unit of points.
    pub price: i64,
    /// Of the price.
    pub currency: Currency,
    /// When the price is paid.
    pub basis: Basis,
    /// The month of the window in which they were issued.
    pub issued_in: Month,
    /// The month with the last day on which they can be spent; `None` for points that never expire.
    pub expires_in: Option<Month>,
}

/// What became of a cohort's points, in the programme's smallest unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Points {
    /// Issued.
    pub issued: i128,
    /// Taken back: their price was returned.
    pub taken_back: i128,
    /// Spent, or given for others that were spent.
    pub redeemed: i128,
    /// Expired unspent.
    pub expired: i128,
}

impl Points {
    /// What the members have of them: all others are gone.
    pub fn outstanding(&self) -> i128 {
        self.issued - self.taken_back - self.redeemed - self.expired
    }
}
