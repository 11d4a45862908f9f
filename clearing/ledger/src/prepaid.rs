//! Points bought in advance, in blocks: earns draw on them before they come to owe money.

use std::sync::Arc;

use partner_sdk::agreement::{Agreement, AgreementKind, Terms};
use partner_sdk::wire::Quantity;
use partner_sdk::{Body, Code, Message, MessageId, PartnerId, Points, ProgrammeCode};

use crate::directory::Numbered;
use crate::effect::{Effect, MoneyMove, Plan, owe};
use crate::references::{agreement_at, fresh, points_of, text_of};
use crate::reject::{Reject, Rejected};
use crate::reversible::{exceeded, limited, reversible};
use crate::types::{Block, Line, Lot, LotKey, Moved, Posted, Told};
use crate::working_set::WorkingSet;

/// The sender buys points under its earn agreement in force now: what it pays doesn't depend on what it says about the time.
pub(crate) fn prepay(set: &WorkingSet, message: &Message) -> Rejected<Plan> {
    let Body::Prepay { programme, points } = &message.body else {
        return Err(Reject::new(Code::Internal));
    };
    let agreement = agreement_at(set, &message.sender, AgreementKind::Earn, programme, None, set.time())?;
    fresh(set, &agreement.item, message)?;
    let (block, _) = agreement.item.prepaid.ok_or(Reject::new(Code::NotPrepaid))?;
    let points = points_of(set, programme, *points)?;
    if points.0 % block.0 != 0 {
        return Err(Reject::at(Code::NotAMultiple, "points").with("step", text_of(set, programme, block.0)));
    }
    let bought = set.blocks.get(&agreement.no).map_or(0, |b| b.bought);
    bought.checked_add(points.0).ok_or(Reject::at(Code::Overflow, "points"))?;
    let issuer = issuer_of(set, programme)?;
    let (price, currency) = (agreement.item.price, agreement.item.terms.currency);
    let mut effects = vec![Effect::Block {
        agreement: agreement.no,
        bought: points.0,
        left: points.0,
    }];
    effects.extend(owe(
        Line::Prepaid,
        &message.sender,
        &issuer,
        points.0,
        price,
        currency,
        agreement.no,
    )?);
    let moved = Moved {
        points: points.0,
        agreement: Some(agreement.no),
        ..Moved::default()
    };
    Ok(Plan {
        moved,
        effects,
        facts: vec![],
    })
}

/// A purchase is taken back, at most what no earn has drawn.
pub(crate) fn take_back(set: &WorkingSet, message: &Message, target: &Posted, quantity: Quantity) -> Rejected<Plan> {
    let agreement = reversible(set, message, target)?;
    let Quantity::Points(points) = quantity else {
        return Err(Reject::at(Code::NotReversible, "spend").with("kind", &target.kind));
    };
    let Terms { programme, currency, .. } = &agreement.item.terms;
    let points = points_of(set, programme, points)?.0;
    let (before, _) = set.reversals.get(&target.seq).copied().unwrap_or_default();
    let rest = target.moved.points - before;
    if points > rest {
        let whole = target.moved.points;
        return Err(exceeded(
            "points",
            [whole, before, rest].map(|points| text_of(set, programme, points)),
        ));
    }
    let left = set.blocks.get(&agreement.no).map_or(0, |b| b.left);
    if points > left {
        return Err(limited(set, programme, left.min(rest).into()));
    }
    let reversed = Effect::Reversed {
        target: target.seq,
        points,
        spend: 0,
    };
    let block = Effect::Block {
        agreement: agreement.no,
        bought: -points,
        left: -points,
    };
    let (issuer, price) = (issuer_of(set, programme)?, agreement.item.price);
    let money = owe(
        Line::PrepaidReversal,
        &issuer,
        &target.sender,
        points,
        price,
        *currency,
        agreement.no,
    )?;
    Ok(Plan {
        moved: Moved {
            points,
            agreement: Some(agreement.no),
            ..Moved::default()
        },
        effects: [Some(reversed), Some(block), money].into_iter().flatten().collect(),
        facts: vec![("points".to_owned(), text_of(set, programme, points))],
    })
}

