//! From a window's rows to its statements. Pure, and sorted by keys that mean the same on every database.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use partner_sdk::amount::format_units;
use partner_sdk::banking::BankAccount;
use partner_sdk::{Currency, Money, PartnerId, ProgrammeCode};

use crate::converted;
use crate::dues::{self, Due, Running};
use crate::fx::{self, Conversion};
use crate::netting::{self, NetPositions, NettingError, Obligation};
use crate::payments;
use crate::statement::{
    BreakageLine, DirectPayments, Direction, Line, NetLine, NetPosition, NetResult, PairLine, Payment, PaymentLine, ReductionLine,
    RunningLine, SETTLEMENT_FORMAT, SETTLEMENT_FORMAT_1, SETTLEMENT_FORMAT_3, STATEMENT_FORMAT, STATEMENT_FORMAT_2, STATEMENT_FORMAT_4,
    STATEMENT_FORMAT_5, Settlement, SettlementPair, Statement,
};

/// Everything that a window's statements are made of.
#[derive(Debug, Clone)]
pub struct Book {
    /// The name of the window.
    pub business_date: Date,
    /// When it ended.
    pub cut_off_at: Timestamp,
    /// The money postings, grouped.
    pub gross: Vec<Gross>,
    /// The expired points, grouped.
    pub expired: Vec<Expired>,
    /// The pairs as netted.
    pub obligations: Vec<Obligation>,
    /// What of them is paid in another currency.
    pub conversions: Vec<Conversion>,
    /// How it is paid; nothing for a window that was netted before payments were known one by one.
    pub paying: Option<Paying>,
}

/// How a window is paid.
#[derive(Debug, Clone)]
pub struct Paying {
    /// When payments are due.
    pub value_date: Date,
    /// Where partners stand over all windows.
    pub running: Vec<Running>,
    /// The accounts of all parties.
    pub accounts: BTreeMap<(PartnerId, Currency), BankAccount>,
}

impl Paying {
    /// Whether something was taken out of the partner's earlier windows since the one before.
    fn is_revised(&self, partner: &PartnerId) -> bool {
        let mut own = self.running.iter().filter(|running| running.partner == *partner);
        own.any(|running| running.revised != Money::ZERO)
    }
}

/// The money postings of one kind, agreement, direction and price.
#[derive(Debug, Clone)]
pub struct Gross {
    /// What was posted, e.g. `earn` or `burn_reversal`.
    pub kind: String,
    /// Who owes.
    pub debtor: PartnerId,
    /// Who is owed.
    pub creditor: PartnerId,
    /// The agreement's hash.
    pub agreement: String,
    /// The programme whose points were priced.
    pub programme: ProgrammeCode,
    /// That programme's number of decimals.
    pub scale: u32,
    /// The currency of price and amount.
    pub currency: Currency,
    /// How many messages.
    pub messages: i64,
    /// How many points, in smallest units.
    pub points: i128,
    /// For one smallest unit of points.
    pub price: Money,
    /// What is owed, in micros.
    pub amount: i128,
}

/// Points of one agreement and price that expired, or that are no breakage any more.
#[derive(Debug, Clone)]
pub struct Expired {
    /// What was posted: `expiry` or `expiry_reversal`.
    pub kind: String,
    /// Whose points they were to redeem.
    pub issuer: PartnerId,
    /// Their programme.
    pub programme: ProgrammeCode,
    /// That programme's number of decimals.
    pub scale: u32,
    /// What is known of the agreement under which they were issued: its hash, its partner and its currency.
    pub agreement: Option<(String, PartnerId, Currency)>,
    /// How many points, in smallest units: below zero for those whose earn was taken back after they had expired.
    pub points: i128,
    /// What the funder had paid for one smallest unit of points.
    pub price: Money,
}

impl Book {
    /// Every party that the window has something for.
    pub fn parties(&self) -> BTreeSet<PartnerId> {
        let pairs = self.obligations.iter().flat_map(|o| [&o.party_a, &o.party_b]);
        let lines = self.gross.iter().flat_map(|g| [&g.debtor, &g.creditor]);
        pairs.chain(lines).chain(self.expired.iter().map(|e| &e.issuer)).cloned().collect()
    }

