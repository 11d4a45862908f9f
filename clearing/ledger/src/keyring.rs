//! Partners' keys: which counts when, and which may be registered. Pure; a key that was ever registered stays, so that it never comes back as another's.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use partner_sdk::jws::{VerifyingKey, sha256};
use partner_sdk::wire::keys::{FRESH_SECONDS, KeyState, Keys, SigningKeyEntry, Spki, TlsKeyEntry};
use partner_sdk::{Code, KeyId, PartnerId, Problem};

/// How many keys of a kind a partner may have valid at one instant: the old one and the new one, while it changes over.
const AT_ONCE: usize = 2;
/// How many signing keys a partner may have that are valid or will be: each is read with the directory.
const AHEAD: usize = 8;

/// A key that signs messages.
#[derive(Debug, Clone)]
pub struct Key {
    /// Whose it is.
    pub partner: PartnerId,
    /// The public half.
    pub key: VerifyingKey,
    /// What is issued from then on may be signed with it.
    pub valid_from: Timestamp,
    /// What is issued before then may be signed with it.
    pub valid_until: Option<Timestamp>,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl Key {
    /// Whether something issued at `issued_at` may be signed with it. A revoked key counts for nothing, whatever `issued_at` says: a thief can date back.
    pub fn check(&self, issued_at: Timestamp) -> Result<(), Code> {
        if self.revoked_at.is_some() {
            Err(Code::KeyRevoked)
        } else if issued_at < self.valid_from || self.valid_until.is_some_and(|until| issued_at >= until) {
            Err(Code::KeyNotValid)
        } else {
            Ok(())
        }
    }

    fn state(&self, now: Timestamp) -> KeyState {
        match self.check(now) {
            Ok(()) => KeyState::Valid,
            Err(Code::KeyRevoked) => KeyState::Revoked,
            Err(_) if now < self.valid_from => KeyState::NotYet,
            Err(_) => KeyState::Ended,
        }
    }
}

/// The public key of a partner's TLS certificates.
#[derive(Debug, Clone)]
pub struct TlsKey {
    /// Whose it is.
    pub partner: PartnerId,
    /// When it was registered.
    pub registered_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// What registering a key comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is registered now.
    New,
    /// It was registered before; nothing changes.
    Known,
    /// It was registered before, and ends then.
    Ends(Timestamp),
}

/// All keys of all partners, and whatever other keys there are that no partner may bring.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    signing: HashMap<KeyId, Key>,
    tls: HashMap<Spki, TlsKey>,
    others: Vec<(KeyId, VerifyingKey)>,
}

impl Keyring {
    /// Puts in a signing key, or its newer state.
    pub fn put_signing(&mut self, kid: KeyId, key: Key) {
        self.signing.insert(kid, key);
    }

    /// Puts in a TLS key, or its newer state.
    pub fn put_tls(&mut self, spki: Spki, key: TlsKey) {
        self.tls.insert(spki, key);
    }

    /// Puts in a key that isn't a partner's: one of the operator's people's, or the clearinghouse's own.
    pub fn put_other(&mut self, kid: KeyId, key: VerifyingKey) {
        self.others.push((kid, key));
    }

    /// Whether the kid is somebody's.
    fn is_kid_taken(&self, kid: &KeyId) -> bool {
        self.signing.contains_key(kid) || self.others.iter().any(|(other, _)| other == kid)
    }

    /// Whether the key is somebody's, for whatever use.
    fn is_key_taken(&self, key: &VerifyingKey) -> bool {
        let mut signing = self
            .signing
            .values()
            .map(|other| &other.key)
            .chain(self.others.iter().map(|(_, other)| other));
        signing.any(|other| other == key) || self.tls.contains_key(&spki_of(key))
    }

