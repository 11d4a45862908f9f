//! Points are issued to a member, at the sender's cost.

use partner_sdk::agreement::{AgreementKind, Settle};
use partner_sdk::{Body, Code, Message};

use crate::effect::{Plan, owe};
use crate::prepaid;
use crate::references::{agreement_of, points_of};
use crate::reject::{Reject, Rejected};
use crate::time::timestamp;
use crate::types::{AccountKey, Line, Lot, LotKey, Moved};
use crate::working_set::WorkingSet;

pub(crate) fn earn(set: &WorkingSet, message: &Message) -> Rejected<Plan> {
    let Body::Earn {
        programme,
        member,
        points,
        spend,
    } = &message.body
    else {
        return Err(Reject::new(Code::Internal));
    };
    let agreement = agreement_of(set, message, AgreementKind::Earn, programme)?;
    let points = points_of(set, programme, *points)?;
    let terms = &agreement.item.terms;
    let spend = spend.map(|s| s.to_units(terms.currency.minor_digits()).map(|_| s).and_then(|s| s.to_units(6)));
    let bad_spend = || Reject::at(Code::BadAmount, "spend").with("decimals", terms.currency.minor_digits());
    let spend = spend.transpose().map_err(|_| bad_spend())?;
    if spend == Some(0) {
        return Err(bad_spend());
    }
    let account = AccountKey {
        programme: programme.clone(),
        member: member.clone(),
    };
    let at_redemption = terms.settle == Settle::Redemption;
    let issuer = set.issuer_of(&account)?;
    let rules = set
        .directory
        .programmes
        .get(programme)
        .ok_or(Reject::at(Code::UnknownProgramme, "programme"))?;
    let expires_at = set.alive(rules.expiry(message.occurred_at, &set.directory.zone_at(message.occurred_at)))?;
    let whole = Lot {
        key: LotKey { seq: 0, leg: 0 },
        account: account.clone(),
        agreement: agreement.no,
        funder: message.sender.clone(),
        price: agreement.item.price,
        currency: terms.currency,
        at_redemption,
        prepaid: false,
        issued: points.0,
        remaining: points.0,
        charged: if at_redemption { 0 } else { points.0 },
        reversed: 0,
        expired: 0,
        expired_paid: 0,
        lent: 0,
        expires_at,
        due_at: expires_at,
    };
    let mut effects = set.limits(agreement, member, points)?;
    let (rest, repaid) = prepaid::draw(set, &message.id, agreement, whole, &mut effects)?;
    if let Some(lot) = rest {
        let (points, price) = (lot.issued, lot.price);
        set.issue(Line::Earn, lot, repaid, &mut effects)?;
        if !at_redemption {
            effects.extend(owe(
                Line::Earn,
                &message.sender,
                &issuer,
                points,
                price,
                terms.currency,
                agreement.no,
            )?);
        }
    }
    let moved = Moved {
        account: Some(account),
        points: points.0,
        spend,
        agreement: Some(agreement.no),
        ..Moved::default()
    };
    Ok(Plan {
        moved,
        effects,
        facts: vec![],
    })
}

impl WorkingSet {
    /// Points that would have expired when they arrive are refused: nobody could spend them, and their window may be over.
    pub(crate) fn alive(&self, expires_at: i64) -> Rejected<i64> {
        if expires_at > self.now {
            return Ok(expires_at);
        }
        Err(Reject {
            facts: vec![("expires_at".to_owned(), timestamp(expires_at).to_string())],
            ..Reject::at(Code::ExpiredOnArrival, "occurred_at")
        })
    }
}
