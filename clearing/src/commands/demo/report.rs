//! What came of it, for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use anyhow::ensure;
use jiff::civil::Date;
use partner_sdk::text::counted;
use partner_sdk::{Currency, KeyId, Money, PartnerId};
use settlement::State;

use super::desk;
use super::sandbox::Sandbox;
use super::traffic::Tally;
use crate::audit::{self, Depth};
use crate::commands::progress;
use ledger::network::Network;

/// Counts and sums over all days played.
pub struct Report {
    /// What became of the messages.
    pub tally: Tally,
    names: BTreeMap<PartnerId, String>,
    days: Vec<Date>,
    closed: usize,
    reduction: BTreeMap<Currency, [Money; 3]>,
    nets: BTreeMap<(Currency, PartnerId), Money>,
    payments: usize,
    closing: Duration,
    started: Instant,
    played: Duration,
    checking: Duration,
    entries: u64,
    /// Those of one partner, in every form.
    files: Vec<PathBuf>,
}

impl Report {
    /// Nothing yet.
    pub fn new(network: &Network) -> Self {
        Self {
            tally: Tally::default(),
            names: network.partners.iter().map(|p| (p.id.clone(), p.name.clone())).collect(),
            days: vec![],
            closed: 0,
            reduction: BTreeMap::new(),
            nets: BTreeMap::new(),
            payments: 0,
            closing: Duration::ZERO,
            started: Instant::now(),
            played: Duration::ZERO,
            checking: Duration::ZERO,
            entries: 0,
            files: vec![],
        }
    }

