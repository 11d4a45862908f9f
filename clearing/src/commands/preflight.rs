//! `clearing preflight`: what the open window would come to if it closed now.

use std::collections::BTreeSet;

use partner_sdk::text::counted;
use partner_sdk::{Currency, PartnerId};
use settlement::{DirectPayments, NetResult, Payment, Preflight};

use super::at::{At, open};
use crate::commands::out;
use crate::say;
use store::pending;

/// Prints it, as a table or as JSON. Nothing changes by it.
pub fn run(at: &At, json: bool) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    let preflight = settlement::preflight(&mut conn)?;
    if json {
        return Ok(out::lines(&serde_json::to_string_pretty(&preflight)?)?);
    }
    let Preflight {
        business_date, cut_off_at, ..
    } = &preflight;
    say!("If the window of {business_date} closed now (it ends at {cut_off_at}):")?;
    if preflight.reduction.is_empty() {
        say!("nobody would owe anything")?;
    }
    let owed = preflight.reduction.iter().map(|line| line.currency);
    let paid = preflight.conversions.iter().flatten().map(|line| line.payment_currency);
    for one in owed.chain(paid).collect::<BTreeSet<_>>() {
        currency(&preflight, one)?;
    }
    if preflight.points_due {
        say!("\nNot in it: what points that are due at the cut-off repay, where their members owe some")?;
    }
    let waiting = pending::count_open(&mut conn)?;
    if waiting > 0 {
        say!(
            "\nNot in it: {}, owed once its issuer has answered (clearing exchanges)",
            counted(waiting, "open exchange")
        )?;
    }
    Ok(())
}

fn currency(preflight: &Preflight, currency: Currency) -> anyhow::Result<()> {
    for line in preflight.reduction.iter().filter(|line| line.currency == currency) {
        let saved = &line.efficiency_percent;
        say!(
            "\n{currency}  gross {}  bilateral {}  multilateral {}  saved {saved}%",
            line.gross,
            line.bilateral,
            line.multilateral
        )?;
    }
    for fee in preflight.fees.iter().filter(|fee| fee.currency == currency) {
        say!("  fee of {} to {}: {}", fee.debtor, PartnerId::clearing(), fee.amount)?;
    }
    for line in preflight.conversions.iter().flatten().filter(|line| line.currency == currency) {
        let (debtor, creditor) = match line.net.starts_with('-') {
            true => (&line.party_b, &line.party_a),
            false => (&line.party_a, &line.party_b),
        };
        let [net, amount] = [&line.net, &line.amount].map(|text| text.trim_start_matches('-'));
        say!(
            "  {debtor} to {creditor}: {net} at {} are {} {amount}",
            line.rate,
            line.payment_currency
        )?;
    }
    for net in preflight.net_positions.iter().filter(|net| net.currency == currency) {
        let does = match net.result {
            NetResult::Pays => "pays",
            NetResult::Receives => "receives",
            NetResult::Nothing => "is even",
        };
        say!("  {:<20} {does:<8} {:>20}", net.partner.as_str(), net.net.trim_start_matches('-'))?;
    }
    let through: Vec<&Payment> = preflight.payments.iter().filter(|payment| payment.currency == currency).collect();
    say!("  {} through the clearing account", counted(number(through.len()), "payment"))?;
    for DirectPayments { payments, at_least, .. } in preflight.direct.iter().filter(|direct| direct.currency == currency) {
        let fewest = match payments.len() == *at_least {
            true => "the fewest there can be".to_owned(),
            false => format!("it can't be done with fewer than {at_least}"),
        };
        say!(
            "  {} if partners paid each other ({fewest}):",
            counted(number(payments.len()), "payment")
        )?;
        for payment in payments {
            say!(
                "    {:<20} to {:<20} {:>20}",
                payment.payer.as_str(),
                payment.payee.as_str(),
                payment.amount
            )?;
        }
    }
    Ok(())
}

fn number(count: usize) -> i128 {
    i128::try_from(count).unwrap_or(i128::MAX)
}
