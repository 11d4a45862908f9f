//! Adds statements up, one after the other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use partner_sdk::amount::format_units;
use partner_sdk::{Currency, PartnerId, ProgrammeCode};

use super::dates::{Period, PeriodError};
use super::statement::{DayLine, PERIOD_FORMAT, PERIOD_FORMAT_2, PERIOD_FORMAT_3, PeriodStatement, WindowLine};
use crate::netting::Reduction;
use crate::statement::{
    BreakageLine, ConversionLine, Direction, Line, NetLine, NetResult, PairLine, PaymentLine, ReductionLine, RunningLine, Statement,
};

/// A number as statements write it: whole units of its last decimal.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    units: i128,
    decimals: u32,
}

impl Sum {
    fn zero(decimals: u32) -> Self {
        Self { units: 0, decimals }
    }

    /// Adds a number with as many decimals as the others that are summed here.
    fn add(&mut self, text: &str) -> Result<(), PeriodError> {
        let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
        let units: Option<i128> = format!("{whole}{rest}").parse().ok();
        let sum = units.and_then(|units| self.units.checked_add(units));
        self.units = sum.ok_or_else(|| PeriodError::Figure(text.to_owned()))?;
        self.decimals = u32::try_from(rest.len()).unwrap_or(0);
        Ok(())
    }

    fn text(self) -> String {
        format_units(self.units, self.decimals)
    }

    fn result(self) -> NetResult {
        match self.units {
            0 => NetResult::Nothing,
            i128::MIN..0 => NetResult::Pays,
            _ => NetResult::Receives,
        }
    }
}

/// Puts statements together, one at a time and oldest first.
pub struct Together {
    period: Period,
    partner: PartnerId,
    cut_off_at: Option<Timestamp>,
    windows: Vec<WindowLine>,
    /// By all that a line has but its figures.
    lines: BTreeMap<LineKey, (i64, Sum, Sum)>,
    breakage: BTreeMap<BreakageKey, (Sum, Sum)>,
    pairs: BTreeMap<PairKey, Pair>,
    /// The differences of the last window, which the next carries in.
    differences: BTreeMap<PairKey, Sum>,
    /// By all that a conversion has but its figures.
    conversions: BTreeMap<ConversionKey, [Sum; 3]>,
    net: BTreeMap<Currency, Sum>,
    payments: Vec<PaymentLine>,
    running: BTreeMap<Currency, Running>,
    reduction: BTreeMap<Currency, [Sum; 3]>,
    days: Vec<DayLine>,
    /// Whether a statement before had a running position.
    is_written_down: bool,
}

type PairKey = (Currency, PartnerId);
type ConversionKey = (Currency, PartnerId, Currency, String);
type LineKey = (Currency, PartnerId, String, Direction, String, ProgrammeCode, String);
type BreakageKey = (ProgrammeCode, Option<String>, String, String, Option<PartnerId>, Option<Currency>);

/// Of a pair: what was first carried in, the sums, and what was last carried out.
struct Pair {
    carried_in: String,
    differences: Option<Sum>,
    owe: Sum,
    owed: Sum,
    net: Sum,
    carried_out: String,
}

struct Running {
    opening: String,
    confirmed: Sum,
    revised: Option<Sum>,
    net: Sum,
    closing: String,
    carried: String,
}

impl Together {
    /// Nothing yet.
    pub fn new(partner: PartnerId, period: Period) -> Self {
        Self {
            period,
            partner,
            cut_off_at: None,
            windows: vec![],
            lines: BTreeMap::new(),
            breakage: BTreeMap::new(),
            pairs: BTreeMap::new(),
            differences: BTreeMap::new(),
            conversions: BTreeMap::new(),
            net: BTreeMap::new(),
            payments: vec![],
            running: BTreeMap::new(),
            reduction: BTreeMap::new(),
            days: vec![],
            is_written_down: false,
        }
    }

