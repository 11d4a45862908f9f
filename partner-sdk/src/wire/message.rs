//! Signed instructions of partners (DESIGN section 5).

use std::borrow::Cow;

use jiff::Timestamp;

use super::time::WireTime;
use crate::amount::Amount;
use crate::ids::{MemberNumber, MessageId, PartnerId, ProgrammeCode, Reason, Reference};
use crate::jws::{SigningKey, TYP_MESSAGE};
use crate::problem::Code;
use crate::strict::{Fields, StrictError, write_object};

/// One instruction; what it does is in `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Unique per sender for the life of the ledger.
    pub id: MessageId,
    /// The partner that signs; it can bind only itself and the issuers that it has agreements with.
    pub sender: PartnerId,
    /// When the message was signed: at most 10 s ahead of the clearinghouse's clock.
    pub issued_at: Timestamp,
    /// When it happened at the till: it picks the agreement and the rate. Not later than `issued_at`.
    pub occurred_at: Timestamp,
    /// What it does.
    pub body: Body,
}

/// How much of a message is to be reversed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// So many points of the original message's own programme.
    Points(Amount),
    /// So much of the spend that the original earn stated; the points follow from it, cumulatively.
    Spend(Amount),
}

/// The kinds of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The issuer credits points to a member, at the sender's cost.
    Earn {
        /// The programme.
        programme: ProgrammeCode,
        /// The member's number there.
        member: MemberNumber,
        /// How many points.
        points: Amount,
        /// What the member paid, in the agreement's currency: needed to reverse by spend.
        spend: Option<Amount>,
    },
    /// The member spends points at the sender; the issuer pays the sender.
    Burn {
        /// The programme.
        programme: ProgrammeCode,
        /// The member's number there.
        member: MemberNumber,
        /// How many points.
        points: Amount,
    },
    /// Points are set aside for a burn that may follow.
    Authorise {
        /// The programme.
        programme: ProgrammeCode,
        /// The member's number there.
        member: MemberNumber,
        /// How many points.
        points: Amount,
        /// When the hold ends by itself; at most, and without this field exactly, what the agreement allows.
        expires_at: Option<Timestamp>,
    },
    /// A held burn happens, wholly or in part; the rest of the hold is released.
    Capture {
        /// The id of the authorise message.
        authorisation: MessageId,
        /// How many points, at most those held.
        points: Amount,
    },
    /// A hold is released.
    Void {
        /// The id of the authorise message.
        authorisation: MessageId,
    },
    /// A firm offer for an exchange is asked for: the receipt of its acceptance is the offer.
    Quote {
        /// The programme that gives.
        programme: ProgrammeCode,
        /// The programme that takes.
        to_programme: ProgrammeCode,
        /// How many points are offered; what is no multiple of the rate's step stays.
        points: Amount,
    },
    /// Points of one programme become points of another, as a quote says.
    Exchange {
        /// The programme that gives.
        programme: ProgrammeCode,
        /// The member's number there.
        member: MemberNumber,
        /// The programme that takes.
        to_programme: ProgrammeCode,
        /// The member's number there.
        to_member: MemberNumber,
        /// How many points are offered, as in the quote.
        points: Amount,
        /// The id of the sender's own quote message; it is used up.
        quote: MessageId,
    },
    /// The issuer of a programme with external custody has credited an exchange in its own books.
    Acknowledge {
        /// Who sent the exchange.
        sender_of: PartnerId,
        /// The id of the exchange message.
        exchange: MessageId,
        /// What the issuer knows the credit by.
        reference: Option<Reference>,
    },
    /// The issuer of a programme with external custody doesn't credit an exchange.
    Refuse {
        /// Who sent the exchange.
        sender_of: PartnerId,
        /// The id of the exchange message.
        exchange: MessageId,
        /// Why, as a code of the issuer's own.
        reason: Reason,
    },
    /// The sender buys points in advance, in whole blocks, under its prepaid earn agreement in force now: its earns draw on them first.
    Prepay {
        /// The programme.
        programme: ProgrammeCode,
        /// How many points: a multiple of the agreement's block.
        points: Amount,
    },
    /// All or part of an earlier accepted message is taken back.
    Reverse {
        /// The id of the sender's own earlier message.
        message: MessageId,
        /// How much of it.
        quantity: Quantity,
    },
}

