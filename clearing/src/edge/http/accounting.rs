//! Accounting data, for the issuer of the programme alone.

use std::time::Duration;

use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::{HttpRequest, HttpResponse, web};
use partner_sdk::{Code, PartnerId, Problem, ProgrammeCode};
use settlement::accounting::{AccountingError, AccountingForm, Estimates};
use settlement::{AccountingRequest, Pace, Period, PeriodError};

use super::failure::Failure;
use super::params::Params;
use super::request::{State, caller};

/// How long reading may take, rests included.
const WITHIN: Duration = Duration::from_secs(60);
/// How many days before the open window a period may have ended.
const BACK: i32 = 400;

/// `GET /v1/accounting/{programme}/{period}/{form}?estimates=2026-01-01=85`: a programme's points and their deferred price. For whoever doesn't issue the programme it isn't there.
pub async fn data(
    request: HttpRequest,
    path: web::Path<(String, String, String)>,
    state: web::Data<State>,
) -> Result<HttpResponse, Failure> {
    let (partner, directory) = caller(&request, &state)?;
    let (programme, period, form) = path.into_inner();
    let programme = programme.parse::<ProgrammeCode>().map_err(|_| Failure::new(Code::NotFound))?;
    let issued = directory.programmes.get(&programme).filter(|of| of.terms.issuer == partner);
    issued.ok_or_else(|| Failure::new(Code::NotFound))?;
    let form = form.parse::<AccountingForm>().map_err(|_| Failure::new(Code::NotFound))?;
    let period: Period = period
        .parse()
        .map_err(|error: PeriodError| Problem::new(Code::BadValue, format!("the period in the path: {error}")).at(Some("period")))?;
    let params = Params::new(&request, &["estimates"])?;
    let estimates = params.text("estimates").unwrap_or_default().parse::<Estimates>().map_err(refused)?;
    let name = format!("{programme}-accounting-{period}.{}", form.extension());
    let asked = AccountingRequest {
        programme,
        period,
        estimates,
        pace: Pace::Gentle,
        within: Some(WITHIN),
        back: Some(BACK),
    };
    let bytes = made(partner, asked, form, &state).await?;
    Ok(HttpResponse::Ok()
        .content_type(form.media())
        .insert_header((CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .body(bytes))
}

/// The file. The issuer's turn ends with the work, also where nobody waits for it any more.
async fn made(partner: PartnerId, asked: AccountingRequest, form: AccountingForm, state: &State) -> Result<Vec<u8>, Failure> {
    let turn = state.accounts.turns.take(&partner, "requests for accounting data").await?;
    let connection = state.accounts.pool.turn().await.ok_or_else(|| Failure::new(Code::Overloaded))?;
    let read = move |conn: &mut migrations::Conn| {
        let data = settlement::accounting(conn, &asked).map_err(refused)?;
        // As the books have it now: the programme may have another issuer since the request came.
        if data.issuer != partner {
            return Err(Failure::new(Code::NotFound));
        }
        form.of(&data).map_err(refused)
    };
    let work = move || {
        let _turn = turn;
        connection.with(read)
    };
    web::block(work).await.map_err(|_| Failure::new(Code::Internal))?
}

fn refused(error: AccountingError) -> Failure {
    match () {
        () if error.is_asked_wrong() => Problem::new(Code::BadValue, error.to_string()).at(Some("estimates")).into(),
        () if error.is_none() => Problem::new(Code::NotFound, error.to_string()).into(),
        () => {
            tracing::error!(error = crate::telemetry::chain(&error), "making accounting data failed");
            Failure::new(Code::Internal)
        }
    }
}