    /// A statement alone, as a period of one day.
    pub fn of(statement: &Statement, sha256: &str) -> Result<PeriodStatement, PeriodError> {
        let mut together = Self::new(statement.partner.clone(), statement.business_date.into());
        together.add(statement, sha256)?;
        together.done().ok_or(PeriodError::Empty)
    }

    /// The next window's statement, whose JSON file has this SHA-256.
    pub fn add(&mut self, statement: &Statement, sha256: &str) -> Result<(), PeriodError> {
        self.cut_off_at = Some(statement.cut_off_at);
        self.windows.push(WindowLine {
            business_date: statement.business_date,
            format: statement.format.clone(),
            sha256: sha256.to_owned(),
        });
        for line in &statement.lines {
            let (messages, points, amount) = self.lines.entry(line_key(line)).or_default();
            *messages = messages.saturating_add(line.messages);
            points.add(&line.points)?;
            amount.add(&line.amount)?;
        }
        for line in &statement.breakage {
            let (points, value) = self.breakage.entry(breakage_key(line)).or_default();
            points.add(&line.points)?;
            value.add(&line.value)?;
        }
        self.goes_on(statement)?;
        self.add_pairs(statement)?;
        self.add_conversions(statement)?;
        self.add_day(statement)?;
        for line in &statement.net {
            self.net.entry(line.currency).or_default().add(&line.net)?;
        }
        self.payments.extend(statement.payments.iter().flatten().cloned());
        for line in statement.running_position.iter().flatten() {
            let running = self.running.entry(line.currency).or_insert_with(|| Running {
                opening: line.opening.clone(),
                confirmed: Sum::default(),
                revised: None,
                net: Sum::default(),
                closing: String::new(),
                carried: String::new(),
            });
            running.confirmed.add(&line.confirmed)?;
            if let Some(revised) = &line.revised {
                running.revised.get_or_insert_default().add(revised)?;
            }
            running.net.add(&line.net)?;
            (running.closing, running.carried) = (line.closing.clone(), line.carried.clone());
        }
        self.is_written_down |= statement.running_position.is_some();
        for line in &statement.reduction {
            let sums = self.reduction.entry(line.currency).or_default();
            for (sum, text) in sums.iter_mut().zip([&line.gross, &line.bilateral, &line.multilateral]) {
                sum.add(text)?;
            }
        }
        Ok(())
    }

    /// Whether a statement begins with what the one before it in the period ended with: what a pair carries, and what is open.
    fn goes_on(&self, statement: &Statement) -> Result<(), PeriodError> {
        if self.windows.len() < 2 {
            return Ok(());
        }
        let nothing = |text: &str| !text.bytes().any(|b| (b'1'..=b'9').contains(&b));
        let same = |before: Option<&String>, now: Option<&String>| match (before, now) {
            (Some(before), Some(now)) => before == now,
            (Some(one), None) | (None, Some(one)) => nothing(one),
            (None, None) => true,
        };
        let carried: BTreeMap<_, _> = statement
            .obligations
            .iter()
            .map(|line| ((line.currency, line.counterparty.clone()), &line.carried_in))
            .collect();
        let before = self.carried_on()?;
        let pairs = carried.keys().chain(before.keys());
        let pairs_go_on = { pairs }.all(|pair| same(before.get(pair), carried.get(pair).copied()));
        // Before they were written down there were none.
        let running = statement.running_position.as_deref().filter(|_| self.is_written_down);
        let opening: Option<BTreeMap<Currency, &String>> =
            running.map(|lines| lines.iter().map(|line| (line.currency, &line.opening)).collect());
        let position_goes_on = opening.is_none_or(|opening| {
            let mut currencies = opening.keys().chain(self.running.keys());
            currencies.all(|currency| same(self.running.get(currency).map(|line| &line.closing), opening.get(currency).copied()))
        });
        match pairs_go_on && position_goes_on {
            true => Ok(()),
            false => Err(PeriodError::Gap(statement.business_date)),
        }
    }

