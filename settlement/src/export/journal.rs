//! A statement as double entries, for hledger and for beancount. Both say the same of the same statement, to the last millionth.
//!
//! | what the statement has | entry |
//! |---|---|
//! | a line by which the partner owes | an expense, by kind; the counterparty's account takes it |
//! | a line by which it is owed | the counterparty's account, and income |
//! | a reversal | the same the other way round, in the account of what it reverses |
//! | a pair's net | from the counterparty's account to that of the settlement |
//!
//! What is left on a counterparty's account is the residue that the statement carries out. What is on the account of the settlement is the net: the payment by the bank clears it.

use std::collections::BTreeSet;
use std::fmt::Write;

use partner_sdk::wire::Direction;

use crate::statement::{Line, PairLine, Statement};

/// The version of both forms.
pub const JOURNAL_FORMAT: &str = "points-journal/1";

/// For which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// hledger 1.25 or later; passes `hledger check --strict`.
    Hledger,
    /// beancount 3; passes `bean-check`.
    Beancount,
}

/// An account, by its parts in small letters.
type Account = Vec<String>;

/// An entry of two sides: what the first takes, the second gives.
struct Entry {
    payee: String,
    text: String,
    agreement: Option<String>,
    currency: String,
    /// With its sign.
    amount: String,
    to: Account,
    from: Account,
}

/// A statement as a journal. Lines without money make no entry.
pub fn journal(statement: &Statement, program: Program) -> String {
    let entries: Vec<Entry> = statement
        .lines
        .iter()
        .map(line)
        .chain(statement.obligations.iter().map(net))
        .filter(|entry| entry.amount.bytes().any(|b| (b'1'..=b'9').contains(&b)))
        .collect();
    let accounts: BTreeSet<(&Account, &str)> = entries
        .iter()
        .flat_map(|entry| [(&entry.to, entry.currency.as_str()), (&entry.from, entry.currency.as_str())])
        .collect();
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        // A String takes whatever it is given.
        let _ = writeln!(text, "{line}");
    };
    let date = statement.business_date;
    line(format_args!("; {JOURNAL_FORMAT} of {} for {date}", statement.partner));
    match program {
        Program::Hledger => {
            let currencies: BTreeSet<&str> = accounts.iter().map(|(_, currency)| *currency).collect();
            currencies
                .iter()
                .for_each(|currency| line(format_args!("commodity 1000.000000 {currency}")));
            let names: BTreeSet<String> = accounts.iter().map(|(account, _)| program.name(account)).collect();
            names.iter().for_each(|name| line(format_args!("account {name}")));
        }
        // It opens accounts by itself, so that files of several days can stand in one ledger.
        Program::Beancount => line(format_args!("plugin \"beancount.plugins.auto_accounts\"")),
    }
    for entry in &entries {
        let Entry {
            payee,
            text,
            currency,
            amount,
            ..
        } = entry;
        let agreement = entry.agreement.as_deref();
        line(format_args!(""));
        match program {
            Program::Hledger => {
                line(format_args!("{date} {payee} | {text}"));
                agreement.into_iter().for_each(|hash| line(format_args!("    ; agreement: {hash}")));
            }
            Program::Beancount => {
                line(format_args!("{date} * \"{payee}\" \"{text}\""));
                agreement.into_iter().for_each(|hash| line(format_args!("  agreement: \"{hash}\"")));
            }
        }
        for (account, amount) in [(&entry.to, amount.clone()), (&entry.from, negated(amount))] {
            line(format_args!("    {:<44}  {amount:>26} {currency}", program.name(account)));
        }
    }
    text
}

impl Program {
    /// An account's name. Beancount wants each part to begin with a capital or a digit, and letters, digits and dashes in it.
    fn name(self, account: &Account) -> String {
        let part = |part: &String| match self {
            Self::Hledger => part.clone(),
            Self::Beancount => {
                let mut letters = part.chars();
                let first = letters.next().map(|first| first.to_ascii_uppercase());
                first.into_iter().chain(letters).collect()
            }
        };
        account.iter().map(part).collect::<Vec<_>>().join(":")
    }
}

fn account(parts: &[&str]) -> Account {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

fn line(line: &Line) -> Entry {
    let owes = line.direction == Direction::YouOwe;
    let (kind, reversed) = match line.kind.strip_suffix("_reversal") {
        Some(kind) => (kind, true),
        None => (line.kind.as_str(), false),
    };
    // A reversal of what was owed comes from the other side, into the same account.
    let kind = account(&[if owes != reversed { "expenses" } else { "income" }, "points", kind]);
    let pair = account(&["assets", "points", line.counterparty.as_str()]);
    let (to, from) = if owes { (kind, pair) } else { (pair, kind) };
    Entry {
        payee: line.counterparty.to_string(),
        text: format!(
            "{} {} {} at {}, {} messages",
            line.kind, line.points, line.programme, line.price, line.messages
        ),
        agreement: Some(line.agreement.clone()),
        currency: line.currency.to_string(),
        amount: line.amount.clone(),
        to,
        from,
    }
}

fn net(pair: &PairLine) -> Entry {
    Entry {
        payee: pair.counterparty.to_string(),
        text: "net".to_owned(),
        agreement: None,
        currency: pair.currency.to_string(),
        amount: pair.net.clone(),
        to: account(&["assets", "points", "settlement"]),
        from: account(&["assets", "points", pair.counterparty.as_str()]),
    }
}

fn negated(amount: &str) -> String {
    match amount.strip_prefix('-') {
        Some(amount) => amount.to_owned(),
        None => format!("-{amount}"),
    }
}
