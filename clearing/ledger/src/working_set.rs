//! All that a batch may touch, loaded before it is applied; and what it changed, to be persisted.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::{Currency, MemberNumber, MessageId, PartnerId};

use crate::bounds::Charging;
use crate::directory::Directory;
use crate::effect::Effect;
use crate::paths::Routes;
use crate::pending::{Answered, Pending};
use crate::time::timestamp;
use crate::types::{Account, AccountKey, Block, Hold, Line, Lot, LotKey, MEMBER, Posted, Posting, Quote, Signed, Told};

/// Rows by key, and which of them changed.
#[derive(Debug)]
pub struct WorkingSet {
    /// The reference data.
    pub directory: Arc<Directory>,
    /// The window that takes what is posted.
    pub window: Date,
    /// Windows that are closed and not netted, oldest first, each with its cut-off: what expires there may still be to be posted.
    pub due: Vec<(Date, i64)>,
    /// The clearinghouse's time, in microseconds since 1970.
    pub now: i64,
    /// The next message's place in the ledger.
    pub next_seq: i64,
    /// What the salts of new entries are made from.
    pub(crate) seed: [u8; 32],
    /// Every account that the batch names, or its targets do; one that isn't here is empty.
    pub accounts: HashMap<AccountKey, Account>,
    /// Those of them that had points or debt when they were loaded.
    pub held_something: HashSet<AccountKey>,
    /// Their lots that may give points, and those of targets and holds.
    pub lots: HashMap<LotKey, Lot>,
    /// Their open holds, and those of targets.
    pub holds: HashMap<i64, Hold>,
    /// The quotes that exchanges name.
    pub quotes: HashMap<i64, Quote>,
    /// Messages of the same ids as the batch's, and their targets.
    pub messages: HashMap<(PartnerId, MessageId), Arc<Posted>>,
    /// The lots that targets spent from, in order.
    pub takes: HashMap<i64, Vec<(LotKey, i64)>>,
    /// How much of targets has been reversed: points, micros of spend.
    pub reversals: HashMap<i64, (i64, i64)>,
    /// Points under agreements with a limit per window: of a member, or of all together.
    pub limit_use: HashMap<(i32, Option<MemberNumber>), i64>,
    /// What partners owe net over all windows not yet settled, in micros.
    pub exposure: HashMap<(PartnerId, Currency), i64>,
    /// What debtor owes creditor from this window, gross, in micros.
    pub positions: HashMap<(PartnerId, PartnerId, Currency), i64>,
    /// Exchanges that wait for an issuer's answer, or have had it: those that the batch answers.
    pub pending: HashMap<i64, Pending>,
    /// What debtor will owe creditor once all pending exchanges are captured, in micros.
    pub reserved: HashMap<(PartnerId, PartnerId, Currency), i64>,
    /// Points that senders bought in advance, by the number of the agreement.
    pub blocks: BTreeMap<i32, Block>,
    /// What the batch changed.
    pub changes: Changes,
    routes: OnceCell<Routes>,
    charging: OnceCell<Charging>,
}

/// What is to be written; sets are ordered, so that rows are always locked in one order.
#[derive(Debug, Default)]
pub struct Changes {
    /// New messages with their bytes.
    pub messages: Vec<(Arc<Posted>, Signed)>,
    /// New postings, in order.
    pub postings: Vec<Posting>,
    /// Accounts that changed.
    pub accounts: BTreeSet<AccountKey>,
    /// Lots that changed or are new.
    pub lots: BTreeSet<LotKey>,
    /// Holds that changed or are new.
    pub holds: BTreeSet<i64>,
    /// Quotes that were used or are new.
    pub quotes: BTreeSet<i64>,
    /// Targets whose reversed amount changed.
    pub reversals: BTreeSet<i64>,
    /// Limits that were used.
    pub limit_use: BTreeSet<(i32, Option<MemberNumber>)>,
    /// Partners whose exposure changed.
    pub exposure: BTreeSet<(PartnerId, Currency)>,
    /// Pairs whose position changed.
    pub positions: BTreeSet<(PartnerId, PartnerId, Currency)>,
    /// What positions of windows that are closed grow by, in micros.
    pub late: BTreeMap<(Date, PartnerId, PartnerId, Currency), i64>,
    /// Pending exchanges that were answered or are new.
    pub pending: BTreeSet<i64>,
    /// Pairs for which more or less is reserved.
    pub reserved: BTreeSet<(PartnerId, PartnerId, Currency)>,
    /// Blocks of points that were bought, drawn or put back.
    pub blocks: BTreeSet<i32>,
    /// What is told, in order.
    pub told: Vec<Told>,
}

