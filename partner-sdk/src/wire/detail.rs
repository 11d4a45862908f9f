//! What happened to a refused message, for people: a sentence made from the facts of its receipt, here and nowhere else, so that whoever keeps the receipt
//! can say it again years later.

use super::Receipt;
use crate::problem::Code;

impl Receipt {
    /// The `detail` of the problem that goes with a rejection: limit, room, balance, times, as far as the sender may know them. The code's title where the
    /// receipt states no facts; empty for an acceptance.
    pub fn detail(&self) -> String {
        let Some(code) = self.code else { return String::new() };
        let field = self.field.as_deref().unwrap_or_default();
        sentence(code, field, |name| self.fact(name)).unwrap_or_else(|| code.title().to_owned())
    }

    /// The `what_to_do` of that problem: where the code's own advice is too wide for the case, a narrower one.
    pub fn what_to_do(&self) -> &'static str {
        match (self.code, self.fact("whose")) {
            (None, _) => "",
            (Some(Code::NetDebitCap), Some("sender")) => "Settle what you owe, or ask the operator for a higher cap.",
            (Some(Code::NetDebitCap), Some("agreement")) => "Settle what you owe, or agree on a higher `net_debit_cap`.",
            (Some(Code::NetDebitCap), Some("issuer")) => "Ask the issuer to settle, or to have its cap raised.",
            (Some(Code::Stale), _) if self.fact("latest").is_some() => {
                "Sign a new message whose `occurred_at` isn't after its `issued_at`."
            }
            (Some(code), _) => code.what_to_do(),
        }
    }
}

fn sentence<'a>(code: Code, field: &str, fact: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    partners(code, field, &fact)
        .or_else(|| points(code, field, &fact))
        .or_else(|| earlier(code, field, &fact))
        .or_else(|| exchanges(code, field, &fact))
}

/// Who, when, and under which agreement.
fn partners<'a>(code: Code, field: &str, fact: &impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    Some(match code {
        Code::PartnerSuspended | Code::PartnerLeaving => match (fact("status")?, field) {
            (status, "sender") => format!("You are {status}."),
            (status, "") => format!("A partner that would come to owe or to be owed is {status}."),
            (status, _) => format!("The issuer of the programme in `{field}` is {status}."),
        },
        Code::SenderMismatch => "The sender is no partner of this network.".to_owned(),
        Code::IssuedInFuture => format!("`issued_at` may be {} at the latest.", fact("latest")?),
        Code::Stale => match fact("earliest") {
            Some(earliest) => {
                format!("`{field}` may be {earliest} at the earliest: so far back goes the agreement's `store_and_forward_minutes`.")
            }
            None => format!("`{field}` may be `issued_at` at the latest, {}.", fact("latest")?),
        },
        Code::UnknownProgramme => format!("`{field}` names no programme of this network."),
        Code::NoAgreement => format!(
            "You have no {} agreement for what the message names that is in force at {}.",
            fact("kind")?,
            fact("at")?
        ),
        Code::ExternalCustody => "Only exchanges of this programme are cleared here: its issuer keeps the balances.".to_owned(),
        Code::NotPrepaid => "Your earn agreement that is in force now has no term `prepaid`.".to_owned(),
        Code::BadValue if field == "expires_at" => format!(
            "`expires_at` must be after {} and at the latest {}.",
            fact("after")?,
            fact("latest")?
        ),
        Code::NetDebitCap => {
            let currency = fact("currency")?;
            match fact("whose")? {
                "issuer" => format!("The issuer's cap in {currency} leaves no room for this."),
                "other" => {
                    format!("The cap in {currency} of a partner that pays for these points when they are spent leaves no room for this.")
                }
                whose => format!(
                    "Your cap {} is {} {currency}; your net debt, with what is reserved, is {}: {} more can be owed.",
                    if whose == "agreement" {
                        "by this agreement"
                    } else {
                        "by the operator"
                    },
                    fact("limit")?,
                    fact("used")?,
                    fact("room")?
                ),
            }
        }
        _ => return None,
    })
}

/// How many points, or how much.
fn points<'a>(code: Code, field: &str, fact: &impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let of_window = |whose: &str| {
        Some(format!(
            "The limit {whose} in this window is {} points: {} are used, {} are left.",
            fact("limit")?,
            fact("used")?,
            fact("room")?
        ))
    };
    Some(match code {
        Code::BadAmount => match fact("decimals")? {
            "0" => format!("`{field}` must be above zero, without decimals."),
            most => format!("`{field}` must be above zero, with at most {most} decimals."),
        },
        Code::Overflow => match fact("limit") {
            Some(limit) => format!("One message moves at most {limit} points."),
            None => "A sum that this goes into wouldn't fit 64 bits.".to_owned(),
        },
        Code::NotAMultiple => format!("`points` must be a multiple of {}.", fact("step")?),
        Code::LimitPerMessage => format!("The agreement allows {} points in one message.", fact("limit")?),
        Code::LimitMemberDay => of_window("for one member")?,
        Code::LimitPartnerDay => of_window("for all members together")?,
        Code::InsufficientBalance => format!(
            "{} points can be spent: the balance is {}, {} points are held, {} are owed; what has expired can't be spent.",
            fact("available")?,
            fact("balance")?,
            fact("held")?,
            fact("debt")?
        ),
        _ => return None,
    })
}

