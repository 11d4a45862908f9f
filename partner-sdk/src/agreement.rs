//! What two partners agreed on: terms and their content hashes (DESIGN section 6).
//!
//! Terms are written in points and money; [`Agreement`] holds the same in smallest units, with every check made once, so
//! that posting a message never rounds.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::amount::{Amount, Money, Points};
use crate::ids::{Currency, PartnerId, ProgrammeCode};
use crate::jws::sha256_hex;
use crate::member_fee::{MemberFee, MemberFeeUnits};
use crate::salt::Salt;
use crate::terms_error::{amount_fault, fault};

pub use crate::terms_error::TermsError;

/// What an agreement allows its partner to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgreementKind {
    /// Issue points at the partner's cost.
    Earn,
    /// Accept points; the issuer pays.
    Burn,
    /// Turn points of the partner's own programme into another's.
    Exchange,
}

/// When the funder of points owes for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Settle {
    /// In the window in which they are issued.
    #[default]
    Issue,
    /// In the window in which they are spent.
    Redemption,
}

/// Who pays the clearing fee of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeeBearer {
    /// The partner, whose programme gives.
    #[default]
    Partner,
    /// The issuer of the programme that takes.
    Issuer,
    /// Each half: the fee is worked out once, and an odd cent is the partner's.
    Half,
}

/// How an amount is rounded to the currency's minor unit (DESIGN section 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounding {
    /// To the nearest, half to even.
    #[default]
    HalfEven,
    /// To the nearest, half away from zero.
    HalfUp,
    /// Towards zero.
    Down,
    /// Away from zero.
    Up,
}

/// The bonuses that may be published under an exchange agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BonusSplit {
    /// The highest bonus, in percent of the points credited.
    pub max_percent: Amount,
    /// How much of a bonus the partner pays for, in percent; the issuer that takes bears the rest.
    pub funded_percent: Amount,
}

/// Points bought in advance (DESIGN section 2, agreement).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepaid {
    /// Points are bought in multiples of this.
    pub block: Amount,
    /// Below this many points left, the partner is warned.
    pub reorder_at: Amount,
}

/// The terms of one agreement between a partner and the issuer of a programme. Their hash is their identity: a change makes a new agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What it allows.
    pub kind: AgreementKind,
    /// The partner that may send messages under it.
    pub partner: PartnerId,
    /// The programme; for an exchange the one that gives, issued by the partner.
    pub programme: ProgrammeCode,
    /// For an exchange: the programme that takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_programme: Option<ProgrammeCode>,
    /// Money for one point (for an exchange, one point of `to_programme`).
    pub price: Amount,
    /// The currency of `price`.
    pub currency: Currency,
    /// For an earn: when the partner owes.
    #[serde(default)]
    pub settle: Settle,
    /// The most points in one message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_message: Option<Amount>,
    /// The most points for one member in one window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_member_day: Option<Amount>,
    /// The most points of all members together in one window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_partner_day: Option<Amount>,
    /// The most that the partner may owe, in `currency`, net of what it is owed, over all windows not yet settled, for a message under this agreement
    /// to make it owe more. It stands beside the cap that the operator sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net_debit_cap: Option<Amount>,
    /// Points move in multiples of this; for an exchange, a rate's step has to be a multiple of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Amount>,
    /// For an exchange: what the clearinghouse gets, in percent of the line's amount on the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clearing_fee_percent: Option<Amount>,
    /// Who pays the clearing fee; without it, the partner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clearing_fee_borne_by: Option<FeeBearer>,
    /// How the clearing fee is rounded to the currency's minor unit; without it, half to even.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounding: Option<Rounding>,
    /// For an exchange: what the partner asks of its member. The quote shows it; the clearinghouse doesn't collect it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member_fee: Option<MemberFee>,
    /// For an exchange: the bonuses that may be published under it, and who pays for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bonus: Option<BonusSplit>,
    /// For an earn that settles at issue: points are bought in blocks and drawn first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepaid: Option<Prepaid>,
    /// For an exchange: how many hours before it starts a new rate has to be published (0 to 8784); without it, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_notice_hours: Option<u16>,
    /// For an exchange: how many seconds a quote is good for (1 to 3600); without it, 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote_seconds: Option<u16>,
    /// For an exchange into a programme with external custody: how many minutes its issuer has to answer (1 to 10,080, a week) before the outcome is
    /// unknown; without it, 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge_minutes: Option<u16>,
    /// How many days' notice ends the agreement (0 to 3650); without it, 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice_days: Option<u16>,
    /// The SHA-256 of the paper contract, in lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract_sha256: Option<String>,
    /// The hash of the agreement that this one takes the place of; needed where one is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<String>,
    /// How many days after posting a message may be reversed (0 to 3650).
    #[serde(default = "default_reversal_days")]
    pub reversal_days: u16,
    /// How old `issued_at` may be, in minutes (1 to 527,040, a year).
    #[serde(default = "default_store_and_forward_minutes")]
    pub store_and_forward_minutes: u32,
    /// How long an authorise may hold points, in minutes (1 to 527,040).
    #[serde(default = "default_hold_minutes")]
    pub hold_minutes: u32,
    /// For an earn: points per major unit of spend, for tills and for the replay of purchases; the ledger doesn't use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earn_per_unit: Option<Amount>,
    /// In force from this instant, for what occurred at or after it.
    pub valid_from: Timestamp,
    /// In force until before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Random bits of the proposer's, so that the hash tells nobody the rest; needed in what is signed.
    #[serde(default)]
    pub salt: Salt,
}

