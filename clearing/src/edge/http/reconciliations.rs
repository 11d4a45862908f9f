//! A partner's own record, held against what it sent in a window.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use jiff::civil::Date;
use ledger::directory::Directory;
use ledger::{Posted, timestamp};
use partner_sdk::text::is_plain;
use partner_sdk::wire::PostedQuery;
use partner_sdk::{Amount, Code, Currency, PartnerId, Problem};
use serde::{Deserialize, Serialize};
use settlement::EXPIRY;
use settlement::reconcile::{self, Both, Elsewhere, Mapping, Message, RecordError, Report, Resolved};
use store::posted::{self, Leg, Party, Wanted};
use store::{current_directory, reconciling};

use super::failure::{Failure, too_many};
use super::params::Params;
use super::posted::rest;
use super::request::{State, caller, file, heard_step, on_database};
use super::turns::Turn;
use crate::edge::shares;
use crate::edge::tls::Peer;

/// The most messages that a record is held against, and how long a window is looked through for them.
const MOST_MESSAGES: usize = 200_000;
const LONGEST: Duration = Duration::from_secs(120);
/// Messages that are read at once, before a rest.
const PAGE: usize = 1_000;
/// The most ids that are looked for in other windows.
const MOST_ELSEWHERE: usize = 10_000;
/// The largest body that isn't a record: a mapping, or findings.
const MAX_JSON: usize = 256 * 1024;
/// The most findings that are marked at once, and the longest note in bytes.
const MOST_MARKED: usize = 100;
const MAX_NOTE: usize = 500;
/// What mappings and marks are told of where there are too many in too little time.
const STEPS: &str = "mappings and marks of findings";
/// About what a report takes, in bytes.
const REPORT: usize = 1024 * 1024;

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let field = match &error {
            RecordError::Mapping(_) => Some("mapping"),
            RecordError::Cell { .. } | RecordError::File(_) | RecordError::Header { .. } | RecordError::TooAlike => None,
        };
        let advice = "Change the record or the mapping as `detail` says.";
        Problem::new(Code::BadValue, error.to_string()).at(field).advise(advice).into()
    }
}

/// `POST /v1/reconciliations/{window}`: the body is the record.
pub async fn reconcile(
    request: HttpRequest,
    window: web::Path<String>,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Failure> {
    let (partner, _) = caller(&request, &state)?;
    let params = Params::new(&request, &["mapping", "form"])?;
    let window = date(&window)?;
    let is_csv = match params.text("form") {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => return Err(Problem::new(Code::BadValue, "`form` is json or csv").at(Some("form")).into()),
    };
    let name = params.text("mapping").map(str::to_owned);
    name.as_deref().map_or(Ok(()), |name| mapping_name(name, "mapping"))?;
    let bytes = file(&request, payload, reconcile::MAX_FILE).await?;
    // The partner may have gone while its body came.
    let (_, directory) = caller(&request, &state)?;
    if !shares::answer(REPORT).await {
        return Err(too_many(Duration::ZERO, "answers"));
    }
    let turn = state.turns.take(&partner, "reconciliations").await?;
    let (mapping, edges) = start(&state, &partner, window, name).await?;
    let tolerance = mapping.tolerance();
    let (rows, turn) = at_work(turn, move || Ok(reconcile::read(&bytes, &mapping)?)).await?;
    let messages = messages(&state, &partner, directory, window).await?;
    let (found, turn) = at_work(turn, move || {
        let ids = reconcile::unknown_ids(&rows, &messages, MOST_ELSEWHERE);
        let ids = ids.into_iter().map(str::to_owned).collect();
        Ok((rows, messages, ids))
    })
    .await?;
    let (rows, messages, ids) = found;
    let (elsewhere, resolved) = rest_of(&state, &partner, window, ids).await?;
    let (report, turn) = at_work(turn, move || {
        let both = Both {
            rows: &rows,
            messages: &messages,
            elsewhere: &elsewhere,
            window: edges,
            tolerance,
        };
        let pairs = reconcile::pairs(both.rows, both.messages, both.elsewhere, tolerance)?;
        let report = Report::new(window, &both, reconcile::find(&both, &pairs), &resolved);
        let bytes = if is_csv { report.csv() } else { report.json() };
        bytes.map_err(|_| Failure::new(Code::Internal))
    })
    .await?;
    drop(turn);
    shares::answered(report.len());
    let mut response = HttpResponse::Ok();
    if is_csv {
        let name = format!("attachment; filename=\"reconciliation-{window}.csv\"");
        response.insert_header((CONTENT_DISPOSITION, name));
    }
    let media = if is_csv { "text/csv; charset=utf-8" } else { "application/json" };
    Ok(response.content_type(media).body(report))
}

fn date(text: &str) -> Result<Date, Failure> {
    let date = text
        .parse()
        .map_err(|_| Problem::new(Code::BadValue, "the path takes a date such as 2026-11-21").at(Some("window")));
    Ok(date?)
}

fn no_window() -> Failure {
    Problem::new(Code::NotFound, "there is no such window").at(Some("window")).into()
}

/// Works with a processor of the partner's share; the turn lasts as long as the work, also where nobody waits for it any more.
async fn at_work<T: Send + 'static>(turn: Turn, work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<(T, Turn), Failure> {
    let own = shares::processor().await.map_err(|()| too_many(Duration::ZERO, "files"))?;
    let work = move || {
        let _own = own;
        work().map(|done| (done, turn))
    };
    web::block(work).await.map_err(|_| Failure::new(Code::Internal))?
}

