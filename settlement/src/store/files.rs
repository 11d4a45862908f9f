//! The bytes of statements, as they were advised.

use diesel::prelude::*;
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::schema::statement_file as f;
use migrations::{Conn, DbError, each_backend};
use partner_sdk::jws::sha256_hex;

use super::{append, read};
use crate::error::SettlementError;

/// A file's name and bytes.
pub type NamedBytes = (String, Vec<u8>);

/// One file of an advised window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advised {
    /// The SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// The bytes, which are text.
    pub text: String,
}

/// What `entry` says in the log's entries about statements that are kept.
pub const ENTRY: &str = "statements";

/// Keeps files of a window, which has none of these names yet, and says in the log what they are; for a transaction that has locked `head`.
pub fn keep_files(conn: &mut Conn, date: Date, files: &[NamedBytes], now: Timestamp) -> Result<(), DbError> {
    let mut rows = vec![];
    let mut list = String::new();
    for (name, bytes) in files {
        let (text, sha256) = (read("a statement", std::str::from_utf8(bytes))?, sha256_hex(bytes));
        list.push_str(&format!("{sha256}  {name}\n"));
        rows.push((
            f::business_date.eq(date.to_string()),
            f::name.eq(name),
            f::sha256.eq(sha256),
            f::bytes.eq(text),
        ));
    }
    each_backend!(conn, |c| {
        let mut rows = rows.into_iter();
        rows.try_for_each(|row| diesel::insert_into(f::table).values(row).execute(c).map(drop))
    })?;
    let (date, sha256) = (date.to_string(), sha256_hex(list.as_bytes()));
    // As `sha256sum` lists them.
    append(conn, now, ENTRY, &date, &[("window", &date), ("files_sha256", &sha256)])
}

/// All files of a window by name; none where they aren't kept yet. An error where one isn't what was kept.
pub fn kept_files(conn: &mut Conn, date: Date) -> Result<Vec<NamedBytes>, SettlementError> {
    let query = f::table
        .select((f::name, f::sha256, f::bytes))
        .filter(f::business_date.eq(date.to_string()))
        .order(f::name);
    let rows = each_backend!(conn, |c| query.load::<(String, String, String)>(c)).map_err(DbError::from)?;
    let file = |(name, sha256, text): (String, String, String)| {
        let kept = checked(date, &name, sha256, text)?;
        Ok((name, kept.text.into_bytes()))
    };
    rows.into_iter().map(file).collect()
}

/// One file of a window, by its primary key alone.
pub fn kept_file(conn: &mut Conn, date: Date, name: &str) -> Result<Option<Advised>, SettlementError> {
    let query = f::table.find((date.to_string(), name)).select((f::sha256, f::bytes));
    let row = each_backend!(conn, |c| query.first::<(String, String)>(c).optional()).map_err(DbError::from)?;
    row.map(|(sha256, text)| checked(date, name, sha256, text)).transpose()
}

/// A file of every window from a date up to another that has it, oldest first; together no longer than so many bytes.
pub fn kept_between(conn: &mut Conn, name: &str, (from, until): (Date, Date), most: usize) -> Result<Vec<Advised>, SettlementError> {
    let query = f::table
        .select(f::business_date)
        .filter(f::business_date.between(from.to_string(), until.to_string()))
        .filter(f::name.eq(name))
        .order(f::business_date);
    let dates: Vec<String> = each_backend!(conn, |c| query.load(c)).map_err(DbError::from)?;
    let (mut files, mut bytes) = (vec![], 0);
    for date in dates {
        let file = kept_file(conn, read("a window's business date", date.parse())?, name)?;
        bytes += file.as_ref().map_or(0, |file| file.text.len());
        if bytes > most {
            return Err(SettlementError::TooLong);
        }
        files.extend(file);
    }
    Ok(files)
}

fn checked(date: Date, name: &str, sha256: String, text: String) -> Result<Advised, SettlementError> {
    if sha256_hex(text.as_bytes()) != sha256 {
        return Err(SettlementError::Changed {
            date,
            name: name.to_owned(),
        });
    }
    Ok(Advised { sha256, text })
}