fn default_reversal_days() -> u16 {
    90
}

fn default_store_and_forward_minutes() -> u32 {
    1440
}

fn default_hold_minutes() -> u32 {
    60
}

/// The longest allowance in minutes.
const YEAR_MINUTES: u32 = 527_040;

impl Terms {
    /// Terms with every option at its default: settled at issue, no limits, 90 days for reversals, a day for messages to arrive. The client gives them a salt
    /// when they are proposed.
    pub fn new(
        kind: AgreementKind,
        partner: PartnerId,
        programme: ProgrammeCode,
        price: Amount,
        currency: Currency,
        valid_from: Timestamp,
    ) -> Self {
        Self {
            kind,
            partner,
            programme,
            to_programme: None,
            price,
            currency,
            settle: Settle::default(),
            per_message: None,
            per_member_day: None,
            per_partner_day: None,
            net_debit_cap: None,
            step: None,
            clearing_fee_percent: None,
            clearing_fee_borne_by: None,
            rounding: None,
            member_fee: None,
            bonus: None,
            prepaid: None,
            rate_notice_hours: None,
            quote_seconds: None,
            acknowledge_minutes: None,
            notice_days: None,
            contract_sha256: None,
            supersedes: None,
            reversal_days: default_reversal_days(),
            store_and_forward_minutes: default_store_and_forward_minutes(),
            hold_minutes: default_hold_minutes(),
            earn_per_unit: None,
            valid_from,
            valid_until: None,
            salt: Salt::NONE,
        }
    }

    /// The canonical bytes, whose hash is the agreement's identity.
    pub fn canonical(&self) -> String {
        written(self)
    }

    /// How many minutes the issuer of a programme with external custody has to answer an exchange.
    pub fn acknowledge_minutes(&self) -> u16 {
        self.acknowledge_minutes.unwrap_or(10)
    }

    /// Days of notice that end it.
    pub fn notice_days(&self) -> u16 {
        self.notice_days.unwrap_or(30)
    }
}

/// Canonical JSON of types whose numbers are small integers, which always has a form.
pub(crate) fn written(value: &impl Serialize) -> String {
    crate::jcs::canonical(value).unwrap_or_default()
}