impl WorkingSet {
    /// An empty set at a time, in a window. `seed` is random, and nobody learns it.
    pub fn new(directory: Arc<Directory>, window: Date, now: i64, next_seq: i64, seed: [u8; 32]) -> Self {
        Self {
            directory,
            window,
            due: vec![],
            now,
            next_seq,
            seed,
            accounts: HashMap::new(),
            held_something: HashSet::new(),
            lots: HashMap::new(),
            holds: HashMap::new(),
            quotes: HashMap::new(),
            messages: HashMap::new(),
            takes: HashMap::new(),
            reversals: HashMap::new(),
            limit_use: HashMap::new(),
            exposure: HashMap::new(),
            positions: HashMap::new(),
            pending: HashMap::new(),
            reserved: HashMap::new(),
            blocks: BTreeMap::new(),
            changes: Changes::default(),
            routes: OnceCell::new(),
            charging: OnceCell::new(),
        }
    }

    /// The clearinghouse's time.
    pub(crate) fn time(&self) -> Timestamp {
        timestamp(self.now)
    }

    /// The exchanges that are possible now; worked out once, when first asked for.
    pub(crate) fn routes(&self) -> &Routes {
        self.routes.get_or_init(|| Routes::at(&self.directory, self.time()))
    }

    /// Who pays fees on exchanges; worked out once, when first asked for.
    pub(crate) fn charging(&self) -> &Charging {
        self.charging.get_or_init(|| Charging::of(&self.directory))
    }

    /// Adds a lot as loaded.
    pub fn load_lot(&mut self, lot: Lot) {
        let place = (lot.expires_at, lot.key);
        if lot.remaining > 0 {
            self.accounts.entry(lot.account.clone()).or_default().lots.insert(place);
        }
        if lot.lent > 0 {
            self.accounts.entry(lot.account.clone()).or_default().lenders.insert(place);
        }
        self.lots.insert(lot.key, lot);
    }

    /// Adds a hold as loaded.
    pub fn load_hold(&mut self, hold: Hold) {
        if hold.open {
            let holds = &mut self.accounts.entry(hold.account.clone()).or_default().holds;
            if !holds.contains(&hold.seq) {
                holds.push(hold.seq);
            }
        }
        self.holds.insert(hold.seq, hold);
    }

    /// The account's lots with points left, in the order in which they are spent: oldest expiry first, then oldest.
    pub fn lots_of(&self, key: &AccountKey) -> impl Iterator<Item = &Lot> {
        let lots = self.accounts.get(key).into_iter().flat_map(|a| a.lots.iter());
        lots.filter_map(|(_, lot)| self.lots.get(lot))
    }

    /// The account's holds that keep their points at an instant.
    pub fn holds_at(&self, key: &AccountKey, at: i64) -> impl Iterator<Item = &Hold> {
        let holds = self.accounts.get(key).into_iter().flat_map(|a| a.holds.iter());
        holds.filter_map(|seq| self.holds.get(seq)).filter(move |h| h.is_live(at))
    }

