//! A partner's account with the clearinghouse as banks state accounts: ISO 20022 camt.053.001.08, a statement for each currency. <https://www.iso20022.org/iso-20022-message-definitions>
//!
//! The account is the running position: it opens with what was open, takes what each window adds, what confirmed payments take away and what was taken out of earlier windows, and closes with what is open then. Credit is what the partner receives.

use jiff::civil::Date;
use partner_sdk::PartnerId;
use partner_sdk::jws::sha256_hex;

use super::error::ExportError;
use super::xml::Xml;
use crate::period::{DayLine, PeriodStatement};
use crate::statement::{ConversionLine, PairLine, RunningLine};

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08";

/// The account's statements over the period; an error where the partner has no running position in it.
pub fn account(of: &PeriodStatement) -> Result<Vec<u8>, ExportError> {
    let (Some(first), false) = (of.windows.first(), of.running_position.is_empty()) else {
        return Err(ExportError::NoPosition);
    };
    // Other windows make another name: programs take a name that they know for the same statement.
    let windows: String = of
        .windows
        .iter()
        .map(|window| format!("{} {}\n", window.business_date, window.sha256))
        .collect();
    let digest = sha256_hex(windows.as_bytes());
    let last = of.windows.last().unwrap_or(first);
    let name = format!("{}-{}-{}", compact(first.business_date), compact(last.business_date), &digest[..8]);
    Ok(Xml::document(NAMESPACE, "BkToCstmrStmt", |xml| {
        xml.within("GrpHdr", |xml| {
            xml.text("MsgId", &name);
            // The same bytes whenever it is asked for: when the last window ended.
            xml.text("CreDtTm", &of.cut_off_at.to_string());
        });
        for running in &of.running_position {
            xml.within("Stmt", |xml| statement(xml, of, running, &name));
        }
    }))
}

fn statement(xml: &mut Xml, of: &PeriodStatement, running: &RunningLine, name: &str) {
    let currency = running.currency;
    // Windows of before there were running positions are no part of it.
    let counted = |day: &&DayLine| day.currency == currency && day.confirmed.is_some();
    let days: Vec<&DayLine> = of.days.iter().filter(counted).collect();
    xml.text("Id", &format!("{name}-{currency}"));
    xml.text("CreDtTm", &of.cut_off_at.to_string());
    xml.within("Acct", |xml| {
        xml.at(&["Id", "Othr", "Id"], of.partner.as_str());
        xml.text("Ccy", currency.as_str());
        xml.text("Nm", "position in the clearing of points");
        xml.at(&["Ownr", "Nm"], of.partner.as_str());
    });
    let opened = days.first().map_or(of.from, |day| day.business_date);
    let closed = days.last().map_or(of.until, |day| day.business_date);
    for (kind, amount, date) in [("OPBD", &running.opening, opened), ("CLBD", &running.closing, closed)] {
        xml.within("Bal", |xml| {
            xml.at(&["Tp", "CdOrPrtry", "Cd"], kind);
            signed(xml, running, amount);
            xml.at(&["Dt", "Dt"], &date.to_string());
        });
    }
    for day in days {
        let date = compact(day.business_date);
        let confirmed = day.confirmed.iter().filter(|amount| !is_zero(amount));
        for amount in confirmed {
            let text = "payments confirmed since the window before";
            xml.within("Ntry", |xml| {
                entry(
                    xml,
                    (running, day),
                    (&format!("P{date}{currency}"), "PAYMENT"),
                    amount,
                    |_| {},
                    text,
                )
            });
        }
        for amount in day.revised.iter().filter(|amount| !is_zero(amount)) {
            let text = "taken out of earlier windows";
            let name = format!("R{date}{currency}");
            xml.within("Ntry", |xml| entry(xml, (running, day), (&name, "REVISION"), amount, |_| {}, text));
        }
        if !is_zero(&day.net) {
            let pairs = |xml: &mut Xml| {
                // Of a longer time they stand on each day's own.
                if of.windows.len() == 1 {
                    details(xml, of, running);
                }
            };
            let text = format!("net of the window {}", day.business_date);
            xml.within("Ntry", |xml| {
                entry(xml, (running, day), (&format!("N{date}{currency}"), "NET"), &day.net, pairs, &text)
            });
        }
    }
}

