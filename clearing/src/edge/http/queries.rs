//! What partners may read.

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::agreement::Terms;
use partner_sdk::amount::format_units;
use partner_sdk::change::Custody;
use partner_sdk::{Code, Currency, MemberNumber, Money, PartnerId, Problem, ProgrammeCode};
use serde::Serialize;

use super::failure::Failure;
use super::params::Params;
use super::request::{State, caller, on_database};
use crate::night::trouble::Trouble;
use ledger::AccountKey;
use ledger::directory::{Directory, agreement_key};
use store::queries::{self, Balance, PositionRow};

/// A member's points, as text with the programme's decimals; `balance` may be below zero.
#[derive(Debug, Serialize)]
struct AccountAnswer {
    programme: ProgrammeCode,
    balance: String,
    held: String,
    available: String,
}

/// `GET /v1/accounts/{programme}/{member}`: for the issuer and partners with an agreement in force in the programme; for others, of members that they have
/// dealings with.
pub async fn account(request: HttpRequest, path: web::Path<(String, String)>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory) = caller(&request, &state)?;
    Params::none(&request)?;
    let (programme, member) = path.into_inner();
    let bad = |field: &'static str| Problem::new(Code::BadValue, format!("the {field} in the path isn't one")).at(Some(field));
    let programme = ProgrammeCode::new(programme).map_err(|_| bad("programme"))?;
    let member = MemberNumber::new(member).map_err(|_| bad("member"))?;
    let terms = &directory
        .programmes
        .get(&programme)
        .ok_or_else(|| unknown_programme(&programme))?
        .terms;
    if terms.custody == Custody::External {
        let code = Code::ExternalCustody;
        return Err(Problem::new(code, code.title()).at(Some("programme")).into());
    }
    let scale = terms.scale;
    let now = state.clock.now();
    let sees_all = sees_all(&directory, &partner, &programme, now);
    let account = AccountKey {
        programme: programme.clone(),
        member,
    };
    let Balance { balance, held, available } = on_database(&state, move |conn| {
        conn.snapshot(|conn| {
            // Whether there is such a member, nobody learns who may not read it.
            if !sees_all && !queries::deals_with(conn, partner.as_str(), &account, now.as_microsecond())? {
                return Err(Failure::new(Code::Forbidden));
            }
            Ok(queries::balance(conn, &directory, &account, now)?)
        })
    })
    .await?;
    let [balance, held, available] = [balance, held, available].map(|n| format_units(n, scale));
    Ok(HttpResponse::Ok().json(AccountAnswer {
        programme,
        balance,
        held,
        available,
    }))
}

fn unknown_programme(code: &ProgrammeCode) -> Problem {
    let detail = format!("the network has no programme {code}: name one that you issue or have an agreement in");
    Problem::new(Code::UnknownProgramme, detail).at(Some("programme"))
}

/// Whether a partner may read any member's balance in a programme: as its issuer, or under an agreement about it that is in force.
fn sees_all(directory: &Directory, partner: &PartnerId, programme: &ProgrammeCode, now: Timestamp) -> bool {
    let issuer = directory.programmes.get(programme).is_some_and(|p| p.terms.issuer == *partner);
    let concerns = |t: &Terms| t.partner == *partner && (t.programme == *programme || t.to_programme.as_ref() == Some(programme));
    let in_force = |t: &Terms| directory.agreement(&agreement_key(t), now).is_some();
    issuer || directory.agreements().map(|a| &a.item.terms).any(|t| concerns(t) && in_force(t))
}

/// What the caller owes and is owed now.
#[derive(Debug, Serialize)]
struct PositionsAnswer {
    partner: PartnerId,
    positions: Vec<PositionAnswer>,
    net: Vec<NetAnswer>,
}

/// One pair, window and direction: money with six decimals.
#[derive(Debug, Serialize)]
struct PositionAnswer {
    window: String,
    state: String,
    debtor: String,
    creditor: String,
    currency: String,
    amount: String,
}

/// Over all windows not yet settled: positive means that the caller owes.
#[derive(Debug, Serialize)]
struct NetAnswer {
    currency: String,
    owes: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    net_debit_cap: Option<String>,
}

/// `GET /v1/positions`: the caller's own.
pub async fn positions(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory) = caller(&request, &state)?;
    Params::none(&request)?;
    let id = partner.clone();
    let (rows, net) = on_database(&state, move |conn| conn.snapshot(|conn| Ok(queries::positions(conn, id.as_str())?))).await?;
    let position = |row: PositionRow| PositionAnswer {
        window: row.business_date,
        state: row.state,
        debtor: row.debtor,
        creditor: row.creditor,
        currency: row.currency,
        amount: Money(row.micros).display_micros(),
    };
    let cap = |currency: &str| {
        let currency = Currency::new(currency).ok()?;
        directory
            .partners
            .get(&partner)?
            .caps
            .get(&currency)
            .map(|cap| cap.display_micros())
    };
    let net = net.into_iter().map(|(currency, micros)| NetAnswer {
        owes: Money(micros).display_micros(),
        net_debit_cap: cap(&currency),
        currency,
    });
    let (positions, net) = (rows.into_iter().map(position).collect(), net.collect());
    Ok(HttpResponse::Ok().json(PositionsAnswer {
        partner: partner.clone(),
        positions,
        net,
    }))
}

/// Whether the service lives.
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    window: String,
    /// Windows whose statements are late.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    late: Vec<Date>,
    /// Why, for the operator.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trouble: Vec<Trouble>,
}

/// `GET /v1/health`: for any admitted partner, which is told what is late, but not why.
pub async fn partner_health(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    caller(&request, &state)?;
    Params::none(&request)?;
    let health = Health {
        trouble: vec![],
        ..look(&state).await?
    };
    Ok(HttpResponse::Ok().json(health))
}

/// That the service lives and its database answers, and what trouble the night has.
pub async fn health(state: web::Data<State>) -> Result<HttpResponse, Failure> {
    Ok(HttpResponse::Ok().json(look(&state).await?))
}

/// Posting goes on whatever trouble the night has, so the status tells of it and the answer stays `200`.
async fn look(state: &State) -> Result<Health, Failure> {
    let window = on_database(state, |conn| Ok(settlement::open_window(conn)?)).await?;
    let trouble = state.troubles.list();
    Ok(Health {
        status: if trouble.is_empty() { "ok" } else { "trouble" },
        window: window.business_date.to_string(),
        late: trouble.iter().map(|t| t.window).collect(),
        trouble,
    })
}