    /// Whether the lines add up to the positions that were netted, pair by pair: nothing that was netted is unexplained.
    pub fn check(&self) -> Result<(), NettingError> {
        let mut rest: BTreeMap<(&PartnerId, &PartnerId, Currency), i128> = BTreeMap::new();
        for g in &self.gross {
            *rest.entry((&g.debtor, &g.creditor, g.currency)).or_default() += g.amount;
        }
        for o in &self.obligations {
            *rest.entry((&o.party_a, &o.party_b, o.currency)).or_default() -= i128::from(o.a_owes.0);
            *rest.entry((&o.party_b, &o.party_a, o.currency)).or_default() -= i128::from(o.b_owes.0);
        }
        match rest.into_iter().find(|(_, rest)| *rest != 0) {
            Some(((debtor, creditor, currency), _)) => Err(NettingError::Lines {
                debtor: debtor.clone(),
                creditor: creditor.clone(),
                currency,
            }),
            None => Ok(()),
        }
    }

    /// A partner's view; empty for one that took no part.
    pub fn statement(&self, partner: &PartnerId) -> Result<Statement, NettingError> {
        let nets = self.net_positions()?;
        let own: NetPositions = nets
            .iter()
            .filter(|((_, p), _)| p == partner)
            .map(|(key, net)| (key.clone(), *net))
            .collect();
        let pairs = self.pair_lines(partner);
        let mut reduction = self.reduction()?;
        reduction.retain(|r| pairs.iter().any(|pair| pair.currency == r.currency));
        let paying = self.paying.as_ref();
        let conversions = converted::lines(&self.conversions, partner);
        let format = match paying {
            None => STATEMENT_FORMAT_2,
            Some(_) if conversions.is_some() => STATEMENT_FORMAT_5,
            Some(paying) if paying.is_revised(partner) => STATEMENT_FORMAT_4,
            Some(_) => STATEMENT_FORMAT,
        };
        Ok(Statement {
            format: format.into(),
            partner: partner.clone(),
            business_date: self.business_date,
            cut_off_at: self.cut_off_at,
            lines: self.lines(partner),
            breakage: self.breakage(partner),
            obligations: pairs,
            conversions,
            net: own
                .iter()
                .map(|((c, _), net)| NetLine {
                    currency: *c,
                    net: whole(*net, *c),
                    result: result(*net),
                })
                .collect(),
            payments: paying.map(|paying| self.payment_lines(paying, partner, &nets)).transpose()?,
            running_position: paying.map(|paying| self.running_lines(paying, partner)),
            reduction,
        })
    }

    /// The operator's view.
    pub fn settlement(&self) -> Result<Settlement, NettingError> {
        let nets = self.net_positions()?;
        let pair = |o: &Obligation| SettlementPair {
            party_a: o.party_a.clone(),
            party_b: o.party_b.clone(),
            currency: o.currency,
            a_owes: o.a_owes.display_micros(),
            b_owes: o.b_owes.display_micros(),
            carried_in: o.carried_in.display_micros(),
            net: o.net.display(o.currency),
            carried_out: o.carried_out.display_micros(),
        };
        let mut obligations: Vec<_> = self.obligations.iter().collect();
        obligations.sort_by(|x, y| (x.currency, &x.party_a, &x.party_b).cmp(&(y.currency, &y.party_a, &y.party_b)));
        let position = |((c, p), net): (&(Currency, PartnerId), &i128)| NetPosition {
            partner: p.clone(),
            currency: *c,
            net: whole(*net, *c),
            result: result(*net),
        };
        let conversions = converted::of_settlement(&self.conversions);
        let format = match (&self.paying, &conversions) {
            (None, _) => SETTLEMENT_FORMAT_1,
            (_, Some(_)) => SETTLEMENT_FORMAT_3,
            _ => SETTLEMENT_FORMAT,
        };
        Ok(Settlement {
            format: format.into(),
            business_date: self.business_date,
            cut_off_at: self.cut_off_at,
            obligations: obligations.into_iter().map(pair).collect(),
            conversions,
            net_positions: nets.iter().map(position).collect(),
            payments: self.through_the_account(&nets)?,
            reduction: self.reduction()?,
        })
    }

    fn lines(&self, partner: &PartnerId) -> Vec<Line> {
        let line = |g: &Gross| {
            let (counterparty, direction) = match &g.debtor == partner {
                true => (&g.creditor, Direction::YouOwe),
                false => (&g.debtor, Direction::YouAreOwed),
            };
            let price = per_point(g.price, g.scale);
            let line = Line {
                kind: g.kind.clone(),
                counterparty: counterparty.clone(),
                direction,
                agreement: g.agreement.clone(),
                programme: g.programme.clone(),
                currency: g.currency,
                messages: g.messages,
                points: format_units(g.points, g.scale),
                price: format_units(price, 6),
                amount: format_units(g.amount, 6),
            };
            (line, price)
        };
        let own = self.gross.iter().filter(|g| &g.debtor == partner || &g.creditor == partner);
        let mut lines: Vec<(Line, i128)> = own.map(line).collect();
        lines.sort_by(|(x, x_price), (y, y_price)| line_key(x, *x_price).cmp(&line_key(y, *y_price)));
        lines.into_iter().map(|(line, _)| line).collect()
    }

