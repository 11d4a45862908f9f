//! Exchanges with programmes whose issuers keep the balances: where they stand, for their two parties.

use actix_web::{HttpRequest, HttpResponse, web};
use partner_sdk::amount::format_units;
use partner_sdk::wire::InstructedExchange;
use partner_sdk::{Code, MessageId, PartnerId, Problem};

use super::failure::Failure;
use super::params::Params;
use super::request::{State, caller, on_database};
use ledger::AccountKey;
use ledger::directory::Directory;
use ledger::timestamp;
use store::pending::{self, Instructed};

/// The most exchanges in one answer.
const MOST: i64 = 1000;

/// `GET /v1/exchanges?state=open`: the caller's own, oldest first.
pub async fn open(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory) = caller(&request, &state)?;
    let params = Params::new(&request, &["state", "after"])?;
    if params.text("state").is_some_and(|asked| asked != "open") {
        return Err(
            Problem::new(Code::BadValue, "only open exchanges are listed: ask for others one by one")
                .at(Some("state"))
                .into(),
        );
    }
    let (after, now) = (params.number("after", 0..=i64::MAX, 0)?, state.clock.now().as_microsecond());
    let found = on_database(&state, move |conn| {
        conn.snapshot(|conn| Ok(pending::open_of(conn, partner.as_str(), after, MOST)?))
    })
    .await?;
    let shown: Vec<InstructedExchange> = found.into_iter().map(|one| shown(one, &directory, now)).collect();
    Ok(HttpResponse::Ok().json(shown))
}

/// `GET /v1/exchanges/{sender}/{id}`: one of the caller's own, open or closed.
pub async fn fetch(request: HttpRequest, path: web::Path<(String, String)>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory) = caller(&request, &state)?;
    Params::none(&request)?;
    let (sender, id) = path.into_inner();
    let (Ok(sender), Ok(id)) = (PartnerId::new(sender), MessageId::new(id)) else {
        return Err(Failure::new(Code::NotFound));
    };
    let now = state.clock.now().as_microsecond();
    let found = on_database(&state, move |conn| {
        conn.snapshot(|conn| Ok(pending::find(conn, sender.as_str(), id.as_str())?))
    })
    .await?;
    let own = found.filter(|one| one.pending.sender == partner || one.pending.to_issuer == partner);
    let one = own.ok_or_else(|| Failure::new(Code::NotFound))?;
    Ok(HttpResponse::Ok().json(shown(one, &directory, now)))
}

fn shown(one: Instructed, directory: &Directory, now: i64) -> InstructedExchange {
    let text = |account: &AccountKey, points| {
        let scale = directory.programmes.get(&account.programme).map_or(0, |p| p.terms.scale);
        format_units(points, scale)
    };
    let (points, credited, bonus) = (text(&one.from, one.points), text(&one.to, one.credited), text(&one.to, one.bonus));
    let (state, age_seconds) = (one.state(now), one.age_seconds(now));
    let Instructed { pending, from, to, .. } = one;
    let (answered_at, captured, word) = pending
        .answer
        .map_or((None, false, None), |a| (Some(timestamp(a.at)), a.captured, a.word));
    let (reference, reason) = if captured { (word, None) } else { (None, word) };
    InstructedExchange {
        sender: pending.sender,
        id: pending.id,
        sequence: pending.seq,
        programme: from.programme,
        points,
        to_programme: to.programme,
        to_member: to.member,
        credited,
        bonus,
        state,
        instructed_at: timestamp(pending.instructed_at),
        deadline: timestamp(pending.deadline),
        age_seconds,
        queries: pending.queries,
        answered_at,
        reference,
        reason,
    }
}