/// When a window opened, if one was before it, and when it is due to close.
type Edges = (Option<Timestamp>, Timestamp);

/// The mapping, and the ends of the window.
async fn start(state: &State, partner: &PartnerId, window: Date, name: Option<String>) -> Result<(Mapping, Edges), Failure> {
    let partner = partner.to_string();
    let found = on_database(state, move |conn| {
        conn.snapshot(|conn| {
            let of_window = settlement::window(conn, window)?.ok_or_else(no_window)?;
            let opened = reconciling::opened(conn, window)?;
            let mapping = match name {
                None => None,
                Some(name) => Some(
                    reconciling::mapping(conn, &partner, &name)?
                        .ok_or_else(|| Problem::new(Code::NotFound, "you have no mapping of this name").at(Some("mapping")))?,
                ),
            };
            Ok::<_, Failure>((mapping, (opened, of_window.cut_off_at)))
        })
    });
    let (mapping, edges) = found.await?;
    shares::read();
    let mapping = mapping.map_or_else(|| Ok(Mapping::default()), |text| Mapping::parse(&text))?;
    Ok((mapping, edges))
}

/// The messages that a partner sent in a window, page by page: between pages neither a connection nor a transaction is held, and three quarters of the time is rest.
async fn messages(state: &State, partner: &PartnerId, directory: Arc<Directory>, window: Date) -> Result<Vec<Message>, Failure> {
    let (mut all, mut after, started) = (vec![], 0, Instant::now());
    loop {
        if started.elapsed() >= LONGEST {
            return Err(too_long());
        }
        let (directory, of) = (directory.clone(), partner.clone());
        let found = on_database(state, move |conn| {
            let began = Instant::now();
            let found = conn.snapshot(|conn| page(conn, &of, &directory, window, after));
            found.map(|found| (found, began.elapsed()))
        });
        let (found, worked) = found.await?;
        shares::read();
        let (more, next) = found.ok_or_else(no_window)?;
        all.extend(more);
        if all.len() > MOST_MESSAGES {
            return Err(too_many_messages());
        }
        let Some(next) = next else { return Ok(all) };
        after = next;
        rest(worked, LONGEST).await;
    }
}

fn too_many_messages() -> Failure {
    let detail = format!("you sent more than {MOST_MESSAGES} messages in this window, which is more than a record is held against");
    let advice = "Take the window's messages as CSV (GET /v1/messages/csv) and compare them on your side.";
    Problem::new(Code::BadValue, detail).at(Some("window")).advise(advice).into()
}

fn too_long() -> Failure {
    let detail = format!("the window's messages couldn't be looked through in {} seconds", LONGEST.as_secs());
    let advice = "Send the same record again later, when the service has less to do.";
    Problem::new(Code::Overloaded, detail).advise(advice).into()
}

type Page = (Vec<Message>, Option<i64>);

