//! What may be posted in each state of a partner's life: the sender's, and that of the issuers whose points move (docs/PROTOCOL.md has the table).

use partner_sdk::change::Status;
use partner_sdk::{Body, Code, ProgrammeCode};

use crate::reject::{Reject, Rejected};
use crate::working_set::WorkingSet;

/// What a message does to the points of a programme, as far as its issuer's life is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    /// New points: only an active issuer's.
    Issues,
    /// Points that there are are spent: a leaving issuer's too.
    Spends,
}

/// Checks the sender's status and the issuers'. What only ends what was begun (capture, void, reverse) asks nothing of the issuer.
pub(crate) fn may_post(set: &WorkingSet, sender: Status, body: &Body) -> Rejected<()> {
    match sender {
        Status::Active => {}
        // What it has credited or not is so, whatever it may do now.
        Status::Suspended | Status::Leaving if answers(body) => {}
        Status::Leaving if !matches!(body, Body::Earn { .. } | Body::Prepay { .. }) => {}
        Status::Leaving => return Err(Reject::at(Code::PartnerLeaving, "sender").with("status", sender)),
        Status::Admitted | Status::Suspended | Status::Gone => {
            return Err(Reject::at(Code::PartnerSuspended, "sender").with("status", sender));
        }
    }
    match body {
        Body::Earn { programme, .. } | Body::Prepay { programme, .. } => issuer(set, programme, Does::Issues, "programme"),
        Body::Burn { programme, .. } | Body::Authorise { programme, .. } => issuer(set, programme, Does::Spends, "programme"),
        Body::Quote {
            programme, to_programme, ..
        }
        | Body::Exchange {
            programme, to_programme, ..
        } => {
            issuer(set, programme, Does::Spends, "programme")?;
            issuer(set, to_programme, Does::Issues, "to_programme")
        }
        Body::Capture { .. } | Body::Void { .. } | Body::Reverse { .. } | Body::Acknowledge { .. } | Body::Refuse { .. } => Ok(()),
    }
}

/// Whether a message only answers an exchange that this sender was told to credit.
pub fn answers(body: &Body) -> bool {
    matches!(body, Body::Acknowledge { .. } | Body::Refuse { .. })
}

fn issuer(set: &WorkingSet, programme: &ProgrammeCode, does: Does, field: &'static str) -> Rejected<()> {
    // A programme that there isn't is refused by the kind's own rules.
    let Some(programme) = set.directory.programmes.get(programme) else {
        return Ok(());
    };
    match set.directory.partners.get(&programme.terms.issuer).map(|p| p.status) {
        Some(Status::Active) => Ok(()),
        Some(Status::Leaving) if does == Does::Spends => Ok(()),
        Some(status @ Status::Leaving) => Err(Reject::at(Code::PartnerLeaving, field).with("status", status)),
        other => Err(Reject::at(Code::PartnerSuspended, field).with("status", other.unwrap_or(Status::Gone))),
    }
}
