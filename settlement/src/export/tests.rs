use partner_sdk::banking::{BankAccount, PaymentReference};

use super::*;
use crate::render::to_json;
use crate::statement::{NetResult, PaymentLine};
use crate::testing::{book, hkd, owes, partner};
use crate::{book::Paying, netting};

fn account(holder: &str, number: &str) -> BankAccount {
    BankAccount {
        holder: holder.into(),
        account: number.into(),
        bank: "AAAAHKHH".into(),
    }
}

/// Wellcome owes the pool 8.2545, and pays 8.25.
fn statement() -> Statement {
    let obligations = netting::obligations(&[owes("wellcome", "pool", 8_254_500)], &[]).expect("nets");
    let mut book = book(vec![], obligations);
    book.paying = Some(Paying {
        value_date: jiff::civil::date(2026, 11, 23),
        running: vec![],
        accounts: [
            (
                (partner("wellcome"), hkd()),
                account("=HYPERLINK(\"x\") & <Sons>", "GB82WEST12345698765432"),
            ),
            ((partner("clearing"), hkd()), account("Clearing", "012345678901")),
        ]
        .into(),
    });
    book.statement(&partner("wellcome")).expect("a statement")
}

fn statements(of: &[Statement], period: &str) -> Statements {
    let file = |statement: &Statement| {
        let text = String::from_utf8(to_json(statement).expect("JSON")).expect("text");
        let sha256 = sha256_hex(text.as_bytes());
        Advised { text, sha256 }
    };
    let files: Vec<Advised> = of.iter().map(file).collect();
    Statements::new(partner("wellcome"), period.parse().expect("a period"), &files).expect("statements")
}

fn export(statement: &Statement, form: Form) -> Result<String, ExportError> {
    let bytes = statements(std::slice::from_ref(statement), "2026-11-21").export(form)?;
    Ok(String::from_utf8(bytes).expect("text"))
}

#[test]
fn a_payment_file_says_who_pays_what_by_which_reference() {
    let text = export(&statement(), Form::Pain001).expect("a file");
    let reference = PaymentReference::new(jiff::civil::date(2026, 11, 21), hkd(), 2);
    for part in [
        format!("<EndToEndId>{reference}</EndToEndId>"),
        format!("<Ref>{reference}</Ref>"),
        "<InstdAmt Ccy=\"HKD\">8.25</InstdAmt>".to_owned(),
        "<IBAN>GB82WEST12345698765432</IBAN>".to_owned(),
        "<Id>012345678901</Id>".to_owned(),
        "<Dt>2026-11-23</Dt>".to_owned(),
        "<Nm>=HYPERLINK(&quot;x&quot;) &amp; &lt;Sons&gt;</Nm>".to_owned(),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    assert_eq!(
        text,
        export(&statement(), Form::Pain001).expect("again"),
        "the same bytes each time"
    );
}

#[test]
fn a_payment_file_is_not_made_up() {
    let why = |statement: &Statement| export(statement, Form::Pain001).expect_err("nothing").to_string();
    let mut statement = statement();
    let line: &mut PaymentLine = &mut statement.payments.as_mut().expect("payments")[0];
    line.to = None;
    assert!(why(&statement).starts_with("the clearinghouse has no account"));
    statement.payments.as_mut().expect("payments")[0].from = None;
    assert!(why(&statement).starts_with("the partner has no account"));
    statement.payments.as_mut().expect("payments")[0].result = NetResult::Receives;
    assert!(why(&statement).starts_with("there is nothing to pay"));
    statement.payments = None;
    assert!(why(&statement).contains("before payments had references"));
}

#[test]
fn forms_are_known_by_their_names() {
    for form in Form::ALL {
        assert_eq!(form.as_str().parse::<Form>(), Ok(form));
    }
    let error = "doc".parse::<Form>().expect_err("no form");
    assert!(error.contains("json, csv, xlsx, pdf, pdf-zh, camt053"), "{error}");
}

#[test]
fn a_longer_time_has_no_payment_file_and_one_table() {
    let day = statement();
    let mut next = Statement {
        business_date: jiff::civil::date(2026, 11, 23),
        ..day.clone()
    };
    next.obligations[0].carried_in.clone_from(&day.obligations[0].carried_out);
    let both = statements(&[day.clone(), next], "2026-11");
    assert!(matches!(both.export(Form::Pain001), Err(ExportError::OneDay)));
    let names: Vec<String> = both.all().expect("files").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[0], "wellcome-2026-11.json");
    assert!(!names.iter().any(|name| name.contains("pain001")), "{names:?}");
    let csv = String::from_utf8(both.export(Form::Csv).expect("a table")).expect("text");
    let one = export(&day, Form::Csv).expect("a table");
    assert_eq!(csv.lines().count(), 2 * one.lines().count() - 1);
    assert_eq!(csv.matches("section,business_date").count(), 1);
}

#[test]
fn checksums_are_those_of_the_files() {
    let files = statements(&[statement()], "2026-11-21").all().expect("files");
    let (sums, others) = files.split_last().expect("files");
    assert_eq!(sums.0, "wellcome-2026-11-21.sha256");
    let text: String = others
        .iter()
        .map(|(name, bytes)| format!("{}  {name}\n", sha256_hex(bytes)))
        .collect();
    assert_eq!(String::from_utf8(sums.1.clone()).expect("text"), text);
    assert!(others.len() >= 6, "{text}");
    // Whoever was given one file more is given the same bytes again.
    assert_eq!(statements(&[statement()], "2026-11-21").all().expect("files"), files);
}

#[test]
fn figures_that_a_double_does_not_hold_stay_text() {
    for (figure, exact) in [
        ("8.254500", Some(8.2545)),
        ("-0.01", Some(-0.01)),
        ("999999999.999999", Some(999_999_999.999_999)),
        ("1000000000.000001", None),
        ("1000000000.000000", Some(1_000_000_000.0)),
        ("1000000000000000", None),
        ("9223372036854.775807", None),
    ] {
        assert_eq!(sheet::exact(figure), exact, "{figure}");
    }
}
