//! Messages as their parties find them afterwards: from a line of a statement to what made it.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use actix_web::http::header::LINK;
use actix_web::{HttpRequest, HttpResponse, web};
use partner_sdk::amount::format_units;
use partner_sdk::wire::{Direction, LineQuery, MAX_POSTED, PostedLine, PostedMessage, PostedPoints, PostedQuery};
use partner_sdk::{Code, Currency, Money, PartnerId, Problem, ProgrammeCode};
use settlement::book::per_point;
use settlement::{EXPIRY, render};
use store::current_directory;
use store::posted::{self, Leg, Party, Wanted};

use super::failure::{Failure, too_many};
use super::params::Params;
use super::request::{State, caller, on_database};
use crate::edge::shares;
use ledger::directory::Directory;
use ledger::{AccountKey, Posted, timestamp};

/// What a query may say.
const PARAMETERS: [&str; 14] = [
    "window",
    "sender",
    "id",
    "kind",
    "programme",
    "member",
    "line",
    "counterparty",
    "direction",
    "agreement",
    "currency",
    "price",
    "after",
    "limit",
];
/// About what one message of an answer takes, in bytes.
const MESSAGE: usize = 1024;

/// The columns of the CSV: one row for each line of a message, and one for a message without. What belongs to the message stands on its first row alone, where it is
/// a figure, so that any column can be summed.
const COLUMNS: [&str; 25] = [
    "sequence",
    "sender",
    "id",
    "kind",
    "window",
    "posted_at",
    "code",
    "programme",
    "member",
    "to_programme",
    "to_member",
    "message_points",
    "message_credited",
    "message_bonus",
    "line",
    "counterparty",
    "direction",
    "agreement",
    "line_programme",
    "currency",
    "price",
    "line_points",
    "line_amount",
    "breakage_points",
    "breakage_value",
];

/// A page of messages, and where to go on.
struct Page {
    messages: Vec<PostedMessage>,
    next: Option<i64>,
    /// What was asked for, as text.
    query: String,
}

/// `GET /v1/messages`: of which the caller is a party, one a line; the last line says where to go on.
pub async fn lines(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let Page { messages, next, .. } = page(&request, &state).await?;
    let mut lines = String::new();
    for message in &messages {
        lines += &serde_json::to_string(message).map_err(|_| Failure::new(Code::Internal))?;
        lines.push('\n');
    }
    lines += &match next {
        Some(next) => format!("{{\"next\":\"{next}\"}}\n"),
        None => "{\"next\":null}\n".to_owned(),
    };
    shares::answered(lines.len());
    Ok(HttpResponse::Ok().content_type("application/x-ndjson").body(lines))
}

/// `GET /v1/messages/csv`: the same as CSV; where there is more, a header says where (RFC 8288).
pub async fn csv(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let Page { messages, next, query } = page(&request, &state).await?;
    let table = render::table(&COLUMNS, messages.iter().flat_map(rows)).map_err(|_| Failure::new(Code::Internal))?;
    shares::answered(table.len());
    let mut response = HttpResponse::Ok();
    if let Some(next) = next {
        response.insert_header((LINK, format!("</v1/messages/csv?{query}after={next}>; rel=\"next\"")));
    }
    Ok(response.content_type("text/csv; charset=utf-8").body(table))
}