impl Body {
    /// The kind as it travels.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Earn { .. } => "earn",
            Self::Burn { .. } => "burn",
            Self::Authorise { .. } => "authorise",
            Self::Capture { .. } => "capture",
            Self::Void { .. } => "void",
            Self::Quote { .. } => "quote",
            Self::Exchange { .. } => "exchange",
            Self::Acknowledge { .. } => "acknowledge",
            Self::Refuse { .. } => "refuse",
            Self::Prepay { .. } => "prepay",
            Self::Reverse { .. } => "reverse",
        }
    }
}

/// Why a payload is no message: the code, and what is wrong where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source}")]
pub struct MessageError {
    /// The code of the catalogue.
    pub code: Code,
    /// What is wrong.
    #[source]
    pub source: StrictError,
}

/// The fields that hold amounts: their faults are `bad_amount`.
const AMOUNTS: [&str; 2] = ["points", "spend"];

impl From<StrictError> for MessageError {
    fn from(source: StrictError) -> Self {
        let code = match &source {
            StrictError::Syntax => Code::MalformedPayload,
            StrictError::Duplicate(_) => Code::DuplicateField,
            StrictError::Unknown(_) => Code::UnknownField,
            StrictError::Missing(_) => Code::MissingField,
            StrictError::Value { field, .. } if AMOUNTS.contains(&field.as_str()) => Code::BadAmount,
            StrictError::Value { .. } => Code::BadValue,
        };
        Self { code, source }
    }
}

impl Message {
    /// Reads a payload strictly: unknown, missing and double fields, and values outside their grammar are refused by name.
    pub fn parse(payload: &[u8]) -> Result<Self, MessageError> {
        let mut fields = Fields::parse(payload)?;
        let kind: String = fields.take("kind")?;
        let id = fields.take("id")?;
        let sender = fields.take("sender")?;
        let WireTime(issued_at) = fields.take("issued_at")?;
        let WireTime(occurred_at) = fields.take("occurred_at")?;
        let body = read_body(&kind, &mut fields)?;
        fields.finish()?;
        Ok(Self {
            id,
            sender,
            issued_at,
            occurred_at,
            body,
        })
    }

