//! Which public key a certificate, or a request for one, is about.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};

use crate::jws::sha256;
use crate::wire::keys::Spki;

/// One element of DER (X.690, 8.1).
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
    rest: &'a [u8],
}

fn element(der: &[u8]) -> Option<Element<'_>> {
    let (&[tag, first], after) = der.split_first_chunk()?;
    let (length, after) = match first.checked_sub(0x80) {
        None => (usize::from(first), after),
        Some(digits) => {
            let (digits, after) = after.split_at_checked(digits.into())?;
            let length = digits
                .iter()
                .try_fold(0usize, |length, digit| length.checked_mul(256)?.checked_add((*digit).into()));
            (length?, after)
        }
    };
    let (content, rest) = after.split_at_checked(length)?;
    let (whole, _) = der.split_at_checked(der.len().checked_sub(rest.len())?)?;
    Some(Element { tag, content, whole, rest })
}

/// The hash of the element that stands after `before` others in the first part of a signed structure.
fn spki(der: &[u8], before: impl Fn(u8) -> usize) -> Option<Spki> {
    let mut rest = element(element(der)?.content)?.content;
    for _ in 0..before(element(rest)?.tag) {
        rest = element(rest)?.rest;
    }
    Some(Spki(sha256(element(rest)?.whole)))
}

/// Of a certificate request (RFC 2986): version and subject come before the key.
pub fn of_request(pem: &str) -> Option<Spki> {
    spki(&CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).ok()?, |_| 2)
}

/// Of a certificate (RFC 5280): a version if there is one, serial number, algorithm, issuer, validity and subject come before the key.
pub fn of_certificate(pem: &str) -> Option<Spki> {
    const VERSION: u8 = 0xa0;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    spki(&der, |first| if first == VERSION { 6 } else { 5 })
}
