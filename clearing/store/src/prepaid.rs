//! Points that partners bought in advance.

use std::collections::BTreeSet;
use std::sync::Arc;

use diesel::prelude::*;
use diesel::upsert::excluded;
use migrations::schema::prepaid;
use migrations::{Conn, DbError, each_backend};
use partner_sdk::Body;

use super::prepared::among;
use super::rows::read;
use ledger::directory::Directory;
use ledger::{Block, Verified, WorkingSet};

type Row = (i32, String, String, i64, i64);

fn block((agreement, partner, programme, bought, left): Row) -> Result<Block, DbError> {
    Ok(Block {
        agreement,
        partner: read(&partner, "prepaid.partner")?,
        programme: read(&programme, "prepaid.programme")?,
        bought,
        left,
    })
}

/// Whether anybody ever agreed on blocks.
fn any(directory: &Directory) -> bool {
    directory.agreements().any(|agreement| agreement.item.prepaid.is_some())
}

/// Loads the blocks of everybody who buys, earns or takes back.
pub(super) fn load_blocks(conn: &mut Conn, set: &mut WorkingSet, batch: &[Arc<Verified>]) -> Result<(), DbError> {
    let concerns = |v: &&Arc<Verified>| matches!(v.message.body, Body::Earn { .. } | Body::Prepay { .. } | Body::Reverse { .. });
    let senders: BTreeSet<&str> = batch.iter().filter(concerns).map(|v| v.message.sender.as_str()).collect();
    if senders.is_empty() || !any(&set.directory) {
        return Ok(());
    }
    let query = prepaid::table.filter(among(prepaid::partner, senders));
    for row in each_backend!(conn, |c| query.load::<Row>(c))? {
        let block = block(row)?;
        set.blocks.insert(block.agreement, block);
    }
    Ok(())
}

/// Writes the blocks that changed.
pub(super) fn write_blocks(conn: &mut Conn, set: &WorkingSet) -> Result<(), DbError> {
    let changed = set.changes.blocks.iter().filter_map(|no| set.blocks.get(no));
    let rows: Vec<_> = changed
        .map(|block| {
            (
                prepaid::agreement.eq(block.agreement),
                prepaid::partner.eq(block.partner.as_str()),
                prepaid::programme.eq(block.programme.as_str()),
                prepaid::bought.eq(block.bought),
                prepaid::remaining.eq(block.left),
            )
        })
        .collect();
    for chunk in rows.chunks(conn.bind_limit() / 5) {
        each_backend!(conn, |c| diesel::insert_into(prepaid::table)
            .values(chunk.to_vec())
            .on_conflict(prepaid::agreement)
            .do_update()
            .set((
                prepaid::bought.eq(excluded(prepaid::bought)),
                prepaid::remaining.eq(excluded(prepaid::remaining)),
            ))
            .execute(c))?;
    }
    Ok(())
}

/// The blocks of a partner, and those of programmes that it issues, by partner, programme and age.
pub fn blocks(conn: &mut Conn, partner: &str, issued: &[String]) -> Result<Vec<Block>, DbError> {
    let concern = prepaid::partner.eq(partner).or(prepaid::programme.eq_any(issued));
    let query = prepaid::table
        .filter(concern)
        .order((prepaid::partner, prepaid::programme, prepaid::agreement));
    let rows = each_backend!(conn, |c| query.load::<Row>(c))?;
    rows.into_iter().map(block).collect()
}
