//! What travels: messages from partners, receipts and events from the clearinghouse, and what is said about keys.

mod batch;
mod detail;
mod event;
mod exchange;
pub mod keys;
mod message;
mod payment;
mod posted;
mod receipt;
mod time;

pub use batch::{MAX_BATCH, split_batch, write_batch};
pub use event::{Event, MAX_EVENTS, MAX_WAIT_SECONDS};
pub use exchange::{ExchangeState, InstructedExchange};
pub use message::{Body, Message, MessageError, Quantity};
pub use payment::{PaymentState, PaymentWay, Payments};
pub use posted::{Direction, LineQuery, MAX_POSTED, PostedLine, PostedMessage, PostedPoints, PostedQuery};
pub use receipt::{Answer, Outcome, Receipt};
pub use time::WireTime;

#[cfg(test)]
mod tests {
    //! The worked bytes of docs/PROTOCOL.md still hold: each text made here stands there as a line of its own.

    use super::*;
    use crate::jws::{SigningKey, sha256_hex};
    use crate::problem::Code;

    const PROTOCOL: &str = include_str!("../../../docs/PROTOCOL.md");

    fn documented(text: &str) {
        assert!(
            PROTOCOL.contains(&format!("\n{}\n", text.trim_end_matches('\n'))),
            "docs/PROTOCOL.md has no such lines:\n{text}"
        );
    }

    use crate::trust::testing::{receipt as logged, trust};

