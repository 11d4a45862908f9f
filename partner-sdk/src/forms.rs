//! What may stand in each term of an agreement, rate, bonus or change: what a refusal says about the term at fault.

const AMOUNT: &str = "an amount as a string without zeros at its end, e.g. \"12.5\"";
const TIME: &str = "a time in UTC, e.g. \"2026-01-01T00:00:00Z\": no offset, no zeros at the end of a fraction";
const PROGRAMME: &str = "a programme code as a string: 2 to 12 of A-Z and 0-9, a letter first";
const HASH: &str = "64 lower-case hexadecimal digits as a string";
const TEXT: &str = "a string of one line";

/// What is allowed in the term at this path, e.g. `change.cap.amount`; nothing for one that isn't known.
pub(crate) fn allowed(path: &str) -> Option<&'static str> {
    let (around, name) = path.rsplit_once('.').unwrap_or(("", path));
    // `payments[0]` is one of `payments`.
    let around = around.rsplit('.').next().and_then(|last| last.split('[').next());
    Some(match (around.unwrap_or_default(), name) {
        ("cap" | "member_fee", "amount") => AMOUNT,
        ("write_off", "points") => AMOUNT,
        ("payments" | "confirm", "amount") => AMOUNT,
        ("", "amount") => AMOUNT,
        ("line", "kind") => "a line's kind as it stands on the statement, e.g. \"earn\"",
        ("line", "agreement") => HASH,
        ("line", "price") => "a line's price as it stands on the statement, e.g. \"0.005500\"",
        (_, "line") => "an object {\"agreement\", \"kind\", \"price\"}",
        (_, "message") => "an object {\"id\", \"sender\"}, or left out",
        (_, "upheld") => AMOUNT,
        (_, "counterparty" | "sender") => "a partner id as a string: 1 to 32 of a-z, 0-9 and -, a letter first",
        ("", "bonus") => "an object {\"funded_percent\", \"max_percent\"}, each an amount, or left out",
        ("change", "rate") => "an object of a rate's terms",
        ("change", "bonus") => "an object of a bonus's terms",
        (_, "change") => "an object with one member, which names what is changed",
        (_, "kind") => "\"earn\", \"burn\" or \"exchange\"",
        (_, "partner" | "issuer") => "a partner id as a string: 1 to 32 of a-z, 0-9 and -, a letter first",
        (_, "programme" | "to_programme" | "code") => PROGRAMME,
        (_, "price") => "money for one point, as an amount without zeros at its end, e.g. \"0.0055\"",
        (_, "currency") => "an ISO 4217 code as a string, e.g. \"HKD\"",
        (_, "settle") => "\"issue\" or \"redemption\"",
        (_, "per_message" | "per_member_day" | "per_partner_day") => "an amount of points, e.g. \"10000\"; left out, it is unlimited",
        (_, "net_debit_cap") => "an amount of money, e.g. \"50000\"; left out, there is none",
        (_, "step") => "an amount of points above zero, e.g. \"100\"",
        (_, "clearing_fee_percent" | "funded_percent") => "an amount from 0 to 100 without zeros at its end, e.g. \"1.5\"",
        (_, "clearing_fee_borne_by") => "\"partner\", \"issuer\" or \"half\", or left out",
        (_, "rounding") => "\"half_even\", \"half_up\", \"down\" or \"up\", or left out",
        (_, "member_fee") => "an object {\"amount\", \"at_most\", \"per\"}, each an amount (at_most may be left out), or left out",
        (_, "prepaid") => "an object {\"block\", \"reorder_at\"}, each an amount of points, or left out",
        (
            _,
            "max_percent" | "percent" | "numerator" | "denominator" | "minimum" | "maximum" | "block" | "reorder_at" | "per" | "at_most",
        ) => AMOUNT,
        (_, "earn_per_unit" | "face_value" | "negative_limit") => AMOUNT,
        (_, "rate_notice_hours") => "a whole number from 0 to 8784, or left out",
        (_, "quote_seconds") => "a whole number from 1 to 3600, or left out",
        (_, "acknowledge_minutes") => "a whole number from 1 to 10080, or left out",
        (_, "notice_days") => "a whole number from 0 to 3650, or left out",
        (_, "reversal_days") => "a whole number from 0 to 3650",
        (_, "store_and_forward_minutes" | "hold_minutes") => "a whole number from 1 to 527040",
        (_, "scale") => "0, 1 or 2",
        (_, "custody") => "\"hosted\" or \"external\"",
        (_, "expires_after") => "a span of at most 100 years as a string, e.g. \"12 months\", or left out",
        (_, "contract_sha256" | "evidence_sha256" | "dispute" | "supersedes" | "token_sha256" | "published" | "bank_statement") => HASH,
        (_, "business_date") => "a date as a string, e.g. \"2026-11-21\"",
        (_, "paid_on") => "a date as a string, e.g. \"2026-11-23\"",
        (_, "payments") => "a list of payments, each an object {\"amount\", \"currency\", \"paid_on\", \"reference\"}",
        (_, "reference") => "a payment's reference as it was advised, e.g. \"RF93261121HKD0003\"",
        (_, "account") => "an IBAN or an account's number as a string: 1 to 34 of A-Z and 0-9",
        (_, "bank") => "a BIC as a string: 8 or 11 of A-Z and 0-9",
        (_, "people") => "a list of people, each an object {\"kid\", \"name\", \"public_key\"}",
        (_, "salt") => "32 lower-case hexadecimal digits as a string: 128 random bits",
        (_, "valid_from" | "proposed_at") => TIME,
        (_, "valid_until") => "a time in UTC, e.g. \"2027-01-01T00:00:00Z\"; left out, it is open",
        (_, "status") => "\"active\", \"suspended\", \"leaving\" or \"gone\"",
        (_, "member") => "a member number as a string: 1 to 64 of A-Z, a-z, 0-9, . _ -",
        (_, "kid" | "id") => "1 to 64 of A-Z, a-z, 0-9, . _ : - as a string",
        (_, "public_key") => "an Ed25519 public key as a string: 32 bytes as unpadded base64url",
        (_, "name" | "reason" | "holder") => TEXT,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::Terms;

    /// An agreement in which every term stands.
    pub(crate) const WHOLE: &str = r#"{"acknowledge_minutes":10,"bonus":{"funded_percent":"50","max_percent":"15"},"clearing_fee_borne_by":"half","clearing_fee_percent":"1","contract_sha256":"CCCC","currency":"HKD","earn_per_unit":"1","hold_minutes":60,"kind":"exchange","member_fee":{"amount":"100","at_most":"400","per":"5000"},"net_debit_cap":"50000","notice_days":30,"partner":"bank","per_member_day":"10000","per_message":"5000","per_partner_day":"100000","prepaid":{"block":"100","reorder_at":"50"},"price":"0.08","programme":"BANK","quote_seconds":60,"rate_notice_hours":48,"reversal_days":90,"rounding":"half_up","salt":"00112233445566778899aabbccddeeff","settle":"issue","step":"100","store_and_forward_minutes":1440,"supersedes":"DDDD","to_programme":"MILES","valid_from":"2026-01-01T00:00:00Z","valid_until":"2027-01-01T00:00:00Z"}"#;

    /// Every term, and every one within a term, with a value that none can have: it is named, and what it allows is said.
    #[test]
    fn every_term_is_named_with_what_it_allows() {
        let whole: serde_json::Value = serde_json::from_str(WHOLE).expect("JSON");
        crate::document::read::<Terms>(WHOLE.as_bytes()).expect("good");
        let mut paths = vec![];
        for (name, value) in whole.as_object().expect("an object") {
            paths.push(vec![name.as_str()]);
            let inner = value.as_object().into_iter().flat_map(|inner| inner.keys());
            paths.extend(inner.map(|key| vec![name.as_str(), key.as_str()]));
        }
        assert_eq!(paths.len(), 31 + 7);
        for path in paths {
            let name = path.join(".");
            let allowed = allowed(&name).unwrap_or_else(|| panic!("{name}: what is allowed?"));
            let mut wrong = whole.clone();
            *wrong.pointer_mut(&format!("/{}", path.join("/"))).expect("there") = serde_json::json!([true]);
            let error = crate::document::read::<Terms>(wrong.to_string().as_bytes()).expect_err(&name);
            assert_eq!(error.field(), Some(name.as_str()), "{error}");
            assert!(error.to_string().contains(allowed), "{error}");
        }
    }

    /// docs/PROTOCOL.md shows agreements and a rate as they are signed and answered, byte for byte.
    #[test]
    fn the_worked_documents_hold() {
        use crate::document::{Filed, read};
        use crate::jws::sha256_hex;
        use crate::rate::Published;
        let docs = include_str!("../../docs/PROTOCOL.md");
        let (_, worked) = docs.split_once("### Worked: agreements and a rate").expect("it is there");
        let lines: Vec<&str> = worked.lines().filter(|line| line.starts_with('{')).take(5).collect();
        let [earn, later, exchange, filed, rate] = lines[..] else {
            panic!("{lines:?}")
        };
        let terms = [earn, later, exchange].map(|line| read::<Terms>(line.as_bytes()).expect(line));
        for one in &terms {
            crate::agreement::Agreement::new(one.clone(), 0, 0).expect("possible");
        }
        // Every term of an agreement stands in one of them.
        let whole: serde_json::Value = serde_json::from_str(WHOLE).expect("JSON");
        for name in whole.as_object().expect("an object").keys() {
            assert!(
                [later, exchange].iter().any(|line| line.contains(&format!("\"{name}\":"))),
                "{name} isn't shown"
            );
        }
        assert!(
            docs.lines().any(|line| line == sha256_hex(earn.as_bytes())),
            "{}",
            sha256_hex(earn.as_bytes())
        );
        assert_eq!(terms[1].supersedes, Some(sha256_hex(earn.as_bytes())));
        let answer: Filed = serde_json::from_str(filed).expect("an answer");
        assert_eq!(
            (serde_json::to_string(&answer).expect("JSON"), answer.hash),
            (filed.to_owned(), sha256_hex(earn.as_bytes()))
        );
        let published: Published = serde_json::from_str(rate).expect("a rate");
        assert_eq!(serde_json::to_string(&published).expect("JSON"), rate);
        let own = crate::jcs::canonical(&published.rate.expect("a rate")).expect("JSON");
        assert_eq!(
            (published.hash, published.agreement),
            (sha256_hex(own.as_bytes()), sha256_hex(exchange.as_bytes()))
        );
    }
}
