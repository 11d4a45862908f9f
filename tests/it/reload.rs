//! Certificates, CAs and revocation lists change under a service that runs, and nobody notices who shouldn't.

use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clearing::edge::tls::Files;
use clearing::office::config::Overdue;
use clearing::office::install;
use clearing::office::pki::{self, Issued};
use jiff::{SignedDuration, Timestamp};
use partner_sdk::client::{Client, ClientError, Identity};
use partner_sdk::{Code, PartnerId};
use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use store::keys;
use tests::{Backend, World, earn};
use x509_parser::prelude::{FromDer, X509Certificate};

const POOL: &str = include_str!("networks/pool.toml");
/// How soon a change has to be in force.
const SOON: Duration = Duration::from_secs(5);

/// A world whose service reads a list of revoked certificates, with nothing on it yet.
fn world() -> (World, PathBuf) {
    let mut world = World::new(Backend::Sqlite, POOL);
    let crl = world.folder().join("crl.pem");
    std::fs::write(&crl, list(&ca(&world), &[], 0)).expect("written");
    world.sandbox.stop();
    world.sandbox.config.tls.crl = Some(crl.clone());
    world.sandbox.start().expect("the service starts");
    world.connect();
    (world, crl)
}

fn ca(world: &World) -> Issued {
    install::client_ca(&world.sandbox.config.tls).expect("the CA")
}

fn server_ca(world: &World) -> Issued {
    install::server_ca(&world.sandbox.config.tls).expect("the CA")
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// A revocation list; one of a later day counts more.
pub fn list(ca: &Issued, revoked: &[&str], day: u8) -> String {
    list_until(ca, revoked, day, (2126, 1))
}

/// One whose successor is due when a month of a year begins.
fn list_until(ca: &Issued, revoked: &[&str], day: u8, (year, month): (i32, u8)) -> String {
    let key = KeyPair::from_pem(&ca.key_pem).expect("a key");
    let issuer = Issuer::from_ca_cert_der(&der(&ca.cert_pem), key).expect("a CA");
    let revoked_certs = revoked.iter().map(|pem| {
        let der = der(pem);
        let (_, cert) = X509Certificate::from_der(&der).expect("a certificate");
        RevokedCertParams {
            serial_number: SerialNumber::from_slice(cert.raw_serial()),
            revocation_time: rcgen::date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }
    });
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1 + day),
        next_update: rcgen::date_time_ymd(year, month, 1),
        crl_number: SerialNumber::from(u64::from(day)),
        issuing_distribution_point: None,
        revoked_certs: revoked_certs.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer).and_then(|list| list.pem()).expect("a list")
}

/// The certificate that the server shows on a new connection.
fn shown(world: &World, identity: &Identity) -> CertificateDer<'static> {
    let config = Arc::new(partner_sdk::client::tls::client_config(identity).expect("settings"));
    let mut tls = rustls::ClientConnection::new(config, "localhost".try_into().expect("a name")).expect("a client");
    let address = world.sandbox.base().expect("it runs").replace("https://localhost", "127.0.0.1");
    let mut socket = TcpStream::connect(address).expect("it listens");
    let _ = tls.writer().write(b"");
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).expect("a handshake");
    }
    tls.peer_certificates().and_then(<[_]>::first).expect("a certificate").clone()
}

/// Waits until `done`; returns how long it took, and fails after five seconds.
fn soon(what: &str, mut done: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SOON, "{what}: not within 5 s");
        std::thread::sleep(Duration::from_millis(20));
    }
    start.elapsed()
}

/// What the service says to a request: nothing, or why not.
fn asks(world: &World, client: &Client) -> Result<(), ClientError> {
    world.runtime.block_on(client.get::<serde_json::Value>("/v1/health")).map(drop)
}

fn code(result: Result<(), ClientError>) -> Option<Code> {
    match result {
        Err(ClientError::Refused(problem)) => Some(problem.code),
        _ => None,
    }
}

fn identity(world: &World, partner: &str) -> Identity {
    let id: PartnerId = partner.parse().expect("a partner");
    world.sandbox.parties.get(&id).expect("of the network").identity.clone()
}

fn connect(world: &World, identity: &Identity) -> Client {
    let base = world.sandbox.base().expect("it runs");
    Client::new(&base, identity, world.sandbox.trust.clone()).expect("a client")
}

