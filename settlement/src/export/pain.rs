//! What a partner pays by a statement, as its bank takes it: ISO 20022 pain.001.001.09, a credit transfer for each payment, on the value date. <https://www.iso20022.org/iso-20022-message-definitions>

use partner_sdk::banking::BankAccount;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::error::ExportError;
use crate::render::RenderError;
use crate::statement::{NetResult, PaymentLine, Statement};

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09";

/// A document under way. Writing to memory doesn't fail.
struct Xml(Writer<Vec<u8>>);

impl Xml {
    fn event(&mut self, event: Event<'_>) {
        // A Vec takes whatever it is given.
        let _ = self.0.write_event(event);
    }

    fn within(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        self.event(Event::Start(BytesStart::new(name)));
        inner(self);
        self.event(Event::End(BytesEnd::new(name)));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.within(name, |xml| xml.event(Event::Text(BytesText::new(text))));
    }

    /// An element in elements.
    fn at(&mut self, path: &[&str], text: &str) {
        match path {
            [] => {}
            [last] => self.text(last, text),
            [first, rest @ ..] => self.within(first, |xml| xml.at(rest, text)),
        }
    }
}

/// A payment file; an error where there is nothing to pay, or an account isn't known.
pub fn payments(statement: &Statement) -> Result<String, ExportError> {
    let all = statement.payments.as_ref().ok_or(ExportError::NoPayments)?;
    let all: Vec<&PaymentLine> = all.iter().filter(|payment| payment.result == NetResult::Pays).collect();
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
    let mut xml = Xml(Writer::new_with_indent(vec![], b' ', 2));
    xml.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
    xml.event(Event::Start(BytesStart::new("Document").with_attributes([("xmlns", NAMESPACE)])));
    xml.within("CstmrCdtTrfInitn", |xml| {
        xml.within("GrpHdr", |xml| {
            xml.text("MsgId", first.reference.as_str());
            // The same bytes whenever it is asked for: when the window ended.
            xml.text("CreDtTm", &statement.cut_off_at.to_string());
            xml.text("NbOfTxs", &all.len().to_string());
            xml.at(&["InitgPty", "Nm"], holder);
        });
        for (payment, (from, to)) in all.iter().zip(&accounts) {
            xml.within("PmtInf", |xml| transfer(xml, payment, from, to));
        }
    });
    xml.event(Event::End(BytesEnd::new("Document")));
    let mut bytes = xml.0.into_inner();
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(|_| RenderError::Text.into())
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
        xml.within("Amt", |xml| {
            xml.event(Event::Start(
                BytesStart::new("InstdAmt").with_attributes([("Ccy", payment.currency.as_str())]),
            ));
            xml.event(Event::Text(BytesText::new(&payment.amount)));
            xml.event(Event::End(BytesEnd::new("InstdAmt")));
        });
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