    /// Closes what is due, records that its payments were made, and adds its sums.
    pub fn close(&mut self, sandbox: &Sandbox) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut conn = sandbox.database()?;
        for date in sandbox.close_due()? {
            // A day on which nobody has anything to pay is settled already.
            if settlement::window(&mut conn, date)?.is_some_and(|window| window.state == State::Advised) {
                settlement::settle(&mut conn, date, sandbox.clock.now(), "demo")?;
            }
            self.closed += 1;
        }
        self.closing += started.elapsed();
        Ok(())
    }

    /// Sums up the windows from `first` to `last`, those closed in an earlier run too.
    pub fn sum_up(&mut self, sandbox: &Sandbox, first: Date, last: Date) -> anyhow::Result<()> {
        let mut conn = sandbox.database()?;
        let mut date = first;
        while date <= last {
            if let Some(settlement) = settlement::settlement(&mut conn, date)? {
                self.add(&settlement)?;
                self.days.push(date);
            }
            date = date.tomorrow()?;
        }
        Ok(())
    }

    /// Once everything is played: does the whole log again, as `clearing check` does. What isn't what the log makes of it is an error.
    pub fn check(&mut self, sandbox: &Sandbox) -> anyhow::Result<()> {
        self.played = self.started.elapsed();
        let bar = progress::bar("entries checked", 0);
        let mut tell = |done: i64, all: i64| {
            bar.set_length(all.unsigned_abs());
            bar.set_position(done.unsigned_abs());
        };
        let kid = KeyId::new(&sandbox.config.operator.kid)?;
        let mut conn = sandbox.database()?;
        let mut findings = audit::check(
            &mut conn,
            (&kid, sandbox.trust.key()),
            &sandbox.config.archive,
            Depth::Whole(&sandbox.folder),
            &mut tell,
        )?;
        findings.extend(audit::changed_files(&mut conn, &sandbox.config.statements)?);
        bar.finish_and_clear();
        ensure!(
            findings.is_empty(),
            "the books aren't what the log makes of them: {}",
            findings.join("; ")
        );
        self.entries = bar.position();
        self.checking = self.started.elapsed().saturating_sub(self.played);
        Ok(())
    }

    /// Hands out the last day's statement of the partner that pays or receives most over all days.
    pub fn hand_out(&mut self, sandbox: &Sandbox) -> anyhow::Result<()> {
        let clearing = PartnerId::clearing();
        let partners = self.nets.iter().filter(|((_, partner), _)| *partner != clearing);
        let most = partners.max_by_key(|(_, net)| net.0.unsigned_abs());
        if let (Some(date), Some(((_, partner), _))) = (self.days.last(), most) {
            self.files = desk::hand_out(sandbox, *date, partner)?;
        }
        Ok(())
    }

    fn add(&mut self, settlement: &settlement::Settlement) -> anyhow::Result<()> {
        for line in &settlement.reduction {
            let sums = self.reduction.entry(line.currency).or_default();
            for (sum, text) in sums.iter_mut().zip([&line.gross, &line.bilateral, &line.multilateral]) {
                *sum = add(*sum, money(text)?)?;
            }
        }
        for net in &settlement.net_positions {
            let sum = self.nets.entry((net.currency, net.partner.clone())).or_default();
            *sum = add(*sum, money(&net.net)?)?;
        }
        self.payments += settlement.payments.len();
        Ok(())
    }

    /// Everything as text, in colour on a terminal.
    pub fn text(&self, statements: &Path) -> String {
        let mut text = String::new();
        let paint = Paint::new();
        let count = self.tally.messages();
        let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
        text.push('\n');
        line(
            &mut text,
            format_args!(
                "{}  {count} in {}, {:?} in all",
                paint.on(bold, "Messages"),
                counted(i128::try_from(self.days.len()).unwrap_or(i128::MAX), "day"),
                round(self.played)
            ),
        );
        for (kind, n) in &self.tally.accepted {
            line(
                &mut text,
                format_args!("  {} {kind:<24} {n:>9}", paint.on(colour(AnsiColor::Green), "accepted")),
            );
        }
        for (code, n) in &self.tally.rejected {
            line(
                &mut text,
                format_args!(
                    "  {} {:<24} {n:>9}  {}",
                    paint.on(colour(AnsiColor::Yellow), "rejected"),
                    code.as_str(),
                    paint.on(dim, code.title())
                ),
            );
        }
        for (currency, sums) in &self.reduction {
            text.push('\n');
            line(
                &mut text,
                format_args!(
                    "{}  in {currency}, sum over the days; {} payments in all, {:?} for the closing",
                    paint.on(bold, "Netting"),
                    self.payments,
                    round(self.closing)
                ),
            );
            for (name, sum) in ["gross", "bilateral", "multilateral"].iter().zip(sums) {
                line(
                    &mut text,
                    format_args!(
                        "  {name:<14} {:>20} {:>6}%  {}",
                        sum.display_micros(),
                        percent(*sum, sums[0]),
                        bar(*sum, sums[0])
                    ),
                );
            }
        }
        text.push('\n');
        line(&mut text, format_args!("{}  positive: receives", paint.on(bold, "Net positions")));
        for ((currency, partner), net) in &self.nets {
            let name = self.names.get(partner).map_or("fees of the clearinghouse", String::as_str);
            let style = colour(if net.0 < 0 { AnsiColor::Red } else { AnsiColor::Green });
            line(
                &mut text,
                format_args!(
                    "  {:<12} {:<28} {currency} {}",
                    partner.as_str(),
                    name,
                    paint.on(style, &format!("{:>16}", net.display(*currency)))
                ),
            );
        }
        text.push('\n');
        line(
            &mut text,
            format_args!(
                "{}  {} entries done again in {:?}: the books are what the log makes of them",
                paint.on(bold, "Check"),
                self.entries,
                round(self.checking)
            ),
        );
        line(
            &mut text,
            format_args!(
                "Statements of {} are in {}",
                self.span(),
                paint.on(bold, &statements.display().to_string())
            ),
        );
        if !self.files.is_empty() {
            line(&mut text, format_args!("Of one partner, for a finance desk (docs/FINANCE.md):"));
            for file in &self.files {
                line(&mut text, format_args!("  {}", file.display()));
            }
        }
        text
    }

    fn span(&self) -> String {
        match (self.days.first(), self.days.last()) {
            (Some(first), Some(last)) if first != last => format!("{first} to {last}"),
            (Some(day), _) => day.to_string(),
            _ => "no day".into(),
        }
    }
}

fn add(a: Money, b: Money) -> anyhow::Result<Money> {
    a.checked_add(b).ok_or_else(|| anyhow::anyhow!("a sum over all days doesn't fit"))
}

/// Reads a statement's amount, which may have a sign.
fn money(text: &str) -> anyhow::Result<Money> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    Ok(Money(sign * digits.parse::<partner_sdk::Amount>()?.to_units(6)?))
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // A String takes whatever it is given.
    let _ = writeln!(text, "{line}");
}

fn percent(part: Money, whole: Money) -> i128 {
    if whole.0 == 0 {
        0
    } else {
        i128::from(part.0) * 100 / i128::from(whole.0)
    }
}

fn bar(part: Money, whole: Money) -> String {
    "█".repeat(usize::try_from(percent(part, whole) * 40 / 100).unwrap_or(0))
}

fn round(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(colour.into()))
}

/// Colours on a terminal, unless NO_COLOR is set; plain text elsewhere.
struct Paint(bool);

impl Paint {
    fn new() -> Self {
        Self(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
    }

    fn on(&self, style: Style, text: &str) -> String {
        if self.0 {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}
