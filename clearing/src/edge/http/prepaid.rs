//! Points bought in advance, as partner and issuer see them.

use actix_web::{HttpRequest, HttpResponse, web};
use partner_sdk::agreement::AgreementKind;
use partner_sdk::amount::format_units;
use partner_sdk::{Code, Currency, Money, PartnerId, ProgrammeCode};
use serde::Serialize;

use super::failure::Failure;
use super::params::Params;
use super::request::{State, caller, on_database};
use ledger::Block;
use store::prepaid;

/// Every block that concerns the caller.
#[derive(Debug, Serialize)]
struct BlocksAnswer {
    blocks: Vec<BlockAnswer>,
}

/// Points bought under one version of an agreement: points with the programme's decimals, the price of one point with six.
#[derive(Debug, Serialize)]
struct BlockAnswer {
    partner: PartnerId,
    programme: ProgrammeCode,
    agreement: String,
    currency: Currency,
    price: String,
    bought: String,
    left: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reorder_at: Option<String>,
}

/// `GET /v1/prepaid`: the caller's own blocks, and those of the programmes that it issues.
pub async fn blocks(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory) = caller(&request, &state)?;
    Params::none(&request)?;
    let issued = directory.programmes.values().filter(|p| p.terms.issuer == partner);
    let issued: Vec<String> = issued.map(|p| p.terms.code.to_string()).collect();
    let found = on_database(&state, move |conn| Ok(prepaid::blocks(conn, partner.as_str(), &issued)?)).await?;
    let now = state.clock.now();
    let answer = |block: Block| {
        let unknown = || Failure::new(Code::Internal);
        let bought_under = &directory.agreement_no(block.agreement).ok_or_else(unknown)?.item;
        let scale = directory.programmes.get(&block.programme).ok_or_else(unknown)?.terms.scale;
        let key = (AgreementKind::Earn, block.partner.clone(), block.programme.clone(), None);
        let mark = directory.agreement(&key, now).and_then(|a| a.item.prepaid).map(|(_, mark)| mark);
        let price = Money(bought_under.price.0.saturating_mul(10i64.pow(scale)));
        Ok(BlockAnswer {
            partner: block.partner,
            programme: block.programme,
            agreement: bought_under.hash.clone(),
            currency: bought_under.terms.currency,
            price: price.display_micros(),
            bought: format_units(block.bought, scale),
            left: format_units(block.left, scale),
            reorder_at: mark.map(|mark| format_units(mark.0, scale)),
        })
    };
    let blocks = found.into_iter().map(answer).collect::<Result<_, Failure>>()?;
    Ok(HttpResponse::Ok().json(BlocksAnswer { blocks }))
}