    /// Writes the payload that [`Message::parse`] reads.
    pub fn payload(&self) -> String {
        let mut fields: Vec<(&str, Cow<'_, str>)> = vec![
            ("kind", self.body.kind().into()),
            ("id", self.id.as_str().into()),
            ("sender", self.sender.as_str().into()),
            ("issued_at", self.issued_at.to_string().into()),
            ("occurred_at", self.occurred_at.to_string().into()),
        ];
        let mut put = |key, value: Cow<'static, str>| fields.push((key, value));
        let owned = |text: &str| Cow::Owned(text.to_owned());
        match &self.body {
            Body::Earn {
                programme,
                member,
                points,
                spend,
            } => {
                put("programme", owned(programme.as_str()));
                put("member", owned(member.as_str()));
                put("points", points.to_string().into());
                spend.iter().for_each(|spend| put("spend", spend.to_string().into()));
            }
            Body::Burn { programme, member, points } => {
                put("programme", owned(programme.as_str()));
                put("member", owned(member.as_str()));
                put("points", points.to_string().into());
            }
            Body::Authorise {
                programme,
                member,
                points,
                expires_at,
            } => {
                put("programme", owned(programme.as_str()));
                put("member", owned(member.as_str()));
                put("points", points.to_string().into());
                expires_at.iter().for_each(|at| put("expires_at", at.to_string().into()));
            }
            Body::Capture { authorisation, points } => {
                put("authorisation", owned(authorisation.as_str()));
                put("points", points.to_string().into());
            }
            Body::Void { authorisation } => put("authorisation", owned(authorisation.as_str())),
            Body::Quote {
                programme,
                to_programme,
                points,
            } => {
                put("programme", owned(programme.as_str()));
                put("to_programme", owned(to_programme.as_str()));
                put("points", points.to_string().into());
            }
            Body::Exchange {
                programme,
                member,
                to_programme,
                to_member,
                points,
                quote,
            } => {
                put("programme", owned(programme.as_str()));
                put("member", owned(member.as_str()));
                put("to_programme", owned(to_programme.as_str()));
                put("to_member", owned(to_member.as_str()));
                put("points", points.to_string().into());
                put("quote", owned(quote.as_str()));
            }
            Body::Acknowledge {
                sender_of,
                exchange,
                reference,
            } => {
                put("sender_of", owned(sender_of.as_str()));
                put("exchange", owned(exchange.as_str()));
                reference.iter().for_each(|reference| put("reference", owned(reference.as_str())));
            }
            Body::Refuse {
                sender_of,
                exchange,
                reason,
            } => {
                put("sender_of", owned(sender_of.as_str()));
                put("exchange", owned(exchange.as_str()));
                put("reason", owned(reason.as_str()));
            }
            Body::Prepay { programme, points } => {
                put("programme", owned(programme.as_str()));
                put("points", points.to_string().into());
            }
            Body::Reverse { message, quantity } => {
                put("message", owned(message.as_str()));
                match quantity {
                    Quantity::Points(points) => put("points", points.to_string().into()),
                    Quantity::Spend(spend) => put("spend", spend.to_string().into()),
                }
            }
        }
        write_object(fields)
    }

    /// Signs the message as a compact JWS.
    pub fn sign(&self, key: &SigningKey) -> String {
        key.sign(TYP_MESSAGE, self.payload().as_bytes())
    }
}

