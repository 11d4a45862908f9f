use partner_sdk::banking::{BankAccount, PaymentReference};

use super::*;
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
    assert!("pdf".parse::<Form>().is_err());
}
