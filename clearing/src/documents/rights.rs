//! Who may do what to a document, and when: a pure table. Anything that isn't allowed here is refused, by name.

use partner_sdk::Code;
use partner_sdk::document::{Action, Kind, State};

/// What somebody is to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Who proposed it: a partner, or for a change one of the operator's people.
    Proposer,
    /// The other party of an agreement or a dispute.
    Counterparty,
    /// One of the operator's people, who didn't propose it.
    Person,
    /// Nobody of these: for them, the document isn't there.
    Stranger,
}

/// The state that follows, or why not.
pub fn decide(kind: Kind, state: State, role: Role, action: Action) -> Result<State, Code> {
    match (role, action) {
        (Role::Stranger, _) => Err(Code::NotFound),
        (_, Action::Fetch) => Ok(state),
        _ => match kind {
            Kind::Agreement => agreement(state, role, action),
            Kind::Change => change(state, role, action),
            Kind::Dispute => dispute(state, role, action),
        },
    }
}

fn agreement(state: State, role: Role, action: Action) -> Result<State, Code> {
    use State::{Declined, InForce, Proposed, Signed, Superseded, Terminated, Withdrawn};
    match (action, role, state) {
        (Action::Sign, Role::Counterparty, Proposed) => Ok(Signed),
        (Action::Sign, Role::Counterparty, Withdrawn | Declined) => Err(Code::DocumentState),
        (Action::Sign, Role::Counterparty | Role::Proposer, _) => Err(Code::AlreadySigned),
        (Action::Approve, Role::Person, Signed) => Ok(InForce),
        (Action::Approve, Role::Person, Proposed) => Err(Code::NotApproved),
        (Action::Withdraw, Role::Proposer, Proposed | Signed) => Ok(Withdrawn),
        (Action::Decline, Role::Counterparty, Proposed) | (Action::Decline, Role::Person, Proposed | Signed) => Ok(Declined),
        // Whoever was given notice may give a shorter one, as far as the terms allow.
        (Action::Terminate, Role::Proposer | Role::Counterparty, InForce | Terminated) => Ok(Terminated),
        // The old one steps down when the new one is countersigned.
        (Action::Supersede, Role::Proposer | Role::Counterparty, InForce | Terminated) => Ok(state),
        (Action::Supersede, Role::Proposer | Role::Counterparty, Superseded) => Err(Code::Superseded),
        _ if !is_theirs(role, action) => Err(Code::NotParty),
        _ => Err(Code::DocumentState),
    }
}

/// Whether an action is one that this role takes at all.
fn is_theirs(role: Role, action: Action) -> bool {
    match action {
        Action::Fetch => role != Role::Stranger,
        Action::Sign => role == Role::Counterparty,
        Action::Approve => role == Role::Person,
        Action::Withdraw => role == Role::Proposer,
        Action::Decline => role == Role::Counterparty || role == Role::Person,
        Action::Terminate | Action::Supersede => role == Role::Proposer || role == Role::Counterparty,
    }
}

/// Proposed is unanswered, declined is contested; by the other's signature it is conceded, by approval decided.
fn dispute(state: State, role: Role, action: Action) -> Result<State, Code> {
    use State::{Declined, InForce, Proposed, Withdrawn};
    match (action, role, state) {
        (Action::Sign, Role::Counterparty, Proposed | Declined) => Ok(InForce),
        (Action::Decline, Role::Counterparty, Proposed) => Ok(Declined),
        (Action::Withdraw, Role::Proposer, Proposed | Declined) => Ok(Withdrawn),
        (Action::Approve, Role::Person, Proposed | Declined) => Ok(InForce),
        (Action::Sign | Action::Decline, Role::Counterparty, _)
        | (Action::Withdraw, Role::Proposer, _)
        | (Action::Approve, Role::Person, _) => Err(Code::DocumentState),
        _ => Err(Code::NotParty),
    }
}

fn change(state: State, role: Role, action: Action) -> Result<State, Code> {
    match (action, role) {
        (Action::Approve, Role::Proposer) => Err(Code::FourEyes),
        (Action::Approve, Role::Person) if state == State::Proposed => Ok(State::InForce),
        (Action::Withdraw, Role::Proposer) if state == State::Proposed => Ok(State::Withdrawn),
        (Action::Decline, Role::Person) if state == State::Proposed => Ok(State::Declined),
        (Action::Approve | Action::Decline, Role::Person) | (Action::Withdraw, Role::Proposer) => Err(Code::DocumentState),
        _ => Err(Code::NotParty),
    }
}