    /// How many points of each lot are held at an instant.
    pub(crate) fn held_at(&self, key: &AccountKey, at: i64) -> HashMap<LotKey, i64> {
        let mut held = HashMap::new();
        for (lot, points) in self.holds_at(key, at).flat_map(|h| &h.lots) {
            *held.entry(*lot).or_default() += points;
        }
        held
    }

    /// Points in lots that haven't expired and that no hold keeps.
    pub(crate) fn free(&self, key: &AccountKey) -> i128 {
        let Some(account) = self.accounts.get(key) else { return 0 };
        // Of a member with very many lots not all are loaded: those that have expired are, and those that are held.
        let expired = self
            .lots_of(key)
            .filter(|l| l.expires_at <= self.now)
            .map(|l| i128::from(l.remaining));
        let alive = |lot: &LotKey| self.lots.get(lot).is_none_or(|l| l.expires_at > self.now);
        let held = self.holds_at(key, self.now).flat_map(|h| &h.lots).filter(|(lot, _)| alive(lot));
        i128::from(account.points) - expired.sum::<i128>() - held.map(|(_, points)| i128::from(*points)).sum::<i128>()
    }

    /// Points that may be spent now: in lots that haven't expired, not held, after debt. Below zero where the member owes.
    pub fn available(&self, key: &AccountKey) -> i128 {
        self.free(key) - i128::from(self.owed(key, self.now))
    }

    /// Makes a plan's effects true. Every check was made before: sums are known to fit, rows to be there.
    pub(crate) fn commit(&mut self, seq: i64, window: Date, effects: Vec<Effect>) {
        let mut leg = 0;
        for effect in effects {
            if let Some(posting) = self.posting((seq, leg, window), &effect) {
                self.changes.postings.push(posting);
                leg += 1;
            }
            self.change(seq, window, effect);
        }
    }