#[test]
fn the_certificate_changes_under_load_and_no_request_fails() {
    let mut world = World::new(Backend::Sqlite, POOL);
    let own = identity(&world, "wellcome");
    let (stop, done, failed) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut tasks = vec![];
    for task in 0..4 {
        let messages: Vec<String> = (0..2000)
            .map(|_| {
                let message = world.message("wellcome", earn("YUU", "m1", "1"));
                world.sign(&message)
            })
            .collect();
        let (kept, base, own, key) = (
            connect(&world, &own),
            world.sandbox.base().expect("it runs"),
            own.clone(),
            world.sandbox.trust.clone(),
        );
        let (stop, done, failed) = (stop.clone(), done.clone(), failed.clone());
        tasks.push(world.runtime.spawn(async move {
            for jws in messages.iter().cycle() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                // Two tasks keep their connection, two make a new one for each request.
                let client = if task % 2 == 0 {
                    kept.clone()
                } else {
                    Client::new(&base, &own, key.clone()).expect("a client")
                };
                let good = client.post(jws).await.is_ok_and(|answer| answer.problem.is_none());
                done.fetch_add(1, Ordering::SeqCst);
                failed.fetch_add(usize::from(!good), Ordering::SeqCst);
            }
        }));
    }
    let mut seen = vec![shown(&world, &own)];
    let mut slowest = Duration::ZERO;
    for _ in 0..4 {
        install::renew_server(&world.sandbox.config, &[]).expect("renewed");
        let now = std::fs::read_to_string(&world.sandbox.config.tls.certificate).expect("there");
        slowest = slowest.max(soon("the new certificate", || shown(&world, &own) == der(&now)));
        assert!(!seen.contains(&der(&now)), "it is a new one");
        seen.push(der(&now));
    }
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        world.runtime.block_on(task).expect("a task");
    }
    let done = done.load(Ordering::SeqCst);
    println!("{done} requests over 4 swaps, slowest swap {slowest:?}");
    assert!(done > 200, "{done} requests");
    assert_eq!(failed.load(Ordering::SeqCst), 0, "of {done} requests");
}

#[test]
fn a_second_ca_comes_and_a_list_takes_one_of_its_clients_out() {
    let (world, crl) = world();
    // The same name as the first CA's: a list must count by its signature, or it would shut out the other's clients.
    let other = pki::new_ca("Points clearinghouse client CA", Timestamp::now()).expect("a CA");
    let ikea: PartnerId = "ikea".parse().expect("a partner");
    let (csr, key_pem) = pki::new_request(&ikea).expect("a request");
    let cert_pem = pki::sign_request(&other, &csr, &ikea, Timestamp::now()).expect("a certificate");
    let second = Identity {
        ca_pem: server_ca(&world).cert_pem,
        cert_pem: cert_pem.clone(),
        key_pem,
    };
    let mut conn = world.sandbox.database().expect("a connection");
    let key = world.sandbox.parties.get(&ikea).expect("of the network").key.clone();
    let spki = install::spki_of_pem(&cert_pem).expect("read");
    keys::register(&mut conn, &ikea, spki, key.kid(), &key.verifying_key(), world.now()).expect("registered");
    let refused = asks(&world, &connect(&world, &second)).expect_err("its CA is unknown");
    assert!(matches!(refused, ClientError::Transport(_)), "{refused}");

    let both = ca(&world).cert_pem + &other.cert_pem;
    pki::replace(&world.sandbox.config.tls.client_ca, &both, 0o644).expect("written");
    soon("the second CA", || asks(&world, &connect(&world, &second)).is_ok());
    let (live, first) = (connect(&world, &second), world.client("wellcome"));
    assert!(asks(&world, &live).is_ok() && asks(&world, &first).is_ok());

    // The list of the one CA doesn't concern the other's clients, and of several lists of one CA the latest counts.
    let lists = list(&ca(&world), &[], 0) + &list(&other, &[], 1) + &list(&other, &[&cert_pem], 2);
    pki::replace(&crl, &lists, 0o644).expect("written");
    let took = soon("refused on the live connection", || {
        code(asks(&world, &live)) == Some(Code::CertificateRevoked)
    });
    println!("revoked on the live connection after {took:?}");
    let anew = asks(&world, &connect(&world, &second)).expect_err("revoked");
    assert!(matches!(anew, ClientError::Transport(_)), "{anew}");
    assert!(asks(&world, &first).is_ok() && asks(&world, &connect(&world, &identity(&world, "pool"))).is_ok());

    // Taken off the list it is let in again, and with its CA gone it is out for good.
    pki::replace(&crl, &(list(&ca(&world), &[], 0) + &list(&other, &[], 3)), 0o644).expect("written");
    soon("off the list", || asks(&world, &live).is_ok());
    let one = ca(&world).cert_pem;
    pki::replace(&crl, &list(&ca(&world), &[], 4), 0o644).expect("written");
    pki::replace(&world.sandbox.config.tls.client_ca, &one, 0o644).expect("written");
    soon("its CA withdrawn", || code(asks(&world, &live)) == Some(Code::CertificateRevoked));
    assert!(asks(&world, &first).is_ok());
}