/// What an earlier message leaves: a hold, or what can be taken back.
fn earlier<'a>(code: Code, field: &str, fact: &impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    Some(match code {
        Code::HoldUnknown => "`authorisation` names no accepted authorise of yours.".to_owned(),
        Code::HoldExpired => format!("The hold ended by itself at {}.", fact("expires_at")?),
        Code::HoldClosed => "The hold has ended: it is captured or voided once.".to_owned(),
        Code::HoldExceeded => format!("{} points are held.", fact("held")?),
        Code::TargetUnknown => "`message` names no accepted message of yours.".to_owned(),
        Code::NotReversible => match (fact("kind")?, field) {
            ("external", _) => "What an issuer has credited in its own books, only it can take back.".to_owned(),
            (kind, "spend") => format!("This is {} {kind} that states no spend: reverse it by `points`.", article(kind)),
            (kind, _) => format!("This is {} {kind}.", article(kind)),
        },
        Code::ExpiredOnArrival => format!("Its points would have expired at {}.", fact("expires_at")?),
        Code::ReversalWindowClosed => format!("It could be reversed until {}.", fact("latest")?),
        Code::ReversalExceeded => format!(
            "Of {} {}, {} were reversed before and {} are left.",
            fact("limit")?,
            if field == "spend" { "spent" } else { "points" },
            fact("used")?,
            fact("room")?
        ),
        Code::ClawbackLimited => format!("{} points can be taken back now.", fact("recoverable")?),
        _ => return None,
    })
}

/// Quotes and exchanges.
fn exchanges<'a>(code: Code, field: &str, fact: &impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    Some(match code {
        Code::NoRate => match fact("kind") {
            Some(_) => "The rate or bonus in force doesn't fit the agreement that is in force now.".to_owned(),
            None => "No rate between these programmes is in force at this moment.".to_owned(),
        },
        Code::BelowMinimum => format!(
            "At least {} points are offered at once, one step is {}, and a whole point has to come of it.",
            fact("minimum")?,
            fact("step")?
        ),
        Code::AboveMaximum => format!("At most {} points move at once.", fact("maximum")?),
        Code::QuoteUnknown => "`quote` names no accepted quote of yours.".to_owned(),
        Code::QuoteUsed => "The quote was used by an exchange of yours that was accepted.".to_owned(),
        Code::QuoteExpired => format!("The quote expired at {}.", fact("expires_at")?),
        Code::QuoteMismatch => format!("The quote says {} in `{field}`.", fact("quoted")?),
        Code::ExchangeUnknown => "`sender_of` and `exchange` name nothing that you were told to credit.".to_owned(),
        Code::ExchangeClosed => format!("The exchange is {}, and stays so.", fact("state")?),
        _ => return None,
    })
}

fn article(kind: &str) -> &'static str {
    if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(code: Code, field: Option<&str>, facts: &[(&str, &str)]) -> String {
        Receipt {
            message_sha256: "ab".repeat(32),
            sender: "grocer".parse().expect("a partner"),
            id: None,
            code: Some(code),
            field: field.map(str::to_owned),
            sequence: Some(1),
            window: None,
            posted_at: jiff::Timestamp::UNIX_EPOCH,
            facts: facts
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            salt: None,
        }
        .detail()
    }

    #[test]
    fn a_detail_says_the_figures() {
        let room = [("limit", "100"), ("used", "60"), ("room", "40")];
        assert_eq!(
            detail(Code::LimitMemberDay, Some("points"), &room),
            "The limit for one member in this window is 100 points: 60 are used, 40 are left."
        );
        let cap = [[("whose", "sender"), ("currency", "HKD")].as_slice(), &room].concat();
        assert_eq!(
            detail(Code::NetDebitCap, None, &cap),
            "Your cap by the operator is 100 HKD; your net debt, with what is reserved, is 60: 40 more can be owed."
        );
        let issuers = [("whose", "issuer"), ("currency", "HKD")];
        assert_eq!(
            detail(Code::NetDebitCap, None, &issuers),
            "The issuer's cap in HKD leaves no room for this."
        );
        assert_eq!(
            detail(Code::BadAmount, Some("spend"), &[("decimals", "2")]),
            "`spend` must be above zero, with at most 2 decimals."
        );
        assert_eq!(
            detail(Code::NotReversible, Some("message"), &[("kind", "authorise")]),
            "This is an authorise."
        );
    }

    #[test]
    fn a_receipt_without_facts_says_what_its_code_means() {
        assert_eq!(detail(Code::LimitMemberDay, Some("points"), &[]), Code::LimitMemberDay.title());
        assert_eq!(detail(Code::Internal, None, &[]), Code::Internal.title());
    }
}