fn page(conn: &mut store::Conn, partner: &PartnerId, known: &Arc<Directory>, window: Date, after: i64) -> Result<Option<Page>, Failure> {
    let directory = current_directory(conn, known)?;
    let party = Party {
        partner: partner.to_string(),
        issued: vec![],
    };
    let wanted = Wanted {
        query: PostedQuery {
            window: Some(window),
            sender: Some(partner.clone()),
            ..PostedQuery::default()
        },
        agreement: None,
    };
    let Some(found) = posted::posted(conn, &party, &wanted, after, PAGE)? else {
        return Ok(None);
    };
    let seqs: Vec<i64> = found.found.iter().map(|(one, _)| one.seq).collect();
    let reversed = reconciling::reversed(conn, &seqs)?;
    let message = |(one, legs): (Posted, Vec<Leg>)| {
        let taken_back = reversed.get(&one.seq).copied();
        message(one, &legs, taken_back, partner, &directory)
    };
    Ok(Some((found.found.into_iter().map(message).collect(), found.next)))
}

fn message(posted: Posted, legs: &[Leg], reversed: Option<i64>, partner: &PartnerId, directory: &Directory) -> Message {
    let account = posted.moved.account.as_ref();
    let scale = account
        .and_then(|account| directory.programmes.get(&account.programme))
        .map(|one| one.terms.scale);
    let points = |units: i64| Amount::from_units(units, scale?);
    Message {
        seq: posted.seq,
        id: posted.id.as_str().into(),
        kind: posted.kind.as_str().into(),
        member: account.map(|account| account.member.as_str().into()),
        programme: account.map(|account| account.programme.as_str().into()),
        points: points(posted.moved.points),
        reversed: reversed.and_then(points),
        amount: amount(legs, partner),
        at: timestamp(posted.posted_at),
        code: posted.code.map(|code| code.as_str().into()),
    }
}

/// What legs come to on a partner's statement, without a sign; none where they are of no or of several currencies.
fn amount(legs: &[Leg], partner: &PartnerId) -> Option<(Amount, Currency)> {
    let mut money = legs.iter().filter(|leg| !EXPIRY.contains(&leg.kind.as_str())).peekable();
    let unit = &money.peek()?.unit;
    let mut sum = 0i64;
    for leg in money {
        let sign = if leg.debit == partner.as_str() { -1 } else { 1 };
        sum = sum.checked_add(leg.amount.checked_mul(sign)?).filter(|_| leg.unit == *unit)?;
    }
    Some((Amount::from_units(sum.checked_abs()?, 6)?, Currency::new(unit).ok()?))
}

/// What else there is to know: messages of other windows by id, and what is resolved.
async fn rest_of(
    state: &State,
    partner: &PartnerId,
    window: Date,
    ids: BTreeSet<String>,
) -> Result<(BTreeMap<String, Elsewhere>, BTreeMap<String, Resolved>), Failure> {
    let partner = partner.to_string();
    let found = on_database(state, move |conn| {
        conn.snapshot(|conn| {
            let mut elsewhere = reconciling::elsewhere(conn, &partner, &ids)?;
            // What came since the window was read isn't elsewhere.
            elsewhere.retain(|_, one| one.window != window);
            Ok((elsewhere, reconciling::resolved(conn, &partner, window)?))
        })
    });
    let found = found.await?;
    shares::read();
    Ok(found)
}

/// A partner's mappings.
#[derive(Serialize)]
struct Mappings {
    mappings: BTreeMap<String, Mapping>,
}

/// A mapping under a name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    mapping: Box<serde_json::value::RawValue>,
}

/// `GET /v1/reconciliations/mappings`: the caller's own, by name.
pub async fn mappings(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, _) = caller(&request, &state)?;
    Params::none(&request)?;
    listed(&state, partner).await
}

async fn listed(state: &State, partner: PartnerId) -> Result<HttpResponse, Failure> {
    let rows = on_database(state, move |conn| Ok(reconciling::mappings(conn, partner.as_str())?)).await?;
    let one = |(name, text): (String, String)| Ok((name, Mapping::parse(&text)?));
    let mappings = rows.into_iter().map(one).collect::<Result<_, Failure>>()?;
    Ok(HttpResponse::Ok().json(Mappings { mappings }))
}