fn read_body(kind: &str, fields: &mut Fields) -> Result<Body, MessageError> {
    Ok(match kind {
        "earn" => Body::Earn {
            programme: fields.take("programme")?,
            member: fields.take("member")?,
            points: fields.take("points")?,
            spend: fields.maybe("spend")?,
        },
        "burn" => Body::Burn {
            programme: fields.take("programme")?,
            member: fields.take("member")?,
            points: fields.take("points")?,
        },
        "authorise" => Body::Authorise {
            programme: fields.take("programme")?,
            member: fields.take("member")?,
            points: fields.take("points")?,
            expires_at: fields.maybe("expires_at")?.map(|WireTime(at)| at),
        },
        "capture" => Body::Capture {
            authorisation: fields.take("authorisation")?,
            points: fields.take("points")?,
        },
        "void" => Body::Void {
            authorisation: fields.take("authorisation")?,
        },
        "quote" => Body::Quote {
            programme: fields.take("programme")?,
            to_programme: fields.take("to_programme")?,
            points: fields.take("points")?,
        },
        "exchange" => Body::Exchange {
            programme: fields.take("programme")?,
            member: fields.take("member")?,
            to_programme: fields.take("to_programme")?,
            to_member: fields.take("to_member")?,
            points: fields.take("points")?,
            quote: fields.take("quote")?,
        },
        "acknowledge" => Body::Acknowledge {
            sender_of: fields.take("sender_of")?,
            exchange: fields.take("exchange")?,
            reference: fields.maybe("reference")?,
        },
        "refuse" => Body::Refuse {
            sender_of: fields.take("sender_of")?,
            exchange: fields.take("exchange")?,
            reason: fields.take("reason")?,
        },
        "prepay" => Body::Prepay {
            programme: fields.take("programme")?,
            points: fields.take("points")?,
        },
        "reverse" => {
            let message = fields.take("message")?;
            // Without `spend`, `points` has to be there; with both, the one that isn't taken is an unknown field.
            let quantity = match fields.maybe("spend")? {
                Some(spend) => Quantity::Spend(spend),
                None => Quantity::Points(fields.take("points")?),
            };
            Body::Reverse { message, quantity }
        }
        _ => {
            let why = "must be earn, burn, authorise, capture, void, quote, exchange, acknowledge, refuse, prepay or reverse".into();
            return Err(StrictError::Value { field: "kind".into(), why }.into());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn earn() -> Message {
        Message {
            id: "a-1".parse().expect("id"),
            sender: "wellcome".parse().expect("partner"),
            issued_at: "2026-11-21T10:00:00Z".parse().expect("time"),
            occurred_at: "2026-11-21T09:59:58Z".parse().expect("time"),
            body: Body::Earn {
                programme: "YUU".parse().expect("programme"),
                member: "42".parse().expect("member"),
                points: "2000".parse().expect("amount"),
                spend: Some("2000".parse().expect("amount")),
            },
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let kinds: Vec<Body> = vec![
            earn().body,
            Body::Burn {
                programme: "YUU".parse().expect("p"),
                member: "42".parse().expect("m"),
                points: "1.5".parse().expect("a"),
            },
            Body::Authorise {
                programme: "YUU".parse().expect("p"),
                member: "42".parse().expect("m"),
                points: "1".parse().expect("a"),
                expires_at: Some(earn().issued_at),
            },
            Body::Capture {
                authorisation: "x".parse().expect("i"),
                points: "1".parse().expect("a"),
            },
            Body::Void {
                authorisation: "x".parse().expect("i"),
            },
            Body::Quote {
                programme: "BANK".parse().expect("p"),
                to_programme: "MILES".parse().expect("p"),
                points: "730".parse().expect("a"),
            },
            Body::Exchange {
                programme: "BANK".parse().expect("p"),
                member: "1".parse().expect("m"),
                to_programme: "MILES".parse().expect("p"),
                to_member: "2".parse().expect("m"),
                points: "730".parse().expect("a"),
                quote: "q".parse().expect("i"),
            },
            Body::Acknowledge {
                sender_of: "bank".parse().expect("p"),
                exchange: "x".parse().expect("i"),
                reference: Some("r-1".parse().expect("r")),
            },
            Body::Refuse {
                sender_of: "bank".parse().expect("p"),
                exchange: "x".parse().expect("i"),
                reason: "member_unknown".parse().expect("r"),
            },
            Body::Prepay {
                programme: "YUU".parse().expect("p"),
                points: "10000".parse().expect("a"),
            },
            Body::Reverse {
                message: "x".parse().expect("i"),
                quantity: Quantity::Points("5".parse().expect("a")),
            },
            Body::Reverse {
                message: "x".parse().expect("i"),
                quantity: Quantity::Spend("49.95".parse().expect("a")),
            },
        ];
        for body in kinds {
            let message = Message { body, ..earn() };
            assert_eq!(Message::parse(message.payload().as_bytes()), Ok(message));
        }
    }

    #[test]
    fn faults_name_their_field() {
        let good = earn().payload();
        let case = |from: &str, to: &str| {
            let error = Message::parse(good.replace(from, to).as_bytes()).expect_err(to);
            (error.code, error.source.field().map(str::to_owned))
        };
        let at = |f: &str| Some(f.to_owned());
        assert_eq!(case(r#""points":"2000""#, r#""points":"1e3""#), (Code::BadAmount, at("points")));
        assert_eq!(case(r#""points":"2000""#, r#""points":2000"#), (Code::BadAmount, at("points")));
        assert_eq!(case(r#""points""#, r#""pts""#), (Code::MissingField, at("points")));
        assert_eq!(case(r#","spend""#, r#","x":"1","spend""#), (Code::UnknownField, at("x")));
        assert_eq!(
            case(r#","spend""#, r#","points":"1","spend""#),
            (Code::DuplicateField, at("points"))
        );
        assert_eq!(case(r#""earn""#, r#""gift""#), (Code::BadValue, at("kind")));
        assert_eq!(case("2026-11-21T10:00:00Z", "yesterday"), (Code::BadValue, at("issued_at")));
        assert_eq!(case("}", "} x"), (Code::MalformedPayload, None));
    }
}
