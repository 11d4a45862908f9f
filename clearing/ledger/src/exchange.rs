//! Points of one programme become points of another, exactly as a quote said (DESIGN sections 3.3 and 4).

use partner_sdk::{Body, Code, Message};

use crate::custody;
use crate::effect::{Effect, Plan};
use crate::moves::Exchange;
use crate::quote::{facts_of, open_quote, same};
use crate::reject::{Reject, Rejected};
use crate::types::{AccountKey, Moved};
use crate::working_set::WorkingSet;

pub(crate) fn exchange(set: &WorkingSet, message: &Message) -> Rejected<Plan> {
    let Body::Exchange {
        programme,
        member,
        to_programme,
        to_member,
        points,
        quote,
    } = &message.body
    else {
        return Err(Reject::new(Code::Internal));
    };
    let (quote, agreement) = open_quote(set, message, quote)?;
    same(set, quote, programme, to_programme, *points)?;
    let from = AccountKey {
        programme: programme.clone(),
        member: member.clone(),
    };
    let to = AccountKey {
        programme: to_programme.clone(),
        member: to_member.clone(),
    };
    let moved = Moved {
        account: Some(from.clone()),
        points: quote.points,
        to_account: Some(to.clone()),
        credited: quote.credited,
        bonus: quote.bonus,
        agreement: Some(agreement.no),
        rate: Some(quote.rate),
        bonus_rate: quote.bonus_rate,
        ..Moved::default()
    };
    let mut effects = set.limits(agreement, member, partner_sdk::Points(quote.points))?;
    if set.hosts(programme) && set.available(&from) < i128::from(quote.points) {
        return Err(set.insufficient(&from));
    }
    effects.push(Effect::UseQuote(quote.seq));
    let exchange = Exchange {
        sender: &message.sender,
        agreement,
        from: &from,
        to: &to,
        moved: &moved,
        occurred_at: message.occurred_at,
        lots: if set.hosts(programme) {
            set.oldest(&from, quote.points)?
        } else {
            vec![]
        },
    };
    let (moves, mut facts) = (exchange.moves(set)?, facts_of(set, quote));
    if set.hosts(to_programme) {
        effects.extend(moves);
    } else {
        let (instructed, more) = custody::instruct(set, message, &exchange, &moves)?;
        effects.extend(instructed);
        facts.extend(more);
    }
    Ok(Plan { moved, effects, facts })
}