async fn page(request: &HttpRequest, state: &State) -> Result<Page, Failure> {
    let (partner, known) = caller(request, state)?;
    let params = Params::new(request, &PARAMETERS)?;
    let after = params.number("after", 0..=i64::MAX, 0)?;
    let limit = params.number("limit", 1..=MAX_POSTED, MAX_POSTED)?;
    let query = wanted(&params)?;
    let text = format!("{}limit={limit}&", query.text());
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if !shares::answer(limit.saturating_mul(MESSAGE)).await {
        return Err(too_many(Duration::ZERO, "answers"));
    }
    let line = query.line.clone();
    let found = on_database(state, move |conn| {
        let began = Instant::now();
        let found: Result<_, Failure> = conn.snapshot(|conn| {
            // What a message of this snapshot names, its directory has.
            let directory = current_directory(conn, &known)?;
            // One that isn't known here has no line, and no row has its number.
            let number = |hash: &String| directory.agreements().find(|a| a.item.hash == *hash).map_or(-1, |a| a.no);
            let agreement = query.line.agreement.as_ref().map(number);
            let issued = directory.programmes.values().filter(|p| p.terms.issuer == partner);
            let party = Party {
                issued: issued.map(|p| p.terms.code.to_string()).collect(),
                partner: partner.to_string(),
            };
            let found = posted::posted(conn, &party, &Wanted { query, agreement }, after, limit)?;
            Ok((found, party, directory))
        });
        Ok((found?, began.elapsed()))
    });
    let ((found, party, directory), read) = found.await?;
    let began = Instant::now();
    let none = || Problem::new(Code::NotFound, "there is no such window").at(Some("window"));
    let posted::Page { found, next } = found.ok_or_else(none)?;
    let mut messages = vec![];
    for (posted, legs) in found {
        let mut lines = vec![];
        for leg in &legs {
            lines.push(shown_line(leg, &party, &directory).ok_or_else(|| Failure::new(Code::Internal))?);
        }
        lines.retain(|one| line.wants(one));
        if line.is_empty() || !lines.is_empty() {
            messages.push(shown(posted, lines, &party, &directory));
        }
    }
    rest(read + began.elapsed(), LONGEST_REST).await;
    Ok(Page {
        messages,
        next,
        query: text,
    })
}

/// Rests three times as long as a page took, as the night does between its pieces: whoever reads a whole window takes a quarter of a processor from those who post, and no more. There is no event to wait for, and neither a
/// connection nor a transaction is held meanwhile. At most so long.
pub(super) async fn rest(worked: Duration, longest: Duration) {
    tokio::time::sleep((worked * 3).min(longest)).await;
}

/// The longest rest of a request.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Reads what is wanted; a refusal names the parameter.
fn wanted(params: &Params) -> Result<PostedQuery, Failure> {
    let text = |name| params.text(name).map(str::to_owned);
    Ok(PostedQuery {
        window: params.parsed("window", "a date such as 2026-11-21")?,
        sender: params.parsed("sender", "a partner's id")?,
        id: params.parsed("id", "a message's id")?,
        kind: text("kind"),
        programme: params.parsed("programme", "a programme's code")?,
        member: params.parsed("member", "a member's number")?,
        line: LineQuery {
            kind: text("line"),
            counterparty: params.parsed("counterparty", "a partner's id")?,
            direction: params.parsed("direction", "`you_owe` or `you_are_owed`")?,
            agreement: text("agreement"),
            currency: params.parsed("currency", "a currency such as HKD")?,
            price: text("price"),
        },
    })
}

fn scale(directory: &Directory, programme: &ProgrammeCode) -> u32 {
    directory.programmes.get(programme).map_or(0, |p| p.terms.scale)
}

fn shown(posted: Posted, lines: Vec<PostedLine>, party: &Party, directory: &Directory) -> PostedMessage {
    let points = |account: &AccountKey, points: i64, bonus: Option<i64>| {
        let text = |points| format_units(points, scale(directory, &account.programme));
        PostedPoints {
            programme: account.programme.clone(),
            member: account.member.clone(),
            points: text(points),
            bonus: bonus.map(text),
        }
    };
    let [from, to] = party.sees(&posted);
    let moved = from.map(|account| points(account, posted.moved.points, None));
    let credited = to.map(|account| points(account, posted.moved.credited, Some(posted.moved.bonus)));
    let its_own = posted.sender.as_str() == party.partner || moved.is_some() || credited.is_some();
    PostedMessage {
        message_sha256: Some(posted.sha256).filter(|sha256| its_own && !sha256.is_empty()),
        sequence: posted.seq,
        sender: posted.sender,
        id: posted.id,
        kind: posted.kind,
        window: posted.window,
        posted_at: timestamp(posted.posted_at),
        code: posted.code,
        moved,
        credited,
        lines,
    }
}