    /// Whether a key that isn't to be a partner's is new, by its id and by itself: in the trail, one kid and one key are one party's.
    pub fn admit_other(&self, kid: &KeyId, key: &VerifyingKey) -> Result<(), Box<Problem>> {
        if self.is_kid_taken(kid) {
            Err(taken("kid"))
        } else if self.is_key_taken(key) {
            Err(taken("public_key"))
        } else {
            Ok(())
        }
    }

    /// The signing key of this id, whatever its state.
    pub fn signing(&self, kid: &KeyId) -> Option<&Key> {
        self.signing.get(kid)
    }

    /// A partner's signing key, if it counts at `issued_at`.
    pub fn usable(&self, kid: &KeyId, partner: &PartnerId, issued_at: Timestamp) -> Result<&Key, Code> {
        let key = self
            .signing
            .get(kid)
            .filter(|key| key.partner == *partner)
            .ok_or(Code::UnknownKey)?;
        key.check(issued_at).map(|()| key)
    }

    /// The TLS key, whatever its state.
    pub fn tls(&self, spki: &Spki) -> Option<&TlsKey> {
        self.tls.get(spki)
    }

    /// Whose certificate this is, unless its key was revoked.
    pub fn partner_of(&self, spki: &Spki) -> Option<&PartnerId> {
        self.tls.get(spki).filter(|key| key.revoked_at.is_none()).map(|key| &key.partner)
    }

    /// A partner's keys as it sees them, oldest first.
    pub fn of(&self, partner: &PartnerId, now: Timestamp) -> Keys {
        let signing = self.signing.iter().filter(|(_, key)| key.partner == *partner);
        let mut signing: Vec<_> = signing
            .map(|(kid, key)| SigningKeyEntry {
                kid: kid.clone(),
                public_key: key.key.to_base64url(),
                state: key.state(now),
                valid_from: key.valid_from,
                valid_until: key.valid_until,
                registered_at: key.registered_at,
                revoked_at: key.revoked_at,
            })
            .collect();
        signing.sort_by(|a, b| (a.registered_at, &a.kid).cmp(&(b.registered_at, &b.kid)));
        let tls = self.tls.iter().filter(|(_, key)| key.partner == *partner);
        let mut tls: Vec<_> = tls
            .map(|(spki, key)| TlsKeyEntry {
                spki_sha256: *spki,
                state: if key.revoked_at.is_some() {
                    KeyState::Revoked
                } else {
                    KeyState::Valid
                },
                registered_at: key.registered_at,
                revoked_at: key.revoked_at,
            })
            .collect();
        tls.sort_by_key(|key| (key.registered_at, key.spki_sha256));
        Keys { signing, tls }
    }

    /// Whether a signing key may be registered, or one that is may be ended earlier. `now` is the clearinghouse's time.
    pub fn admit_signing(&self, kid: &KeyId, new: &Key, now: Timestamp) -> Result<Admission, Box<Problem>> {
        let ends_wrong = || {
            refusal(
                Code::BadValue,
                "valid_until must be later than valid_from and than now",
                "valid_until",
            )
        };
        if let Some(known) = self.signing.get(kid) {
            if known.partner != new.partner || known.key != new.key {
                return Err(taken("kid"));
            }
            if known.revoked_at.is_some() {
                return Err(refusal(Code::KeyRevoked, Code::KeyRevoked.title(), "kid"));
            }
            // Only ever earlier: then a recording of an older request changes nothing.
            return match new.valid_until {
                Some(until) if known.valid_until.is_none_or(|known| until < known) => {
                    if until < now || until <= known.valid_from {
                        return Err(ends_wrong());
                    }
                    Ok(Admission::Ends(until))
                }
                _ => Ok(Admission::Known),
            };
        }
        if new.valid_until.is_some_and(|until| until <= new.valid_from || until <= now) {
            return Err(ends_wrong());
        }
        self.admit_other(kid, &new.key)?;
        if self.crowded(new, now) {
            return Err(refusal(Code::TooManyKeys, Code::TooManyKeys.title(), "kid"));
        }
        Ok(Admission::New)
    }

