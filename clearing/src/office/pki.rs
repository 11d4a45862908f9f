//! The clearinghouse's own small PKI: a CA, its server certificate, and partners' certificates from their requests.
//!
//! A certificate only opens the door; who a partner is follows from the pinned hash of its public key, so nothing that a request says
//! about names or rights is taken over. All times here are real ones: the TLS stack compares them with the machine's clock.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use partner_sdk::jws::{SigningKey, sha256};
use partner_sdk::{KeyId, PartnerId};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const CA_DAYS: i64 = 3653;
const SERVER_DAYS: i64 = 825;
const CLIENT_DAYS: i64 = 397;

/// A certificate and its private key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub cert_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issued(..)")
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The request can't be read, its signature isn't good, or it asks for extensions that aren't known here.
    #[error("not a certificate request that can be taken: it has to be PKCS#10 in PEM, signed by its own key, without special extensions")]
    Request(#[source] rcgen::Error),
    /// The request's key isn't of a kind that is accepted.
    #[error("the key must be ECDSA P-256 with SHA-256, ECDSA P-384 with SHA-384, Ed25519, or RSA of 2048 bits and more with SHA-2")]
    Key,
    /// The request names somebody else.
    #[error("the request's common name (CN) has to be the partner's id")]
    Name,
    /// The CA's certificate and key can't be read, or don't belong together.
    #[error("the CA's certificate and key can't be used together")]
    Ca,
    /// A server certificate needs a name.
    #[error("a server certificate needs at least one DNS name or IP address")]
    NoName,
    /// A validity would begin before 1970 or end after 9999.
    #[error("the time is out of range")]
    Time,
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system")]
    Random,
    /// A certificate can't be made.
    #[error("the certificate can't be made")]
    Issue(#[source] rcgen::Error),
    /// A certificate can't be read.
    #[error("not a certificate")]
    Certificate(#[source] webpki::Error),
}

/// A new CA that signs end-entity certificates and revocation lists only, valid for ten years.
pub fn new_ca(name: &str, now: Timestamp) -> Result<Issued, PkiError> {
    let key = KeyPair::generate().map_err(PkiError::Issue)?;
    let mut params = parameters(name, now, CA_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let cert = params.self_signed(&key).map_err(PkiError::Issue)?;
    Ok(Issued {
        cert_pem: cert.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// A server certificate for DNS names and IP addresses, with a new key, valid for 825 days.
pub fn issue_server(ca: &Issued, names: &[String], now: Timestamp) -> Result<Issued, PkiError> {
    let first = names.first().ok_or(PkiError::NoName)?;
    let key = KeyPair::generate().map_err(PkiError::Issue)?;
    let mut params = parameters(first, now, SERVER_DAYS)?;
    params.subject_alt_names = CertificateParams::new(names).map_err(PkiError::Issue)?.subject_alt_names;
    let cert_pem = issue_leaf(ca, params, ExtendedKeyUsagePurpose::ServerAuth, &key)?;
    Ok(Issued {
        cert_pem,
        key_pem: key.serialize_pem(),
    })
}

/// The names and addresses that a server certificate is for, as [`issue_server`] takes them.
pub fn server_names(cert_pem: &str) -> Result<Vec<String>, PkiError> {
    let der = CertificateDer::from_pem_slice(cert_pem.as_bytes()).map_err(|_| PkiError::NoName)?;
    let (_, cert) = X509Certificate::from_der(&der).map_err(|_| PkiError::NoName)?;
    let names = cert.subject_alternative_name().ok().flatten().ok_or(PkiError::NoName)?;
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
            .ok()
            .map(|address| address.to_string()),
        _ => None,
    };
    Ok(names.value.general_names.iter().filter_map(text).collect())
}

/// The CA that a private key belongs to, among the certificates of a file.
pub fn ca_of_key(certs_pem: &str, key_pem: &str) -> Result<Issued, PkiError> {
    let each = certs_pem.split_inclusive("-----END CERTIFICATE-----").map(|cert| Issued {
        cert_pem: format!("{}\n", cert.trim_start()),
        key_pem: key_pem.to_owned(),
    });
    each.into_iter().find(|ca| issuer(ca).is_ok()).ok_or(PkiError::Ca)
}

/// A client certificate for a partner, valid for 397 days. The request's signature is checked, and nothing but its key is taken.
pub fn sign_request(ca: &Issued, csr_pem: &str, partner: &PartnerId, now: Timestamp) -> Result<String, PkiError> {
    let request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(PkiError::Request)?;
    if !is_accepted(&request.public_key) {
        return Err(PkiError::Key);
    }
    issue_leaf(
        ca,
        parameters(partner.as_str(), now, CLIENT_DAYS)?,
        ExtendedKeyUsagePurpose::ClientAuth,
        &request.public_key,
    )
}

/// The same for a request that the partner sends itself: its subject's CN has to be the partner's id, so that nobody brings a request that it has seen as its
/// own.
pub fn sign_own_request(ca: &Issued, csr_pem: &str, partner: &PartnerId, now: Timestamp) -> Result<String, PkiError> {
    let request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(PkiError::Request)?;
    let is_own = match request.params.distinguished_name.get(&DnType::CommonName) {
        Some(DnValue::Utf8String(name)) => name == partner.as_str(),
        Some(DnValue::PrintableString(name)) => name.as_str() == partner.as_str(),
        _ => false,
    };
    if !is_own {
        return Err(PkiError::Name);
    }
    sign_request(ca, csr_pem, partner, now)
}

/// A new key and a certificate request for it: (request, private key), both PEM.
pub fn new_request(partner: &PartnerId) -> Result<(String, String), PkiError> {
    let key = KeyPair::generate().map_err(PkiError::Issue)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(partner.as_str());
    let request = params
        .serialize_request(&key)
        .and_then(|request| request.pem())
        .map_err(PkiError::Issue)?;
    Ok((request, key.serialize_pem()))
}

/// The SHA-256 of a certificate's SubjectPublicKeyInfo (DER): what is pinned to a partner. A new certificate for the same key has the same.
pub fn spki_sha256(cert_der: &[u8]) -> Result<[u8; 32], PkiError> {
    let der = CertificateDer::from(cert_der);
    let cert = webpki::EndEntityCert::try_from(&der).map_err(PkiError::Certificate)?;
    Ok(sha256(&cert.subject_public_key_info()))
}

/// The same of the key in a certificate request.
pub fn request_spki(csr_pem: &str) -> Result<[u8; 32], PkiError> {
    let request = CertificateSigningRequestParams::from_pem(csr_pem).map_err(PkiError::Request)?;
    Ok(sha256(&request.public_key.subject_public_key_info()))
}

/// A new signing key.
pub fn random_key(kid: KeyId) -> Result<SigningKey, PkiError> {
    Ok(SigningKey::from_bytes(kid, &random()?))
}

/// 32 random bytes as unpadded base64url: what only its holder can know.
pub fn random_token() -> Result<String, PkiError> {
    Ok(URL_SAFE_NO_PAD.encode(random()?))
}

/// Writes a secret to a new file that only its owner can read, and makes it durable. Fails where the file exists.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    write_new(path, text, 0o600)?;
    sync_folder(path)
}

/// Reads a secret from a file that is its owner's alone; of root's files the group may read, as where a service is handed its keys. An error names the file
/// and what to do, never what it holds.
pub fn read_secret(path: &Path) -> anyhow::Result<String> {
    use anyhow::Context;
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let found = file.metadata().with_context(|| format!("cannot read {}", path.display()))?;
    let (mode, roots) = (found.permissions().mode() & 0o777, found.uid() == 0 && !is_root());
    let open_to_others = mode & if roots { 0o037 } else { 0o077 };
    anyhow::ensure!(
        open_to_others == 0,
        "{} is open to others (its mode is {mode:04o}): whoever read it has the key; replace it, or if nobody can have read it: chmod 600 {0}",
        path.display()
    );
    let mut text = String::new();
    let read = file.read_to_string(&mut text);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

/// Refuses a file that others than its owner and group may read or write. What it holds, in words, is why.
pub fn not_for_others(path: &Path, holds: &str) -> anyhow::Result<()> {
    use anyhow::Context;
    let found = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mode = found.permissions().mode() & 0o777;
    anyhow::ensure!(
        mode & 0o007 == 0,
        "{} is open to others (its mode is {mode:04o}), and {holds}: chmod o-rwx {0}",
        path.display()
    );
    Ok(())
}

/// Whoever had the key that signs partners' certificates could be the service.
pub const BOTH: &str =
    "tls.server_ca is one of tls.client_ca: the server's certificate comes from a CA of its own, whose certificate alone partners trust";

/// Whether any certificate of these PEM texts has the key of one of the others.
pub fn share_a_key(some: &str, others: &str) -> bool {
    let keys = |pem: &str| -> Vec<[u8; 32]> {
        let read = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
        read.filter_map(|certificate| spki_sha256(&certificate).ok()).collect()
    };
    let others = keys(others);
    keys(some).iter().any(|key| others.contains(key))
}

/// Whether this process is root's, as far as the system says.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Puts a text in the place of a file, or makes the file with these permissions: whoever reads it sees the old or the new, never a part.
pub fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    // What a run that was killed has left.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => write_new(&beside, text, mode)?,
    }
    std::fs::rename(&beside, path)?;
    sync_folder(path)
}

fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    // The file's name is durable only with its folder.
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// A random serial number, and a validity that begins an hour ago, so that clocks may differ.
fn parameters(name: &str, now: Timestamp, days: i64) -> Result<CertificateParams, PkiError> {
    let since_1970 = |hours| {
        let at = now.checked_add(SignedDuration::from_hours(hours)).map_err(|_| PkiError::Time)?;
        u64::try_from(at.as_second()).map(Duration::from_secs).map_err(|_| PkiError::Time)
    };
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // RFC 5280: positive, at most 20 bytes, never twice. The first bits make it positive and of fixed length.
    let mut serial = random()?;
    serial[0] = (serial[0] & 0x7f) | 0x40;
    let mut params = CertificateParams::default();
    params.not_before = epoch + since_1970(-1)?;
    params.not_after = epoch + since_1970(24 * days)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial[..16]));
    params.distinguished_name = common_name(name);
    Ok(params)
}

fn issue_leaf(
    ca: &Issued,
    mut params: CertificateParams,
    usage: ExtendedKeyUsagePurpose,
    key: &impl PublicKeyData,
) -> Result<String, PkiError> {
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    params.signed_by(key, &issuer(ca)?).map(|cert| cert.pem()).map_err(PkiError::Issue)
}

fn issuer(ca: &Issued) -> Result<Issuer<'static, KeyPair>, PkiError> {
    let cert = CertificateDer::from_pem_slice(ca.cert_pem.as_bytes()).map_err(|_| PkiError::Ca)?;
    let key = KeyPair::from_pem(&ca.key_pem).map_err(|_| PkiError::Ca)?;
    if spki_sha256(&cert)? != sha256(&key.subject_public_key_info()) {
        return Err(PkiError::Ca);
    }
    Issuer::from_ca_cert_der(&cert, key).map_err(|_| PkiError::Ca)
}