    fn breakage(&self, partner: &PartnerId) -> Vec<BreakageLine> {
        let mut own: Vec<_> = self.expired.iter().filter(|e| &e.issuer == partner).collect();
        own.sort_by(|x, y| (&x.programme, &x.agreement, x.price, &x.kind).cmp(&(&y.programme, &y.agreement, y.price, &y.kind)));
        let line = |e: &Expired| BreakageLine {
            kind: e.kind.clone(),
            counterparty: e.agreement.as_ref().map(|(_, partner, _)| partner.clone()),
            agreement: e.agreement.as_ref().map(|(hash, ..)| hash.clone()),
            programme: e.programme.clone(),
            currency: e.agreement.as_ref().map(|(_, _, currency)| *currency),
            points: format_units(e.points, e.scale),
            price: format_units(per_point(e.price, e.scale), 6),
            value: format_units(e.points * i128::from(e.price.0), 6),
        };
        own.into_iter().map(line).collect()
    }

    fn pair_lines(&self, partner: &PartnerId) -> Vec<PairLine> {
        let line = |o: &Obligation| {
            // Stored amounts are positive where a owes b: as b sees them, they have the right sign already.
            let is_a = &o.party_a == partner;
            let view = |m: Money| if is_a { -i128::from(m.0) } else { i128::from(m.0) };
            let (counterparty, you_owe, you_are_owed) = if is_a {
                (&o.party_b, o.a_owes, o.b_owes)
            } else {
                (&o.party_a, o.b_owes, o.a_owes)
            };
            PairLine {
                counterparty: counterparty.clone(),
                currency: o.currency,
                you_owe: you_owe.display_micros(),
                you_are_owed: you_are_owed.display_micros(),
                carried_in: format_units(view(o.carried_in), 6),
                differences: None,
                net: whole(view(o.net), o.currency),
                carried_out: format_units(view(o.carried_out), 6),
            }
        };
        let own = self.obligations.iter().filter(|o| &o.party_a == partner || &o.party_b == partner);
        let mut lines: Vec<PairLine> = own.map(line).collect();
        lines.sort_by(|x, y| (x.currency, &x.counterparty).cmp(&(y.currency, &y.counterparty)));
        lines
    }

    /// How a partner's net positions are paid; a payment's reference has its place among all.
    fn payment_lines(&self, paying: &Paying, partner: &PartnerId, nets: &NetPositions) -> Result<Vec<PaymentLine>, NettingError> {
        let all = dues::dues(self.business_date, paying.value_date, nets)?.into_iter();
        let own = all.filter(|due| due.partner == *partner);
        Ok(own.map(|due| payment_line(due, &paying.accounts)).collect())
    }

    fn running_lines(&self, paying: &Paying, partner: &PartnerId) -> Vec<RunningLine> {
        let carried = |currency| {
            let pairs = self.obligations.iter().filter(|o| o.currency == currency);
            let own = pairs.filter_map(|o| match (&o.party_a == partner, &o.party_b == partner) {
                (true, _) => Some(-i128::from(o.carried_out.0)),
                (_, true) => Some(i128::from(o.carried_out.0)),
                _ => None,
            });
            own.sum::<i128>() + converted::differences(&self.conversions, partner, currency)
        };
        let is_revised = paying.is_revised(partner);
        let line = |running: &Running| {
            let money = |money: Money| whole(money.0.into(), running.currency);
            RunningLine {
                currency: running.currency,
                opening: money(running.opening),
                confirmed: money(running.confirmed),
                revised: is_revised.then(|| money(running.revised)),
                net: money(running.net),
                closing: money(running.closing),
                carried: format_units(carried(running.currency), 6),
            }
        };
        paying
            .running
            .iter()
            .filter(|running| running.partner == *partner)
            .map(line)
            .collect()
    }