/// `POST /v1/reconciliations/mappings`: keeps a mapping under its name; answers all.
pub async fn keep_mapping(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, _, text) = heard_step(&request, payload, &state, MAX_JSON, STEPS).await?;
    let named: Named = serde_json::from_str(&text).map_err(|error| bad_json(&error))?;
    mapping_name(&named.name, "name")?;
    let mapping = Mapping::parse(named.mapping.get())?;
    let text = serde_json::to_string(&mapping).map_err(|_| Failure::new(Code::Internal))?;
    let (of, now) = (partner.to_string(), state.clock.now());
    let kept = on_database(&state, move |conn| {
        Ok(reconciling::keep_mapping(conn, &of, &named.name, &text, now)?)
    });
    match kept.await? {
        true => listed(&state, partner).await,
        false => Err(
            Problem::new(Code::BadValue, format!("at most {} mappings are kept", reconciling::MAX_MAPPINGS))
                .at(Some("name"))
                .into(),
        ),
    }
}

fn mapping_name(name: &str, field: &str) -> Result<(), Failure> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match (1..=32).contains(&name.len()) && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(Problem::new(Code::BadValue, "a mapping's name has 1 to 32 of a-z, 0-9 and -")
            .at(Some(field))
            .into()),
    }
}

fn bad_json(error: &serde_json::Error) -> Problem {
    Problem::new(Code::BadRequest, format!("the body: {error}"))
}

/// A finding that somebody is done with.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marked {
    key: String,
    #[serde(default)]
    note: Option<String>,
}

/// Several of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllMarked {
    findings: Vec<Marked>,
}

/// The resolved findings of a window.
#[derive(Serialize)]
struct AllResolved {
    window: Date,
    resolved: BTreeMap<String, Resolved>,
}

/// `GET /v1/reconciliations/{window}/resolved`: the caller's own, by key.
pub async fn resolved(request: HttpRequest, window: web::Path<String>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, _) = caller(&request, &state)?;
    Params::none(&request)?;
    all_resolved(&state, partner, date(&window)?).await
}

async fn all_resolved(state: &State, partner: PartnerId, window: Date) -> Result<HttpResponse, Failure> {
    let resolved = on_database(state, move |conn| {
        conn.snapshot(|conn| {
            settlement::window(conn, window)?.ok_or_else(no_window)?;
            Ok(reconciling::resolved(conn, partner.as_str(), window)?)
        })
    });
    let resolved = resolved.await?;
    Ok(HttpResponse::Ok().json(AllResolved { window, resolved }))
}

/// `POST /v1/reconciliations/{window}/resolved`: marks findings with a note as resolved, and those without one as open again; answers all that are resolved.
pub async fn resolve(
    request: HttpRequest,
    window: web::Path<String>,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, Failure> {
    let (partner, _, text) = heard_step(&request, payload, &state, MAX_JSON, STEPS).await?;
    let window = date(&window)?;
    let AllMarked { findings } = serde_json::from_str(&text).map_err(|error| bad_json(&error))?;
    let is_key = |key: &str| key.len() == 32 && key.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_note = |note: &String| !note.is_empty() && note.len() <= MAX_NOTE && note.chars().all(is_plain);
    let fine = findings.len() <= MOST_MARKED && findings.iter().all(|one| is_key(&one.key) && one.note.as_ref().is_none_or(is_note));
    if !fine {
        let takes = format!(
            "at most {MOST_MARKED} findings by their keys, each with a plain note of 1 to {MAX_NOTE} bytes or, to open it again, none"
        );
        return Err(Problem::new(Code::BadValue, takes).at(Some("findings")).into());
    }
    let findings: Vec<_> = findings.into_iter().map(|one| (one.key, one.note)).collect();
    let by = request.conn_data::<Peer>().map(|peer| peer.spki.to_string()).unwrap_or_default();
    let (of, now) = (partner.to_string(), state.clock.now());
    let kept = on_database(&state, move |conn| {
        settlement::window(conn, window)?.ok_or_else(no_window)?;
        Ok(reconciling::resolve(conn, (&of, window), &findings, (now, &by))?)
    });
    match kept.await? {
        None => all_resolved(&state, partner, window).await,
        Some(full) => {
            let advice = "Open some again that you needn't see any more, by their keys without a note.";
            Err(Problem::new(Code::BadValue, full.text()).at(Some("findings")).advise(advice).into())
        }
    }
}
