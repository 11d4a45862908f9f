use std::convert::Infallible;

use jiff::civil::Date;
use partner_sdk::Money;

use super::*;
use crate::testing::{hkd, partner};

fn day(text: &str) -> Date {
    text.parse().expect(text)
}

fn reference(place: usize) -> PaymentReference {
    PaymentReference::new(day("2026-11-21"), hkd(), place)
}

/// A window in which three pay and two receive, one of which is confirmed.
fn due(reference: &PaymentReference) -> Result<Option<Due>, Infallible> {
    let amounts = [-16_500_000, 19_200_000, 5_550_000, -8_250_000, -1_234_500_000];
    let place = (1..=amounts.len()).find(|place| self::reference(*place) == *reference);
    Ok(place.map(|place| Due {
        reference: reference.clone(),
        business_date: day("2026-11-21"),
        partner: partner(["hangseng", "ikea", "pool", "wellcome", "bank"][place - 1]),
        currency: hkd(),
        amount: Money(amounts[place - 1]),
        value_date: day("2026-11-23"),
        confirmed: (place == 3).then(|| crate::dues::Confirmed {
            paid_on: None,
            at: "2026-11-23T01:00:00Z".parse().expect("a time"),
            by: "a document".into(),
        }),
        replaced_by: None,
    }))
}

fn told(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let matched = matched(read(bytes).expect("it reads"), due).expect("matched");
    let paid = |paid: &Paid| format!("{} {} {} {}", paid.reference.as_str(), paid.currency, paid.amount, paid.paid_on);
    (
        matched.paid.iter().map(paid).collect(),
        matched.rest.iter().map(|(_, why)| why.clone()).collect(),
    )
}

fn entry(amount: &str, way: &str, rest: &str) -> String {
    format!(
        "<Ntry><Amt Ccy=\"HKD\">{amount}</Amt><CdtDbtInd>{way}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-11-23</Dt></BookgDt>{rest}</Ntry>"
    )
}

fn remitted(text: &str) -> String {
    format!("<NtryDtls><TxDtls><RmtInf><Ustrd>{text}</Ustrd></RmtInf></TxDtls></NtryDtls>")
}

fn statement(entries: &[String]) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\"><BkToCstmrStmt><GrpHdr><MsgId>1</MsgId></GrpHdr><Stmt><Id>1</Id>{}</Stmt></BkToCstmrStmt></Document>",
        entries.concat()
    )
}

#[test]
fn a_camt_statement_is_matched_by_reference_and_the_rest_is_listed() {
    let [one, two, three, four, five] = [1, 2, 3, 4, 5].map(reference);
    let grouped = format!("{} {}", &one.as_str()[..4], &one.as_str()[4..].to_lowercase());
    let structured =
        format!("<NtryDtls><TxDtls><RmtInf><Strd><CdtrRefInf><Ref>{two}</Ref></CdtrRefInf></Strd></RmtInf></TxDtls></NtryDtls>");
    let batch = format!(
        "<NtryDtls><TxDtls><Refs><EndToEndId>{four}</EndToEndId></Refs><Amt Ccy=\"HKD\">8.25</Amt></TxDtls><TxDtls><Amt Ccy=\"HKD\">2.00</Amt><AddtlTxInf>charges &amp; fees</AddtlTxInf></TxDtls></NtryDtls>"
    );
    let text = statement(&[
        entry("16.50", "CRDT", &remitted(&grouped)),
        entry("19.2", "DBIT", &structured),
        entry("10.25", "CRDT", &batch),
        entry("5.55", "DBIT", &remitted(three.as_str())),
        entry("1234.50", "DBIT", &remitted(five.as_str())),
        entry("16.50", "CRDT", &remitted(one.as_str())),
        entry("1.00", "CRDT", &remitted("RF00 nothing of ours")),
        entry("8.25", "CRDT", &remitted(four.as_str())).replace("BOOK", "PDNG"),
    ]);
    let (paid, rest) = told(text.as_bytes());
    let expected = [format!("{two} HKD 19.2 2026-11-23"), format!("{four} HKD 8.25 2026-11-23")];
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(paid, expected);
    assert_eq!(
        rest,
        [
            "it names no payment".to_owned(),
            format!("{three} is confirmed already"),
            format!("{five} is of HKD 1234.50 into the account"),
            format!("{one} stands here before: was it paid twice?"),
            "it names no payment".to_owned(),
            format!("{one} stands on another booking here too: look at both, and confirm it by its reference"),
        ]
    );
}

