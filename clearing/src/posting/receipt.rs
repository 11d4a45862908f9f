//! From an outcome to the answer: the receipt, and for a rejection the problem.
//!
//! The receipt of what is kept is its entry in the log with the proof that it stands there: a retry gets the same entry, and a proof by the log as it is then.
//! Only what leaves no trace is signed by itself.

use jiff::Timestamp;
use partner_sdk::jws::SigningKey;
use partner_sdk::log::Proof;
use partner_sdk::wire::{Answer, Outcome as Said};
use partner_sdk::{Code, PartnerId, Problem, Receipt};

use crate::posting::verify::Refused;
use crate::posting::writer::Answered;
use ledger::{Posted, Verified};

/// The answer about a message that went through the ledger.
pub fn answer(outcome: &Answered, verified: &Verified, now: Timestamp, key: &SigningKey) -> Answer {
    match outcome {
        Answered::Kept(posted, proof) => kept(posted, proof),
        Answered::IdReused => {
            let problem = Problem::new(Code::IdReused, "the ledger has other bytes under this id").at(Some("id"));
            traceless(problem, verified, now, key)
        }
        Answered::KeyRefused(code) => {
            let field = if *code == Code::KeyNotValid { "issued_at" } else { "kid" };
            traceless(Problem::new(*code, code.title()).at(Some(field)), verified, now, key)
        }
    }
}

/// The signed answer about a message that the ledger looked at and didn't keep.
fn traceless(problem: Problem, verified: &Verified, now: Timestamp, key: &SigningKey) -> Answer {
    let receipt = Receipt {
        id: Some(verified.message.id.clone()),
        ..unkept(&problem, &verified.sha256, &verified.message.sender, now)
    };
    rejected(problem, Some(receipt.sign(key)))
}

/// The answer about a message that didn't reach the ledger; signed where the message's own signature was good.
pub fn refusal(refused: Refused, sender: &PartnerId, now: Timestamp, key: &SigningKey) -> Answer {
    let receipt = refused
        .signed_sha256
        .as_deref()
        .map(|sha256| unkept(&refused.problem, sha256, sender, now).sign(key));
    rejected(*refused.problem, receipt)
}

/// The answer where nothing is known to have happened.
pub fn failure(code: Code) -> Answer {
    Answer {
        outcome: None,
        receipt: None,
        problem: Some(Problem::new(code, code.title())),
    }
}

fn kept(posted: &Posted, proof: &Proof) -> Answer {
    let receipt = ledger::receipt(posted);
    let proved = format!("{}\n{proof}", receipt.entry());
    match posted.code {
        None => Answer {
            outcome: Some(Said::Accepted),
            receipt: Some(proved),
            problem: None,
        },
        Some(code) => {
            let problem = Problem::new(code, receipt.detail()).advise(receipt.what_to_do());
            rejected(problem.at(posted.field.as_deref()), Some(proved))
        }
    }
}

fn rejected(mut problem: Problem, receipt: Option<String>) -> Answer {
    // In a single answer the receipt travels inside the problem, in a batch beside it.
    problem.receipt = None;
    Answer {
        outcome: receipt.is_some().then_some(Said::Rejected),
        receipt,
        problem: Some(problem),
    }
}

/// A refusal that has no place in the ledger.
fn unkept(problem: &Problem, sha256: &str, sender: &PartnerId, now: Timestamp) -> Receipt {
    Receipt {
        message_sha256: sha256.to_owned(),
        sender: sender.clone(),
        id: None,
        code: Some(problem.code),
        field: problem.field.clone(),
        sequence: None,
        window: None,
        posted_at: now,
        facts: vec![],
        salt: None,
    }
}
