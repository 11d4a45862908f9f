//! ISO 20022 camt.053, any version: entries that are booked, each with its transactions. <https://www.iso20022.org/iso-20022-message-definitions>

use jiff::civil::Date;
use partner_sdk::Currency;
use quick_xml::Reader;
use quick_xml::events::Event;

use super::booking::{self, BankError, Booking};

/// The most elements of an entry: a batch of thousands of transactions has fewer.
const ELEMENTS: usize = 1_000_000;

/// How deep elements may stand in each other; camt.053 needs fewer than twenty.
const DEPTH: usize = 64;

/// An element of an entry: its name without a prefix, its text, its currency and what is in it.
#[derive(Default)]
struct Element {
    name: String,
    text: String,
    currency: String,
    inner: Vec<Element>,
}

impl Element {
    /// The first element at a path.
    fn at<'a>(&'a self, path: &[&'static str]) -> Option<&'a Element> {
        let [first, rest @ ..] = path else { return Some(self) };
        self.all(first).find_map(|inner| inner.at(rest))
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = &Element> {
        self.inner.iter().filter(move |inner| inner.name == name)
    }

    fn text_at(&self, path: &[&'static str]) -> Option<&str> {
        self.at(path).map(|element| element.text.as_str())
    }

    /// All texts within, apart from each other.
    fn words(&self, into: &mut String) {
        into.push_str(&self.text);
        into.push('\n');
        self.inner.iter().for_each(|inner| inner.words(into));
    }
}

fn bad(why: impl Into<String>) -> BankError {
    BankError::Xml(why.into())
}

/// Every booking of every statement in a file.
pub fn read(text: &str) -> Result<Vec<Booking>, BankError> {
    let (mut reader, mut depth) = (Reader::from_str(text), 0usize);
    reader.config_mut().expand_empty_elements = true;
    // The elements that are open from an entry on; empty outside of one.
    let (mut open, mut bookings, mut is_statement): (Vec<Element>, _, _) = (vec![], vec![], false);
    let mut elements = 0;
    loop {
        match reader.read_event().map_err(|error| bad(error.to_string()))? {
            Event::Start(start) => {
                depth += 1;
                if depth > DEPTH {
                    return Err(bad(format!("elements stand more than {DEPTH} deep")));
                }
                let name = start.local_name().as_ref().to_owned();
                is_statement |= name == "BkToCstmrStmt";
                if open.is_empty() && name != "Ntry" {
                    continue;
                }
                elements = if open.is_empty() { 0 } else { elements + 1 };
                if elements > ELEMENTS {
                    return Err(bad(format!("an entry has more than {ELEMENTS} elements")));
                }
                let currency = start.try_get_attribute("Ccy").map_err(|error| bad(error.to_string()))?;
                let currency = currency.map(|currency| currency.value.into_owned()).unwrap_or_default();
                open.push(Element {
                    name,
                    currency,
                    ..Element::default()
                });
            }
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                if let Some(mut done) = open.pop() {
                    done.text = done.text.trim().to_owned();
                    match open.last_mut() {
                        Some(around) => around.inner.push(done),
                        None => entry(&done, &mut bookings)?,
                    }
                }
            }
            Event::Text(text) => open
                .last_mut()
                .into_iter()
                .for_each(|last| last.text.push_str(&text.xml10_content())),
            Event::CData(text) => open
                .last_mut()
                .into_iter()
                .for_each(|last| last.text.push_str(&text.xml10_content())),
            // No reference has a character that would be written as one of these.
            Event::GeneralRef(_) => open.last_mut().into_iter().for_each(|last| last.text.push(' ')),
            Event::DocType(_) => return Err(bad("a document type is declared, which isn't read")),
            Event::Eof if depth > 0 => return Err(bad("it ends in the middle")),
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::Empty(_) => {}
        }
    }
    match is_statement {
        true => Ok(bookings),
        false => Err(bad("it has no BkToCstmrStmt")),
    }
}

/// An entry's bookings: those of its transactions where each has an amount, else the entry itself.
fn entry(entry: &Element, bookings: &mut Vec<Booking>) -> Result<(), BankError> {
    let status = entry.text_at(&["Sts", "Cd"]).or(entry.text_at(&["Sts"]));
    if status != Some("BOOK") {
        return Ok(());
    }
    let day = |of| entry.text_at(&[of, "Dt"]).or(entry.text_at(&[of, "DtTm"]));
    let booked = day("BookgDt").or(day("ValDt"));
    let booked = booked.and_then(|text| text.get(..10)).and_then(|text| text.parse().ok());
    let booked: Date = booked.ok_or_else(|| bad("an entry has no date (BookgDt, ValDt)"))?;
    let transactions: Vec<&Element> = entry.all("NtryDtls").flat_map(|details| details.all("TxDtls")).collect();
    let amounts: Vec<Option<&Element>> = transactions
        .iter()
        .map(|one| one.at(&["Amt"]).or(one.at(&["AmtDtls", "TxAmt", "Amt"])))
        .collect();
    if transactions.len() > 1 && adds_up(entry, &amounts) {
        for (one, amount) in transactions.iter().zip(amounts) {
            bookings.push(booking(one, amount, entry, booked)?);
        }
        return Ok(());
    }
    bookings.push(booking(entry, entry.at(&["Amt"]), entry, booked)?);
    Ok(())
}

/// Whether every transaction of an entry has an amount of its currency, and all together are what was booked: otherwise they may be from before charges or an exchange.
fn adds_up(entry: &Element, amounts: &[Option<&Element>]) -> bool {
    let Some(whole) = entry.at(&["Amt"]) else { return false };
    let micros = |amount: &Element| booking::amount(&amount.text)?.to_units(6).ok().map(i128::from);
    let part = |amount: &Option<&Element>| amount.filter(|amount| amount.currency == whole.currency).and_then(micros);
    amounts.iter().map(part).sum::<Option<i128>>() == micros(whole)
}

/// A booking; what a transaction doesn't say, its entry does.
fn booking(of: &Element, amount: Option<&Element>, entry: &Element, booked_on: Date) -> Result<Booking, BankError> {
    let amount = amount.ok_or_else(|| bad("an entry has no amount (Amt)"))?;
    let says = |name: &'static str| of.text_at(&[name]).or(entry.text_at(&[name]));
    let mut text = String::new();
    of.words(&mut text);
    Ok(Booking {
        booked_on,
        currency: Currency::new(&amount.currency).map_err(|error| bad(format!("the currency of an amount: {error}")))?,
        amount: booking::amount(&amount.text).ok_or_else(|| bad(format!("`{}` is no amount", amount.text)))?,
        credit: match says("CdtDbtInd") {
            Some("CRDT") => true,
            Some("DBIT") => false,
            _ => return Err(bad("an entry is neither a credit nor a debit (CdtDbtInd)")),
        },
        reversal: matches!(says("RvslInd"), Some("true" | "1")),
        text,
    })
}
