//! The statements that a partner has, with where their windows stand.

use diesel::prelude::*;
use jiff::civil::Date;
use migrations::schema::statement_file as f;
use migrations::{Conn, DbError, each_backend};
use partner_sdk::PartnerId;
use serde::Deserialize;

use super::files::kept_file;
use super::read;
use super::windows::{Window, window};
use crate::error::SettlementError;
use crate::statement::NetLine;

/// A statement in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its window.
    pub window: Window,
    /// What the partner pays or receives, one entry a currency.
    pub net: Vec<NetLine>,
    /// SHA-256 of the JSON, in hexadecimal.
    pub json_sha256: String,
    /// SHA-256 of the CSV.
    pub csv_sha256: String,
}

/// What a list tells of a statement, whichever version of its format it has.
#[derive(Deserialize)]
struct Told {
    net: Vec<NetLine>,
}

/// A partner's statements of the windows from a date up to another, the newest `limit` of them, newest first.
pub fn listed(conn: &mut Conn, partner: &PartnerId, (from, until): (Date, Date), limit: i64) -> Result<Vec<Listed>, SettlementError> {
    let (json, csv) = (format!("{partner}.json"), format!("{partner}.csv"));
    let dates = f::table
        .select(f::business_date)
        .filter(f::business_date.between(from.to_string(), until.to_string()))
        .filter(f::name.eq(&json))
        .order(f::business_date.desc())
        .limit(limit);
    let dates: Vec<String> = each_backend!(conn, |c| dates.load(c)).map_err(DbError::from)?;
    let mut listed = vec![];
    for date in dates {
        let date: Date = read("a window's business date", date.parse())?;
        let file = kept_file(conn, date, &json)?;
        let csv = f::table.find((date.to_string(), &csv)).select(f::sha256);
        let csv: Option<String> = each_backend!(conn, |c| csv.first(c).optional()).map_err(DbError::from)?;
        let (Some(window), Some(json), Some(csv_sha256)) = (window(conn, date)?, file, csv) else {
            continue;
        };
        let told: Told = read("a statement", serde_json::from_str(&json.text))?;
        listed.push(Listed {
            window,
            net: told.net,
            json_sha256: json.sha256,
            csv_sha256,
        });
    }
    Ok(listed)
}