    fn change(&mut self, seq: i64, window: Date, effect: Effect) {
        match effect {
            Effect::Issue { mut lot, .. } => {
                lot.key.seq = seq;
                let account = self.accounts.entry(lot.account.clone()).or_default();
                account.points += lot.remaining;
                account.open_lots += 1;
                account.lots.insert((lot.expires_at, lot.key));
                self.changes.accounts.insert(lot.account.clone());
                self.changes.lots.insert(lot.key);
                self.lots.insert(lot.key, lot);
            }
            Effect::Take { line, lot, points } => {
                self.move_lot(lot, -points);
                if line.spends() {
                    self.takes.entry(seq).or_default().push((lot, points));
                }
            }
            Effect::Restore { lot, points, at, .. } => {
                if let Some(lot) = self.lots.get_mut(&lot) {
                    lot.due_at = lot.due_at.max(at.saturating_add(1));
                }
                self.move_lot(lot, points);
            }
            Effect::Lend { lot, points } => self.lend(lot, points),
            Effect::Expire { lot, points, paid } => {
                self.count_expired(lot, points, if paid { points } else { 0 });
                self.move_lot(lot, -points);
            }
            Effect::Unexpire { lot, points, paid } => {
                self.count_expired(lot, -points, if paid { -points } else { 0 });
                self.move_lot(lot, points);
            }
            Effect::Defer { lot, due_at } => {
                if let Some(lot) = self.lots.get_mut(&lot) {
                    lot.due_at = due_at;
                }
                self.changes.lots.insert(lot);
            }
            Effect::Repay { lot, points } => {
                let lot = lot.of(seq);
                self.move_lot(lot, -points);
                self.move_debt_of(lot, -points);
                self.lend(lot, points);
            }
            Effect::Owe { account, points, .. } => {
                self.accounts.entry(account.clone()).or_default().debt += points;
                self.changes.accounts.insert(account);
            }
            Effect::Forgive { account, points, .. } => {
                self.accounts.entry(account.clone()).or_default().debt -= points;
                self.changes.accounts.insert(account);
            }
            Effect::Charge { lot, points } => {
                let lot = lot.of(seq);
                if let Some(lot) = self.lots.get_mut(&lot) {
                    lot.charged += points;
                }
                self.changes.lots.insert(lot);
            }
            Effect::TakenBack { lot, points } => {
                if let Some(lot) = self.lots.get_mut(&lot) {
                    lot.reversed += points;
                }
                self.changes.lots.insert(lot);
            }
            Effect::Hold(mut hold) => {
                hold.seq = seq;
                self.changes.holds.insert(seq);
                self.load_hold(hold);
            }
            Effect::CloseHold(hold) => {
                if let Some(hold) = self.holds.get_mut(&hold) {
                    hold.open = false;
                }
                self.changes.holds.insert(hold);
            }
            Effect::Quote(mut quote) => {
                quote.seq = seq;
                self.changes.quotes.insert(seq);
                self.quotes.insert(seq, quote);
            }
            Effect::UseQuote(quote) => {
                if let Some(quote) = self.quotes.get_mut(&quote) {
                    quote.open = false;
                }
                self.changes.quotes.insert(quote);
            }
            Effect::Reversed { target, points, spend } => {
                let total = self.reversals.entry(target).or_default();
                *total = (total.0 + points, total.1 + spend);
                self.changes.reversals.insert(target);
            }
            Effect::Count { agreement, member, points } => {
                *self.limit_use.entry((agreement, member.clone())).or_default() += points;
                self.changes.limit_use.insert((agreement, member));
            }
            Effect::Elsewhere { .. } => {}
            Effect::Instruct(mut pending) => {
                pending.seq = seq;
                self.reserve(&pending, pending.reserved.micros);
                self.changes.pending.insert(seq);
                self.pending.insert(seq, *pending);
            }
            Effect::Answer { exchange, captured, word } => {
                let Some(mut pending) = self.pending.remove(&exchange) else {
                    return;
                };
                self.reserve(&pending, -pending.reserved.micros);
                let at = self.now;
                pending.answer = Some(Answered { captured, at, seq, word });
                self.changes.pending.insert(exchange);
                self.pending.insert(exchange, pending);
            }
            Effect::Block { agreement, bought, left } => self.change_block(agreement, bought, left),
            Effect::Tell(told) => self.changes.told.push(told),
            Effect::Money(money) => {
                if window == self.window {
                    let pair = (money.debtor.clone(), money.creditor.clone(), money.currency);
                    *self.positions.entry(pair.clone()).or_default() += money.amount;
                    self.changes.positions.insert(pair);
                } else {
                    let pair = (window, money.debtor.clone(), money.creditor.clone(), money.currency);
                    *self.changes.late.entry(pair).or_default() += money.amount;
                }
                // The clearinghouse has no exposure: it has no cap, and all fees of all partners need not fit.
                let sides = [(money.debtor, money.amount), (money.creditor, -money.amount)];
                for (partner, amount) in sides.into_iter().filter(|(partner, _)| *partner != PartnerId::clearing()) {
                    let key = (partner, money.currency);
                    *self.exposure.entry(key.clone()).or_default() += amount;
                    self.changes.exposure.insert(key);
                }
            }
        }
    }

    fn reserve(&mut self, pending: &Pending, micros: i64) {
        let of = &pending.reserved;
        let pair = (of.debtor.clone(), of.creditor.clone(), of.currency);
        *self.reserved.entry(pair.clone()).or_default() += micros;
        self.changes.reserved.insert(pair);
    }

    fn count_expired(&mut self, key: LotKey, points: i64, paid: i64) {
        if let Some(lot) = self.lots.get_mut(&key) {
            lot.expired += points;
            lot.expired_paid += paid;
        }
    }

    fn move_lot(&mut self, key: LotKey, points: i64) {
        let Some(lot) = self.lots.get_mut(&key) else { return };
        let had = i64::from(lot.remaining > 0);
        lot.remaining += points;
        let account = self.accounts.entry(lot.account.clone()).or_default();
        account.points += points;
        account.open_lots += i64::from(lot.remaining > 0) - had;
        if lot.remaining > 0 {
            account.lots.insert((lot.expires_at, key));
        } else {
            account.lots.remove(&(lot.expires_at, key));
        }
        self.changes.accounts.insert(lot.account.clone());
        self.changes.lots.insert(key);
    }