/// An agreement in smallest units, ready for posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// SHA-256 of the canonical terms, in hexadecimal.
    pub hash: String,
    /// The terms as agreed.
    pub terms: Terms,
    /// Micros for one smallest unit of points.
    pub price: Money,
    /// The most points in one message.
    pub per_message: Option<Points>,
    /// The most points for one member in one window.
    pub per_member_day: Option<Points>,
    /// The most points of all members together in one window.
    pub per_partner_day: Option<Points>,
    /// The most that the partner may owe for a message under this agreement to make it owe more.
    pub net_debit_cap: Option<Money>,
    /// Points move in multiples of this, in smallest units.
    pub step: i64,
    /// The clearing fee in millionths of a percent.
    pub fee_percent_micros: i64,
    /// What the partner asks of its member.
    pub member_fee: Option<MemberFeeUnits>,
    /// Highest bonus, and how much of it the partner pays for, in millionths of a percent.
    pub bonus: Option<(i64, i64)>,
    /// Points are bought in multiples of the first; below the second the partner is warned.
    pub prepaid: Option<(Points, Points)>,
}

/// A hundred percent in millionths of a percent.
pub(crate) const WHOLE: i64 = 100_000_000;

impl Agreement {
    /// Checks terms; `scale` is the programme's number of decimals, `price_scale` that of the programme whose points are priced (the same but
    /// for an exchange).
    pub fn new(terms: Terms, scale: u32, price_scale: u32) -> Result<Self, TermsError> {
        let micros = terms.price.to_units(6).map_err(amount_fault("price"))?;
        let unit = 10i64.pow(price_scale);
        if micros % unit != 0 {
            return Err(fault(
                "price",
                "must be a whole number of micros for the smallest unit of points, so that posting never rounds",
            ));
        }
        check_kind(&terms)?;
        check_times(&terms)?;
        let limit = |field, amount: Option<Amount>| {
            amount
                .map(|a| a.to_units(scale).map(Points).map_err(amount_fault(field)))
                .transpose()
        };
        let percent = |field, amount: Amount| match amount.to_units(6).map_err(amount_fault(field))? {
            percent if percent > WHOLE => Err(fault(field, "must be at most 100")),
            percent => Ok(percent),
        };
        let step = limit("step", terms.step)?.map_or(1, |step| step.0);
        if step < 1 {
            return Err(fault("step", "must be above zero"));
        }
        let bonus = match terms.bonus {
            Some(split) => Some((
                split.max_percent.to_units(6).map_err(amount_fault("bonus"))?,
                percent("bonus", split.funded_percent)?,
            )),
            None => None,
        };
        let prepaid = match terms.prepaid {
            Some(prepaid) => limit("prepaid", Some(prepaid.block))?.zip(limit("prepaid", Some(prepaid.reorder_at))?),
            None => None,
        };
        if prepaid.is_some_and(|(block, _)| block.0 < 1 || micros == 0) {
            return Err(fault("prepaid", "must have a block and a price above zero"));
        }
        let member_fee = terms.member_fee.map(|fee| MemberFeeUnits::new(&fee, terms.currency, price_scale));
        Ok(Self {
            hash: sha256_hex(terms.canonical().as_bytes()),
            price: Money(micros / unit),
            per_message: limit("per_message", terms.per_message)?,
            per_member_day: limit("per_member_day", terms.per_member_day)?,
            per_partner_day: limit("per_partner_day", terms.per_partner_day)?,
            net_debit_cap: money("net_debit_cap", terms.net_debit_cap)?,
            step,
            fee_percent_micros: terms.clearing_fee_percent.map_or(Ok(0), |p| percent("clearing_fee_percent", p))?,
            member_fee: member_fee.transpose()?,
            bonus,
            prepaid,
            terms,
        })
    }
}

fn money(field: &'static str, amount: Option<Amount>) -> Result<Option<Money>, TermsError> {
    amount.map(|a| a.to_units(6).map(Money).map_err(amount_fault(field))).transpose()
}