#[test]
fn a_list_that_is_overdue_counts_on_or_refuses_its_ca_s_clients() {
    let (mut world, crl) = world();
    let (own, other) = (identity(&world, "wellcome"), identity(&world, "ikea"));
    let overdue = list_until(&ca(&world), &[&other.cert_pem], 1, (2026, 2));
    std::fs::write(&crl, &overdue).expect("written");
    for (meaning, is_served) in [(Overdue::Warn, true), (Overdue::Refuse, false)] {
        world.sandbox.stop();
        world.sandbox.config.tls.crl_overdue = meaning;
        world.sandbox.start().expect("the service starts");
        assert_eq!(asks(&world, &connect(&world, &own)).is_ok(), is_served, "{meaning:?}");
        let refused = asks(&world, &connect(&world, &other)).expect_err("it is on the list");
        assert!(matches!(refused, ClientError::Transport(_)), "{meaning:?}: {refused}");
    }
    // A newer list, and it goes on.
    pki::replace(&crl, &list(&ca(&world), &[], 2), 0o644).expect("written");
    soon("served with a list that counts", || asks(&world, &connect(&world, &own)).is_ok());
    assert!(asks(&world, &connect(&world, &other)).is_ok(), "off the list");
}

#[test]
fn a_broken_file_changes_nothing() {
    let (world, crl) = world();
    let own = identity(&world, "wellcome");
    let (before, kept) = (shown(&world, &own), world.client("wellcome"));
    let tls = world.sandbox.config.tls.clone();
    let stranger = pki::new_ca("Points clearinghouse client CA", Timestamp::now()).expect("a CA");
    let foreign = pki::issue_server(&stranger, &["localhost".into()], Timestamp::now()).expect("a certificate");
    let text = |path: &Path| std::fs::read_to_string(path).expect("there");
    let cut = |path: &Path| text(path)[..100].to_owned();
    let broken = [
        (&tls.certificate, cut(&tls.certificate)),
        (&tls.certificate, String::new()),
        // A good certificate, but of another key.
        (&tls.certificate, foreign.cert_pem),
        (&tls.key, cut(&tls.key)),
        (&tls.client_ca, String::new()),
        (&tls.client_ca, cut(&tls.client_ca)),
        (&crl, String::new()),
        (&crl, cut(&crl)),
        // A good list that revokes the client, by a CA of the same name that isn't ours.
        (&crl, list(&stranger, &[&own.cert_pem], 9)),
    ];
    for (path, bad) in broken {
        let good = text(path);
        std::fs::write(path, bad).expect("written");
        std::thread::sleep(Duration::from_millis(1300));
        assert_eq!(shown(&world, &own), before, "{}", path.display());
        assert!(asks(&world, &kept).is_ok(), "{}", path.display());
        assert!(asks(&world, &connect(&world, &own)).is_ok(), "{}", path.display());
        std::fs::write(path, good).expect("written");
    }
    std::fs::remove_file(&crl).expect("removed");
    std::thread::sleep(Duration::from_millis(1300));
    assert!(asks(&world, &connect(&world, &own)).is_ok());
    // What can be used again is used, and a broken certificate doesn't hold up a revocation.
    std::fs::write(&tls.certificate, "").expect("written");
    std::fs::write(&crl, list(&ca(&world), &[&own.cert_pem], 1)).expect("written");
    soon("a good list", || code(asks(&world, &kept)) == Some(Code::CertificateRevoked));
}

