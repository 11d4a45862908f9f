//! Partners' keys: enrolment, rotation, revocation. Every change is signed by a key that counts, and is in place when it is answered.

use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use migrations::Conn;
use partner_sdk::jws::{Compact, KeyError, VerifyingKey, sha256_hex};
use partner_sdk::log::note::NoteKey;
use partner_sdk::wire::MessageError;
use partner_sdk::wire::keys::{
    Certified, Enrolled, Enrolment, Issued, KeyProof, NewCertificate, NewKey, Revocation, Spki, TYP_CERTIFICATE, TYP_ENROLMENT, TYP_KEY,
    TYP_KEY_PROOF, TYP_REVOCATION,
};
use partner_sdk::{Code, KeyId, PartnerId, Problem};

use super::failure::Failure;
use super::params::Params;
use super::request::{DOCUMENTS, State, body, caller, heard_step, on_database};
use crate::office::install;
use crate::office::pki::{self, PkiError};
use crate::posting::verify::Refused;
use ledger::directory::Directory;
use ledger::keyring::fresh;
use store::invitations;
use store::keys::{self, By, Changed, KeysError, NewSigningKey};

/// The largest body about keys, in bytes: a certificate request with an RSA key of 8,192 bits has room.
const MAX_BODY: usize = 16 * 1024;

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self(refused.problem)
    }
}

impl From<Box<Problem>> for Failure {
    fn from(problem: Box<Problem>) -> Self {
        Self(problem)
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Db(error) => error.into(),
            KeysError::Refused(problem) => Self(problem),
        }
    }
}

async fn text(request: &HttpRequest, payload: web::Payload) -> Result<String, Failure> {
    let bytes = body(request, payload, MAX_BODY).await?;
    let text = String::from_utf8(bytes).map_err(|_| Problem::new(Code::MalformedJws, "the body isn't text"))?;
    Ok(text)
}

/// Verifies a request with a key of the caller's that is valid now, and reads it.
fn signed<T>(
    text: &str,
    typ: &str,
    (partner, directory, now): (&PartnerId, &Directory, Timestamp),
    parse: fn(&[u8]) -> Result<T, MessageError>,
    issued: fn(&T) -> &Issued,
) -> Result<(T, KeyId), Failure> {
    let jws = Compact::parse_as(text.trim_end(), typ).map_err(Refused::from)?;
    // A partner that may not post may still look after its keys.
    let known = directory.keys.signing(&jws.kid).filter(|key| key.partner == *partner);
    let key = known.ok_or_else(|| Problem::new(Code::UnknownKey, Code::UnknownKey.title()).at(Some("kid")))?;
    jws.verify(&key.key).map_err(Refused::from)?;
    let asked = parse(&jws.payload).map_err(unreadable)?;
    let issued_at = issued(&asked).issued_at;
    fresh(issued_at, now)?;
    key.check(issued_at)
        .map_err(|code| Problem::new(code, code.title()).at(Some("kid")))?;
    Ok((asked, jws.kid))
}

fn unreadable(error: MessageError) -> Problem {
    Problem::new(error.code, error.to_string()).at(error.source.field())
}

fn public_key(text: &str) -> Result<VerifyingKey, Failure> {
    VerifyingKey::from_base64url(text).map_err(|error| {
        let code = match error {
            KeyError::Weak => Code::WeakKey,
            KeyError::Encoding => Code::BadValue,
        };
        Problem::new(code, error.to_string()).at(Some("public_key")).into()
    })
}

/// Logs what is done by now: which of its keys asked for it, under which id.
fn log(partner: &PartnerId, kid: &KeyId, issued: &Issued, done: &'static str) {
    tracing::info!(%partner, id = %issued.id, %kid, done, "a partner looks after its keys");
}

/// Puts the changed reference data in place at once, and wakes who waits for news.
fn put(state: &State, changed: &Changed) {
    state.reference.put(&changed.directory);
    state.news.send_replace(changed.newest);
}

/// The same, and shows the caller its keys.
fn show(state: &State, partner: &PartnerId, changed: &Changed) -> HttpResponse {
    put(state, changed);
    HttpResponse::Ok().json(changed.directory.keys.of(partner, state.clock.now()))
}

