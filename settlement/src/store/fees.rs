//! Clearing fees: once per agreement and window, posted as one message of the clearinghouse itself.

use std::collections::BTreeMap;

use diesel::prelude::*;
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::schema::{head, message, posting};
use migrations::{Conn, DbError, each_backend};
use partner_sdk::agreement::FeeBearer;
use partner_sdk::{Currency, PartnerId, ProgrammeCode};

use super::book::{Pace, agreements, groups, issuers};
use super::exposures::add_exposure;
use super::pairs::add_position;
use super::read;
use crate::error::SettlementError;
use crate::netting::{self, Position};

/// The kind of money posting that a fee is a percentage of; what is reversed later is not refunded.
const EXCHANGE: &str = "exchange";
const FEE: &str = "fee";

/// A fee as a position, and the number of its agreement here.
pub type Fee = (i32, Position);

/// Posts the fees of a closed window under the next sequence number, if there are any; the ledger is locked.
pub fn post_fees(conn: &mut Conn, date: Date, fees: &[Fee], next_seq: i64, now: Timestamp) -> Result<(), SettlementError> {
    if fees.is_empty() {
        return Ok(());
    }
    let next = next_seq
        .checked_add(1)
        .ok_or_else(|| DbError::Corrupt("there are no more sequence numbers".into()))?;
    let last_at: i64 = each_backend!(conn, |c| head::table.select(head::last_at).first(c)).map_err(DbError::from)?;
    let posted_at = last_at.max(now.as_microsecond());
    each_backend!(conn, |c| diesel::update(head::table.find(1))
        .set((head::next_seq.eq(next), head::last_at.eq(posted_at)))
        .execute(c))
    .map_err(DbError::from)?;
    insert_message(conn, date, next_seq, posted_at)?;
    for (leg, (no, fee)) in (0..).zip(fees) {
        insert_posting(conn, date, (next_seq, leg), *no, fee)?;
        add_position(conn, date, fee)?;
        // The clearinghouse has no exposure: it has no cap, and all fees of all partners need not fit.
        add_exposure(conn, &fee.debtor, fee.currency, fee.amount.0.into())?;
    }
    Ok(())
}

/// The fees of a window, in order of their agreements' hashes. No lock is needed where the window is closed: nothing joins it any more.
pub fn fees(conn: &mut Conn, date: Date, pace: Pace) -> Result<Vec<Fee>, SettlementError> {
    let mut charging = agreements(conn)?;
    charging.retain(|_, agreed| agreed.terms.clearing_fee_percent.is_some());
    if charging.is_empty() {
        return Ok(vec![]);
    }
    let issuers = issuers(conn)?;
    let mut amounts: BTreeMap<(i32, String), i128> = BTreeMap::new();
    for group in groups(conn, date, pace)?.into_iter().filter(|group| group.kind == EXCHANGE) {
        let Some(no) = group.agreement.filter(|no| charging.contains_key(no)) else {
            continue;
        };
        *amounts.entry((no, group.unit)).or_default() += group.amount;
    }
    let mut fees = vec![];
    for ((no, unit), amount) in amounts {
        let (Some(agreed), currency) = (charging.get(&no), read("a currency", Currency::new(&unit))?) else {
            continue;
        };
        let terms = &agreed.terms;
        let percent = terms.clearing_fee_percent.map_or(Ok(0), |percent| percent.to_units(6));
        let fee = netting::fee(amount, read("a fee", percent)?, currency, terms.rounding.unwrap_or_default());
        let issuer = |code: &Option<ProgrammeCode>| {
            let issuer = code.as_ref().and_then(|code| issuers.get(code.as_str()));
            issuer.ok_or_else(|| DbError::Corrupt("an exchange agreement names no programme".into()))
        };
        let shares = match terms.clearing_fee_borne_by.unwrap_or_default() {
            FeeBearer::Partner => vec![(&terms.partner, fee)],
            FeeBearer::Issuer => vec![(issuer(&terms.to_programme)?, fee)],
            FeeBearer::Half => {
                let (first, second) = netting::halves(fee, currency);
                vec![(&terms.partner, first), (issuer(&terms.to_programme)?, second)]
            }
        };
        let creditor = PartnerId::clearing();
        for (debtor, amount) in shares.into_iter().filter(|(_, amount)| *amount != 0) {
            let fee = Position {
                debtor: debtor.clone(),
                creditor: creditor.clone(),
                currency,
                amount: netting::fits(amount, "a clearing fee", (debtor, &creditor), currency)?,
            };
            fees.push((agreed.hash.as_str(), no, fee));
        }
    }
    fees.sort_by(|x, y| (x.0, x.2.currency, &x.2.debtor).cmp(&(y.0, y.2.currency, &y.2.debtor)));
    Ok(fees.into_iter().map(|(_, no, fee)| (no, fee)).collect())
}

fn insert_message(conn: &mut Conn, date: Date, seq: i64, posted_at: i64) -> Result<(), DbError> {
    let row = (
        message::seq.eq(seq),
        message::sender.eq(PartnerId::clearing().as_str().to_owned()),
        message::id.eq(format!("fees-{date}")),
        message::kind.eq(FEE),
        message::business_date.eq(date.to_string()),
        message::posted_at.eq(posted_at),
        message::facts.eq("[]"),
        message::points.eq(0),
        message::credited.eq(0),
        message::bonus.eq(0),
        message::sha256.eq(""),
        message::bytes.eq(""),
        message::salt.eq(super::entries::salt()?.to_string()),
        message::leads.eq(true),
    );
    each_backend!(conn, |c| diesel::insert_into(message::table).values(row).execute(c))?;
    Ok(())
}

fn insert_posting(conn: &mut Conn, date: Date, (seq, leg): (i64, i32), agreement: i32, fee: &Position) -> Result<(), DbError> {
    let row = (
        posting::business_date.eq(date.to_string()),
        posting::seq.eq(seq),
        posting::leg.eq(leg),
        posting::kind.eq(FEE),
        posting::unit.eq(fee.currency.as_str()),
        posting::debit.eq(fee.debtor.as_str()),
        posting::credit.eq(fee.creditor.as_str()),
        posting::amount.eq(fee.amount.0),
        posting::points.eq(0),
        posting::price.eq(0),
        posting::agreement.eq(agreement),
    );
    each_backend!(conn, |c| diesel::insert_into(posting::table).values(row).execute(c))?;
    Ok(())
}
