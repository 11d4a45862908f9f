//! What a dispute is about: the line of a statement, or one message in it, and how much of it the partner owes.

use jiff::{SignedDuration, Timestamp};
use migrations::{Conn, DbError};
use partner_sdk::amount::format_units;
use partner_sdk::change::Status;
use partner_sdk::dispute::{DisputeTerms, DisputedMessage, FILE_WITHIN_DAYS};
use partner_sdk::text::counted;
use partner_sdk::wire::{Direction, PostedQuery};
use partner_sdk::{Amount, Code, Currency, Money, PartnerId, Problem};
use settlement::book::per_point;
use settlement::{Format, Statement, TakenOut};

use super::settled::fault;
use super::{Done, is_hash, refused, salted};
use ledger::directory::Directory;
use store::disputes;
use store::posted::{self, Party, Wanted};

/// How often a partner may dispute what it owes by one window: each time the window's payments may be made anew.
const MAX_OF_WINDOW: i64 = 50;

/// The line of what disputes came to.
const ADJUSTMENT: &str = "adjustment";

/// What may be disputed.
pub struct Claim {
    /// The debt that is said not to be one.
    pub debt: TakenOut,
    /// Whether it is taken out of the window's payments; else it is paid first.
    pub is_taken_out: bool,
}

/// Looks whether a partner owes what it disputes: by a line of its statement that came out not long ago, and not disputed before.
pub fn claim(conn: &mut Conn, directory: &Directory, caller: &PartnerId, terms: &DisputeTerms, now: Timestamp) -> Done<Claim> {
    salted(&terms.salt)?;
    if terms.partner != *caller {
        return Err(Problem::new(Code::NotParty, "nobody disputes for others: `partner` is who signs").into());
    }
    if terms.evidence_sha256.as_deref().is_some_and(|hash| !is_hash(hash)) {
        return refused(Code::BadTerms, "evidence_sha256", "64 lower-case hexadecimal digits are a SHA-256");
    }
    let amount = money(terms.amount, terms.currency, "amount")?;
    if amount == Money::ZERO {
        return refused(Code::BadAmount, "amount", "must be above zero");
    }
    if terms.line.kind == ADJUSTMENT {
        return refused(Code::BadTerms, "line", "what a dispute has come to isn't disputed once more");
    }
    if directory
        .partners
        .get(&terms.counterparty)
        .is_some_and(|partner| partner.status == Status::Gone)
    {
        return refused(
            Code::BadTerms,
            "counterparty",
            "this partner is gone: settle the matter outside the clearinghouse",
        );
    }
    in_time(conn, terms, now)?;
    if disputes::all_of(conn, terms.business_date, caller)? >= MAX_OF_WINDOW {
        let detail = format!("you have disputed {MAX_OF_WINDOW} times what you owe by this window");
        return Err(Problem::new(Code::TooManyProposals, detail).into());
    }
    let line = line(conn, caller, terms)?;
    let most = ceiling(read(&line.amount)?, terms.currency);
    let named = terms.message.as_ref().map(|message| (message.sender.as_str(), message.id.as_str()));
    let part = match &terms.message {
        None => most,
        Some(message) => ceiling(of_message(conn, directory, (caller, terms), message, &line)?, terms.currency),
    };
    let (mut of_line, mut of_message) = (i128::from(amount.0), i128::from(amount.0));
    for known in disputes::standing(conn, terms.business_date, caller)? {
        let same = known.creditor == terms.counterparty && known.currency == terms.currency && known.kind == terms.line.kind;
        if same && known.agreement == terms.line.agreement && known.price == terms.line.price {
            of_line += i128::from(known.amount.0);
            let same = known.message.as_ref().map(|(sender, id)| (sender.as_str(), id.as_str())) == named;
            of_message += if same { i128::from(known.amount.0) } else { 0 };
        }
    }
    for (what, disputed, most) in [("line", of_line, most), ("message", of_message, part)] {
        if disputed > i128::from(most.0) {
            let detail = format!(
                "by this {what} you owe {} {}, and with this dispute {} of it would be disputed",
                terms.currency,
                most.display(terms.currency),
                format_units(disputed, 6)
            );
            return refused(Code::BadAmount, "amount", detail);
        }
    }
    let debt = TakenOut {
        debtor: caller.clone(),
        creditor: terms.counterparty.clone(),
        currency: terms.currency,
        amount,
    };
    let is_taken_out = settlement::may_dispute(conn, terms.business_date, &debt).map_err(|error| fault(error, "business_date"))?;
    Ok(Claim { debt, is_taken_out })
}

