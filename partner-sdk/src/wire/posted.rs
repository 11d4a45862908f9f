//! Messages as their parties find them afterwards, each with what it put on their statements.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::ids::{Currency, MemberNumber, MessageId, PartnerId, ProgrammeCode};
use crate::problem::Code;

/// The most messages in one answer.
pub const MAX_POSTED: i64 = 1000;

/// Who owes, from a partner's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The partner owes its counterparty.
    YouOwe,
    /// The counterparty owes the partner.
    YouAreOwed,
}

impl Direction {
    /// The direction as it travels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::YouOwe => "you_owe",
            Self::YouAreOwed => "you_are_owed",
        }
    }
}

impl std::str::FromStr for Direction {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::YouOwe, Self::YouAreOwed]
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or(())
    }
}

/// A message that was kept, as one of its parties sees it: what isn't that party's business isn't stated. Points are texts with their programme's decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedMessage {
    /// Its place in the ledger and in the log.
    pub sequence: i64,
    /// Who sent it; `clearing` for the clearinghouse's own.
    pub sender: PartnerId,
    /// Its id.
    pub id: MessageId,
    /// Its kind as on the wire; of the clearinghouse's own e.g. `expiry` or `fee`.
    pub kind: String,
    /// The window that it belongs to.
    pub window: Date,
    /// The clearinghouse's time.
    pub posted_at: Timestamp,
    /// SHA-256 of what was signed, as in its receipt: for its sender and the issuers whose points it moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_sha256: Option<String>,
    /// Why it was rejected; not stated for an accepted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What it moved where: for its sender and the programme's issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<PostedPoints>,
    /// What an exchange credited where: the same for that side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credited: Option<PostedPoints>,
    /// What it put on the statement of whoever asks: the parts of a statement's lines that it made.
    pub lines: Vec<PostedLine>,
}

/// Points of a member that a message moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedPoints {
    /// Of which programme.
    pub programme: ProgrammeCode,
    /// Whose.
    pub member: MemberNumber,
    /// How many: earned, burned, held, given away or reversed; credited by an exchange, without bonus.
    pub points: String,
    /// Bonus points that an exchange credited on top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bonus: Option<String>,
}

/// A message's part of one line of a statement, by the names and in the forms of docs/STATEMENTS.md: a line's `points` and `amount` (of breakage, `value`) are the
/// sums of these, and its `messages` is how many messages have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostedLine {
    /// What was posted, e.g. `earn` or `burn_reversal`.
    pub kind: String,
    /// The other party; of breakage, who funded the points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counterparty: Option<PartnerId>,
    /// Who owes; not stated for breakage, which moves no money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// SHA-256 of the agreement that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<String>,
    /// Whose points were priced.
    pub programme: ProgrammeCode,
    /// Of price and amount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<Currency>,
    /// How many points.
    pub points: String,
    /// For one point, with six decimals.
    pub price: String,
    /// What is owed, with six decimals.
    pub amount: String,
}

/// Which messages are wanted: all that is said has to hold. What says nothing asks for every message of which one is a party.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostedQuery {
    /// Of this window.
    pub window: Option<Date>,
    /// Sent by this partner.
    pub sender: Option<PartnerId>,
    /// With this id: found at once, wherever it is.
    pub id: Option<MessageId>,
    /// Of this kind.
    pub kind: Option<String>,
    /// That moved points of this programme, or into it, as far as one may see it.
    pub programme: Option<ProgrammeCode>,
    /// That moved points of this member, or to it, as far as one may see it.
    pub member: Option<MemberNumber>,
    /// With a part of such a line of a statement; then only those parts are shown.
    pub line: LineQuery,
}

/// Which line of a statement: its columns, as they stand there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineQuery {
    /// `kind`.
    pub kind: Option<String>,
    /// `counterparty`.
    pub counterparty: Option<PartnerId>,
    /// `direction`.
    pub direction: Option<Direction>,
    /// `agreement`.
    pub agreement: Option<String>,
    /// `currency`.
    pub currency: Option<Currency>,
    /// `price`, to the letter.
    pub price: Option<String>,
}

impl LineQuery {
    /// Whether it asks for nothing, so that every message will do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it asks for such a line.
    pub fn wants(&self, line: &PostedLine) -> bool {
        fn fits<T: PartialEq>(wanted: &Option<T>, is: Option<&T>) -> bool {
            wanted.as_ref().is_none_or(|wanted| is == Some(wanted))
        }
        fits(&self.kind, Some(&line.kind))
            && fits(&self.counterparty, line.counterparty.as_ref())
            && fits(&self.direction, line.direction.as_ref())
            && fits(&self.agreement, line.agreement.as_ref())
            && fits(&self.currency, line.currency.as_ref())
            && fits(&self.price, Some(&line.price))
    }
}

impl PostedQuery {
    /// The query as it stands in an address (RFC 3986 section 2.1): `name=value&` for each that it says; empty where it says nothing.
    pub fn text(&self) -> String {
        let line = &self.line;
        let all = [
            ("window", self.window.map(|window| window.to_string())),
            ("sender", self.sender.as_ref().map(ToString::to_string)),
            ("id", self.id.as_ref().map(ToString::to_string)),
            ("kind", self.kind.clone()),
            ("programme", self.programme.as_ref().map(ToString::to_string)),
            ("member", self.member.as_ref().map(|member| member.as_str().to_owned())),
            ("line", line.kind.clone()),
            ("counterparty", line.counterparty.as_ref().map(ToString::to_string)),
            ("direction", line.direction.map(|direction| direction.as_str().to_owned())),
            ("agreement", line.agreement.clone()),
            ("currency", line.currency.map(|currency| currency.to_string())),
            ("price", line.price.clone()),
        ];
        let said = all.into_iter().filter_map(|(name, value)| Some((name, value?)));
        said.map(|(name, value)| format!("{name}={}&", encoded(&value))).collect()
    }
}

fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() || b"._~-".contains(&b) => char::from(b).to_string(),
        b => format!("%{b:02X}"),
    };
    text.bytes().map(one).collect()
}