/// A booked entry: its reference and code, its amount, what it is made of, and a text.
fn entry(
    xml: &mut Xml,
    (running, day): (&RunningLine, &DayLine),
    (reference, code): (&str, &str),
    amount: &str,
    details: impl FnOnce(&mut Xml),
    text: &str,
) {
    xml.text("NtryRef", reference);
    signed(xml, running, amount);
    xml.at(&["Sts", "Cd"], "BOOK");
    xml.at(&["BookgDt", "Dt"], &day.business_date.to_string());
    xml.at(&["ValDt", "Dt"], &day.business_date.to_string());
    xml.at(&["BkTxCd", "Prtry", "Cd"], code);
    details(xml);
    xml.text("AddtlNtryInf", text);
}

/// The pairs that a window's net is made of.
fn details(xml: &mut Xml, of: &PeriodStatement, running: &RunningLine) {
    let currency = running.currency;
    let conversions = || of.conversions.iter().flatten();
    let converted = |pair: &PairLine| conversions().any(|line| (line.currency, &line.counterparty) == (pair.currency, &pair.counterparty));
    let own = |pair: &&PairLine| pair.currency == currency && !is_zero(&pair.net) && !converted(pair);
    let pairs: Vec<&PairLine> = of.obligations.iter().filter(own).collect();
    let into: Vec<&ConversionLine> = conversions()
        .filter(|line| line.payment_currency == currency && !is_zero(&line.amount))
        .collect();
    xml.within("NtryDtls", |xml| {
        xml.at(&["Btch", "NbOfTxs"], &(pairs.len() + into.len()).to_string());
        for pair in pairs {
            xml.within("TxDtls", |xml| {
                signed(xml, running, &pair.net);
                party(xml, &pair.net, &pair.counterparty);
            });
        }
        for line in into {
            xml.within("TxDtls", |xml| {
                signed(xml, running, &line.amount);
                xml.within("AmtDtls", |xml| xml.within("InstdAmt", |xml| exchanged(xml, line)));
                party(xml, &line.amount, &line.counterparty);
            });
        }
    });
}

/// Who pays the partner, or is paid by it.
fn party(xml: &mut Xml, amount: &str, counterparty: &PartnerId) {
    let side = if amount.starts_with('-') { "Cdtr" } else { "Dbtr" };
    xml.at(&["RltdPties", side, "Pty", "Nm"], counterparty.as_str());
}

/// What was converted, and at which rate.
fn exchanged(xml: &mut Xml, line: &ConversionLine) {
    xml.amount("Amt", line.currency, line.net.trim_start_matches('-'));
    let rate = line.rate.trim_end_matches('0').trim_end_matches('.');
    // A rate has no more digits there.
    if rate.bytes().filter(u8::is_ascii_digit).count() > 11 {
        return;
    }
    xml.within("CcyXchg", |xml| {
        xml.text("SrcCcy", line.currency.as_str());
        xml.text("TrgtCcy", line.payment_currency.as_str());
        xml.text("UnitCcy", line.currency.as_str());
        xml.text("XchgRate", rate);
    });
}

/// An amount, and which way it goes.
fn signed(xml: &mut Xml, running: &RunningLine, amount: &str) {
    xml.amount("Amt", running.currency, amount.trim_start_matches('-'));
    xml.text("CdtDbtInd", if amount.starts_with('-') { "DBIT" } else { "CRDT" });
}

fn is_zero(amount: &str) -> bool {
    !amount.bytes().any(|b| (b'1'..=b'9').contains(&b))
}

fn compact(date: Date) -> String {
    date.strftime("%Y%m%d").to_string()
}