/// A leg as it stands on a statement; `None` where it isn't as this program wrote it.
fn shown_line(leg: &Leg, party: &Party, directory: &Directory) -> Option<PostedLine> {
    let agreement = leg
        .agreement
        .map(|no| directory.agreement_no(no))
        .map_or(Some(None), |found| found.map(Some))?;
    let agreement = agreement.map(|numbered| &numbered.item);
    let hash = agreement.map(|agreement| agreement.hash.clone());
    if EXPIRY.contains(&leg.kind.as_str()) {
        let programme = ProgrammeCode::new(&leg.unit).ok()?;
        let scale = scale(directory, &programme);
        let points = if leg.kind == EXPIRY[0] {
            leg.amount
        } else {
            leg.amount.checked_neg()?
        };
        return Some(PostedLine {
            kind: leg.kind.clone(),
            counterparty: agreement.map(|agreement| agreement.terms.partner.clone()),
            direction: None,
            agreement: hash,
            currency: agreement.map(|agreement| agreement.terms.currency),
            points: format_units(points, scale),
            price: format_units(per_point(Money(leg.price), scale), 6),
            amount: format_units(i128::from(points) * i128::from(leg.price), 6),
            programme,
        });
    }
    let terms = &agreement?.terms;
    let programme = terms.to_programme.as_ref().unwrap_or(&terms.programme).clone();
    let scale = scale(directory, &programme);
    let (counterparty, direction) = match leg.debit == party.partner {
        true => (&leg.credit, Direction::YouOwe),
        false => (&leg.debit, Direction::YouAreOwed),
    };
    Some(PostedLine {
        kind: leg.kind.clone(),
        counterparty: Some(PartnerId::new(counterparty).ok()?),
        direction: Some(direction),
        agreement: hash,
        currency: Some(Currency::new(&leg.unit).ok()?),
        points: format_units(leg.points, scale),
        price: format_units(per_point(Money(leg.price), scale), 6),
        amount: Money(leg.amount).display_micros(),
        programme,
    })
}

/// A message's rows of the CSV.
fn rows(message: &PostedMessage) -> Vec<Vec<Cow<'_, str>>> {
    match message.lines.as_slice() {
        [] => vec![row(message, true, None)],
        lines => lines
            .iter()
            .enumerate()
            .map(|(place, line)| row(message, place == 0, Some(line)))
            .collect(),
    }
}

fn row<'a>(message: &'a PostedMessage, first: bool, line: Option<&'a PostedLine>) -> Vec<Cow<'a, str>> {
    fn of<'a>(points: &'a Option<PostedPoints>, cell: impl Fn(&'a PostedPoints) -> &'a str) -> Cow<'a, str> {
        points.as_ref().map_or("", cell).into()
    }
    let figure = |cell: Cow<'a, str>| if first { cell } else { Cow::default() };
    let (moved, credited) = (&message.moved, &message.credited);
    let mut row: Vec<Cow<'a, str>> = vec![
        message.sequence.to_string().into(),
        message.sender.as_str().into(),
        message.id.as_str().into(),
        message.kind.as_str().into(),
        message.window.to_string().into(),
        message.posted_at.to_string().into(),
        message.code.map_or("", |code| code.as_str()).into(),
        of(moved, |points| points.programme.as_str()),
        of(moved, |points| points.member.as_str()),
        of(credited, |points| points.programme.as_str()),
        of(credited, |points| points.member.as_str()),
        figure(of(moved, |points| &points.points)),
        figure(of(credited, |points| &points.points)),
        figure(of(credited, |points| points.bonus.as_deref().unwrap_or(""))),
    ];
    if let Some(line) = line {
        row.extend([
            Cow::from(line.kind.as_str()),
            line.counterparty.as_ref().map_or("", |partner| partner.as_str()).into(),
            line.direction.map_or("", Direction::as_str).into(),
            line.agreement.as_deref().unwrap_or("").into(),
            line.programme.as_str().into(),
            line.currency.map(|currency| currency.to_string()).unwrap_or_default().into(),
            line.price.as_str().into(),
        ]);
        row.extend(match line.direction {
            Some(direction) => [
                line.points.as_str().into(),
                render::signed(direction, &line.amount).into(),
                "".into(),
                "".into(),
            ],
            None => ["".into(), "".into(), line.points.as_str().into(), line.amount.as_str().into()],
        });
    }
    row.resize(COLUMNS.len(), Cow::default());
    row
}