    /// One payment for each net position but zero; what is left on the clearing account is the clearinghouse's own.
    fn through_the_account(&self, nets: &NetPositions) -> Result<Vec<Payment>, NettingError> {
        let value_date = self.paying.as_ref().map(|paying| paying.value_date);
        let all = dues::dues(self.business_date, value_date.unwrap_or(self.business_date), nets)?;
        let payment = |due| match (payment(due), value_date) {
            (payment, Some(_)) => payment,
            (payment, None) => Payment {
                reference: None,
                value_date: None,
                ..payment
            },
        };
        Ok(all.into_iter().map(payment).collect())
    }

    /// What each party receives, or pays, in the currencies in which it does.
    fn net_positions(&self) -> Result<NetPositions, NettingError> {
        netting::net_positions(fx::payable(&self.obligations, &self.conversions)?)
    }

    /// What netting did in each currency, before anything was converted.
    fn reduction(&self) -> Result<Vec<ReductionLine>, NettingError> {
        let nets = netting::net_positions(&self.obligations)?;
        let line = |r: netting::Reduction| ReductionLine {
            currency: r.currency,
            gross: format_units(r.gross, 6),
            bilateral: whole(r.bilateral, r.currency),
            multilateral: whole(r.multilateral, r.currency),
            efficiency_percent: format_units(r.efficiency(), 2),
        };
        Ok(netting::reductions(&self.obligations, &nets).into_iter().map(line).collect())
    }
}

/// A payment through the clearing account as the partner sees it, with the accounts that are in force.
pub fn payment_line(due: Due, accounts: &BTreeMap<(PartnerId, Currency), BankAccount>) -> PaymentLine {
    let result = result(due.amount.0.into());
    let account = |of: PartnerId| accounts.get(&(of, due.currency)).cloned();
    let (own, clearing) = (account(due.partner.clone()), account(PartnerId::clearing()));
    let (from, to) = match result {
        NetResult::Pays => (own, clearing),
        _ => (clearing, own),
    };
    PaymentLine {
        reference: due.reference,
        currency: due.currency,
        amount: whole(i128::from(due.amount.0).abs(), due.currency),
        result,
        value_date: due.value_date,
        from,
        to,
    }
}

/// The same as the operator sees it.
pub fn payment(due: Due) -> Payment {
    let (payer, payee) = match due.is_paid_in() {
        true => (due.partner, PartnerId::clearing()),
        false => (PartnerId::clearing(), due.partner),
    };
    Payment {
        payer,
        payee,
        currency: due.currency,
        amount: whole(i128::from(due.amount.0).abs(), due.currency),
        reference: Some(due.reference),
        value_date: Some(due.value_date),
    }
}

/// Payments between partners instead of through the clearing account, one entry a currency in which somebody pays.
pub fn direct_payments(nets: &NetPositions) -> Vec<DirectPayments> {
    let mut by_currency: BTreeMap<Currency, Vec<(PartnerId, i128)>> = BTreeMap::new();
    for ((currency, partner), net) in nets.iter().filter(|(_, net)| **net != 0) {
        by_currency.entry(*currency).or_default().push((partner.clone(), *net));
    }
    let plan = |(currency, nets)| {
        let payments::Direct { transfers, at_least } = payments::direct(nets);
        DirectPayments {
            currency,
            payments: transfers.into_iter().map(|transfer| between(transfer, currency)).collect(),
            at_least,
        }
    };
    by_currency.into_iter().map(plan).collect()
}

/// A payment from one partner to another, past the clearing account.
pub fn between(transfer: payments::Transfer, currency: Currency) -> Payment {
    Payment {
        payer: transfer.payer,
        payee: transfer.payee,
        currency,
        amount: whole(transfer.amount, currency),
        reference: None,
        value_date: None,
    }
}

/// What makes a line the only one of its kind on its statement.
fn line_key(line: &Line, price: i128) -> (Currency, &PartnerId, &str, Direction, &str, i128) {
    (
        line.currency,
        &line.counterparty,
        &line.kind,
        line.direction,
        &line.agreement,
        price,
    )
}

fn result(net: i128) -> NetResult {
    match net {
        0 => NetResult::Nothing,
        i128::MIN..0 => NetResult::Pays,
        _ => NetResult::Receives,
    }
}

/// Micros that are a whole number of minor units, as pair nets and net positions are, with the currency's decimals.
pub fn whole(micros: i128, currency: Currency) -> String {
    format_units(micros / 10i128.pow(6 - currency.minor_digits()), currency.minor_digits())
}

/// The price of a whole point in micros, from that of its smallest unit; at most 6 decimals, so it fits.
pub fn per_point(price: Money, scale: u32) -> i128 {
    i128::from(price.0) * 10i128.pow(scale)
}
