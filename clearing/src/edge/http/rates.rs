//! Rates and bonuses: in force now or at an instant, and their whole history.

use actix_web::{HttpRequest, HttpResponse, web};
use partner_sdk::rate::Published;
use partner_sdk::{Code, Problem, ProgrammeCode};

use super::failure::Failure;
use super::params::Params;
use super::request::{State, caller};
use ledger::directory::Directory;

/// `GET /v1/rates`: what is in force now, or was or will be at `as_of`, for any partner.
pub async fn in_force(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (_, directory) = caller(&request, &state)?;
    let at = Params::new(&request, &["as_of"])?
        .instant("as_of")?
        .unwrap_or_else(|| state.clock.now());
    let mut all = published(&directory);
    all.retain(|one| one.in_force_from <= at && one.in_force_until.is_none_or(|until| at < until));
    Ok(HttpResponse::Ok().json(all))
}

/// `GET /v1/rates/{from}/{to}`: every version that there ever was, oldest first, for any partner.
pub async fn history(request: HttpRequest, pair: web::Path<(String, String)>, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (_, directory) = caller(&request, &state)?;
    Params::none(&request)?;
    let code = |text: &str, field: &'static str| {
        let code = ProgrammeCode::new(text).map_err(|e| Problem::new(Code::BadValue, e.to_string()).at(Some(field)))?;
        match directory.programmes.contains_key(&code) {
            true => Ok(code),
            false => Err(Failure::from(
                Problem::new(Code::UnknownProgramme, Code::UnknownProgramme.title()).at(Some(field)),
            )),
        }
    };
    let (from, to) = (code(&pair.0, "from")?, code(&pair.1, "to")?);
    let mut all = published(&directory);
    all.retain(|one| pair_of(one) == Some((&from, &to)));
    Ok(HttpResponse::Ok().json(all))
}

fn pair_of(one: &Published) -> Option<(&ProgrammeCode, &ProgrammeCode)> {
    let rate = one.rate.as_ref().map(|r| (&r.programme, &r.to_programme));
    rate.or(one.bonus.as_ref().map(|b| (&b.programme, &b.to_programme)))
}

/// Everything published, by programmes and start, rates before bonuses.
fn published(directory: &Directory) -> Vec<Published> {
    let agreement = |under: Option<i32>| {
        let agreement = under.and_then(|no| directory.agreement_no(no));
        agreement.map_or_else(String::new, |a| a.item.hash.clone())
    };
    let rates = directory.rates().map(|rate| {
        let terms = &rate.item.terms;
        Published {
            hash: rate.item.hash.clone(),
            agreement: agreement(rate.under),
            in_force_from: rate.from,
            in_force_until: directory.rate_ends(rate),
            rate: Some(terms.clone()),
            bonus: None,
        }
    });
    let bonuses = directory.bonuses().map(|bonus| {
        let terms = &bonus.item.terms;
        Published {
            hash: bonus.item.hash.clone(),
            agreement: agreement(bonus.under),
            in_force_from: bonus.from,
            in_force_until: bonus.until,
            rate: None,
            bonus: Some(terms.clone()),
        }
    });
    let mut all: Vec<Published> = rates.chain(bonuses).collect();
    all.sort_by_cached_key(|one| {
        let pair = pair_of(one).map(|(from, to)| (from.clone(), to.clone()));
        (pair, one.bonus.is_some(), one.in_force_from)
    });
    all
}
