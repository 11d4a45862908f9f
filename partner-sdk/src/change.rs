//! What the operator's people change, always two of them: one proposes, another approves the same bytes (four eyes). And the life of a partner.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::banking::{AccountTerms, Paid};
use crate::calendar::{Calendar, CalendarTerms};
use crate::fx::FxTerms;
use crate::ids::{Currency, KeyId, MemberNumber, MessageId, PartnerId, ProgrammeCode};
use crate::rate::{BonusTerms, RateTerms};
use crate::salt::Salt;
use crate::text;

/// The life of a partner. What each may do stands in docs/PROTOCOL.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Enrols its keys and signs agreements; posts nothing yet.
    Admitted,
    /// Posts.
    Active,
    /// May look and be settled, may not post or sign.
    Suspended,
    /// Runs off: points are spent, reversed and settled, none are issued.
    Leaving,
    /// Was a partner: the door is shut.
    Gone,
}

impl Status {
    /// All of them.
    pub const ALL: [Status; 5] = [Status::Admitted, Status::Active, Status::Suspended, Status::Leaving, Status::Gone];

    /// The name as it travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Admitted => "admitted",
            Status::Active => "active",
            Status::Suspended => "suspended",
            Status::Leaving => "leaving",
            Status::Gone => "gone",
        }
    }

    /// Whether a partner may go from here to `next`. Nobody comes back from gone, and nobody goes without running off first, but for one that never
    /// posted.
    pub fn may_become(self, next: Status) -> bool {
        use Status::{Active, Admitted, Gone, Leaving, Suspended};
        matches!(
            (self, next),
            (Admitted, Active | Gone) | (Active, Suspended | Leaving) | (Suspended, Active | Leaving) | (Leaving, Suspended | Gone)
        )
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Status {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|status| status.as_str() == text);
        known.ok_or_else(|| "not a partner's status: admitted, active, suspended, leaving or gone".to_owned())
    }
}

/// Where a programme's balances live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Custody {
    /// Here.
    #[default]
    Hosted,
    /// With the issuer; here only exchanges with it are known.
    External,
}

/// A programme's rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgrammeTerms {
    /// The code.
    pub code: ProgrammeCode,
    /// The partner that issues the points and stands behind them.
    pub issuer: PartnerId,
    /// Decimals of a point, 0 to 2.
    #[serde(default)]
    pub scale: u32,
    /// Where the balances live.
    #[serde(default)]
    pub custody: Custody,
    /// How many points are worth one major unit of `currency` at the till; for tills and the replay, the ledger doesn't use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub face_value: Option<Amount>,
    /// The currency of `face_value`.
    pub currency: Currency,
    /// Points expire at the end of the local day this long after they were earned, e.g. `12 months`; without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_after: Option<String>,
    /// How far below zero a reversal may take a balance, in points; without it, not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negative_limit: Option<Amount>,
}

/// How many people there are at least, from the founding on: with two, a lost key would stop every change.
pub const FOUNDERS: usize = 3;

/// The most windows that are paid together.
pub const MOST_JOINED: usize = 31;

/// One of the operator's people, who propose and approve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonTerms {
    /// The person's name, as it stands in the trail.
    #[serde(deserialize_with = "text::name")]
    pub name: String,
    /// The id of the signing key.
    pub kid: KeyId,
    /// The Ed25519 public key: 32 bytes as unpadded base64url.
    pub public_key: String,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// A new partner, admitted.
    Admit {
        /// Its id.
        partner: PartnerId,
        /// Its name, for people.
        #[serde(deserialize_with = "text::name")]
        name: String,
    },
    /// A partner's next status.
    Status {
        /// The partner.
        partner: PartnerId,
        /// What it becomes.
        status: Status,
    },
    /// A partner may enrol keys by itself: once, and within 24 hours of the approval.
    Invite {
        /// The partner.
        partner: PartnerId,
        /// The SHA-256 of the invitation's token, which the proposer hands over: 64 digits of lower-case hexadecimal.
        token_sha256: String,
    },
    /// A partner's net debit cap.
    Cap {
        /// The partner.
        partner: PartnerId,
        /// In this currency.
        currency: Currency,
        /// The most that it may owe; without it, any amount.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<Amount>,
    },
    /// A new programme.
    Programme(ProgrammeTerms),
    /// An exchange rate under an exchange agreement in force.
    Rate(RateTerms),
    /// When windows end, from a business date on whose window hasn't opened.
    Calendar(CalendarTerms),
    /// A bonus for a period, under an exchange agreement in force.
    Bonus(BonusTerms),
    /// Points that a member owes after a clawback are given up, at the issuer's loss.
    WriteOff {
        /// The programme.
        programme: ProgrammeCode,
        /// The member's number there.
        member: MemberNumber,
        /// How many points.
        points: Amount,
    },
    /// A rate or bonus that hasn't begun is taken back: it never begins.
    TakeBack {
        /// Its hash.
        published: String,
    },
    /// All payments of a window were made: its debts no longer count against net debit caps.
    Settle {
        /// The window.
        business_date: Date,
    },
    /// These payments were made: what each paid no longer counts against net debit caps. A window of which none is left is settled.
    Confirm {
        /// At least one, at most [`MOST_PAID`](crate::banking::MOST_PAID), sorted by their references, each once.
        payments: Vec<Paid>,
        /// The SHA-256 of the bank's statement that shows them: 64 digits of lower-case hexadecimal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bank_statement: Option<String>,
    },
    /// A partner hasn't paid for a window, or can't be paid: it is taken out of it, and the payments of the others are made anew. Its debts and claims there stay between it and them.
    Default {
        /// Who.
        partner: PartnerId,
        /// The window.
        business_date: Date,
    },
    /// How a dispute ends that the other party contests, or hasn't answered in time.
    Decide {
        /// The dispute's hash.
        dispute: String,
        /// How much isn't owed: from 0 to what is disputed, a whole number of minor units.
        upheld: Amount,
    },
    /// A window that isn't netted yet is paid in one currency, at these rates.
    Fx(FxTerms),
    /// What is open of several windows is paid together: each partner makes one payment of the sum in a currency, with the last of the windows, or none where the sum is zero.
    Join {
        /// At least two, at most [`MOST_JOINED`], sorted, each once.
        business_dates: Vec<Date>,
    },
    /// Where a party is paid, or pays into.
    Account(AccountTerms),
    /// The network's first people, its calendar and how it stands; made once, and signed by all of them at once.
    Found {
        /// At least [`FOUNDERS`].
        people: Vec<PersonTerms>,
        /// When windows end.
        calendar: Calendar,
        /// The partners with their keys, the programmes and what is agreed, by the SHA-256 of them all: 64 digits of lower-case hexadecimal.
        network: String,
    },
    /// A further person who proposes and approves.
    Person(PersonTerms),
    /// A person who proposes and approves no more.
    PersonLeaves {
        /// The person's name.
        name: String,
    },
}