    fn lend(&mut self, key: LotKey, points: i64) {
        let Some(lot) = self.lots.get_mut(&key) else { return };
        let had = i64::from(lot.lent > 0);
        lot.lent += points;
        let account = self.accounts.entry(lot.account.clone()).or_default();
        account.lending_lots += i64::from(lot.lent > 0) - had;
        if lot.lent > 0 {
            account.lenders.insert((lot.expires_at, key));
        } else {
            account.lenders.remove(&(lot.expires_at, key));
        }
        self.changes.accounts.insert(lot.account.clone());
        self.changes.lots.insert(key);
    }

    fn move_debt_of(&mut self, lot: LotKey, points: i64) {
        if let Some(account) = self.lots.get(&lot).and_then(|l| self.accounts.get_mut(&l.account)) {
            account.debt += points;
        }
    }

    fn issuer(&self, account: &AccountKey) -> String {
        self.directory
            .programmes
            .get(&account.programme)
            .map_or_else(String::new, |p| p.terms.issuer.to_string())
    }

    fn posting(&self, (seq, leg, window): (i64, i32, Date), effect: &Effect) -> Option<Posting> {
        let of_points = |line, account: &AccountKey, points: i64, price: i64, lot: Option<LotKey>, agreement, to_member: bool| {
            let (issuer, member) = (self.issuer(account), MEMBER.to_owned());
            let (debit, credit) = if to_member { (issuer, member) } else { (member, issuer) };
            Posting {
                seq,
                leg,
                window,
                line,
                unit: account.programme.to_string(),
                debit,
                credit,
                amount: points,
                points,
                price,
                agreement,
                lot,
            }
        };
        match effect {
            Effect::Issue { line, lot } => Some(of_points(
                *line,
                &lot.account,
                lot.issued,
                0,
                Some(LotKey { seq, ..lot.key }),
                Some(lot.agreement),
                true,
            )),
            Effect::Take { line, lot, points } => self
                .lots
                .get(lot)
                .map(|l| of_points(*line, &l.account, *points, 0, Some(*lot), Some(l.agreement), false)),
            Effect::Expire { lot, points, paid } => self.lots.get(lot).map(|l| {
                let price = if *paid { l.price.0 } else { 0 };
                of_points(Line::Expiry, &l.account, *points, price, Some(*lot), Some(l.agreement), false)
            }),
            Effect::Unexpire { lot, points, paid } => self.lots.get(lot).map(|l| {
                let price = if *paid { l.price.0 } else { 0 };
                of_points(
                    Line::ExpiryReversal,
                    &l.account,
                    *points,
                    price,
                    Some(*lot),
                    Some(l.agreement),
                    true,
                )
            }),
            Effect::Restore { line, lot, points, .. } => self
                .lots
                .get(lot)
                .map(|l| of_points(*line, &l.account, *points, 0, Some(*lot), Some(l.agreement), true)),
            Effect::Elsewhere {
                line,
                account,
                points,
                to_member,
            } => Some(of_points(*line, account, *points, 0, None, None, *to_member)),
            Effect::Owe { line, account, points } => Some(of_points(*line, account, *points, 0, None, None, false)),
            Effect::Forgive { line, account, points } => Some(of_points(*line, account, *points, 0, None, None, true)),
            Effect::Money(m) => Some(Posting {
                seq,
                leg,
                window,
                line: m.line,
                unit: m.currency.to_string(),
                debit: m.debtor.to_string(),
                credit: m.creditor.to_string(),
                amount: m.amount,
                points: m.points,
                price: m.price,
                agreement: Some(m.agreement),
                lot: None,
            }),
            _ => None,
        }
    }
}
