//! What the caller pays and is paid through the clearing account, and what of it was made.

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::civil::Date;
use partner_sdk::wire::{PaymentState, PaymentWay, Payments};
use partner_sdk::{Code, Problem};
use settlement::{Due, Wanted};

use super::failure::Failure;
use super::params::Params;
use super::request::{State, caller, on_database};

/// The most payments in one list.
const MOST: i64 = 1000;

/// `GET /v1/payments`: the caller's own, of the windows `from` a date `until` another, newest first; `state` is `open` or `confirmed`.
pub async fn list(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, _) = caller(&request, &state)?;
    let params = Params::new(&request, &["from", "until", "state", "limit"])?;
    let date = |name| params.parsed::<Date>(name, "a date such as 2026-11-21");
    let wanted = Wanted {
        partner: Some(partner),
        from: date("from")?,
        until: date("until")?,
        confirmed: match params.text("state") {
            None => None,
            Some("open") => Some(false),
            Some("confirmed") => Some(true),
            Some(_) => {
                return Err(Problem::new(Code::BadValue, "`state` is open or confirmed")
                    .at(Some("state"))
                    .into());
            }
        },
    };
    let limit = params.number("limit", 1..=MOST, MOST)?;
    let found = on_database(&state, move |conn| Ok(settlement::dues(conn, &wanted, limit)?)).await?;
    let payments = found.into_iter().map(payment).collect();
    Ok(HttpResponse::Ok().json(Payments { payments }))
}

fn payment(due: Due) -> PaymentState {
    let (amount, is_paid_in) = (due.how_much(), due.is_paid_in());
    let confirmed = due.confirmed.as_ref();
    PaymentState {
        reference: due.reference,
        window: due.business_date,
        currency: due.currency,
        amount,
        result: match is_paid_in {
            true => PaymentWay::Pays,
            false => PaymentWay::Receives,
        },
        value_date: due.value_date,
        paid_on: confirmed.and_then(|confirmed| confirmed.paid_on),
        confirmed_at: confirmed.map(|confirmed| confirmed.at),
        change: confirmed.map(|confirmed| confirmed.by.clone()),
        replaced_by: due.replaced_by,
    }
}