    /// What pairs carry into the next window: what rounding and converting have left.
    fn carried_on(&self) -> Result<BTreeMap<PairKey, String>, PeriodError> {
        let mut sums = self.differences.clone();
        for (pair, line) in &self.pairs {
            sums.entry(pair.clone()).or_default().add(&line.carried_out)?;
        }
        Ok(sums.into_iter().map(|(pair, sum)| (pair, sum.text())).collect())
    }

    /// What a statement's pairs were converted into, each added to those at the same rate.
    fn add_conversions(&mut self, statement: &Statement) -> Result<(), PeriodError> {
        self.differences.clear();
        for line in statement.conversions.iter().flatten() {
            let counterparty = || line.counterparty.clone();
            let key = (line.currency, counterparty(), line.payment_currency, line.rate.clone());
            let sums = self.conversions.entry(key).or_default();
            for (sum, text) in sums.iter_mut().zip([&line.net, &line.amount, &line.difference]) {
                sum.add(text)?;
            }
            let left = self.differences.entry((line.payment_currency, counterparty())).or_default();
            left.add(&line.difference)?;
        }
        Ok(())
    }

    /// The pairs of a statement, each added to its own.
    fn add_pairs(&mut self, statement: &Statement) -> Result<(), PeriodError> {
        for (key, pair) in &mut self.pairs {
            if let Some(left) = self.differences.get(key) {
                pair.differences.get_or_insert_default().add(&left.text())?;
            }
            // What a window has no line of carries nothing on.
            pair.carried_out = Sum::default().text();
        }
        for line in &statement.obligations {
            let key = (line.currency, line.counterparty.clone());
            let pair = self.pairs.entry(key).or_insert_with(|| Pair {
                carried_in: line.carried_in.clone(),
                differences: None,
                owe: Sum::default(),
                owed: Sum::default(),
                net: Sum::default(),
                carried_out: String::new(),
            });
            pair.carried_out.clone_from(&line.carried_out);
            pair.owe.add(&line.you_owe)?;
            pair.owed.add(&line.you_are_owed)?;
            pair.net.add(&line.net)?;
        }
        Ok(())
    }

    /// What a statement says of its day: all pairs together, and what was confirmed.
    fn add_day(&mut self, statement: &Statement) -> Result<(), PeriodError> {
        let mut days: BTreeMap<Currency, ([Sum; 3], [Option<String>; 2])> = BTreeMap::new();
        let nothing = |currency: Currency| {
            let whole = Sum::zero(currency.minor_digits());
            ([Sum::zero(6), Sum::zero(6), whole], [None, None])
        };
        for line in &statement.obligations {
            let (sums, _) = days.entry(line.currency).or_insert_with(|| nothing(line.currency));
            for (sum, text) in sums.iter_mut().zip([&line.you_owe, &line.you_are_owed]) {
                sum.add(text)?;
            }
        }
        for line in &statement.net {
            let ([.., net], _) = days.entry(line.currency).or_insert_with(|| nothing(line.currency));
            net.add(&line.net)?;
        }
        for line in statement.running_position.iter().flatten() {
            let (_, since) = days.entry(line.currency).or_insert_with(|| nothing(line.currency));
            *since = [Some(line.confirmed.clone()), line.revised.clone()];
        }
        self.days.extend(
            days.into_iter()
                .map(|(currency, ([owe, owed, net], [confirmed, revised]))| DayLine {
                    business_date: statement.business_date,
                    currency,
                    you_owe: owe.text(),
                    you_are_owed: owed.text(),
                    net: net.text(),
                    confirmed,
                    revised,
                }),
        );
        Ok(())
    }

