//! Exchanges with programmes whose issuers keep the balances themselves (DESIGN section 10; docs/decisions/0012).
//!
//! ```text
//! exchange --> instructed --acknowledge--> captured     points and money are posted
//!                  |  \------refuse------> released     nothing was taken
//!                  | deadline
//!                  v
//!               unknown: asked again and again, and ended by the same two answers
//! ```
//!
//! What is reserved is checked as if it were captured, so an answer can't fail: a signed word of the issuer's that it has credited is never lost.

use std::sync::Arc;

use partner_sdk::change::Custody;
use partner_sdk::wire::ExchangeState;
use partner_sdk::{Body, Code, Message, MessageId, PartnerId, ProgrammeCode};

use crate::effect::{Effect, Plan};
use crate::moves::Exchange;
use crate::pending::{Pending, Reserved};
use crate::references::{agreement_behind, target_of, text_of};
use crate::reject::{Facts, Reject, Rejected};
use crate::time::timestamp;
use crate::types::{AccountKey, Hold, Line, Moved, Posted, Told};
use crate::working_set::WorkingSet;

const MINUTE: i64 = 60_000_000;

impl WorkingSet {
    /// Whether a programme's balances are here. One that there isn't is refused by other rules.
    pub(crate) fn hosts(&self, programme: &ProgrammeCode) -> bool {
        let known = self.directory.programmes.get(programme);
        known.is_none_or(|p| p.terms.custody == Custody::Hosted)
    }
}

/// Points of a programme that is kept elsewhere are not earned or spent here.
pub(crate) fn only_exchanged(set: &WorkingSet, body: &Body) -> Rejected<()> {
    match body {
        Body::Earn { programme, .. } | Body::Burn { programme, .. } | Body::Authorise { programme, .. } if !set.hosts(programme) => {
            Err(Reject::at(Code::ExternalCustody, "programme"))
        }
        _ => Ok(()),
    }
}

/// Reserves what an exchange moves, and tells the issuer to credit it. `moves` is what capturing it will do.
pub(crate) fn instruct(set: &WorkingSet, message: &Message, exchange: &Exchange, moves: &[Effect]) -> Rejected<(Vec<Effect>, Facts)> {
    // Checked as if it happened now, beside all that is reserved already.
    set.check_caps(&message.sender, moves)?;
    let to_issuer = set.issuer_of(exchange.to)?;
    let terms = &exchange.agreement.item.terms;
    let owed = moves.iter().filter_map(|effect| match effect {
        Effect::Money(money) if matches!(money.line, Line::Exchange | Line::Bonus) => Some(money.amount),
        _ => None,
    });
    let micros = owed.map(i128::from).sum::<i128>();
    let micros = i64::try_from(micros).map_err(|_| Reject::at(Code::Overflow, "points"))?;
    let deadline = set.now.saturating_add(i64::from(terms.acknowledge_minutes()) * MINUTE);
    let mut effects = vec![];
    if set.hosts(&exchange.from.programme) {
        effects.push(Effect::Hold(Hold {
            seq: 0,
            account: exchange.from.clone(),
            points: exchange.moved.points,
            lots: exchange.lots.clone(),
            expires_at: Hold::UNTIL_ANSWERED,
            open: true,
            lapsed: false,
        }));
    }
    let pending = Pending {
        seq: 0,
        sender: message.sender.clone(),
        id: message.id.clone(),
        to_issuer: to_issuer.clone(),
        instructed_at: set.now,
        deadline,
        reserved: Reserved {
            debtor: message.sender.clone(),
            creditor: to_issuer,
            currency: terms.currency,
            micros,
        },
        queries: 0,
        next_query_at: deadline,
        answer: None,
    };
    let text = |points| text_of(set, &exchange.to.programme, points);
    let (credited, bonus) = (text(exchange.moved.credited), text(exchange.moved.bonus));
    let told = instruction(&pending, exchange.from, exchange.to, credited, bonus);
    effects.push(Effect::Tell(told));
    effects.push(Effect::Instruct(Box::new(pending)));
    let state = ExchangeState::Instructed.as_str().to_owned();
    let facts = vec![
        ("state".to_owned(), state),
        ("deadline".to_owned(), timestamp(deadline).to_string()),
    ];
    Ok((effects, facts))
}

