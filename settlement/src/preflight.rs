//! What the open window would come to if it closed now.

use migrations::Conn;
use partner_sdk::amount::format_units;

use crate::book::{Book, direct_payments};
use crate::error::SettlementError;
use crate::fx;
use crate::netting;
use crate::run::open_window;
use crate::statement::{FeeLine, PREFLIGHT_FORMAT, PREFLIGHT_FORMAT_2, Preflight, Settlement};
use crate::store::{self, Pace};

/// Nets the open window as the night would, fees and residues included, and writes nothing. The night comes to the same if nothing more is posted and no points are due at the cut-off: where those repay
/// what a member owes, and their funder pays at redemption, it owes for them. Refused while an earlier window isn't netted, whose residues it takes over.
pub fn preflight(conn: &mut Conn) -> Result<Preflight, SettlementError> {
    let (window, due, fees, obligations, rates) = conn.snapshot(|conn| {
        let window = open_window(conn)?;
        let date = window.business_date;
        if let Some(earlier) = store::unnetted_before(conn, date)? {
            return Err(SettlementError::OutOfOrder { date, earlier });
        }
        let fees: Vec<_> = store::fees(conn, date, Pace::Full)?.into_iter().map(|(_, fee)| fee).collect();
        let mut positions = store::positions(conn, date)?;
        positions.extend(fees.iter().cloned());
        let obligations = netting::obligations(&positions, &store::carried_over(conn, date)?)?;
        let due = store::any_due(conn, window.cut_off_at)?;
        Ok((window, due, fees, obligations, store::rates(conn, date)?))
    })?;
    let conversions = fx::conversions(&obligations, &rates)?;
    let direct = direct_payments(&netting::net_positions(fx::payable(&obligations, &conversions)?)?);
    let book = Book {
        business_date: window.business_date,
        cut_off_at: window.cut_off_at,
        gross: vec![],
        expired: vec![],
        obligations,
        conversions,
        paying: None,
    };
    let Settlement {
        business_date,
        cut_off_at,
        obligations,
        conversions,
        net_positions,
        payments,
        reduction,
        ..
    } = book.settlement()?;
    let fee = |fee: netting::Position| FeeLine {
        debtor: fee.debtor,
        currency: fee.currency,
        amount: format_units(fee.amount.0, 6),
    };
    Ok(Preflight {
        format: conversions.as_ref().map_or(PREFLIGHT_FORMAT, |_| PREFLIGHT_FORMAT_2).into(),
        business_date,
        cut_off_at,
        points_due: due,
        fees: fees.into_iter().map(fee).collect(),
        obligations,
        conversions,
        net_positions,
        payments,
        direct,
        reduction,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Ledger, at, entry};
    use crate::{Payments, close_due, net};

    #[test]
    fn an_earlier_window_comes_first_and_its_residues_are_taken_over() {
        let mut ledger = Ledger::standard();
        // A third of a cent a point: one pays 0.01 and has 0.0045 in its favour.
        ledger.post_each(&[entry("earn", "wellcome", "pool", 1, 5500, "earn")]);
        let night = at("2026-11-21T16:00:00Z");
        let closed = close_due(&mut ledger.conn, night, Some(1)).expect("closes")[0];
        ledger.post_each(&[entry("earn", "wellcome", "pool", 1, 5500, "earn")]);
        let error = preflight(&mut ledger.conn).expect_err("the first isn't netted");
        assert!(
            matches!(error, SettlementError::OutOfOrder { earlier, .. } if earlier == closed),
            "{error}"
        );
        net(&mut ledger.conn, closed, night, Pace::Full, Payments::OneByOne).expect("nets");
        let preflight = preflight(&mut ledger.conn).expect("it can be netted now");
        let pair = &preflight.obligations[0];
        assert_eq!([&pair.carried_in, &pair.net, &pair.carried_out], ["0.004500", "0.00", "-0.001000"]);
        assert_eq!((preflight.payments.len(), preflight.direct.len()), (0, 0));
    }
}
