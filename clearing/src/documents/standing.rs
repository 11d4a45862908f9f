//! The network as it stands, in one figure: what the first people sign beside who they are, so that nobody brings in a partner's key behind their backs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use partner_sdk::change::ProgrammeTerms;
use partner_sdk::document;
use partner_sdk::jws::sha256_hex;
use partner_sdk::wire::keys::Spki;
use serde::Serialize;

use ledger::directory::{Directory, Partner};

#[derive(Serialize)]
struct Standing<'a> {
    partners: Vec<Party<'a>>,
    programmes: Vec<&'a ProgrammeTerms>,
    /// Hashes of what a sandbox's file states.
    agreements: Vec<String>,
    rates: Vec<String>,
    bonuses: Vec<String>,
}

#[derive(Serialize)]
struct Party<'a> {
    id: &'a str,
    name: &'a str,
    status: &'static str,
    /// In millionths, by currency.
    net_debit_cap: BTreeMap<String, String>,
    signing_keys: Vec<Signs>,
    tls_keys: Vec<Connects>,
}

#[derive(Serialize)]
struct Signs {
    kid: String,
    public_key: String,
    valid_from: Timestamp,
    valid_until: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Connects {
    spki_sha256: Spki,
    revoked_at: Option<Timestamp>,
}

/// The SHA-256 of the partners (names, statuses, caps, keys), the programmes and what is agreed, in canonical JSON (RFC 8785): 64 digits of lower-case
/// hexadecimal. The calendar stands in the founding itself.
pub fn digest(directory: &Directory) -> String {
    let mut partners: Vec<&Partner> = directory.partners.values().collect();
    partners.sort_by_key(|partner| &partner.id);
    let mut programmes: Vec<_> = directory.programmes.values().map(|programme| &programme.terms).collect();
    programmes.sort_by_key(|terms| &terms.code);
    let sorted = |mut hashes: Vec<&'_ str>| {
        hashes.sort_unstable();
        hashes.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let (agreements, rates, bonuses) = (
        sorted(directory.agreements().map(|one| one.item.hash.as_str()).collect()),
        sorted(directory.rates().map(|one| one.item.hash.as_str()).collect()),
        sorted(directory.bonuses().map(|one| one.item.hash.as_str()).collect()),
    );
    let standing = Standing {
        partners: partners.into_iter().map(|partner| party(directory, partner)).collect(),
        programmes,
        agreements,
        rates,
        bonuses,
    };
    sha256_hex(document::write(&standing).as_bytes())
}

fn party<'a>(directory: &Directory, partner: &'a Partner) -> Party<'a> {
    // What is kept of a key doesn't depend on the instant, but for its state, which isn't taken.
    let keys = directory.keys.of(&partner.id, Timestamp::UNIX_EPOCH);
    let mut signing_keys: Vec<_> = keys
        .signing
        .into_iter()
        .map(|key| Signs {
            kid: key.kid.to_string(),
            public_key: key.public_key,
            valid_from: key.valid_from,
            valid_until: key.valid_until,
            revoked_at: key.revoked_at,
        })
        .collect();
    signing_keys.sort_by(|a, b| a.kid.cmp(&b.kid));
    let tls = keys.tls.into_iter().map(|key| Connects {
        spki_sha256: key.spki_sha256,
        revoked_at: key.revoked_at,
    });
    let mut tls_keys: Vec<_> = tls.collect();
    tls_keys.sort_by_key(|key| key.spki_sha256);
    let caps = partner.caps.iter();
    Party {
        id: partner.id.as_str(),
        name: &partner.name,
        status: partner.status.as_str(),
        net_debit_cap: caps.map(|(currency, cap)| (currency.to_string(), cap.0.to_string())).collect(),
        signing_keys,
        tls_keys,
    }
}