#[test]
fn a_certificate_that_ends_is_refused_on_the_open_connection() {
    let world = World::new(Backend::Sqlite, POOL);
    let ikea: PartnerId = "ikea".parse().expect("a partner");
    let (csr, key_pem) = pki::new_request(&ikea).expect("a request");
    // Made 397 days ago, but for three seconds.
    let made = Timestamp::now() - SignedDuration::from_hours(24 * 397) + SignedDuration::from_secs(3);
    let own = Identity {
        ca_pem: server_ca(&world).cert_pem,
        cert_pem: pki::sign_request(&ca(&world), &csr, &ikea, made).expect("a certificate"),
        key_pem,
    };
    let mut conn = world.sandbox.database().expect("a connection");
    let key = world.sandbox.parties.get(&ikea).expect("of the network").key.clone();
    let spki = install::spki_of_pem(&own.cert_pem).expect("read");
    keys::register(&mut conn, &ikea, spki, key.kid(), &key.verifying_key(), world.now()).expect("registered");
    let live = connect(&world, &own);
    soon("registered", || asks(&world, &live).is_ok());
    soon("refused", || code(asks(&world, &live)) == Some(Code::CertificateRevoked));
    let anew = asks(&world, &connect(&world, &own)).expect_err("ended");
    assert!(matches!(anew, ClientError::Transport(_)), "{anew}");
}

/// Two CAs: whoever has the one's key makes no certificate that passes for the other's, whatever is written into it.
#[test]
fn a_ca_of_one_side_is_worth_nothing_on_the_other() {
    let world = World::new(Backend::Sqlite, POOL);
    let (own, tls) = (identity(&world, "wellcome"), &world.sandbox.config.tls);
    assert!(asks(&world, &connect(&world, &own)).is_ok());

    // A client of the server CA: good for wellcome's own key, for clients, in its time.
    let ikea: PartnerId = "ikea".parse().expect("a partner");
    let (csr, key_pem) = pki::new_request(&ikea).expect("a request");
    let pinned = |ca: &Issued| {
        let cert_pem = pki::sign_request(ca, &csr, &ikea, Timestamp::now()).expect("a certificate");
        let mut conn = world.sandbox.database().expect("a connection");
        let key = world.sandbox.parties.get(&ikea).expect("of the network").key.clone();
        let spki = install::spki_of_pem(&cert_pem).expect("read");
        keys::register(&mut conn, &ikea, spki, key.kid(), &key.verifying_key(), world.now()).expect("registered");
        Identity {
            ca_pem: server_ca(&world).cert_pem,
            cert_pem,
            key_pem: key_pem.clone(),
        }
    };
    let wrong = pinned(&server_ca(&world));
    let refused = asks(&world, &connect(&world, &wrong)).expect_err("not of the client CA");
    assert!(matches!(refused, ClientError::Transport(_)), "{refused}");
    let right = pinned(&ca(&world));
    soon("registered", || asks(&world, &connect(&world, &right)).is_ok());

    // A server of the client CA: with the service's name, for servers, in its time. What trusts it is only who trusts the client CA.
    let server = pki::issue_server(&ca(&world), &["localhost".into(), "127.0.0.1".into()], Timestamp::now()).expect("a certificate");
    pki::replace(&tls.key, &server.key_pem, 0o600).expect("written");
    pki::replace(&tls.certificate, &server.cert_pem, 0o644).expect("written");
    let deceived = Identity {
        ca_pem: ca(&world).cert_pem,
        ..own.clone()
    };
    soon("the wrong server", || asks(&world, &connect(&world, &deceived)).is_ok());
    let refused = asks(&world, &connect(&world, &own)).expect_err("not of the server CA");
    assert!(matches!(refused, ClientError::Transport(_)), "{refused}");
    // Nor does anybody enrol there.
    let base = world.sandbox.enrolment().expect("it runs");
    let refused = world
        .runtime
        .block_on(partner_sdk::client::keys::enrol(&base, &own.ca_pem, "x"))
        .expect_err("refused");
    assert!(matches!(refused, ClientError::Transport(_)), "{refused}");
    // Renewed, it is the server CA's again; one CA for both is refused.
    install::renew_server(&world.sandbox.config, &[]).expect("renewed");
    soon("renewed", || asks(&world, &connect(&world, &own)).is_ok());
    let mut one = tls.clone();
    (one.server_ca, one.server_ca_key) = (tls.client_ca.clone(), tls.ca_key.clone());
    let refused = install::server_ca(&one).expect_err("refused").to_string();
    assert!(refused.contains("a CA of its own"), "{refused}");
    let refused = Files::open(&one).err().expect("nor does it serve").to_string();
    assert!(refused.contains("a CA of its own"), "{refused}");
    // A folder that was made before there were two has none for the server, and goes on.
    one.server_ca = world.folder().join("none.pem");
    Files::open(&one).expect("it serves");
}