/// An amount of a document as money: not below zero, a whole number of minor units.
pub fn money(amount: Amount, currency: Currency, field: &str) -> Done<Money> {
    let whole = |money: &Money| money.0 >= 0 && money.round_to_minor(currency).1 == Money::ZERO;
    match amount.to_units(6).map(Money) {
        Ok(money) if whole(&money) => Ok(money),
        Ok(_) => refused(Code::BadAmount, field, format!("{currency} is paid in whole minor units")),
        Err(error) => refused(Code::BadAmount, field, error.to_string()),
    }
}

/// The statement is out, and its time to be disputed isn't over.
fn in_time(conn: &mut Conn, terms: &DisputeTerms, now: Timestamp) -> Done<()> {
    let window = settlement::window(conn, terms.business_date)?;
    let Some(advised_at) = window.and_then(|window| window.advised_at) else {
        return no_statement();
    };
    match now > advised_at + SignedDuration::from_hours(24 * FILE_WITHIN_DAYS) {
        true => {
            let within = counted(FILE_WITHIN_DAYS, "day");
            let detail = format!("the statement came out at {advised_at}, and its lines may be disputed for {within}");
            Err(Problem::new(Code::DeadlinePassed, detail).at(Some("business_date")).into())
        }
        false => Ok(()),
    }
}

fn no_statement<T>() -> Done<T> {
    refused(Code::BadTerms, "business_date", "you have no statement of this window, or not yet")
}

/// The line by which the caller owes the counterparty.
fn line(conn: &mut Conn, caller: &PartnerId, terms: &DisputeTerms) -> Done<settlement::statement::Line> {
    let kept = settlement::advised(conn, terms.business_date, caller, Format::Json).map_err(|error| fault(error, "business_date"))?;
    let Some(kept) = kept else { return no_statement() };
    let statement: Statement = serde_json::from_str(&kept.text).map_err(|error| DbError::Corrupt(format!("a statement: {error}")))?;
    let is_it = |line: &settlement::statement::Line| {
        (&line.counterparty, line.direction, line.currency) == (&terms.counterparty, Direction::YouOwe, terms.currency)
            && (&line.kind, &line.agreement, &line.price) == (&terms.line.kind, &terms.line.agreement, &terms.line.price)
    };
    let Some(line) = statement.lines.into_iter().find(is_it) else {
        let problem = Problem::new(Code::BadTerms, "by no such line of your statement you owe this counterparty").at(Some("line"));
        let advice = "Take `kind`, `agreement`, `price`, `counterparty` and `currency` from a line whose `direction` is you_owe: what you are owed in addition is posted, not disputed.";
        return Err(problem.advise(advice).into());
    };
    Ok(line)
}

/// What the caller owes by one message of the line.
fn of_message(
    conn: &mut Conn,
    directory: &Directory,
    (caller, terms): (&PartnerId, &DisputeTerms),
    message: &DisputedMessage,
    line: &settlement::statement::Line,
) -> Done<i128> {
    let party = Party {
        partner: caller.to_string(),
        issued: vec![],
    };
    let query = PostedQuery {
        window: Some(terms.business_date),
        sender: Some(message.sender.clone()),
        id: Some(message.id.clone()),
        ..PostedQuery::default()
    };
    let agreement = directory.agreement_named(&line.agreement).map(|agreement| agreement.no);
    let scale = directory
        .programmes
        .get(&line.programme)
        .map_or(0, |programme| programme.terms.scale);
    let found = posted::posted(conn, &party, &Wanted { query, agreement }, 0, 1)?
        .unwrap_or_default()
        .found;
    let legs = found.into_iter().flat_map(|(_, legs)| legs).filter(|leg| {
        (leg.kind.as_str(), leg.agreement, leg.unit.as_str()) == (line.kind.as_str(), agreement, terms.currency.as_str())
            && (leg.debit.as_str(), leg.credit.as_str()) == (caller.as_str(), terms.counterparty.as_str())
            && format_units(per_point(Money(leg.price), scale), 6) == line.price
    });
    let amounts: Vec<i128> = legs.map(|leg| i128::from(leg.amount)).collect();
    match amounts.is_empty() {
        true => refused(Code::BadTerms, "message", "this message has no part in the line"),
        false => Ok(amounts.into_iter().sum()),
    }
}

/// An amount of a statement in micros.
fn read(amount: &str) -> Done<i128> {
    let read = amount.parse::<Amount>().ok().and_then(|amount| amount.to_units(6).ok());
    Ok(read
        .map(i128::from)
        .ok_or_else(|| DbError::Corrupt("a statement's amount".into()))?)
}

/// Rounded up to a whole number of minor units: a part of a cent can only be disputed as one.
fn ceiling(micros: i128, currency: Currency) -> Money {
    let unit = 10i128.pow(6 - currency.minor_digits());
    let up = (micros + unit - 1).div_euclid(unit) * unit;
    Money(i64::try_from(up).unwrap_or(i64::MAX))
}
