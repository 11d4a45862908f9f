//! One member's points in one programme: lots, holds, debt, and what becomes of them. Whatever is owed or lost thereby is told to a [`Told`].

use super::book::{Line, Told};

/// Who stands behind a lot's points.
#[derive(Debug, Clone, Copy)]
pub struct Funder {
    /// The partner.
    pub partner: &'static str,
    /// What it owes for a point, in millionths.
    pub price: i64,
    /// It owes when the points are spent.
    pub redemption: bool,
}

/// Points that came together.
#[derive(Debug, Clone)]
pub struct Lot {
    /// From this instant they can't be spent.
    pub expires: i64,
    /// Whose place among the story's messages decides between lots of the same expiry.
    pub seq: usize,
    /// The same within a message.
    pub leg: u8,
    /// Who paid.
    pub funder: Funder,
    /// How many there were.
    pub earned: i64,
    /// How many there are.
    pub left: i64,
    /// How many were spent, or used up for a debt or another's refund.
    pub used: i64,
    /// How many expired unspent.
    pub expired: i64,
    /// How many of those count for what was paid.
    pub valued: i64,
    /// How many of its earn were taken back, wherever the points came from.
    pub taken_back: i64,
    /// How many of those weren't this lot's: others', or a debt.
    pub elsewhere: i64,
    /// For how many the funder was charged, where it owes at redemption.
    pub charged: i64,
}

/// Points set aside.
#[derive(Debug, Clone)]
pub struct Hold {
    /// The message that set them aside.
    pub no: usize,
    /// When it is over by itself.
    pub until: Option<i64>,
    /// Which points: lot, how many.
    pub parts: Vec<(usize, i64)>,
    /// Not captured, voided or answered.
    pub open: bool,
}

impl Hold {
    /// Whether it holds at an instant.
    pub fn lives(&self, at: i64) -> bool {
        self.open && self.until.is_none_or(|until| until > at)
    }
}

/// A member's points in one programme.
#[derive(Debug, Clone)]
pub struct Account {
    /// The number of the programme.
    pub programme: usize,
    /// Who stands behind the programme.
    pub issuer: &'static str,
    /// What was issued.
    pub lots: Vec<Lot>,
    /// What was set aside.
    pub holds: Vec<Hold>,
    /// What the member owes.
    pub debt: i64,
}

impl Account {
    /// Nothing yet.
    pub fn new(programme: usize, issuer: &'static str) -> Self {
        let (lots, holds, debt) = (vec![], vec![], 0);
        Self {
            programme,
            issuer,
            lots,
            holds,
            debt,
        }
    }

    /// What a lot has that no hold holds.
    pub fn free(&self, lot: usize, at: i64) -> i64 {
        let parts = self.holds.iter().filter(|hold| hold.lives(at)).flat_map(|hold| &hold.parts);
        self.lots[lot].left - parts.filter(|(of, _)| *of == lot).map(|(_, points)| points).sum::<i64>()
    }