    /// Whether the partner would have too many signing keys that haven't ended, or at some instant from now on more than two that are valid.
    fn crowded(&self, new: &Key, now: Timestamp) -> bool {
        let others: Vec<&Key> = self
            .signing
            .values()
            .filter(|key| key.partner == new.partner && key.revoked_at.is_none() && key.valid_until.is_none_or(|until| until > now))
            .collect();
        if others.len() >= AHEAD {
            return true;
        }
        // The number grows only where a key begins.
        let begins = others.iter().map(|key| key.valid_from).chain([new.valid_from]);
        begins.map(|at| at.max(now)).any(|at| {
            let valid = others.iter().filter(|key| key.check(at).is_ok()).count();
            new.check(at).is_ok() && valid >= AT_ONCE
        })
    }

    /// Whether a TLS key may be registered.
    pub fn admit_tls(&self, spki: &Spki, partner: &PartnerId) -> Result<Admission, Box<Problem>> {
        let refused = |code: Code| refusal(code, code.title(), "csr");
        match self.tls.get(spki) {
            Some(known) if known.partner != *partner => return Err(refused(Code::KeyTaken)),
            Some(known) if known.revoked_at.is_some() => return Err(refused(Code::KeyRevoked)),
            Some(_) => return Ok(Admission::Known),
            None => {}
        }
        let signing = self.signing.values().map(|key| &key.key);
        if signing
            .chain(self.others.iter().map(|(_, key)| key))
            .any(|key| spki_of(key) == *spki)
        {
            return Err(refused(Code::KeyTaken));
        }
        let valid = self.tls.values().filter(|key| key.partner == *partner && key.revoked_at.is_none());
        if valid.count() >= AT_ONCE {
            return Err(refused(Code::TooManyKeys));
        }
        Ok(Admission::New)
    }
}

fn taken(field: &'static str) -> Box<Problem> {
    refusal(Code::KeyTaken, Code::KeyTaken.title(), field)
}

fn refusal(code: Code, why: &str, field: &'static str) -> Box<Problem> {
    Box::new(Problem::new(code, why).at(Some(field)))
}

/// The SubjectPublicKeyInfo hash that this key would have in a certificate (RFC 8410): one key must not serve for both.
fn spki_of(key: &VerifyingKey) -> Spki {
    const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    Spki(sha256(&[&ED25519[..], key.as_bytes()].concat()))
}

