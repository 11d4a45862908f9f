//! How a result is printed.

use std::fmt::Display;

use serde::Serialize;

use super::args::At;
use crate::commands::out;

/// Prints a result, as text or as JSON.
pub(super) fn tell(result: &(impl Display + Serialize), at: &At) -> anyhow::Result<()> {
    let text = match at.json {
        true => serde_json::to_string_pretty(result)?,
        false => result.to_string(),
    };
    Ok(out::lines(&text)?)
}
