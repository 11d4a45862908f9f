//! Which earlier messages a message names.

use ledger::Verified;
use partner_sdk::{Body, MessageId, PartnerId};

/// The earlier message that a message refers to.
pub(super) fn target(verified: &Verified) -> Option<(PartnerId, MessageId)> {
    let (sender, id) = match &verified.message.body {
        Body::Capture { authorisation, .. } | Body::Void { authorisation } => (&verified.message.sender, authorisation),
        Body::Reverse { message, .. } => (&verified.message.sender, message),
        Body::Acknowledge { sender_of, exchange, .. } | Body::Refuse { sender_of, exchange, .. } => (sender_of, exchange),
        _ => return None,
    };
    Some((sender.clone(), id.clone()))
}

/// The quote that an exchange names.
pub(super) fn quote_of(verified: &Verified) -> Option<&MessageId> {
    match &verified.message.body {
        Body::Exchange { quote, .. } => Some(quote),
        _ => None,
    }
}