    fn read<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
        text.parse().expect(text)
    }

    fn partner_key() -> SigningKey {
        SigningKey::from_bytes(read("grocer-1"), &[1; 32])
    }

    fn clearing_key() -> SigningKey {
        SigningKey::from_bytes(read("clearing-1"), &[2; 32])
    }

    fn message(id: &str, sender: &str, body: Body) -> Message {
        Message {
            id: read(id),
            sender: read(sender),
            issued_at: read("2026-11-21T10:00:00Z"),
            occurred_at: read("2026-11-21T09:59:58Z"),
            body,
        }
    }

    fn earn() -> Message {
        let body = Body::Earn {
            programme: read("POINTS"),
            member: read("42"),
            points: read("99"),
            spend: Some(read("99.90")),
        };
        message("t1-earn", "grocer", body)
    }

    fn burn() -> Message {
        let body = Body::Burn {
            programme: read("POINTS"),
            member: read("42"),
            points: read("4000"),
        };
        message("t1-burn", "grocer", body)
    }

    fn others() -> Vec<Message> {
        let (programme, member) = (read("POINTS"), read("42"));
        let hold = Body::Authorise {
            programme,
            member,
            points: read("60"),
            expires_at: Some(read("2026-11-21T10:30:00Z")),
        };
        let capture = Body::Capture {
            authorisation: read("t2-hold"),
            points: read("50"),
        };
        let void = Body::Void {
            authorisation: read("t2-hold"),
        };
        let quote = Body::Quote {
            programme: read("BANK"),
            to_programme: read("MILES"),
            points: read("730"),
        };
        let exchange = Body::Exchange {
            programme: read("BANK"),
            member: read("B-7"),
            to_programme: read("MILES"),
            to_member: read("M-7"),
            points: read("730"),
            quote: read("q1"),
        };
        let acknowledge = Body::Acknowledge {
            sender_of: read("bank"),
            exchange: read("x1"),
            reference: Some(read("FF-88123")),
        };
        let refuse = Body::Refuse {
            sender_of: read("bank"),
            exchange: read("x1"),
            reason: read("member_unknown"),
        };
        let reverse = |quantity| Body::Reverse {
            message: read("t1-earn"),
            quantity,
        };
        vec![
            message("t2-hold", "grocer", hold),
            message("t2-capture", "grocer", capture),
            message("t2-void", "grocer", void),
            message("q1", "bank", quote),
            message("x1", "bank", exchange),
            message("a1", "airline", acknowledge),
            message("f1", "airline", refuse),
            message("t1-refund-points", "grocer", reverse(Quantity::Points(read("50")))),
            message("t1-refund-1", "grocer", reverse(Quantity::Spend(read("49.95")))),
        ]
    }

    fn receipt(of: &str, message: &Message, sequence: Option<i64>) -> Receipt {
        Receipt {
            message_sha256: sha256_hex(of.as_bytes()),
            sender: message.sender.clone(),
            id: sequence.map(|_| message.id.clone()),
            code: None,
            field: None,
            sequence,
            window: sequence.map(|_| read("2026-11-21")),
            posted_at: read("2026-11-21T10:00:00.25Z"),
            facts: vec![],
            salt: None,
        }
    }

    #[test]
    fn documented_messages_still_hold() {
        documented(&partner_key().verifying_key().to_base64url());
        documented(&clearing_key().verifying_key().to_base64url());
        documented(&earn().payload());
        documented(&earn().sign(&partner_key()));
        documented(&sha256_hex(earn().sign(&partner_key()).as_bytes()));
        documented(&burn().payload());
        for message in others() {
            documented(&message.payload());
        }
        let batch = write_batch(&[earn(), burn()], &partner_key());
        documented(&batch);
        documented(&sha256_hex(earn().payload().as_bytes()));
        documented(&sha256_hex(burn().payload().as_bytes()));
    }

    #[test]
    fn documented_receipts_still_hold() {
        let (signed_earn, signed_burn) = (earn().sign(&partner_key()), burn().sign(&partner_key()));
        let accepted = receipt(&signed_earn, &earn(), Some(2));
        let rejected = Receipt {
            code: Some(Code::InsufficientBalance),
            field: Some("points".into()),
            facts: [("available", "39"), ("balance", "99"), ("held", "60"), ("debt", "0")]
                .map(|(name, points)| (name.into(), points.into()))
                .to_vec(),
            ..receipt(&signed_burn, &burn(), Some(3))
        };
        let bank = SigningKey::from_bytes(read("bank-1"), &[3; 32]);
        let (quote, exchange) = (others().remove(3), others().remove(4));
        let facts = [("points", "700"), ("credited", "7000"), ("bonus", "1050"), ("left_over", "30")];
        let facts = facts.map(|(name, points)| (name.into(), points.into())).to_vec();
        let exchanged = Receipt {
            facts: facts.clone(),
            ..receipt(&exchange.sign(&bank), &exchange, Some(5))
        };
        let mut quoted = Receipt {
            facts,
            ..receipt(&quote.sign(&bank), &quote, Some(4))
        };
        let more = [
            ("expires_at", "2026-11-21T10:01:00.25Z"),
            ("better_path", "BANK>HOTEL>MILES"),
            ("better_credited", "8400"),
        ];
        quoted.facts.extend(more.map(|(name, value)| (name.into(), value.into())));
        // The same earn with `"points":"1e3"`: signed well, so the refusal is signed too, but it has no place in the ledger.
        let unreadable = partner_key().sign(
            crate::jws::TYP_MESSAGE,
            earn().payload().replace(r#""points":"99""#, r#""points":"1e3""#).as_bytes(),
        );
        let unkept = Receipt {
            code: Some(Code::BadAmount),
            field: Some("points".into()),
            ..receipt(&unreadable, &earn(), None)
        };
        documented(&unreadable);
        documented(&signed_burn);
        documented(&unkept.payload());
        documented(&unkept.sign(&clearing_key()));
        // Earn and burn came into the log together, after the window that they belong to was opened.
        let opened = r#"{"cut_off_at":"2026-11-21T16:00:00Z","entry":"window","posted_at":"2026-11-20T16:00:00Z","salt":"000102030405060708090a0b0c0d0e0f","sequence":"1","state":"open","window":"2026-11-21"}"#;
        let mut log = vec![opened.to_owned()];
        log.extend([&accepted, &rejected, &quoted, &exchanged].map(Receipt::entry));
        documented(opened);
        documented(trust(&clearing_key()).log_keys().trim_end());
        for (index, size, receipt) in [(1, 3, accepted), (2, 3, rejected), (3, 4, quoted), (4, 5, exchanged)] {
            let text = logged(&log[..size], index);
            documented(&text);
            assert_eq!(trust(&clearing_key()).receipt(&text), Ok(receipt));
        }
    }
}
