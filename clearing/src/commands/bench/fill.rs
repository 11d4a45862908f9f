//! Messages that are posted without signature check and wire, where only what they leave counts.

use std::sync::Arc;

use anyhow::ensure;
use partner_sdk::client::new_message_id;
use partner_sdk::jws::sha256_hex;
use partner_sdk::{Body, MemberNumber, Message, ProgrammeCode};

use crate::commands::demo::sandbox::{Party, Sandbox};
use crate::commands::progress::bar;
use ledger::{Outcome, Signed, Verified, apply};
use store::Unready;

/// Messages in one transaction.
const GROUP: usize = 2_000;

/// Posts the messages of these numbers, each of the partner and with the body that `of` says. A message that is refused is an error.
pub(super) fn fill<'p>(
    sandbox: &Sandbox,
    numbers: std::ops::Range<u32>,
    of: impl Fn(u32) -> anyhow::Result<(&'p Party, Body)>,
) -> anyhow::Result<()> {
    let mut conn = sandbox.database()?;
    let directory = Arc::new(store::load_directory(&mut conn)?);
    let bar = bar("filling", numbers.end);
    let all: Vec<u32> = numbers.collect();
    for chunk in all.chunks(GROUP) {
        let verified = |no: &u32| {
            let (party, body) = of(*no)?;
            let message = message(sandbox, party, body);
            let bytes: Arc<str> = message.sign(&party.key).into();
            Ok(Arc::new(Verified {
                kid: party.key.kid().clone(),
                sha256: sha256_hex(bytes.as_bytes()),
                signed: Signed { bytes, batch: None },
                message,
            }))
        };
        let messages: Vec<Arc<Verified>> = chunk.iter().map(verified).collect::<anyhow::Result<_>>()?;
        let mut accepted = false;
        conn.transaction(|conn| -> Result<(), Unready> {
            let mut set = store::load(conn, &directory, &messages, || sandbox.clock.now().as_microsecond())?;
            accepted = messages
                .iter()
                .all(|message| matches!(apply(&mut set, message), Outcome::Kept(posted) if posted.code.is_none()));
            store::persist(conn, &set)?;
            Ok(())
        })?;
        ensure!(accepted, "a message of the bench's own was refused");
        bar.inc(u64::try_from(chunk.len())?);
    }
    bar.finish_and_clear();
    Ok(())
}

/// A message of now.
pub(super) fn message(sandbox: &Sandbox, party: &Party, body: Body) -> Message {
    Message {
        id: new_message_id(),
        sender: party.id.clone(),
        issued_at: sandbox.clock.now(),
        occurred_at: sandbox.clock.now(),
        body,
    }
}

fn programme() -> anyhow::Result<ProgrammeCode> {
    Ok("POINTS".parse()?)
}

/// An earn of 100 points.
pub(super) fn earn_for(member: &str) -> anyhow::Result<Body> {
    Ok(Body::Earn {
        programme: programme()?,
        member: MemberNumber::new(member)?,
        points: "100".parse()?,
        spend: None,
    })
}

/// A burn of so many points.
pub(super) fn burn_of(member: &str, points: &str) -> anyhow::Result<Body> {
    Ok(Body::Burn {
        programme: programme()?,
        member: MemberNumber::new(member)?,
        points: points.parse()?,
    })
}
