//! Replays a file of purchases day by day on the sandbox's clock, one settlement a day.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use partner_sdk::agreement::AgreementKind;
use partner_sdk::{Amount, Body, MemberNumber, Message, MessageId, PartnerId, ProgrammeCode};
use rust_decimal::Decimal;

use super::baskets::Row;
use super::report::Report;
use super::sandbox::Sandbox;
use super::traffic::Traffic;
use crate::commands::progress::bar;
use ledger::network::Network;

/// Rows that share one setting of the clock, at most.
const CHUNK: usize = 500;

/// How a brand turns purchases into points.
struct Brand {
    programme: ProgrammeCode,
    earn_per_unit: Decimal,
    face_value: Option<Decimal>,
}

/// Plays all rows and closes every day from the first row's to the last's.
pub async fn replay(sandbox: &mut Sandbox, network: &Network, rows: &[Row]) -> anyhow::Result<Report> {
    let brands = brands(network)?;
    let traffic = Traffic::new(sandbox)?;
    let bar = bar("purchases", rows.len());
    let mut report = Report::new(network);
    let calendar = &network.calendar;
    let mut rest = rows;
    while let Some(first) = rest.first() {
        let date = calendar.business_date(first.occurred_at)?;
        let cut_off = calendar.cut_off_at(date)?;
        let today = rest.partition_point(|row| row.occurred_at < cut_off);
        let (day, later) = rest.split_at(today);
        rest = later;
        for chunk in day.chunks(CHUNK) {
            sandbox.pass(chunk[chunk.len() - 1].occurred_at)?;
            for wave in waves(chunk, &brands)? {
                let posts = wave.iter().map(|(sender, messages)| traffic.post(sandbox, sender, messages));
                try_join_all(posts).await?.iter().for_each(|(tally, _)| report.tally.merge(tally));
            }
            bar.inc(chunk.len() as u64);
        }
        // Days without rows close too: all whose time is over when the next row comes, or the last row's day.
        sandbox.pass(rest.first().map_or(Ok(cut_off), |next| {
            calendar.business_date(next.occurred_at).and_then(|d| window_start(calendar, d))
        })?)?;
        report.close(sandbox)?;
    }
    bar.finish_and_clear();
    if let (Some(first), Some(last)) = (rows.first(), rows.last()) {
        report.sum_up(
            sandbox,
            calendar.business_date(first.occurred_at)?,
            calendar.business_date(last.occurred_at)?,
        )?;
    }
    Ok(report)
}

/// When the window before `date` ends.
fn window_start(calendar: &settlement::Calendar, date: jiff::civil::Date) -> Result<jiff::Timestamp, settlement::CalendarError> {
    let mut before = date;
    loop {
        let Ok(earlier) = before.yesterday() else {
            return calendar.cut_off_at(date);
        };
        before = earlier;
        if calendar.next(before)? == date {
            return calendar.cut_off_at(before);
        }
    }
}

fn brands(network: &Network) -> anyhow::Result<HashMap<PartnerId, Brand>> {
    let mut brands = HashMap::new();
    for terms in network.agreements.iter().filter(|t| t.kind == AgreementKind::Earn) {
        let Some(earn_per_unit) = terms.earn_per_unit else { continue };
        let programme = network
            .programmes
            .iter()
            .find(|p| p.code == terms.programme)
            .with_context(|| format!("there is no programme {}", terms.programme))?;
        let brand = Brand {
            programme: terms.programme.clone(),
            earn_per_unit: decimal(earn_per_unit)?,
            face_value: programme.face_value.map(decimal).transpose()?,
        };
        brands.insert(terms.partner.clone(), brand);
    }
    Ok(brands)
}

fn decimal(amount: Amount) -> anyhow::Result<Decimal> {
    Decimal::from_str_exact(&amount.to_string()).context("an amount out of range")
}

type Wave = BTreeMap<PartnerId, Vec<Message>>;

/// Cuts a chunk into waves: within a wave one member has messages at one brand only, so brands may post side by side and each member's messages keep the
/// order of the file.
fn waves(rows: &[Row], brands: &HashMap<PartnerId, Brand>) -> anyhow::Result<Vec<Wave>> {
    let mut waves: Vec<Wave> = vec![];
    let mut last: HashMap<&MemberNumber, (usize, &PartnerId)> = HashMap::new();
    for row in rows {
        let wave = match last.get(&row.shopper) {
            Some((wave, brand)) if *brand == &row.brand => *wave,
            Some((wave, _)) => wave + 1,
            None => 0,
        };
        last.insert(&row.shopper, (wave, &row.brand));
        if waves.len() <= wave {
            waves.push(Wave::new());
        }
        waves[wave].entry(row.brand.clone()).or_default().extend(messages(row, brands)?);
    }
    Ok(waves)
}

/// An earn of `floor(spend * earn_per_unit)` points if that is at least 1; then a burn of `ceil(coupon * face_value)` if there is a coupon.
fn messages(row: &Row, brands: &HashMap<PartnerId, Brand>) -> anyhow::Result<Vec<Message>> {
    let Some(brand) = brands.get(&row.brand) else {
        bail!(
            "basket {}: the network has no earn agreement with earn_per_unit for brand `{}`",
            row.basket,
            row.brand
        );
    };
    let message = |kind: &str, body: Body| -> anyhow::Result<Message> {
        let id = MessageId::new(format!("{}-{}-{kind}", row.basket, row.brand)).with_context(|| format!("basket {}", row.basket))?;
        Ok(Message {
            id,
            sender: row.brand.clone(),
            issued_at: row.occurred_at,
            occurred_at: row.occurred_at,
            body,
        })
    };
    let amount = |points: Decimal| {
        points
            .normalize()
            .to_string()
            .parse::<Amount>()
            .with_context(|| format!("basket {}: too many points", row.basket))
    };
    let times = |a: Decimal, b: Decimal| a.checked_mul(b).with_context(|| format!("basket {}: too large", row.basket));
    let (programme, member) = (brand.programme.clone(), row.shopper.clone());
    let mut messages = vec![];
    let earned = times(decimal(row.spend)?, brand.earn_per_unit)?.floor();
    if earned >= Decimal::ONE {
        let body = Body::Earn {
            programme: programme.clone(),
            member: member.clone(),
            points: amount(earned)?,
            spend: Some(row.spend),
        };
        messages.push(message("earn", body)?);
    }
    if decimal(row.coupon)? > Decimal::ZERO {
        let face_value = brand
            .face_value
            .with_context(|| format!("programme {programme} has no face_value, which coupons need"))?;
        let points = times(decimal(row.coupon)?, face_value)?.ceil();
        messages.push(message(
            "burn",
            Body::Burn {
                programme,
                member,
                points: amount(points)?,
            },
        )?);
    }
    Ok(messages)
}