/// Whether a request about keys was issued now: at most 10 s ahead and 5 minutes old.
pub fn fresh(issued_at: Timestamp, now: Timestamp) -> Result<(), Box<Problem>> {
    let age = now.duration_since(issued_at);
    let refused = |code: Code, why: &str| Err(refusal(code, why, "issued_at"));
    if age < SignedDuration::from_secs(-10) {
        refused(Code::IssuedInFuture, Code::IssuedInFuture.title())
    } else if age > SignedDuration::from_secs(FRESH_SECONDS) {
        let problem = *refusal(Code::Stale, "a request about keys may be at most 5 minutes old", "issued_at");
        Err(Box::new(problem.advise("Sign it anew, and send it within 5 minutes.")))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use partner_sdk::jws::SigningKey;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    fn kid(text: &str) -> KeyId {
        text.parse().expect("a kid")
    }

    fn key(partner: &str, secret: u8, from: i64, until: Option<i64>) -> Key {
        Key {
            partner: partner.parse().expect("a partner"),
            key: SigningKey::from_bytes(kid("x"), &[secret; 32]).verifying_key(),
            valid_from: at(from),
            valid_until: until.map(at),
            registered_at: at(0),
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_counts_in_its_time_and_never_once_revoked() {
        let mut one = key("a", 1, 10, Some(20));
        let all = |one: &Key| [9, 10, 19, 20].map(|seconds| one.check(at(seconds)));
        assert_eq!(all(&one), [Err(Code::KeyNotValid), Ok(()), Ok(()), Err(Code::KeyNotValid)]);
        one.revoked_at = Some(at(15));
        assert_eq!(all(&one), [Err(Code::KeyRevoked); 4]);
    }

    #[test]
    fn at_most_two_are_valid_at_any_instant() {
        let mut ring = Keyring::default();
        ring.put_signing(kid("1"), key("a", 1, 0, Some(100)));
        ring.put_signing(kid("2"), key("a", 2, 50, None));
        ring.put_signing(kid("b"), key("b", 9, 0, None));
        let admit = |ring: &Keyring, from, until, now| {
            ring.admit_signing(&kid("3"), &key("a", 3, from, until), at(now))
                .map_err(|p| p.code)
        };
        let (new, crowded) = (Ok(Admission::New), Err(Code::TooManyKeys));
        assert_eq!(admit(&ring, 0, None, 10), crowded, "three from 50 on");
        assert_eq!(admit(&ring, 0, Some(50), 10), new, "gone when the second begins");
        assert_eq!(admit(&ring, 99, None, 10), crowded);
        assert_eq!(admit(&ring, 100, None, 10), new, "comes when the first has ended");
        assert_eq!(admit(&ring, 0, None, 100), new, "what has ended doesn't count");
        let mut revoked = key("a", 1, 0, Some(100));
        revoked.revoked_at = Some(at(5));
        ring.put_signing(kid("1"), revoked);
        assert_eq!(admit(&ring, 0, None, 10), new, "nor what was revoked");
        ring.put_signing(kid("4"), key("a", 4, 200, None));
        assert_eq!(admit(&ring, 0, None, 10), crowded, "nor may it be too many later");
    }

    #[test]
    fn a_key_is_one_partners_for_one_use_and_ends_only_earlier() {
        let mut ring = Keyring::default();
        ring.put_signing(kid("1"), key("a", 1, 0, None));
        let admit = |ring: &Keyring, name, new: Key| ring.admit_signing(&kid(name), &new, at(10)).map_err(|p| p.code);
        assert_eq!(admit(&ring, "1", key("a", 1, 0, None)), Ok(Admission::Known));
        assert_eq!(admit(&ring, "1", key("a", 1, 0, Some(20))), Ok(Admission::Ends(at(20))));
        assert_eq!(admit(&ring, "1", key("a", 1, 0, Some(9))), Err(Code::BadValue), "the past stays");
        for (name, other) in [
            ("1", key("a", 2, 0, None)),
            ("1", key("b", 1, 0, None)),
            ("2", key("a", 1, 0, None)),
            ("2", key("b", 1, 0, None)),
        ] {
            assert_eq!(admit(&ring, name, other), Err(Code::KeyTaken));
        }
        ring.put_signing(kid("1"), key("a", 1, 0, Some(20)));
        assert_eq!(admit(&ring, "1", key("a", 1, 0, Some(30))), Ok(Admission::Known), "never later");
        assert_eq!(admit(&ring, "2", key("a", 2, 10, Some(10))), Err(Code::BadValue));

        let (a, b): (PartnerId, PartnerId) = ("a".parse().expect("a partner"), "b".parse().expect("a partner"));
        let tls = |revoked: bool| TlsKey {
            partner: a.clone(),
            registered_at: at(0),
            revoked_at: revoked.then(|| at(1)),
        };
        let both = spki_of(&key("a", 1, 0, None).key);
        assert_eq!(
            ring.admit_tls(&both, &a).map_err(|p| p.code),
            Err(Code::KeyTaken),
            "it signs messages"
        );
        ring.put_tls(spki_of(&key("a", 3, 0, None).key), tls(true));
        assert_eq!(admit(&ring, "3", key("a", 3, 0, None)), Err(Code::KeyTaken), "it was a TLS key");
        ring.put_tls(Spki([1; 32]), tls(false));
        assert_eq!(ring.admit_tls(&Spki([1; 32]), &a), Ok(Admission::Known));
        assert_eq!(ring.admit_tls(&Spki([1; 32]), &b).map_err(|p| p.code), Err(Code::KeyTaken));
        assert_eq!(ring.admit_tls(&Spki([2; 32]), &a), Ok(Admission::New), "the second");
        ring.put_tls(Spki([2; 32]), tls(false));
        assert_eq!(ring.admit_tls(&Spki([3; 32]), &a).map_err(|p| p.code), Err(Code::TooManyKeys));
        ring.put_tls(Spki([2; 32]), tls(true));
        assert_eq!(
            ring.admit_tls(&Spki([2; 32]), &a).map_err(|p| p.code),
            Err(Code::KeyRevoked),
            "never again"
        );
        assert_eq!(ring.admit_tls(&Spki([3; 32]), &a), Ok(Admission::New));
    }

    #[test]
    fn keys_to_come_are_few() {
        let mut ring = Keyring::default();
        let key_no = |no: u8, from: i64| key("a", no, from, Some(from + 1));
        let admit = |ring: &Keyring, now| ring.admit_signing(&kid("last"), &key_no(99, 1000), at(now)).map_err(|p| p.code);
        for no in 1..=8 {
            assert_eq!(admit(&ring, 0), Ok(Admission::New), "{no}");
            ring.put_signing(kid(&format!("a-{no}")), key_no(no, 10 * i64::from(no)));
        }
        assert_eq!(admit(&ring, 0), Err(Code::TooManyKeys));
        assert_eq!(admit(&ring, 10), Err(Code::TooManyKeys), "the first is valid");
        assert_eq!(admit(&ring, 11), Ok(Admission::New), "the first has ended");
        let mut revoked = key_no(8, 80);
        revoked.revoked_at = Some(at(0));
        ring.put_signing(kid("a-8"), revoked);
        assert_eq!(admit(&ring, 0), Ok(Admission::New), "one is revoked");
    }

    #[test]
    fn other_parties_kids_and_keys_are_theirs() {
        let mut ring = Keyring::default();
        let (person, partner) = (key("x", 7, 0, None).key, key("a", 1, 0, None));
        ring.put_other(kid("person-1"), person.clone());
        ring.put_signing(kid("a-1"), partner.clone());
        ring.put_tls(
            spki_of(&key("a", 3, 0, None).key),
            TlsKey {
                partner: partner.partner.clone(),
                registered_at: at(0),
                revoked_at: None,
            },
        );
        let refused = |done: Result<Admission, Box<Problem>>| done.map_err(|p| (p.code, p.field)).expect_err("taken");
        let why = |field: &str| (Code::KeyTaken, Some(field.to_owned()));
        assert_eq!(
            refused(ring.admit_signing(&kid("person-1"), &key("a", 2, 0, None), at(1))),
            why("kid")
        );
        assert_eq!(
            refused(ring.admit_signing(&kid("a-2"), &key("a", 7, 0, None), at(1))),
            why("public_key")
        );
        assert_eq!(refused(ring.admit_tls(&spki_of(&person), &partner.partner)), why("csr"));
        for (name, secret, field) in [
            ("person-1", 2, "kid"),
            ("a-1", 2, "kid"),
            ("new", 7, "public_key"),
            ("new", 1, "public_key"),
            ("new", 3, "public_key"),
        ] {
            let admitted = ring
                .admit_other(&kid(name), &key("x", secret, 0, None).key)
                .map(|()| Admission::New);
            assert_eq!(refused(admitted), why(field), "{name} {secret}");
        }
        assert!(ring.admit_other(&kid("new"), &key("x", 2, 0, None).key).is_ok());
    }

    #[test]
    fn the_hash_is_that_of_a_certificate_with_the_key() {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        use rcgen::PublicKeyData;
        let key = VerifyingKey::from_bytes(pair.der_bytes()).expect("a key");
        assert_eq!(spki_of(&key).0, sha256(&pair.subject_public_key_info()));
    }
}
