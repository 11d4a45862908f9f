//! Where payments go.

use std::collections::BTreeMap;

use diesel::prelude::*;
use migrations::schema::bank_account as a;
use migrations::{Conn, DbError, each_backend};
use partner_sdk::banking::{AccountTerms, BankAccount};
use partner_sdk::{Currency, PartnerId};

use super::{party, read};

/// The accounts of all parties, by currency.
pub type Accounts = BTreeMap<(PartnerId, Currency), BankAccount>;

/// Every account that is in force.
pub fn accounts(conn: &mut Conn) -> Result<Accounts, DbError> {
    let query = a::table.select((a::partner, a::currency, a::holder, a::account, a::bank));
    let rows = each_backend!(conn, |c| query.load::<(String, String, String, String, String)>(c))?;
    let account = |(partner, currency, holder, account, bank): (String, String, String, String, String)| {
        let key = (party(&partner)?, read("a currency", Currency::new(&currency))?);
        Ok((key, BankAccount { holder, account, bank }))
    };
    rows.into_iter().map(account).collect()
}

/// Puts an account in force, in place of the one before; for a transaction that may write.
pub fn put_account(conn: &mut Conn, terms: &AccountTerms, document: &str) -> Result<(), DbError> {
    let to = (
        a::holder.eq(&terms.holder),
        a::account.eq(&terms.account),
        a::bank.eq(&terms.bank),
        a::document.eq(document),
    );
    let row = (a::partner.eq(terms.partner.as_str()), a::currency.eq(terms.currency.as_str()), to);
    each_backend!(conn, |c| {
        let insert = diesel::insert_into(a::table).values(row);
        insert.on_conflict((a::partner, a::currency)).do_update().set(to).execute(c)
    })?;
    Ok(())
}