    /// All lots, in the order in which they are spent.
    fn oldest_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.lots.len()).collect();
        order.sort_by_key(|lot| (self.lots[*lot].expires, self.lots[*lot].seq, self.lots[*lot].leg));
        order
    }

    fn alive(&self, at: i64) -> impl Iterator<Item = usize> {
        let order = self.oldest_first();
        order.into_iter().filter(move |lot| self.lots[*lot].expires > at)
    }

    /// What can be spent.
    pub fn available(&self, at: i64) -> i64 {
        self.alive(at).map(|lot| self.free(lot, at)).sum::<i64>() - self.debt
    }

    /// What is set aside.
    pub fn held(&self, at: i64) -> i64 {
        let holds = self.holds.iter().filter(|hold| hold.lives(at));
        holds.flat_map(|hold| &hold.parts).map(|(_, points)| points).sum()
    }

    /// Everything less what is owed.
    pub fn balance(&self) -> i64 {
        self.lots.iter().map(|lot| lot.left).sum::<i64>() - self.debt
    }

    /// Which points could be spent, oldest first, at most so many.
    pub fn choose(&self, at: i64, points: i64) -> Vec<(usize, i64)> {
        let (mut rest, mut chosen) = (points, vec![]);
        for lot in self.alive(at) {
            let some = rest.min(self.free(lot, at));
            if some > 0 {
                chosen.push((lot, some));
                rest -= some;
            }
        }
        chosen
    }

    /// New points; what the member owes is repaid first.
    pub fn issue(&mut self, lot: Lot, told: &mut Told) {
        let repaid = self.debt.min(lot.left);
        self.debt -= repaid;
        self.lots.push(lot);
        self.take(&[(self.lots.len() - 1, repaid)], told);
    }

    /// Points are spent, or used up.
    pub fn take(&mut self, parts: &[(usize, i64)], told: &mut Told) {
        for (lot, points) in parts {
            self.lots[*lot].left -= points;
            self.lots[*lot].used += points;
            self.charge(*lot, "redemption_reversal", told);
        }
    }

    /// Points that were spent come back, but for those that the member owes; `parts` is what is left of what was taken, the last taken last.
    pub fn give_back(&mut self, parts: &mut [(usize, i64)], points: i64, told: &mut Told) {
        let mut rest = points;
        for (lot, taken) in parts.iter_mut().rev() {
            let some = rest.min(*taken);
            *taken -= some;
            rest -= some;
            // What repays the debt is used after all.
            let repaid = self.debt.min(some);
            self.debt -= repaid;
            self.lots[*lot].left += some - repaid;
            self.lots[*lot].used -= some - repaid;
            self.charge(*lot, "redemption_reversal", told);
        }
        assert_eq!(rest, 0, "more comes back than was taken");
    }

    /// A funder that owes at redemption owes for what was used, less what was taken back in its place.
    fn charge(&mut self, lot: usize, back: &'static str, told: &mut Told) {
        let (issuer, programme, lot) = (self.issuer, self.programme, &mut self.lots[lot]);
        let charged = (lot.used - lot.elsewhere).max(0);
        let (partner, price) = (lot.funder.partner, lot.funder.price);
        if !lot.funder.redemption {
            return;
        }
        if charged > lot.charged {
            told.line(Line::new("redemption", partner, issuer, programme, price), charged - lot.charged);
        } else {
            told.line(Line::new(back, issuer, partner, programme, price), lot.charged - charged);
        }
        lot.charged = charged;
    }

    /// What expired counts for what was paid and not returned.
    fn value(&mut self, lot: usize, expired: i64, told: &mut Told) {
        let (issuer, programme, lot) = (self.issuer, self.programme, &mut self.lots[lot]);
        let valued = lot.expired.min(lot.earned - lot.taken_back);
        told.breakage(programme, lot.funder.partner, expired, (valued - lot.valued) * lot.worth(issuer));
        lot.valued = valued;
    }

    /// At a cut-off, what has expired and isn't held goes: to what the member owes, then for good.
    pub fn expire(&mut self, cut_off: i64, told: &mut Told) {
        for lot in self.oldest_first() {
            let points = self.free(lot, cut_off);
            if self.lots[lot].expires > cut_off || points == 0 {
                continue;
            }
            let repaid = self.debt.min(points);
            self.debt -= repaid;
            self.take(&[(lot, repaid)], told);
            let lost = points - repaid;
            self.lots[lot].left -= lost;
            self.lots[lot].expired += lost;
            self.value(lot, lost, told);
        }
    }

    /// How many points of a message's lots can be taken back, and of the others: before any debt.
    pub fn recoverable(&self, seq: usize, at: i64) -> i64 {
        let own = (0..self.lots.len()).filter(|lot| self.lots[*lot].seq == seq);
        let others = self.alive(at).filter(|lot| self.lots[*lot].seq != seq);
        own.map(|lot| self.free(lot, at) + self.lots[lot].expired).sum::<i64>() + others.map(|lot| self.free(lot, at)).sum::<i64>()
    }

    /// Points that a message gave are taken back, leg by leg: from each its own, then from its others, from what the member can spend besides, and as a debt
    /// for the rest. Returns how many weren't the message's.
    pub fn claw_back(&mut self, seq: usize, legs: &[(u8, i64)], at: i64, told: &mut Told) -> i64 {
        let mut rest = 0;
        for (leg, points) in legs {
            let lot = self.lot(seq, *leg);
            rest += points - self.draw(lot, *points, at, told);
        }
        for (leg, _) in legs {
            let lot = self.lot(seq, *leg);
            rest -= self.draw(lot, rest, at, told);
        }
        let chosen = self.choose(at, rest);
        self.take(&chosen, told);
        self.debt += rest - chosen.iter().map(|(_, points)| points).sum::<i64>();
        rest
    }

    /// Takes what is left of a lot and not held, then what expired of it unspent; returns how many.
    fn draw(&mut self, lot: usize, points: i64, at: i64, told: &mut Told) -> i64 {
        let left = points.min(self.free(lot, at));
        let expired = (points - left).min(self.lots[lot].expired);
        self.lots[lot].left -= left;
        self.lots[lot].expired -= expired;
        told.breakage(self.programme, self.lots[lot].funder.partner, -expired, 0);
        left + expired
    }

    fn lot(&self, seq: usize, leg: u8) -> usize {
        let lot = self.lots.iter().position(|lot| (lot.seq, lot.leg) == (seq, leg));
        lot.expect("a lot of the message")
    }

    /// So many of a lot's points were taken back, of which some weren't its own.
    pub fn taken_back(&mut self, seq: usize, leg: u8, points: i64, elsewhere: i64, told: &mut Told) {
        let lot = self.lot(seq, leg);
        self.lots[lot].taken_back += points;
        self.lots[lot].elsewhere += elsewhere;
        self.charge(lot, "earn_reversal", told);
        self.value(lot, 0, told);
    }
}

impl Lot {
    /// What one of its points is worth when it expires: what was paid or is owed for it.
    fn worth(&self, issuer: &str) -> i64 {
        let free = self.funder.redemption || self.funder.partner == issuer;
        if free { 0 } else { self.funder.price }
    }
}
