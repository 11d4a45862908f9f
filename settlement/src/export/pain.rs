//! What a partner pays by a statement, as its bank takes it: ISO 20022 pain.001.001.09, a credit transfer for each payment, on the value date. <https://www.iso20022.org/iso-20022-message-definitions>

use partner_sdk::banking::BankAccount;

use super::error::ExportError;
use super::xml::Xml;
use crate::revised::Revision;
use crate::statement::{NetResult, PaymentLine, Statement};

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09";

/// A payment file of what is paid by a statement, as it stands with its revisions; an error where there is nothing to pay, or an account isn't known.
pub fn payments(statement: &Statement, revisions: &[Revision]) -> Result<Vec<u8>, ExportError> {
    // What is paid with another window is in that one's file.
    let own = revisions
        .iter()
        .filter(|revision| revision.of.business_date == statement.business_date);
    let revisions: Vec<&Revision> = own.collect();
    let all = due(statement, &revisions)?.iter();
    let all: Vec<&PaymentLine> = all.filter(|payment| payment.result == NetResult::Pays).collect();
    let [first, ..] = &all[..] else {
        return Err(ExportError::NothingToPay);
    };
    let mut accounts = vec![];
    for payment in &all {
        let from = payment.from.as_ref().ok_or(ExportError::NoAccount("the partner"))?;
        let to = payment.to.as_ref().ok_or(ExportError::NoAccount("the clearinghouse"))?;
        accounts.push((from, to));
    }
    let holder = &accounts[0].0.holder;
    Ok(Xml::document(NAMESPACE, "CstmrCdtTrfInitn", |xml| {
        xml.within("GrpHdr", |xml| {
            xml.text("MsgId", first.reference.as_str());
            // The same bytes whenever it is asked for: when the window ended, or was revised.
            let made_at = revisions.last().map_or(statement.cut_off_at, |last| last.of.revised_at);
            xml.text("CreDtTm", &made_at.to_string());
            xml.text("NbOfTxs", &all.len().to_string());
            xml.at(&["InitgPty", "Nm"], holder);
        });
        for (payment, (from, to)) in all.iter().zip(&accounts) {
            xml.within("PmtInf", |xml| transfer(xml, payment, from, to));
        }
    }))
}

/// What is paid: by the statement, or what the last revision has made anew. What it leaves as it was went to the bank with the file before.
fn due<'a>(statement: &'a Statement, revisions: &[&'a Revision]) -> Result<&'a [PaymentLine], ExportError> {
    match revisions.last() {
        Some(last) => Ok(&last.payments),
        None => Ok(statement.payments.as_ref().ok_or(ExportError::NoPayments)?),
    }
}

fn transfer(xml: &mut Xml, payment: &PaymentLine, from: &BankAccount, to: &BankAccount) {
    let reference = payment.reference.as_str();
    xml.text("PmtInfId", reference);
    xml.text("PmtMtd", "TRF");
    xml.text("NbOfTxs", "1");
    xml.text("CtrlSum", &payment.amount);
    xml.at(&["ReqdExctnDt", "Dt"], &payment.value_date.to_string());
    xml.at(&["Dbtr", "Nm"], &from.holder);
    xml.within("DbtrAcct", |xml| {
        account(xml, from);
        xml.text("Ccy", payment.currency.as_str());
    });
    xml.at(&["DbtrAgt", "FinInstnId", "BICFI"], &from.bank);
    xml.within("CdtTrfTxInf", |xml| {
        xml.at(&["PmtId", "EndToEndId"], reference);
        xml.within("Amt", |xml| xml.amount("InstdAmt", payment.currency, &payment.amount));
        xml.at(&["CdtrAgt", "FinInstnId", "BICFI"], &to.bank);
        xml.at(&["Cdtr", "Nm"], &to.holder);
        xml.within("CdtrAcct", |xml| account(xml, to));
        xml.within("RmtInf", |xml| {
            xml.within("Strd", |xml| {
                xml.within("CdtrRefInf", |xml| {
                    xml.within("Tp", |xml| {
                        xml.at(&["CdOrPrtry", "Cd"], "SCOR");
                        xml.text("Issr", "ISO");
                    });
                    xml.text("Ref", reference);
                });
            });
        });
    });
}

fn account(xml: &mut Xml, account: &BankAccount) {
    match account.is_iban() {
        true => xml.at(&["Id", "IBAN"], &account.account),
        false => xml.at(&["Id", "Othr", "Id"], &account.account),
    }
}
