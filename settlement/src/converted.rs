//! What was converted, as statements show it. Pure.

use partner_sdk::{Currency, Money, PartnerId};

use crate::fx::Conversion;
use crate::statement::{ConversionLine, SettlementConversion};

/// A partner's conversions, sorted by currency and counterparty; nothing where none of its pairs was converted. Amounts are positive where it receives.
pub fn lines(conversions: &[Conversion], partner: &PartnerId) -> Option<Vec<ConversionLine>> {
    let line = |c: &Conversion| {
        let (counterparty, sign) = of(c, partner)?;
        // No amount is the lowest number: all are whole minor units, or less than one.
        let view = |money: Money| Money(sign * money.0);
        Some(ConversionLine {
            counterparty: counterparty.clone(),
            currency: c.currency,
            net: view(c.net).display(c.currency),
            rate: c.rate.display_micros(),
            payment_currency: c.payment_currency,
            amount: view(c.amount).display(c.payment_currency),
            difference: view(c.difference).display_micros(),
        })
    };
    let mut lines: Vec<ConversionLine> = conversions.iter().filter_map(line).collect();
    lines.sort_by(|x, y| (x.currency, &x.counterparty).cmp(&(y.currency, &y.counterparty)));
    (!lines.is_empty()).then_some(lines)
}

/// The differences of a partner's conversions into a currency, in micros, positive where it receives.
pub fn differences(conversions: &[Conversion], partner: &PartnerId, currency: Currency) -> i128 {
    let into = conversions.iter().filter(|c| c.payment_currency == currency);
    let own = into.filter_map(|c| of(c, partner).map(|(_, sign)| i128::from(sign) * i128::from(c.difference.0)));
    own.sum()
}

/// The same for the operator: positive where a owes b.
pub fn of_settlement(conversions: &[Conversion]) -> Option<Vec<SettlementConversion>> {
    let line = |c: &Conversion| SettlementConversion {
        party_a: c.party_a.clone(),
        party_b: c.party_b.clone(),
        currency: c.currency,
        net: c.net.display(c.currency),
        rate: c.rate.display_micros(),
        payment_currency: c.payment_currency,
        amount: c.amount.display(c.payment_currency),
        difference: c.difference.display_micros(),
    };
    (!conversions.is_empty()).then(|| conversions.iter().map(line).collect())
}

/// The counterparty, and the sign that amounts which are positive where a owes b have for the partner; nothing where it is neither.
fn of<'a>(c: &'a Conversion, partner: &PartnerId) -> Option<(&'a PartnerId, i64)> {
    match (c.party_a == *partner, c.party_b == *partner) {
        (true, _) => Some((&c.party_b, -1)),
        (_, true) => Some((&c.party_a, 1)),
        _ => None,
    }
}