/// What belongs to one kind of agreement stands only there.
fn check_kind(terms: &Terms) -> Result<(), TermsError> {
    let exchange = terms.kind == AgreementKind::Exchange;
    if exchange != terms.to_programme.is_some() {
        return Err(fault("to_programme", "belongs to an exchange agreement, and only there"));
    }
    let only_exchange = [
        ("clearing_fee_percent", terms.clearing_fee_percent.is_some()),
        ("clearing_fee_borne_by", terms.clearing_fee_borne_by.is_some()),
        ("rounding", terms.rounding.is_some()),
        ("member_fee", terms.member_fee.is_some()),
        ("bonus", terms.bonus.is_some()),
        ("rate_notice_hours", terms.rate_notice_hours.is_some()),
        ("quote_seconds", terms.quote_seconds.is_some()),
        ("acknowledge_minutes", terms.acknowledge_minutes.is_some()),
    ];
    if let Some((field, _)) = only_exchange.into_iter().find(|(_, stated)| *stated && !exchange) {
        return Err(fault(field, "belongs to an exchange agreement"));
    }
    if terms.settle == Settle::Redemption && terms.kind != AgreementKind::Earn {
        return Err(fault("settle", "can be redemption only for an earn agreement"));
    }
    if terms.prepaid.is_some() && (terms.kind != AgreementKind::Earn || terms.settle != Settle::Issue) {
        return Err(fault("prepaid", "belongs to an earn agreement that settles at issue"));
    }
    for (field, hash) in [("contract_sha256", &terms.contract_sha256), ("supersedes", &terms.supersedes)] {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hash.as_ref().is_some_and(|hash| hash.len() != 64 || !hash.bytes().all(digit)) {
            return Err(fault(field, "must be 64 lower-case hexadecimal digits"));
        }
    }
    Ok(())
}

/// Allowances and periods are within their ranges.
fn check_times(terms: &Terms) -> Result<(), TermsError> {
    for (field, minutes) in [
        ("store_and_forward_minutes", terms.store_and_forward_minutes),
        ("hold_minutes", terms.hold_minutes),
    ] {
        if !(1..=YEAR_MINUTES).contains(&minutes) {
            return Err(fault(field, "must be 1 to 527040"));
        }
    }
    if terms.reversal_days > 3650 {
        return Err(fault("reversal_days", "must be 0 to 3650"));
    }
    if terms.notice_days.is_some_and(|days| days > 3650) {
        return Err(fault("notice_days", "must be 0 to 3650"));
    }
    if terms.rate_notice_hours.is_some_and(|hours| hours > 8784) {
        return Err(fault("rate_notice_hours", "must be 0 to 8784"));
    }
    if terms.quote_seconds.is_some_and(|seconds| !(1..=3600).contains(&seconds)) {
        return Err(fault("quote_seconds", "must be 1 to 3600"));
    }
    if terms.acknowledge_minutes.is_some_and(|minutes| !(1..=10_080).contains(&minutes)) {
        return Err(fault("acknowledge_minutes", "must be 1 to 10080"));
    }
    if terms.valid_until.is_some_and(|until| until <= terms.valid_from) {
        return Err(fault("valid_until", "must be after valid_from"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(json: &str) -> Terms {
        serde_json::from_str(json).expect(json)
    }

    const EXCHANGE: &str = r#"{"kind":"exchange","partner":"bank","programme":"BANK","to_programme":"MILES","price":"0.08","currency":"HKD","clearing_fee_percent":"1","valid_from":"2026-01-01T00:00:00Z"}"#;

    #[test]
    fn a_price_that_would_round_is_refused() {
        let earn = |price: &str| {
            terms(&format!(
                r#"{{"kind":"earn","partner":"a","programme":"YUU","price":"{price}","currency":"HKD","valid_from":"2026-01-01T00:00:00Z"}}"#
            ))
        };
        assert_eq!(Agreement::new(earn("0.0055"), 0, 0).map(|a| a.price), Ok(Money(5500)));
        assert_eq!(Agreement::new(earn("0.0055"), 2, 2).map(|a| a.price), Ok(Money(55)));
        assert_eq!(Agreement::new(earn("0.00055"), 2, 2).expect_err("5.5 micros").field, "price");
    }

    #[test]
    fn identity_is_the_content() {
        let a = Agreement::new(terms(EXCHANGE), 0, 0).expect("good");
        let b = Agreement::new(terms(&EXCHANGE.replace("0.08", "0.080001")), 0, 0).expect("good");
        assert_ne!(a.hash, b.hash);
        assert!(
            a.terms
                .canonical()
                .starts_with(r#"{"clearing_fee_percent":"1","currency":"HKD","hold_minutes":60,"#),
            "{}",
            a.terms.canonical()
        );
    }
}
