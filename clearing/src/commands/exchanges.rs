//! `clearing exchanges`: what waits for an issuer that keeps its balances itself.

use jiff::Timestamp;
use partner_sdk::text::counted;

use super::at::{At, clock, open};
use crate::say;
use ledger::timestamp;
use store::pending;

/// Lines read at once.
const PAGE: i64 = 1000;

/// Prints all open exchanges with their ages, oldest first. Names no member.
pub fn list(at: &At, sandbox_clock: Option<Timestamp>) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    let now = clock(&mut conn, sandbox_clock)?.now().as_microsecond();
    let (mut after, mut count) = (0, 0i64);
    loop {
        let page = pending::open(&mut conn, after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.pending.seq;
        count += i64::try_from(page.len())?;
        for one in page {
            say!(
                "{}  {}  {} {}  {}>{}  waits for {}  since {}  asked again {}",
                one.state(now),
                age(one.age_seconds(now).unwrap_or_default()),
                one.pending.sender,
                one.pending.id,
                one.from.programme,
                one.to.programme,
                one.pending.to_issuer,
                timestamp(one.pending.instructed_at),
                counted(one.pending.queries, "time")
            )?;
        }
    }
    let open = if count == 1 { "is" } else { "are" };
    Ok(say!("{} {open} open", counted(count, "exchange"))?)
}

/// Days, hours and minutes, for people.
fn age(seconds: i64) -> String {
    let minutes = seconds / 60;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}