/// Draws an earn's points from its sender's blocks, as far as they go: a lot for each price, the oldest block first. Returns the lot for the rest, if
/// there is one, and how much of the member's debt the others have repaid. `whole` is the earn as if there were no blocks.
pub(crate) fn draw(
    set: &WorkingSet,
    earn: &MessageId,
    agreement: &Numbered<Agreement>,
    whole: Lot,
    effects: &mut Vec<Effect>,
) -> Rejected<(Option<Lot>, i64)> {
    let (partner, programme) = (whole.funder.clone(), whole.account.programme.clone());
    let held = set.accounts.get(&whole.account).map_or(0, |a| a.points);
    held.checked_add(whole.issued).ok_or(Reject::at(Code::Overflow, "points"))?;
    let (mut rest, mut leg, mut repaid) = (whole.issued, 0, 0);
    for block in set.blocks_of(&partner, &programme) {
        let points = rest.min(block.left);
        if points == 0 {
            continue;
        }
        let bought = set.directory.agreement_no(block.agreement).ok_or(Reject::new(Code::Internal))?;
        let lot = Lot {
            key: LotKey { seq: 0, leg },
            agreement: bought.no,
            price: bought.item.price,
            currency: bought.item.terms.currency,
            at_redemption: false,
            prepaid: true,
            issued: points,
            remaining: points,
            charged: points,
            ..whole.clone()
        };
        let issuer = set.issuer_of(&lot.account)?;
        let moves = moved(Line::Drawn, &lot, &partner, &issuer, -points);
        repaid += set.issue(Line::Earn, lot, repaid, effects)?;
        effects.extend(moves);
        rest -= points;
        leg += 1;
    }
    effects.extend(reorder(set, earn, agreement, &partner, &programme, whole.issued - rest));
    let lot = Lot {
        key: LotKey { seq: 0, leg },
        issued: rest,
        remaining: rest,
        charged: if whole.at_redemption { 0 } else { rest },
        ..whole
    };
    Ok((Some(lot).filter(|_| rest > 0), repaid))
}

/// Points of a lot that was drawn go back to its block.
pub(crate) fn put_back(lot: &Lot, issuer: &PartnerId, points: i64) -> [Effect; 2] {
    moved(Line::DrawnReversal, lot, issuer, &lot.funder, points)
}

/// A block's change, and the line that shows it: points that were paid for when they were bought, so no money.
fn moved(line: Line, lot: &Lot, debtor: &PartnerId, creditor: &PartnerId, left: i64) -> [Effect; 2] {
    let block = Effect::Block {
        agreement: lot.agreement,
        bought: 0,
        left,
    };
    let line = Effect::Money(MoneyMove {
        line,
        debtor: debtor.clone(),
        creditor: creditor.clone(),
        currency: lot.currency,
        amount: 0,
        points: left.abs(),
        price: 0,
        agreement: lot.agreement,
    });
    [block, line]
}

/// The warning, where drawing so many takes what is left from the agreement's mark to below it.
fn reorder(
    set: &WorkingSet,
    earn: &MessageId,
    agreement: &Numbered<Agreement>,
    partner: &PartnerId,
    programme: &ProgrammeCode,
    drawn: i64,
) -> Option<Effect> {
    let (_, Points(mark)) = agreement.item.prepaid?;
    let before: i128 = set.blocks_of(partner, programme).map(|b| i128::from(b.left)).sum();
    let left = before - i128::from(drawn);
    (before >= i128::from(mark) && left < i128::from(mark)).then(|| {
        // Below the mark it fits.
        let left = text_of(set, programme, i64::try_from(left).unwrap_or(mark));
        Effect::Tell(Told {
            recipient: partner.clone(),
            kind: "prepaid.reorder",
            subject: earn.to_string(),
            facts: vec![("programme".to_owned(), programme.to_string()), ("left".to_owned(), left)],
        })
    })
}

fn issuer_of(set: &WorkingSet, programme: &ProgrammeCode) -> Rejected<PartnerId> {
    let known = set.directory.programmes.get(programme);
    known
        .map(|p| p.terms.issuer.clone())
        .ok_or(Reject::at(Code::UnknownProgramme, "programme"))
}

impl WorkingSet {
    /// A partner's blocks of a programme, oldest first: agreements are numbered in the order of their starts.
    fn blocks_of(&self, partner: &PartnerId, programme: &ProgrammeCode) -> impl Iterator<Item = &Block> {
        let own = move |block: &&Block| block.partner == *partner && block.programme == *programme;
        self.blocks.values().filter(own)
    }

    /// Makes the change of a block true.
    pub(crate) fn change_block(&mut self, agreement: i32, bought: i64, left: i64) {
        let Some(known) = self.directory.agreement_no(agreement).map(Arc::clone) else {
            return;
        };
        let block = self.blocks.entry(agreement).or_insert_with(|| Block {
            agreement,
            partner: known.item.terms.partner.clone(),
            programme: known.item.terms.programme.clone(),
            bought: 0,
            left: 0,
        });
        block.bought += bought;
        block.left += left;
        self.changes.blocks.insert(agreement);
    }
}
