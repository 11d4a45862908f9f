//! The clearing bank's statement: what was booked on the clearing account, and which payments it makes good. Pure.
//!
//! Payments are found by their references and held to the amount, the currency and the direction that were advised. Nothing is guessed: what can't be matched is listed with the reason.

mod booking;
mod camt;
mod table;

pub use booking::{BankError, Booking, MAX_FILE};

use std::collections::BTreeSet;

use partner_sdk::banking::{Paid, PaymentReference};

use crate::dues::Due;

/// What came of a bank's statement.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Matched {
    /// Payments that were made, by their references.
    pub paid: Vec<Paid>,
    /// Bookings that are none, each with why not.
    pub rest: Vec<(Booking, String)>,
}

/// Reads a bank's statement: XML is a camt.053, anything else a table with a header.
pub fn read(bytes: &[u8]) -> Result<Vec<Booking>, BankError> {
    if bytes.len() > MAX_FILE {
        return Err(BankError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BankError::NotUtf8)?;
    let text = text.trim_start_matches('\u{feff}');
    match text.trim_start().starts_with('<') {
        true => camt::read(text),
        false => table::read(text),
    }
}

/// Which payments the bookings make good; `due` finds a payment by its reference.
pub fn matched<E>(bookings: Vec<Booking>, mut due: impl FnMut(&PaymentReference) -> Result<Option<Due>, E>) -> Result<Matched, E> {
    let (mut matched, mut seen, mut good) = (Matched::default(), BTreeSet::new(), vec![]);
    for booking in bookings {
        let found = match &PaymentReference::all_in(&booking.text)[..] {
            [] => Err("it names no payment".to_owned()),
            [reference] => match due(reference)? {
                Some(due) => paid(&booking, &due).and_then(|paid| match seen.insert(paid.reference.clone()) {
                    true => Ok(paid),
                    false => Err(format!("{reference} stands here before: was it paid twice?")),
                }),
                None => Err(format!("there is no payment {reference}")),
            },
            several => Err(format!("it names {} payments: confirm each by its reference", several.len())),
        };
        match found {
            Ok(paid) => {
                good.push((booking, paid.reference.clone()));
                matched.paid.push(paid);
            }
            Err(why) => matched.rest.push((booking, why)),
        }
    }
    // What another booking names too may have been taken back, or paid twice: a person looks.
    let doubted: BTreeSet<_> = matched
        .rest
        .iter()
        .flat_map(|(booking, _)| PaymentReference::all_in(&booking.text))
        .collect();
    for (booking, reference) in good {
        if doubted.contains(&reference) {
            matched.rest.push((
                booking,
                format!("{reference} stands on another booking here too: look at both, and confirm it by its reference"),
            ));
        }
    }
    matched.paid.retain(|paid| !doubted.contains(&paid.reference));
    matched.paid.sort_by(|one, other| one.reference.cmp(&other.reference));
    Ok(matched)
}

fn paid(booking: &Booking, due: &Due) -> Result<Paid, String> {
    let reference = &due.reference;
    // Whoever pays does so into the account.
    let comes_in = due.is_paid_in();
    let way = if comes_in { "into" } else { "out of" };
    let expected = format!("{reference} is of {} {} {way} the account", due.currency, due.how_much());
    if due.confirmed.is_some() {
        return Err(format!("{reference} is confirmed already"));
    }
    if due.replaced_by.is_some() {
        return Err(format!(
            "{reference} isn't paid any more: the window was revised, and another payment is in its place"
        ));
    }
    if booking.reversal {
        return Err(format!("it takes back {reference}"));
    }
    let booked = booking.amount.to_units(6).ok().map(i64::unsigned_abs);
    if booked != Some(due.amount.0.unsigned_abs()) || booking.currency != due.currency || booking.credit != comes_in {
        return Err(expected);
    }
    if booking.booked_on < due.business_date {
        return Err(format!("{reference} wasn't due before {}", due.business_date));
    }
    Ok(Paid {
        reference: reference.clone(),
        currency: booking.currency,
        amount: booking.amount,
        paid_on: booking.booked_on,
    })
}

#[cfg(test)]
mod tests;
