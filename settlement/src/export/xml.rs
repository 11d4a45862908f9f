//! XML as ISO 20022 has it.

use partner_sdk::Currency;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// A document under way. Writing to memory doesn't fail.
pub struct Xml(Writer<Vec<u8>>);

impl Xml {
    /// A message of ISO 20022: its namespace, the element that says what it is, and what stands in it.
    pub fn document(namespace: &str, kind: &str, inner: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut xml = Self(Writer::new_with_indent(vec![], b' ', 2));
        xml.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        xml.event(Event::Start(BytesStart::new("Document").with_attributes([("xmlns", namespace)])));
        xml.within(kind, inner);
        xml.event(Event::End(BytesEnd::new("Document")));
        let mut bytes = xml.0.into_inner();
        bytes.push(b'\n');
        bytes
    }

    fn event(&mut self, event: Event<'_>) {
        // A Vec takes whatever it is given.
        let _ = self.0.write_event(event);
    }

    /// An element with elements in it.
    pub fn within(&mut self, name: &str, inner: impl FnOnce(&mut Self)) {
        self.event(Event::Start(BytesStart::new(name)));
        inner(self);
        self.event(Event::End(BytesEnd::new(name)));
    }

    /// An element with text in it.
    pub fn text(&mut self, name: &str, text: &str) {
        self.within(name, |xml| xml.event(Event::Text(BytesText::new(text))));
    }

    /// An element in elements.
    pub fn at(&mut self, path: &[&str], text: &str) {
        match path {
            [] => {}
            [last] => self.text(last, text),
            [first, rest @ ..] => self.within(first, |xml| xml.at(rest, text)),
        }
    }

    /// An amount of money, without a sign.
    pub fn amount(&mut self, name: &str, currency: Currency, amount: &str) {
        self.event(Event::Start(BytesStart::new(name).with_attributes([("Ccy", currency.as_str())])));
        self.event(Event::Text(BytesText::new(amount)));
        self.event(Event::End(BytesEnd::new(name)));
    }
}