    /// All of it; nothing where no window was added.
    pub fn done(self) -> Option<PeriodStatement> {
        let mut days = self.days;
        days.sort_by_key(|day| (day.currency, day.business_date));
        let format = match self.running.values().any(|running| running.revised.is_some()) {
            _ if !self.conversions.is_empty() => PERIOD_FORMAT_3,
            true => PERIOD_FORMAT_2,
            false => PERIOD_FORMAT,
        };
        let conversions = (!self.conversions.is_empty()).then(|| self.conversions.into_iter().map(as_conversion).collect());
        Some(PeriodStatement {
            format: format.to_owned(),
            partner: self.partner,
            from: self.period.from(),
            until: self.period.until(),
            cut_off_at: self.cut_off_at?,
            windows: self.windows,
            lines: self.lines.into_iter().map(as_line).collect(),
            breakage: self.breakage.into_iter().map(as_breakage).collect(),
            obligations: self.pairs.into_iter().map(as_pair).collect(),
            conversions,
            net: self.net.into_iter().map(as_net).collect(),
            payments: self.payments,
            running_position: self.running.into_iter().map(as_running).collect(),
            reduction: self.reduction.into_iter().map(as_reduction).collect(),
            days,
        })
    }
}

fn line_key(line: &Line) -> LineKey {
    (
        line.currency,
        line.counterparty.clone(),
        line.kind.clone(),
        line.direction,
        line.agreement.clone(),
        line.programme.clone(),
        line.price.clone(),
    )
}

fn as_line((key, (messages, points, amount)): (LineKey, (i64, Sum, Sum))) -> Line {
    let (currency, counterparty, kind, direction, agreement, programme, price) = key;
    Line {
        kind,
        counterparty,
        direction,
        agreement,
        programme,
        currency,
        messages,
        points: points.text(),
        price,
        amount: amount.text(),
    }
}

fn breakage_key(line: &BreakageLine) -> BreakageKey {
    (
        line.programme.clone(),
        line.agreement.clone(),
        line.price.clone(),
        line.kind.clone(),
        line.counterparty.clone(),
        line.currency,
    )
}

fn as_breakage(((programme, agreement, price, kind, counterparty, currency), (points, value)): (BreakageKey, (Sum, Sum))) -> BreakageLine {
    BreakageLine {
        kind,
        counterparty,
        agreement,
        programme,
        currency,
        points: points.text(),
        price,
        value: value.text(),
    }
}

fn as_pair(((currency, counterparty), pair): ((Currency, PartnerId), Pair)) -> PairLine {
    PairLine {
        counterparty,
        currency,
        you_owe: pair.owe.text(),
        you_are_owed: pair.owed.text(),
        carried_in: pair.carried_in,
        differences: pair.differences.map(Sum::text),
        net: pair.net.text(),
        carried_out: pair.carried_out,
    }
}

fn as_conversion(
    ((currency, counterparty, payment_currency, rate), [net, amount, difference]): (ConversionKey, [Sum; 3]),
) -> ConversionLine {
    ConversionLine {
        counterparty,
        currency,
        net: net.text(),
        rate,
        payment_currency,
        amount: amount.text(),
        difference: difference.text(),
    }
}

fn as_net((currency, net): (Currency, Sum)) -> NetLine {
    NetLine {
        currency,
        net: net.text(),
        result: net.result(),
    }
}

fn as_running((currency, running): (Currency, Running)) -> RunningLine {
    RunningLine {
        currency,
        opening: running.opening,
        confirmed: running.confirmed.text(),
        revised: running.revised.map(|sum| sum.text()),
        net: running.net.text(),
        closing: running.closing,
        carried: running.carried,
    }
}

fn as_reduction((currency, [gross, bilateral, multilateral]): (Currency, [Sum; 3])) -> ReductionLine {
    let micros = |sum: Sum| sum.units.saturating_mul(10i128.pow(6u32.saturating_sub(sum.decimals)));
    let reduction = Reduction {
        currency,
        gross: micros(gross),
        bilateral: micros(bilateral),
        multilateral: micros(multilateral),
    };
    ReductionLine {
        currency,
        gross: gross.text(),
        bilateral: bilateral.text(),
        multilateral: multilateral.text(),
        efficiency_percent: format_units(reduction.efficiency(), 2),
    }
}