#[test]
fn another_amount_currency_direction_or_time_is_not_that_payment() {
    let one = reference(1);
    let good = entry("16.50", "CRDT", &remitted(one.as_str()));
    assert_eq!(told(statement(std::slice::from_ref(&good)).as_bytes()).0.len(), 1);
    for (from, to) in [
        ("16.50", "16.51"),
        ("HKD\"", "USD\""),
        ("CRDT", "DBIT"),
        ("<Dt>2026-11-23", "<Dt>2026-11-20"),
        ("<Sts>", "<RvslInd>true</RvslInd><Sts>"),
    ] {
        let (paid, rest) = told(statement(&[good.replace(from, to)]).as_bytes());
        assert_eq!((paid.len(), rest.len()), (0, 1), "{to}");
        assert!(rest[0].contains(one.as_str()), "{to}: {rest:?}");
    }
}

#[test]
fn a_table_is_read_by_its_header() {
    let (one, two, five) = (reference(1), reference(2), reference(5));
    let text = format!(
        "\u{feff}Date,Narrative,Amount,Currency,Balance\n2026-11-23,\"FPS {one}\",16.50,HKD,1\n2026-11-23,{two},-19.20,HKD,1\n2026-11-24,{five},\"1,234.50\",HKD,1\n2026-11-24,rent,-5,HKD,1\n"
    );
    let (paid, rest) = told(text.as_bytes());
    assert_eq!((paid.len(), rest), (3, vec!["it names no payment".to_owned()]));
    for (text, why) in [
        ("a,b\n1,2\n", "`date` isn't there once"),
        ("date,date,amount,currency\n", "`date` isn't there once"),
        ("date,amount,currency\n23/11/2026,1,HKD\n", "is no date"),
        ("date,amount,currency\n2026-11-23,1.2.3,HKD\n", "is no amount"),
        ("date,amount,currency\n2026-11-23,12,34,HKD\n", "currency"),
    ] {
        let error = read(text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains(why) && error.starts_with("line "), "{error}");
    }
}

#[test]
fn what_is_no_statement_is_refused() {
    let deep = format!("<Document>{}", "<a>".repeat(100));
    for (text, why) in [
        ("<Document></Document>", "no BkToCstmrStmt"),
        ("<Document><BkToCstmrStmt>", "ends in the middle"),
        ("<Document><BkToCstmrStmt></Document>", "isn't a camt.053"),
        ("<!DOCTYPE x [<!ENTITY a \"b\">]><Document/>", "document type"),
        (&*deep, "64 deep"),
        (&*statement(&[entry("x", "CRDT", "")]), "`x` is no amount"),
        (&*statement(&[entry("1", "", "")]), "neither"),
        (
            &*statement(&["<Ntry><Amt Ccy=\"HKD\">1</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts></Ntry>".to_owned()]),
            "no date (",
        ),
    ] {
        let error = read(text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(read(b"\xff"), Err(BankError::NotUtf8));
}

#[test]
fn what_is_taken_back_in_the_same_file_is_not_paid() {
    let (one, two, four) = (reference(1), reference(2), reference(4));
    let paid = entry("19.20", "DBIT", &remitted(two.as_str()));
    let back = entry("19.20", "CRDT", &remitted(two.as_str()));
    for file in [
        [paid.clone(), back.clone()],
        [back.clone(), paid.clone()],
        [paid.clone(), paid.replace("<Sts>", "<RvslInd>1</RvslInd><Sts>")],
    ] {
        let (paid, rest) = told(statement(&file).as_bytes());
        assert_eq!((paid.len(), rest.len()), (0, 2), "{rest:?}");
    }
    let several = entry("24.75", "CRDT", &remitted(&format!("{one} and {four}")));
    assert_eq!(
        told(statement(&[several]).as_bytes()).1,
        ["it names 2 payments: confirm each by its reference"]
    );
    // Details that aren't what was booked are from before charges or an exchange.
    for booked in ["24.75", "24.70"] {
        let part = |reference: &PaymentReference, amount: &str| {
            format!("<TxDtls><Refs><EndToEndId>{reference}</EndToEndId></Refs><Amt Ccy=\"HKD\">{amount}</Amt></TxDtls>")
        };
        let details = format!("<NtryDtls>{}{}</NtryDtls>", part(&one, "16.50"), part(&four, "8.25"));
        let (paid, rest) = told(statement(&[entry(booked, "CRDT", &details)]).as_bytes());
        let expected = if booked == "24.75" { (2, 0) } else { (0, 1) };
        assert_eq!((paid.len(), rest.len()), expected, "{rest:?}");
    }
}
