//! Verification with tables of a key's multiples, for keys that verify much: it judges exactly as `verify_strict` does, and takes about four fifths of its time.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, Weak};

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, VartimeEdwardsPrecomputation};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimePrecomputedMultiscalarMul;
use sha2::{Digest, Sha512};

/// Multiples of a key that isn't weak, and of the base point: some 16 KiB.
pub(super) struct Table {
    key: [u8; 32],
    multiples: VartimeEdwardsPrecomputation,
}

/// The tables that somebody has: whoever reads the same keys again finds theirs.
static TABLES: LazyLock<Mutex<HashMap<[u8; 32], Weak<Table>>>> = LazyLock::new(Mutex::default);

impl Table {
    /// The table of a key, made at the first time; `None` where the bytes are no point.
    pub(super) fn of(key: &[u8; 32]) -> Option<Arc<Self>> {
        let mut tables = TABLES.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(table) = tables.get(key).and_then(Weak::upgrade) {
            return Some(table);
        }
        let point = CompressedEdwardsY(*key).decompress()?;
        let multiples = VartimeEdwardsPrecomputation::new([-point, ED25519_BASEPOINT_POINT]);
        let table = Arc::new(Self { key: *key, multiples });
        tables.retain(|_, table| table.strong_count() > 0);
        tables.insert(*key, Arc::downgrade(&table));
        Some(table)
    }

    /// Whether R of the signature is, to the byte, sB - kA (RFC 8032 section 5.1.7, without the cofactor), s is canonical, and R isn't of small order. What isn't the
    /// canonical encoding of a point is no such R, so R needn't be decompressed.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let (r, s) = signature.split_at(32);
        let s = <[u8; 32]>::try_from(s)
            .ok()
            .and_then(|s| Option::<Scalar>::from(Scalar::from_canonical_bytes(s)));
        let Some(s) = s else { return false };
        let hash = Sha512::new()
            .chain_update(r)
            .chain_update(self.key)
            .chain_update(message)
            .finalize();
        let k = Scalar::from_bytes_mod_order_wide(&hash.into());
        let expected = self.multiples.vartime_multiscalar_mul([k, s]);
        expected.compress().as_bytes() == r && !expected.is_small_order()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

    use super::*;

    /// Encodings of the points of small order, canonical and not: as `R` or `A` nobody may be believed with them.
    const SMALL: [&str; 14] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let mut out = [0; N];
        for (byte, digits) in out.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).expect("digits"), 16).expect("hex");
        }
        out
    }

    struct Draw(u64);

    impl Draw {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        }

        fn below(&mut self, n: usize) -> usize {
            usize::try_from(self.next() % n as u64).expect("small")
        }

        fn fill<const N: usize>(&mut self) -> [u8; N] {
            let mut out = [0; N];
            out.iter_mut().for_each(|byte| *byte = self.next().to_le_bytes()[0]);
            out
        }
    }

    /// Both judge alike; what was judged.
    fn alike(key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        let table = Table::of(key.as_bytes()).expect("a point");
        let strict = key.verify_strict(message, &Signature::from_bytes(signature)).is_ok();
        // Where the key is weak, no table is asked: such a key is never registered.
        if !key.is_weak() {
            assert_eq!(table.verifies(message, signature), strict, "{key:?} {message:?} {signature:?}");
        }
        strict
    }

    /// L, the order of the base point's group, in little-endian bytes, added to s: the same residue, and not canonical.
    fn plus_order(s: &mut [u8]) {
        let order: [u8; 32] = bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut carry = 0;
        for (byte, add) in s.iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
    }

    /// `VERIFIED` of them by wish; each is mutated in a way of its own.
    #[test]
    fn random_and_mutated_signatures_are_judged_as_verify_strict_does() {
        let wish = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seed = wish("SEED").unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs());
        println!("SEED={seed}");
        let (mut draw, mut counts) = (Draw(seed), [0u64; 2]);
        let mut signer = SigningKey::from_bytes(&draw.fill());
        for round in 0..wish("VERIFIED").unwrap_or(3_000) {
            if round % 100 == 0 {
                signer = SigningKey::from_bytes(&draw.fill());
            }
            let mut message = draw.fill::<24>();
            let mut signature = signer.sign(&message).to_bytes();
            match draw.below(8) {
                0 | 1 => {}
                2 => signature[draw.below(64)] ^= 1 << draw.below(8),
                3 => message[draw.below(24)] ^= 1 << draw.below(8),
                4 => plus_order(&mut signature[32..]),
                5 => signature[..32].copy_from_slice(&bytes::<32>(SMALL[draw.below(SMALL.len())])),
                6 => signature = draw.fill(),
                _ => signature[32..].fill(0),
            }
            let key = signer.verifying_key();
            counts[usize::from(alike(&key, &message, &signature))] += 1;
        }
        assert!(counts[0] > 1_000 && counts[1] > 300, "{counts:?}");
    }

    /// With a key or an R of small order, and s that makes the equation hold: each refused by both, whatever stands in the other places.
    #[test]
    fn points_of_small_order_are_refused() {
        let signer = SigningKey::from_bytes(&[9; 32]);
        for r in SMALL {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&bytes::<32>(r));
            for n in 0..64u8 {
                assert!(!alike(&signer.verifying_key(), &[n], &signature));
                for a in SMALL {
                    if let Ok(key) = VerifyingKey::from_bytes(&bytes(a)) {
                        assert!(!alike(&key, &[n], &signature));
                    }
                }
            }
        }
    }

    /// Whoever has the private key can make R the neutral element, and the equation holds: s = ka.
    #[test]
    fn an_equation_that_holds_with_an_r_of_small_order_is_not_enough() {
        let signer = SigningKey::from_bytes(&[5; 32]);
        let (key, r) = (signer.verifying_key(), bytes::<32>(SMALL[0]));
        let hash = Sha512::new()
            .chain_update(r)
            .chain_update(key.as_bytes())
            .chain_update([7])
            .finalize();
        let s = Scalar::from_bytes_mod_order_wide(&hash.into()) * signer.to_scalar();
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&r);
        signature[32..].copy_from_slice(s.as_bytes());
        let lax = ed25519_dalek::Verifier::verify(&key, &[7], &Signature::from_bytes(&signature));
        assert!(lax.is_ok(), "the equation holds");
        assert!(!alike(&key, &[7], &signature));
    }

    #[test]
    fn whoever_has_the_same_key_has_the_same_table() {
        let key = SigningKey::from_bytes(&[3; 32]).verifying_key();
        let (one, other) = (
            Table::of(key.as_bytes()).expect("a point"),
            Table::of(key.as_bytes()).expect("a point"),
        );
        assert!(Arc::ptr_eq(&one, &other));
        // Two is no point's y.
        assert!(Table::of(&bytes("0200000000000000000000000000000000000000000000000000000000000000")).is_none());
    }
}