/// What the issuer is told to credit: all that it needs, and nothing of the member's other account.
pub fn instruction(pending: &Pending, from: &AccountKey, to: &AccountKey, credited: String, bonus: String) -> Told {
    let facts = [
        ("sender", pending.sender.to_string()),
        ("programme", from.programme.to_string()),
        ("to_programme", to.programme.to_string()),
        ("to_member", to.member.as_str().to_owned()),
        ("credited", credited),
        ("bonus", bonus),
        ("deadline", timestamp(pending.deadline).to_string()),
    ];
    Told {
        recipient: pending.to_issuer.clone(),
        kind: "exchange.instructed",
        subject: pending.id.to_string(),
        facts: facts.map(|(name, value)| (name.to_owned(), value)).to_vec(),
    }
}

/// The issuer's word that it has credited, or won't.
pub(crate) fn answer(set: &WorkingSet, message: &Message) -> Rejected<Plan> {
    let (target, pending, captured, word) = match &message.body {
        Body::Acknowledge {
            sender_of,
            exchange,
            reference,
        } => {
            let (target, pending) = open(set, message, sender_of, exchange)?;
            (target, pending, true, reference.as_ref().map(ToString::to_string))
        }
        Body::Refuse {
            sender_of,
            exchange,
            reason,
        } => {
            let (target, pending) = open(set, message, sender_of, exchange)?;
            (target, pending, false, Some(reason.to_string()))
        }
        _ => return Err(Reject::new(Code::Internal)),
    };
    let (Some(from), Some(to)) = (&target.moved.account, &target.moved.to_account) else {
        return Err(Reject::new(Code::Internal));
    };
    let mut effects = vec![];
    if set.hosts(&from.programme) {
        effects.push(Effect::CloseHold(pending.seq));
    }
    if captured {
        let exchange = Exchange {
            sender: &target.sender,
            agreement: agreement_behind(set, &target)?,
            from,
            to,
            moved: &target.moved,
            occurred_at: timestamp(target.posted_at),
            lots: set.holds.get(&pending.seq).map_or_else(Vec::new, |hold| hold.lots.clone()),
        };
        effects.extend(exchange.moves(set)?);
    } else if let Some(hold) = set.holds.get(&pending.seq) {
        effects.extend(set.end_hold(hold, 0)?);
    }
    effects.push(Effect::Tell(outcome(set, pending, &target.moved, captured, word.as_deref())));
    effects.push(Effect::Answer {
        exchange: pending.seq,
        captured,
        word,
    });
    let state = if captured {
        ExchangeState::Captured
    } else {
        ExchangeState::Released
    };
    Ok(Plan {
        moved: target.moved.clone(),
        effects,
        facts: vec![("state".to_owned(), state.as_str().to_owned())],
    })
}

/// What the sender of the exchange is told about its end.
fn outcome(set: &WorkingSet, pending: &Pending, moved: &Moved, captured: bool, word: Option<&str>) -> Told {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![fact("by", pending.to_issuer.to_string())];
    let sides = [
        ("programme", "points", &moved.account, moved.points),
        ("to_programme", "credited", &moved.to_account, moved.credited),
    ];
    for (programme, name, account, points) in sides {
        let Some(account) = account else { continue };
        facts.push(fact(programme, account.programme.to_string()));
        facts.push(fact(name, text_of(set, &account.programme, points)));
        if name == "credited" {
            facts.push(fact("bonus", text_of(set, &account.programme, moved.bonus)));
        }
    }
    let name = if captured { "reference" } else { "reason" };
    facts.extend(word.map(|word| fact(name, word.to_owned())));
    Told {
        recipient: pending.sender.clone(),
        kind: if captured { "exchange.captured" } else { "exchange.released" },
        subject: pending.id.to_string(),
        facts,
    }
}

/// An exchange that waits for this sender's answer. Nobody else learns that there is one.
fn open<'a>(set: &'a WorkingSet, message: &Message, sender_of: &PartnerId, id: &MessageId) -> Rejected<(Arc<Posted>, &'a Pending)> {
    let unknown = || Reject::at(Code::ExchangeUnknown, "exchange");
    let target = target_of(set, sender_of, id).filter(|t| t.kind == "exchange").ok_or_else(unknown)?;
    let pending = set.pending.get(&target.seq).filter(|p| p.to_issuer == message.sender);
    let pending = pending.ok_or_else(unknown)?;
    if pending.answer.is_some() {
        let state = pending.state(set.now).as_str().to_owned();
        return Err(Reject {
            facts: vec![("state".to_owned(), state)],
            ..Reject::at(Code::ExchangeClosed, "exchange")
        });
    }
    Ok((target, pending))
}