/// Whether a request's key may be certified. rcgen names a key by the algorithm of the request's signature, so a P-256 key that signs with
/// SHA-384 would be certified as a P-384 one: the lengths tell them apart. A short RSA key doesn't get here, its signature isn't accepted.
fn is_accepted(key: &rcgen::PublicKey) -> bool {
    let (algorithm, length) = (key.algorithm(), key.der_bytes().len());
    let is = |known| algorithm == known;
    is(&rcgen::PKCS_ECDSA_P256_SHA256) && length == 65
        || is(&rcgen::PKCS_ECDSA_P384_SHA384) && length == 97
        || is(&rcgen::PKCS_ED25519) && length == 32
        || [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_RSA_SHA384, &rcgen::PKCS_RSA_SHA512]
            .into_iter()
            .any(is)
}

fn random() -> Result<[u8; 32], PkiError> {
    let mut bytes = [0; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| PkiError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use partner_sdk::jws::to_hex;
    use rustls::pki_types::CertificateSigningRequestDer;

    use super::*;

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
    }

    fn partner() -> PartnerId {
        "wellcome".parse().expect("a partner")
    }

    fn ca() -> Issued {
        new_ca("Clearing CA", Timestamp::now()).expect("a CA")
    }

    fn holds(cert: &[u8], text: &str) -> bool {
        cert.windows(text.len()).any(|part| part == text.as_bytes())
    }

    #[test]
    fn a_request_becomes_a_certificate_for_its_key() {
        let (ca, now) = (ca(), Timestamp::now());
        let (request, key) = new_request(&partner()).expect("a request");
        let cert = |at| der(&sign_request(&ca, &request, &partner(), at).expect("a certificate"));
        let (first, renewed) = (cert(now), cert(now));
        let key = KeyPair::from_pem(&key).expect("a key");
        assert_eq!(spki_sha256(&first).expect("read"), sha256(&key.subject_public_key_info()));
        assert_eq!(spki_sha256(&first).expect("read"), spki_sha256(&renewed).expect("read"));
        assert_ne!(first, renewed, "serial numbers differ");
    }

    #[test]
    fn the_name_is_ours_not_the_requests() {
        let mallory: PartnerId = "mallory".parse().expect("a partner");
        let mut asks = CertificateParams::new(["evil.example".to_owned()]).expect("names");
        asks.distinguished_name = common_name("wellcome");
        asks.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let request = asks
            .serialize_request(&KeyPair::generate().expect("a key"))
            .expect("a request")
            .pem()
            .expect("pem");
        let cert = der(&sign_request(&ca(), &request, &mallory, Timestamp::now()).expect("a certificate"));
        assert!(holds(&cert, "mallory") && !holds(&cert, "wellcome") && !holds(&cert, "evil.example"));
    }

    #[test]
    fn a_request_of_its_own_names_the_partner() {
        let sign = |csr: &str, id: &str| sign_own_request(&ca(), csr, &id.parse().expect("a partner"), Timestamp::now());
        let request = new_request(&partner()).expect("a request").0;
        assert!(sign(&request, "wellcome").is_ok());
        assert!(matches!(sign(&request, "mallory"), Err(PkiError::Name)));
        let mut printable = CertificateParams::default();
        let name = DnValue::PrintableString("wellcome".try_into().expect("printable"));
        printable.distinguished_name = DistinguishedName::new();
        for asks in ["O=wellcome", "CN=wellcome"] {
            let kind = if asks.starts_with("CN") {
                DnType::CommonName
            } else {
                DnType::OrganizationName
            };
            printable.distinguished_name.push(kind, name.clone());
            let key = KeyPair::generate().expect("a key");
            let csr = printable.serialize_request(&key).and_then(|csr| csr.pem()).expect("a request");
            assert_eq!(sign(&csr, "wellcome").is_ok(), asks.starts_with("CN"), "{asks}");
        }
    }

    #[test]
    fn bad_requests_are_refused() {
        let sign = |csr: &str| sign_request(&ca(), csr, &partner(), Timestamp::now());
        for bad in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            &ca().cert_pem,
            RSA_1024,
        ] {
            assert!(matches!(sign(bad), Err(PkiError::Request(_))), "{bad}");
        }
        assert!(matches!(sign(P256_WITH_SHA384), Err(PkiError::Key)));
        // A changed byte in the name: well formed, but no longer signed.
        let request = new_request(&partner()).expect("a request").0;
        let mut der = CertificateSigningRequestDer::from_pem_slice(request.as_bytes())
            .expect("pem")
            .to_vec();
        let name = der.windows(8).position(|part| part == b"wellcome").expect("the name");
        der[name] ^= 1;
        let error = CertificateSigningRequestParams::from_der(&der.into()).expect_err("forged");
        assert_eq!(error, rcgen::Error::InvalidCertificationRequestSignature);
    }

    #[test]
    fn a_ca_works_only_with_its_own_key() {
        let mixed = Issued {
            key_pem: ca().key_pem,
            ..ca()
        };
        assert!(matches!(
            issue_server(&mixed, &["localhost".into()], Timestamp::now()),
            Err(PkiError::Ca)
        ));
        assert!(matches!(issue_server(&ca(), &[], Timestamp::now()), Err(PkiError::NoName)));
        assert!(matches!(new_ca("x", Timestamp::MAX), Err(PkiError::Time)));
        assert!(matches!(new_ca("x", Timestamp::MIN), Err(PkiError::Time)));
        assert!(!format!("{:?}", ca()).contains("BEGIN"));
    }

    #[test]
    fn secrets_are_their_owners() {
        let folder = std::env::temp_dir().join(to_hex(&random().expect("random")));
        std::fs::create_dir(&folder).expect("a folder");
        let path = folder.join("key.pem");
        write_secret(&path, "secret").expect("written");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(
            write_secret(&path, "other").expect_err("exists").kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "secret");
        std::fs::remove_dir_all(&folder).expect("removed");
        let [one, other] = [(); 2].map(|()| random_key("k".parse().expect("kid")).expect("a key").secret_base64url());
        assert_ne!(one, other);
    }

    // Made with `openssl req`.
    const RSA_1024: &str = "
