//! Many messages under one signature.

use super::message::{Message, MessageError};
use crate::jws::{SigningKey, TYP_BATCH};
use crate::strict::StrictError;

/// The most messages in one request.
pub const MAX_BATCH: usize = 1000;

/// Signs messages as one batch: one signature over an array, each message with its own id and outcome.
pub fn write_batch(messages: &[Message], key: &SigningKey) -> String {
    let payloads: Vec<String> = messages.iter().map(Message::payload).collect();
    key.sign(TYP_BATCH, format!("[{}]", payloads.join(",")).as_bytes())
}

/// Splits a signed batch's payload into the exact bytes of its messages, none of them read yet.
pub fn split_batch(payload: &[u8]) -> Result<Vec<&str>, MessageError> {
    let raw: Vec<&serde_json::value::RawValue> = serde_json::from_slice(payload).map_err(|_| StrictError::Syntax)?;
    Ok(raw.into_iter().map(serde_json::value::RawValue::get).collect())
}