/// `GET /v1/keys`: the caller's own.
pub async fn list(request: HttpRequest, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory) = caller(&request, &state)?;
    Params::none(&request)?;
    Ok(HttpResponse::Ok().json(directory.keys.of(&partner, state.clock.now())))
}

/// `POST /v1/keys`: a further signing key, with a proof by that key itself; or the end of one.
pub async fn add(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory, text) = heard_step(&request, payload, &state, MAX_BODY, DOCUMENTS).await?;
    let now = state.clock.now();
    let (new, kid) = signed(&text, TYP_KEY, (&partner, &directory, now), NewKey::parse, |new| &new.issued)?;
    let key = public_key(&new.public_key)?;
    prove(&new, &partner, &key)?;
    let is_new = directory.keys.signing(&new.kid).is_none();
    if is_new && new.valid_from.is_some_and(|from| from < keys::earliest(now)) {
        return Err(
            Problem::new(Code::BadValue, "`valid_from` of a new key is at the earliest 5 minutes ago")
                .at(Some("valid_from"))
                .into(),
        );
    }
    let signing = NewSigningKey {
        partner: partner.clone(),
        kid: new.kid,
        key,
        valid_from: new.valid_from.unwrap_or(now),
        valid_until: new.valid_until,
    };
    let changed = on_database(&state, move |conn| {
        let by = By::Partner(&signing.partner, &kid, new.issued.issued_at, text.trim_end());
        let changed = keys::add_signing(conn, &signing, &by, now)?;
        log(&signing.partner, &kid, &new.issued, "signing key");
        Ok(changed)
    })
    .await?;
    Ok(show(&state, &partner, &changed))
}

/// Whether the new key itself says that it is this partner's, under this id.
fn prove(new: &NewKey, partner: &PartnerId, key: &VerifyingKey) -> Result<(), Failure> {
    let refused = |code: Code, why: &str| Failure::from(Problem::new(code, why).at(Some("proof")));
    let jws = Compact::parse_as(&new.proof, TYP_KEY_PROOF).map_err(|error| refused(Refused::from(error).problem.code, "not a proof"))?;
    jws.verify(key)
        .map_err(|_| refused(Code::BadSignature, "the proof isn't signed by the new key"))?;
    let proof = KeyProof::parse(&jws.payload).map_err(|error| refused(error.code, "the proof can't be read"))?;
    let same = jws.kid == new.kid && proof.kid == new.kid && proof.public_key == new.public_key && proof.partner == *partner;
    if same {
        Ok(())
    } else {
        Err(refused(Code::BadValue, "the proof is about another key, kid or partner"))
    }
}

/// `POST /v1/certificates`: a certificate for a further TLS key, or a new one for a key that is registered.
pub async fn certificate(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory, text) = heard_step(&request, payload, &state, MAX_BODY, DOCUMENTS).await?;
    let now = state.clock.now();
    let (new, kid) = signed(&text, TYP_CERTIFICATE, (&partner, &directory, now), NewCertificate::parse, |new| {
        &new.issued
    })?;
    let signer = state.clone();
    let (certified, changed) = on_database(&state, move |conn| {
        let certified = certify(&signer, &new.csr, &partner)?;
        let by = By::Partner(&partner, &kid, new.issued.issued_at, text.trim_end());
        let changed = keys::add_tls(conn, &partner, certified.spki_sha256, &by, now)?;
        log(&partner, &kid, &new.issued, "certificate");
        Ok((certified, changed))
    })
    .await?;
    put(&state, &changed);
    Ok(HttpResponse::Ok().json(certified))
}

/// `POST /v1/revocations`: the end of one of the caller's keys, at once and for good.
pub async fn revoke(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory, text) = heard_step(&request, payload, &state, MAX_BODY, DOCUMENTS).await?;
    let now = state.clock.now();
    let caller = (&partner, &*directory, now);
    let (revocation, kid) = signed(&text, TYP_REVOCATION, caller, Revocation::parse, |revocation| &revocation.issued)?;
    let owner = partner.clone();
    let changed = on_database(&state, move |conn| {
        let by = By::Partner(&owner, &kid, revocation.issued.issued_at, text.trim_end());
        let changed = keys::revoke(conn, &revocation.key, &revocation.reason, &by, now)?;
        log(&owner, &kid, &revocation.issued, "revocation");
        Ok(changed)
    })
    .await?;
    Ok(show(&state, &partner, &changed))
}