-----BEGIN CERTIFICATE REQUEST-----
MIIBSzCBtQIBADAMMQowCAYDVQQDDAF4MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCB
iQKBgQDbTPgQAG1HcBFfodWAP3Z8RB5hw2MFrwktMznI1tv2spHycq7RhGZrarJp
AgtgeQCATnUVRLYUFBHTE6lwguvxJJDxqLJaOSpkhqVJKBITGLaA8BYw+ncqB6Px
DOxEzWwCChWi8GiFGUFwWCsHTPKNHsWmYoO/Qh3uiXxCvSVJKwIDAQABoAAwDQYJ
KoZIhvcNAQELBQADgYEAZm0RMdHGpbHndNCmJKl7ecPPG/dD0Do1oxO2M7CznFQS
9ztJpXmE1vYA9ilmx9swj7nh2V2xJH6JKFRT7QinuU1K+yzvKHVyg71BPmij/dpH
zMt/PDuKG/9vUnRjpk7DH6fE1dE2wnDpgWVYN/ghmpXp3KQP3cMIlEsaQ5xu4Xc=
-----END CERTIFICATE REQUEST-----
";
    const P256_WITH_SHA384: &str = "
-----BEGIN CERTIFICATE REQUEST-----
MIHFMG4CAQAwDDEKMAgGA1UEAwwBeDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA
BBAR9OsqW/ANPgkBvTVTL3vs3ebMp3Vh+0ECKcYLDUX47A40fPgACcatijz0yg1G
wtynyQ+2ilmZXA6JuWBgW9KgADAKBggqhkjOPQQDAwNHADBEAiBBiDVPiZg2AVe8
2y/LGj0MQyZCF+VBcV9i9Sk2DfgEBAIgVED9/pOH3BMt9kSDj1d89GcUZ+pjSqo3
4/GLg7d1i3g=
-----END CERTIFICATE REQUEST-----
";
}
