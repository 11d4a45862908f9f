//! TLS keys that a test knows.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use partner_sdk::jws::SigningKey;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// The certificate request for an Ed25519 key that signs something else, and that key: both PEM.
pub fn request_with(key: &SigningKey, id: &str) -> (String, String) {
    // PKCS#8 (RFC 8410) of Ed25519: 16 bytes, then the seed.
    let mut pkcs8 = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    pkcs8.extend(URL_SAFE_NO_PAD.decode(key.secret_base64url()).expect("a secret"));
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(pkcs8), &rcgen::PKCS_ED25519).expect("a key");
    let mut asks = rcgen::CertificateParams::default();
    asks.distinguished_name.push(rcgen::DnType::CommonName, id);
    let request = asks.serialize_request(&pair).and_then(|csr| csr.pem()).expect("a request");
    (request, pair.serialize_pem())
}