/// `POST /v1/enrolments` on the listener of its own: a partner's first keys, for an invitation.
pub async fn enrol(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let text = text(&request, payload).await?;
    let jws = Compact::parse_as(text.trim_end(), TYP_ENROLMENT).map_err(Refused::from)?;
    let enrolment = Enrolment::parse(&jws.payload).map_err(unreadable)?;
    let key = public_key(&enrolment.public_key)?;
    jws.verify(&key).map_err(Refused::from)?;
    if jws.kid != enrolment.kid {
        return Err(Problem::new(Code::BadValue, "`kid` of header and payload differ")
            .at(Some("kid"))
            .into());
    }
    let (signer, partner) = (state.clone(), enrolment.partner.clone());
    let (enrolled, changed) = on_database(&state, move |conn| enrol_with(conn, &signer, &enrolment, &key)).await?;
    put(&state, &changed);
    tracing::info!(%partner, kid = %enrolled.kid, "a partner has enrolled");
    Ok(HttpResponse::Ok().json(enrolled))
}

fn enrol_with(conn: &mut Conn, state: &State, enrolment: &Enrolment, key: &VerifyingKey) -> Result<(Enrolled, Changed), Failure> {
    let (now, partner) = (state.clock.now(), &enrolment.partner);
    let token_sha256 = sha256_hex(enrolment.token.as_bytes());
    // Nobody without an invitation has the CA sign anything; whether it is still good is looked at again where it is used up.
    if !invitations::is_invited(conn, partner, &token_sha256, now)? {
        return Err(Failure::new(Code::InvitationInvalid));
    }
    let certified = certify(state, &enrolment.csr, partner)?;
    let signing = (&enrolment.kid, key);
    let changed = invitations::enrol(conn, &token_sha256, partner, certified.spki_sha256, signing, now)?;
    let enrolled = Enrolled {
        certificate: certified.certificate,
        client_ca: certified.client_ca,
        kid: enrolment.kid.clone(),
        clearing_kid: state.key.kid().clone(),
        clearing_public_key: state.key.verifying_key().to_base64url(),
        log_keys: log_keys(conn, &state.signer.origin)?,
    };
    Ok((enrolled, changed))
}

/// The log's keys, a line each, the oldest first.
fn log_keys(conn: &mut Conn, origin: &str) -> Result<String, Failure> {
    let all = keys::log_keys(conn, origin)?.into_iter();
    let lines = all.map(|key| NoteKey::new(origin, key).map(|key| format!("{key}\n")));
    lines.collect::<Result<_, _>>().map_err(|_| Failure::new(Code::Internal))
}

/// Signs a certificate with the CA, whose key may be kept elsewhere while nothing is signed. It is worth nothing until its key is registered.
fn certify(state: &State, csr: &str, partner: &PartnerId) -> Result<Certified, Failure> {
    let ca = install::client_ca(&state.signing).map_err(|error| {
        tracing::warn!(error = format!("{error:#}"), "no certificate can be signed");
        Failure::new(Code::SigningUnavailable)
    })?;
    let internal = |error: &dyn std::error::Error| {
        tracing::error!(error = crate::telemetry::chain(error), "signing a certificate failed");
        Failure::new(Code::Internal)
    };
    // Certificates are compared with the machine's clock, so this is its time.
    let certificate = pki::sign_own_request(&ca, csr, partner, Timestamp::now()).map_err(|error| match error {
        PkiError::Request(_) | PkiError::Key | PkiError::Name => {
            Problem::new(Code::BadCertificateRequest, error.to_string()).at(Some("csr")).into()
        }
        other => internal(&other),
    })?;
    let spki: Spki = install::spki_of_pem(&certificate).map_err(|error| internal(&*error))?;
    Ok(Certified {
        certificate,
        client_ca: ca.cert_pem,
        spki_sha256: spki,
    })
}