/// What is signed: a change under an id of its own, so that the same change can be made again another day, and not by replaying old bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// Unique.
    pub id: MessageId,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// Why, for the trail.
    #[serde(deserialize_with = "text::reason")]
    pub reason: String,
    /// Random bits of the proposer's, so that the hash tells nobody the rest.
    #[serde(default)]
    pub salt: Salt,
    /// What.
    pub change: Change,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_as_it_was_written() {
        let salt = "00112233445566778899aabbccddeeff";
        for change in [
            r#"{"status":{"partner":"a","status":"leaving"}}"#,
            r#"{"cap":{"amount":"100","currency":"HKD","partner":"a"}}"#,
            r#"{"cap":{"currency":"HKD","partner":"a"}}"#,
            r#"{"invite":{"partner":"a","token_sha256":"00"}}"#,
            r#"{"bonus":{"funded_percent":"50","percent":"15","programme":"BANK","to_programme":"MILES","valid_from":"2026-01-01T00:00:00Z","valid_until":"2026-02-01T00:00:00Z"}}"#,
            r#"{"account":{"account":"0123","bank":"HSBCHKHH","currency":"HKD","holder":"A Ltd","partner":"a"}}"#,
            r#"{"confirm":{"bank_statement":"00","payments":[{"amount":"8.25","currency":"HKD","paid_on":"2026-11-23","reference":"RF66261121HKD0004"}]}}"#,
            r#"{"fx":{"business_date":"2026-11-21","payment_currency":"HKD","rates":[{"currency":"USD","rate":"7.8123"}]}}"#,
            r#"{"default":{"business_date":"2026-11-21","partner":"a"}}"#,
            r#"{"decide":{"dispute":"00","upheld":"8.25"}}"#,
            r#"{"join":{"business_dates":["2026-11-20","2026-11-21"]}}"#,
            r#"{"programme":{"code":"YUU","currency":"HKD","custody":"external","issuer":"a","scale":0}}"#,
        ] {
            let text = format!(r#"{{"change":{change},"id":"c-1","proposed_at":"2026-01-01T00:00:00Z","reason":"why","salt":"{salt}"}}"#);
            let read: Proposal = crate::document::read(text.as_bytes()).expect(change);
            assert_eq!(crate::document::write(&read), text);
        }
        let unknown =
            r#"{"change":{"cap":{"currency":"HKD","partner":"a","x":1}},"id":"c","proposed_at":"2026-01-01T00:00:00Z","reason":""}"#;
        assert!(crate::document::read::<Proposal>(unknown.as_bytes()).is_err());
    }

    #[test]
    fn the_life_of_a_partner() {
        let next = |from: Status| {
            Status::ALL
                .into_iter()
                .filter(|to| from.may_become(*to))
                .map(Status::as_str)
                .collect::<Vec<_>>()
        };
        assert_eq!(next(Status::Admitted), ["active", "gone"]);
        assert_eq!(next(Status::Active), ["suspended", "leaving"]);
        assert_eq!(next(Status::Suspended), ["active", "leaving"]);
        assert_eq!(next(Status::Leaving), ["suspended", "gone"]);
        assert_eq!(next(Status::Gone), [""; 0]);
    }
}
