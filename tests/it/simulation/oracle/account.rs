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
    /// How many of those are still to go back to where they were taken, once the lot's own points are there again.
    pub borrowed: i64,
    /// How many of its points were taken for other earns, or for what the member owed, and haven't come back.
    pub lent: i64,
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
        self.alive(at).map(|lot| self.free(lot, at)).sum::<i64>() - self.owed(at)
    }

    /// What the member owes, but for what the next cut-off repays from the very earns.
    pub fn owed(&self, at: i64) -> i64 {
        let over = (0..self.lots.len()).filter(|lot| self.lots[*lot].expires <= at);
        let own: i64 = over.map(|lot| self.free(lot, at).min(self.lots[lot].borrowed)).sum();
        (self.debt - own).max(0)
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
    pub fn issue(&mut self, lot: Lot, at: i64, told: &mut Told) {
        let repaid = self.owed(at).min(lot.left);
        self.debt -= repaid;
        self.lots.push(lot);
        self.lend(self.lots.len() - 1, repaid, told);
    }

    /// Points are used up for another earn that was taken back, or for what is owed.
    fn lend(&mut self, lot: usize, points: i64, told: &mut Told) {
        self.take(&[(lot, points)], told);
        self.lots[lot].lent += points;
    }

    /// A lot's own points are there (again), and others were taken for them: they settle what is owed, then make good the lots that others were taken of,
    /// beginning with that which would be spent last. At most so many; `owed` is what may still be settled. Returns how many went.
    fn make_good(&mut self, lot: usize, points: i64, owed: &mut i64, told: &mut Told) -> i64 {
        let most = points.min(self.lots[lot].borrowed);
        let settled = most.min(*owed);
        *owed -= settled;
        self.debt -= settled;
        let mut gone = settled;
        for other in self.oldest_first().into_iter().rev() {
            let some = (most - gone).min(self.lots[other].lent);
            if some == 0 {
                continue;
            }
            gone += some;
            self.lots[other].lent -= some;
            self.lots[other].left += some;
            self.lots[other].used -= some;
            self.charge(other, "redemption_reversal", told);
        }
        self.lots[lot].left -= gone;
        self.lots[lot].borrowed -= gone;
        self.lots[lot].elsewhere -= gone;
        gone
    }

    /// A hold is over and these parts of it are free again, while `owed` was owed.
    pub fn release(&mut self, parts: &[(usize, i64)], mut owed: i64, told: &mut Told) {
        for (lot, points) in parts {
            self.make_good(*lot, *points, &mut owed, told);
            self.charge(*lot, "redemption_reversal", told);
        }
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
    pub fn give_back(&mut self, parts: &mut [(usize, i64)], points: i64, at: i64, told: &mut Told) {
        let (mut rest, mut owed) = (points, self.owed(at));
        for (lot, taken) in parts.iter_mut().rev() {
            let some = rest.min(*taken);
            *taken -= some;
            rest -= some;
            self.lots[*lot].left += some;
            self.lots[*lot].used -= some;
            let gone = self.make_good(*lot, some, &mut owed, told);
            // What settles another earn's debt is used after all.
            let repaid = owed.min(some - gone);
            owed -= repaid;
            self.debt -= repaid;
            self.lots[*lot].left -= repaid;
            self.lots[*lot].used += repaid;
            self.lots[*lot].lent += repaid;
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
        // Holds may have ended by themselves.
        let order = self.oldest_first();
        let free: Vec<i64> = order.iter().map(|lot| self.free(*lot, cut_off)).collect();
        let mut owed = self.debt;
        for (lot, points) in order.iter().zip(free) {
            self.make_good(*lot, points, &mut owed, told);
            self.charge(*lot, "redemption_reversal", told);
        }
        for lot in order {
            if self.lots[lot].expires > cut_off {
                continue;
            }
            let points = self.free(lot, cut_off);
            let repaid = self.debt.min(points);
            self.debt -= repaid;
            self.lend(lot, repaid, told);
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
            let short = points - self.draw(lot, *points, at, told);
            self.lots[lot].borrowed += short;
            rest += short;
        }
        for (leg, _) in legs {
            let lot = self.lot(seq, *leg);
            let some = self.draw(lot, rest, at, told);
            self.lots[lot].lent += some;
            rest -= some;
        }
        let chosen = self.choose(at, rest);
        for (lot, points) in &chosen {
            self.lend(*lot, *points, told);
        }
        // What a lot has given to others and is short of itself cancel out.
        for lot in &mut self.lots {
            let both = lot.lent.min(lot.borrowed);
            lot.lent -= both;
            lot.borrowed -= both;
        }
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
