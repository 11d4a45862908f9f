//! A statement as double entries, for hledger and for beancount. Both say the same of the same statement, to the last millionth.
//!
//! | what the statement has | entry |
//! |---|---|
//! | a line by which the partner owes | an expense, by kind; the counterparty's account takes it |
//! | a line by which it is owed | the counterparty's account, and income |
//! | a reversal | the same the other way round, in the account of what it reverses |
//! | a pair's net | from the counterparty's account to that of the settlement |
//! | a net that is paid in another currency | the counterparty's account gives it at the rate, that of the settlement takes the amount, and the difference stays on the counterparty's in the other currency |
//!
//! What is left on a counterparty's account is the residue that the statement carries out. What is on the account of the settlement is the net: the payment by the bank clears it.

use std::collections::BTreeSet;
use std::fmt::Write;

use partner_sdk::wire::Direction;

use crate::statement::{ConversionLine, Line, PairLine, Statement};

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

/// An entry: what its postings move sums to nothing.
struct Entry {
    payee: String,
    text: String,
    agreement: Option<String>,
    postings: Vec<Posting>,
}

/// What an account takes, or (below zero) gives.
struct Posting {
    account: Account,
    /// With its sign.
    amount: String,
    currency: String,
    /// What one unit of it is worth here, and of what.
    at: Option<(String, String)>,
}

impl Posting {
    fn moves(&self) -> bool {
        self.amount.bytes().any(|b| (b'1'..=b'9').contains(&b))
    }
}

/// What the first takes, the second gives.
fn two_sides(currency: &str, amount: &str, to: Account, from: Account) -> Vec<Posting> {
    let posting = |account, amount| Posting {
        account,
        amount,
        currency: currency.to_owned(),
        at: None,
    };
    vec![posting(to, amount.to_owned()), posting(from, negated(amount))]
}

/// A statement as a journal. Lines without money make no entry.
pub fn journal(statement: &Statement, program: Program) -> String {
    let conversions = || statement.conversions.iter().flatten();
    let converted = |pair: &PairLine| conversions().any(|line| (line.currency, &line.counterparty) == (pair.currency, &pair.counterparty));
    let entries: Vec<Entry> = statement
        .lines
        .iter()
        .map(line)
        .chain(statement.obligations.iter().filter(|pair| !converted(pair)).map(net))
        .chain(conversions().map(conversion))
        .filter(|entry| entry.postings.iter().any(Posting::moves))
        .collect();
    let accounts: BTreeSet<(&Account, &str)> = entries
        .iter()
        .flat_map(|entry| &entry.postings)
        .map(|posting| (&posting.account, posting.currency.as_str()))
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
        let Entry { payee, text, .. } = entry;
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
        for posting in &entry.postings {
            let Posting { amount, currency, at, .. } = posting;
            let at = at.as_ref().map_or_else(String::new, |(rate, of)| format!(" @ {rate} {of}"));
            line(format_args!(
                "    {:<44}  {amount:>26} {currency}{at}",
                program.name(&posting.account)
            ));
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
        postings: two_sides(line.currency.as_str(), &line.amount, to, from),
    }
}

fn net(pair: &PairLine) -> Entry {
    Entry {
        payee: pair.counterparty.to_string(),
        text: "net".to_owned(),
        agreement: None,
        postings: two_sides(
            pair.currency.as_str(),
            &pair.net,
            account(&["assets", "points", "settlement"]),
            account(&["assets", "points", pair.counterparty.as_str()]),
        ),
    }
}

fn conversion(line: &ConversionLine) -> Entry {
    let pair = || account(&["assets", "points", line.counterparty.as_str()]);
    let into = |account, amount: &str| Posting {
        account,
        amount: amount.to_owned(),
        currency: line.payment_currency.to_string(),
        at: None,
    };
    let gives = Posting {
        account: pair(),
        amount: negated(&line.net),
        currency: line.currency.to_string(),
        at: Some((line.rate.clone(), line.payment_currency.to_string())),
    };
    let takes = into(account(&["assets", "points", "settlement"]), &line.amount);
    let difference = into(pair(), &line.difference);
    Entry {
        payee: line.counterparty.to_string(),
        text: format!("net in {}, paid in {}", line.currency, line.payment_currency),
        agreement: None,
        postings: [gives, takes, difference].into_iter().filter(Posting::moves).collect(),
    }
}

fn negated(amount: &str) -> String {
    match amount.strip_prefix('-') {
        Some(amount) => amount.to_owned(),
        None => format!("-{amount}"),
    }
}
