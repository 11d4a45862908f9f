//! Disputes as rows: what each is about, and how it ended.

use diesel::prelude::*;
use jiff::civil::Date;
use migrations::schema::dispute as d;
use migrations::{Conn, DbError, each_backend};
use partner_sdk::{Currency, Money, PartnerId};

use super::rows::read;

/// A dispute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disputed {
    /// Its document.
    pub hash: String,
    /// The window of the statement.
    pub business_date: Date,
    /// Who disputes that it owes.
    pub debtor: PartnerId,
    /// Whom.
    pub creditor: PartnerId,
    /// Of the amount.
    pub currency: Currency,
    /// The line's kind.
    pub kind: String,
    /// The hash of the line's agreement.
    pub agreement: String,
    /// The line's price.
    pub price: String,
    /// Sender and id of a message, where the dispute is about one.
    pub message: Option<(String, String)>,
    /// How much.
    pub amount: Money,
    /// The run of the window that took it out; nothing where it is paid first.
    pub run: Option<i64>,
    /// Until when the creditor may answer, in microseconds since 1970.
    pub answer_by: i64,
    /// How much isn't owed, once that is known.
    pub upheld: Option<Money>,
    /// The window in which its outcome was posted, where that made somebody owe something.
    pub adjusted_in: Option<Date>,
}

impl Disputed {
    /// What is owed because of its outcome: who, whom, how much. What was taken out is paid as far as it is owed, and what was paid comes back as far as it isn't.
    pub fn outcome(&self, upheld: Money) -> Option<(&PartnerId, &PartnerId, Money)> {
        let (debtor, creditor, amount) = match self.run {
            Some(_) => (&self.debtor, &self.creditor, self.amount.0 - upheld.0),
            None => (&self.creditor, &self.debtor, upheld.0),
        };
        (amount > 0).then_some((debtor, creditor, Money(amount)))
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = d, treat_none_as_default_value = false)]
struct Row {
    hash: String,
    business_date: String,
    debtor: String,
    creditor: String,
    currency: String,
    kind: String,
    agreement: String,
    price: String,
    sender: Option<String>,
    id: Option<String>,
    micros: i64,
    run: Option<i64>,
    answer_by: i64,
    upheld: Option<i64>,
    adjusted_in: Option<String>,
}

impl Row {
    fn disputed(self) -> Result<Disputed, DbError> {
        Ok(Disputed {
            business_date: read(&self.business_date, "dispute.business_date")?,
            debtor: read(&self.debtor, "dispute.debtor")?,
            creditor: read(&self.creditor, "dispute.creditor")?,
            currency: read(&self.currency, "dispute.currency")?,
            hash: self.hash,
            kind: self.kind,
            agreement: self.agreement,
            price: self.price,
            message: self.sender.zip(self.id),
            amount: Money(self.micros),
            run: self.run,
            answer_by: self.answer_by,
            upheld: self.upheld.map(Money),
            adjusted_in: self.adjusted_in.map(|date| read(&date, "dispute.adjusted_in")).transpose()?,
        })
    }
}

/// Adds one; it is open.
pub fn insert(conn: &mut Conn, new: &Disputed) -> Result<(), DbError> {
    let (sender, id) = new.message.clone().unzip();
    let row = Row {
        hash: new.hash.clone(),
        business_date: new.business_date.to_string(),
        debtor: new.debtor.to_string(),
        creditor: new.creditor.to_string(),
        currency: new.currency.to_string(),
        kind: new.kind.clone(),
        agreement: new.agreement.clone(),
        price: new.price.clone(),
        sender,
        id,
        micros: new.amount.0,
        run: new.run,
        answer_by: new.answer_by,
        upheld: None,
        adjusted_in: None,
    };
    each_backend!(conn, |c| diesel::insert_into(d::table).values(row).execute(c))?;
    Ok(())
}

/// The disputes of these documents, in no particular order.
pub fn of(conn: &mut Conn, hashes: &[&str]) -> Result<Vec<Disputed>, DbError> {
    let query = d::table.filter(d::hash.eq_any(hashes));
    let rows: Vec<Row> = each_backend!(conn, |c| query.select(Row::as_select()).load(c))?;
    rows.into_iter().map(Row::disputed).collect()
}

/// A dispute by its document.
pub fn find(conn: &mut Conn, hash: &str) -> Result<Option<Disputed>, DbError> {
    Ok(of(conn, &[hash])?.pop())
}

/// What a debtor has disputed of a window, but for what it withdrew that was never taken out: what was, is out of the window for good.
pub fn standing(conn: &mut Conn, date: Date, debtor: &PartnerId) -> Result<Vec<Disputed>, DbError> {
    let query = d::table
        .filter(d::business_date.eq(date.to_string()))
        .filter(d::debtor.eq(debtor.as_str()))
        // Who withdraws says itself that all of it is owed.
        .filter(
            d::upheld
                .is_null()
                .or(d::upheld.ne(0))
                .or(d::ended_by.ne(d::hash.nullable()))
                .or(d::run.is_not_null()),
        );
    let rows: Vec<Row> = each_backend!(conn, |c| query.select(Row::as_select()).load(c))?;
    rows.into_iter().map(Row::disputed).collect()
}

/// How many disputes of a partner are open.
pub fn open_of(conn: &mut Conn, debtor: &PartnerId) -> Result<i64, DbError> {
    let open = d::table.filter(d::debtor.eq(debtor.as_str())).filter(d::upheld.is_null());
    Ok(each_backend!(conn, |c| open.count().get_result(c))?)
}

/// How often a partner has disputed something of a window, whatever became of it.
pub fn all_of(conn: &mut Conn, date: Date, debtor: &PartnerId) -> Result<i64, DbError> {
    let all = d::table
        .filter(d::business_date.eq(date.to_string()))
        .filter(d::debtor.eq(debtor.as_str()));
    Ok(each_backend!(conn, |c| all.count().get_result(c))?)
}

/// Every open dispute, those whose answer is due first first.
pub fn open(conn: &mut Conn) -> Result<Vec<Disputed>, DbError> {
    let query = d::table.filter(d::upheld.is_null()).order((d::answer_by, d::hash));
    let rows: Vec<Row> = each_backend!(conn, |c| query.select(Row::as_select()).load(c))?;
    rows.into_iter().map(Row::disputed).collect()
}

/// Ends one by a document: so much isn't owed, and what that makes owed is posted in a window.
pub fn end(conn: &mut Conn, hash: &str, upheld: Money, by: &str, adjusted_in: Option<Date>) -> Result<(), DbError> {
    let open = d::table.find(hash).filter(d::upheld.is_null());
    let window = adjusted_in.map(|date| date.to_string());
    let to = (d::upheld.eq(upheld.0), d::ended_by.eq(by), d::adjusted_in.eq(window));
    match each_backend!(conn, |c| diesel::update(open).set(to).execute(c))? {
        1 => Ok(()),
        _ => Err(DbError::Corrupt(format!("the dispute {hash} isn't open"))),
    }
}
