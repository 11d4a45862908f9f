//! The query of a request: each parameter once, known, and within its range; a refusal names the parameter and says what it takes.

use std::ops::RangeInclusive;
use std::str::FromStr;

use actix_web::{HttpRequest, web};
use jiff::Timestamp;
use partner_sdk::wire::WireTime;
use partner_sdk::{Code, Problem};

use super::failure::Failure;

/// What a query says, by the parameters that its address knows.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of a request to an address that takes these parameters.
    pub(super) fn new(request: &HttpRequest, known: &[&str]) -> Result<Self, Failure> {
        let refused = |name: &str, why: String| Failure::from(Problem::new(Code::BadRequest, why).at(Some(name)));
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let pairs = pairs.map_err(|_| Problem::new(Code::BadRequest, "the query isn't of the form name=value&name=value"))?;
        let pairs = pairs.into_inner();
        for (place, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
                let takes = match known {
                    [] => "this address takes no parameters".to_owned(),
                    known => format!("this address takes the parameters {}", known.join(", ")),
                };
                return Err(refused(&shown, takes));
            }
            if pairs[..place].iter().any(|(before, _)| before == name) {
                return Err(refused(name, format!("`{name}` stands twice")));
            }
        }
        Ok(Self(pairs))
    }

    /// Refuses any parameter, for an address that takes none.
    pub(super) fn none(request: &HttpRequest) -> Result<(), Failure> {
        Self::new(request, &[]).map(drop)
    }

    /// A parameter's text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// A whole number within a range; `without` where the query doesn't say.
    pub(super) fn number(&self, name: &'static str, range: RangeInclusive<i64>, without: i64) -> Result<i64, Failure> {
        let Some(text) = self.text(name) else { return Ok(without) };
        let plain = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|number| plain && range.contains(number));
        number.ok_or_else(|| {
            let (least, most) = range.into_inner();
            let range = if most == i64::MAX {
                format!("from {least}")
            } else {
                format!("from {least} to {most}")
            };
            bad_value(name, format!("`{name}` takes a whole number {range}"))
        })
    }

    /// What has a form of its own; `takes` says which, where it isn't of that form.
    pub(super) fn parsed<T: FromStr>(&self, name: &'static str, takes: &str) -> Result<Option<T>, Failure> {
        let read = |text: &str| text.parse().map_err(|_| bad_value(name, format!("`{name}` takes {takes}")));
        self.text(name).map(read).transpose()
    }

    /// An instant, e.g. `2026-11-21T10:00:00Z`.
    pub(super) fn instant(&self, name: &'static str) -> Result<Option<Timestamp>, Failure> {
        let read = |text: &str| text.parse::<WireTime>().map(|at| at.0);
        let wrong = |_| {
            bad_value(
                name,
                format!("`{name}` takes a time such as 2026-11-21T10:00:00Z; a + of an offset is written %2B"),
            )
        };
        self.text(name).map(read).transpose().map_err(wrong)
    }
}

fn bad_value(name: &'static str, why: String) -> Failure {
    let advice = "Write the parameter as `detail` says, or leave it out.";
    Problem::new(Code::BadValue, why).at(Some(name)).advise(advice).into()
}
