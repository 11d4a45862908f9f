use ledger::tree::Edge;
use partner_sdk::Trust;
use partner_sdk::log::note::NoteKey;
use partner_sdk::log::{Checkpoint, Hash, Proof};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use partner_sdk::jws::to_hex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};

use super::pems::certificates;
use super::*;

use actix_web::{App, HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use partner_sdk::client::keys::enrol;
use partner_sdk::client::tls::client_config;
use partner_sdk::client::{Client, ClientError, Identity};
use partner_sdk::jws::{SigningKey, sha256_hex};
use partner_sdk::wire::keys::{Enrolled, Enrolment};
use partner_sdk::wire::{Answer, Body, Message, Receipt};
use partner_sdk::{Code, Problem};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection};

use crate::edge::failures::Failures;
use crate::edge::listen::door::{self, Door};
use crate::edge::shares::Shares;
use crate::office::config::{Limits, Overdue};
use crate::office::pki::{Issued, issue_server, new_ca, new_request, sign_request, spki_sha256};
use crate::posting::writer::Reference;
use ledger::directory::Directory;

struct Pki {
    clients: Issued,
    servers: Issued,
    server: Issued,
}

impl Pki {
    fn new() -> Self {
        let [clients, servers] = ["Client CA", "Server CA"].map(|name| new_ca(name, Timestamp::now()).expect("a CA"));
        let server = issue_server(&servers, &["localhost".into(), "127.0.0.1".into()], Timestamp::now()).expect("a certificate");
        Self { clients, servers, server }
    }

    fn server(&self) -> ServerConfig {
        self.live().mutual().expect("a configuration")
    }

    fn open(&self) -> ServerConfig {
        self.live().open().expect("a configuration")
    }

    fn live(&self) -> Live {
        let server = ServerPems {
            certificate: self.server.cert_pem.clone(),
            key: self.server.key_pem.clone(),
            names: vec![],
        };
        let clients = ClientPems {
            ca: self.clients.cert_pem.clone(),
            crl: None,
            overdue: Overdue::Warn,
        };
        Live::new(&server, &clients).expect("texts that can be used")
    }

    /// A free port, and a door that everybody may come through whom TLS lets in.
    fn door(&self, tls: Arc<ServerConfig>) -> (u16, std::net::TcpListener, Door) {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("an address");
        let limits = Limits {
            strangers: 128,
            ..Limits::default().without_rates()
        };
        let door = Door {
            shares: Shares::new(&limits, 256, 256),
            reference: Reference::new(Arc::new(Directory::new(1, vec![(Timestamp::UNIX_EPOCH, jiff::tz::TimeZone::UTC)]))),
            failures: Failures::default(),
            tls: Some((tls, self.live())),
            idle: Duration::from_secs(75),
        };
        (listener.local_addr().expect("an address").port(), listener, door)
    }

    fn identity(&self) -> Identity {
        let partner = "wellcome".parse().expect("a partner");
        let (request, key_pem) = new_request(&partner).expect("a request");
        let cert_pem = sign_request(&self.clients, &request, &partner, Timestamp::now()).expect("a certificate");
        Identity {
            ca_pem: self.servers.cert_pem.clone(),
            cert_pem,
            key_pem,
        }
    }
}

/// Shakes hands in memory; `Err` is what the server has against it.
fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let mut client = ClientConnection::new(client.clone(), "localhost".try_into().expect("a name"))?;
    let mut server = ServerConnection::new(server.clone())?;
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory");
        }
        let mut input = bytes.as_slice();
        while !input.is_empty() {
            server.read_tls(&mut input).expect("memory");
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("memory");
        }
        let mut input = bytes.as_slice();
        while !input.is_empty() {
            client.read_tls(&mut input).expect("memory");
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

/// A configuration that would resume, and may leave out its certificate or TLS 1.3.
fn eager(identity: &Identity, with_cert: bool, versions: &[&'static rustls::SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(identity.ca_pem.as_bytes()).expect("a CA"))
        .expect("a CA");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots);
    Arc::new(if with_cert {
        let chain = certificates(&identity.cert_pem, "certificate").expect("a chain");
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).expect("a key");
        builder.with_client_auth_cert(chain, key).expect("a certificate")
    } else {
        builder.with_no_client_auth()
    })
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

#[test]
fn both_sides_settings_fit() {
    let pki = Pki::new();
    let identity = pki.identity();
    let (client, server) =
        handshake(&Arc::new(client_config(&identity).expect("settings")), &Arc::new(pki.server())).expect("a connection");
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(server.alpn_protocol(), Some(&b"http/1.1"[..]));
    let leaf = CertificateDer::from_pem_slice(identity.cert_pem.as_bytes()).expect("a certificate");
    assert_eq!(server.peer_certificates(), Some(&[leaf][..]));
}

#[test]
fn nobody_gets_in_without_a_certificate_of_the_ca() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = Arc::new(pki.server());
    for version in VERSIONS {
        let refused = |identity: &Identity, with_cert| handshake(&eager(identity, with_cert, &[version]), &server).err();
        assert_eq!(refused(&pki.identity(), false), Some(rustls::Error::NoCertificatesPresented));
        let stranger = Identity {
            ca_pem: pki.servers.cert_pem.clone(),
            ..other.identity()
        };
        assert!(matches!(refused(&stranger, true), Some(rustls::Error::InvalidCertificate(_))));
        // A server's certificate is no client's.
        let server_cert = Identity {
            ca_pem: pki.servers.cert_pem.clone(),
            cert_pem: pki.server.cert_pem.clone(),
            key_pem: pki.server.key_pem.clone(),
        };
        assert!(matches!(refused(&server_cert, true), Some(rustls::Error::InvalidCertificate(_))));
    }
    assert!(
        handshake(&eager(&other.identity(), true, &VERSIONS), &server).is_err(),
        "the client refuses the server of another CA"
    );
}

#[test]
fn no_session_is_resumed() {
    let pki = Pki::new();
    for version in VERSIONS {
        let client = eager(&pki.identity(), true, &[version]);
        let twice = |server: &Arc<ServerConfig>| {
            [(); 2].map(|()| handshake(&client, server).expect("a connection").1.handshake_kind().expect("known"))
        };
        assert_eq!(twice(&Arc::new(pki.server())), [HandshakeKind::Full, HandshakeKind::Full]);
        // The same client would resume where a server let it.
        let mut lenient = pki.server();
        lenient.session_storage = rustls::server::ServerSessionMemoryCache::new(8);
        lenient.send_tls13_tickets = 1;
        assert_eq!(twice(&Arc::new(lenient)), [HandshakeKind::Full, HandshakeKind::Resumed]);
    }
}

#[actix_web::test]
async fn a_request_knows_its_peer() {
    let pki = Pki::new();
    let who = |request: HttpRequest| async move {
        let peer = request.conn_data::<Peer>().map(|peer| peer.spki.to_string()).unwrap_or_default();
        HttpResponse::Ok().body(format!("{:?} {peer}", request.version()))
    };
    let big = || async { HttpResponse::Ok().body(vec![b'x'; partner_sdk::client::MAX_ANSWER_BYTES + 1]) };
    let (port, listener, door) = pki.door(Arc::new(pki.server()));
    let server = door::serve(listener, door, 1, move || {
        App::new()
            .wrap_fn(crate::edge::http::gate::gate)
            .route("/who", web::get().to(who))
            .route("/big", web::get().to(big))
    })
    .expect("a server");
    let base = format!("https://localhost:{}", port);
    let handle = server.handle();
    actix_web::rt::spawn(server);

    let identity = pki.identity();
    let client = |identity: &Identity| Client::new(&base, identity, trust()).expect("a client");
    let leaf = CertificateDer::from_pem_slice(identity.cert_pem.as_bytes()).expect("a certificate");
    let expected = format!("HTTP/1.1 {}", to_hex(&spki_sha256(&leaf).expect("read")));
    assert_eq!(client(&identity).get_text("/who").await.expect("an answer"), expected);
    assert!(matches!(
        client(&identity).get_text("/big").await,
        Err(ClientError::Unexpected { status: 200, .. })
    ));
    assert!(matches!(
        client(&identity).get_text("/member/12345").await,
        Err(ClientError::Unexpected { status: 404, .. })
    ));
    let stranger = Identity {
        ca_pem: pki.servers.cert_pem.clone(),
        ..Pki::new().identity()
    };
    let error = client(&stranger).get_text("/member/12345").await.expect_err("refused");
    assert!(
        matches!(error, ClientError::Transport(_)) && !format!("{error:?}").contains("12345"),
        "{error:?}"
    );
    handle.stop(false).await;
}

/// Refuses every message twice, then accepts it: the receipt's `left_over` counts the tries.
async fn reluctant(state: web::Data<Mutex<(Vec<String>, Edge)>>, body: String) -> HttpResponse {
    let mut state = state.lock().expect("not poisoned");
    let (seen, log) = &mut *state;
    seen.push(body.clone());
    let tries = seen.iter().filter(|one| **one == body).count();
    if tries < 3 {
        let full = serde_json::to_string(&Problem::new(Code::Overloaded, "full")).expect("json");
        return HttpResponse::ServiceUnavailable()
            .insert_header(("retry-after", "0"))
            .content_type("application/problem+json")
            .body(full);
    }
    let receipt = Receipt {
        message_sha256: sha256_hex(body.as_bytes()),
        sender: "wellcome".parse().expect("a partner"),
        id: None,
        code: None,
        field: None,
        sequence: i64::try_from(log.size() + 1).ok(),
        window: None,
        posted_at: Timestamp::now(),
        facts: vec![("left_over".into(), tries.to_string())],
        salt: None,
    };
    HttpResponse::Ok().json(Answer {
        outcome: None,
        receipt: Some(logged(log, &receipt)),
        problem: None,
    })
}

/// The receipt of a message that is the next entry of a log.
fn logged(log: &mut Edge, receipt: &Receipt) -> String {
    let (entry, index) = (receipt.entry(), log.size());
    let grown = log.append(&[Hash::leaf(entry.as_bytes())]).expect("room");
    let mut tree = grown.tree().expect("all is there");
    let head = Checkpoint {
        origin: "localhost/log".into(),
        size: tree.size(),
        root: tree.root(),
    };
    let proof = Proof {
        index,
        path: tree.inclusion(index).expect("a path"),
        checkpoint: head.sign(&clearing_key()).expect("signed"),
    };
    *log = grown.edge;
    format!("{entry}\n{proof}")
}

fn trust() -> Trust {
    let key = clearing_key().verifying_key();
    let log = NoteKey::new("localhost/log", key.clone()).expect("a name");
    Trust::new(key, &log.to_string()).expect("one log")
}

fn clearing_key() -> SigningKey {
    SigningKey::from_bytes("clearing-1".parse().expect("kid"), &[3; 32])
}

#[actix_web::test]
async fn the_client_tries_again_with_the_same_bytes() {
    let pki = Pki::new();
    let seen = web::Data::new(Mutex::new((Vec::<String>::new(), Edge::default())));
    let (port, listener, door) = pki.door(Arc::new(pki.server()));
    let server = door::serve(listener, door, 1, move || {
        App::new()
            .wrap_fn(crate::edge::http::gate::gate)
            .app_data(seen.clone())
            .route("/v1/messages", web::post().to(reluctant))
    })
    .expect("a server");
    let base = format!("https://127.0.0.1:{}", port);
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let client = Client::new(&base, &pki.identity(), trust()).expect("a client");
    let partner_key = SigningKey::from_bytes("wellcome-1".parse().expect("kid"), &[7; 32]);
    let sends = (0..64).map(|_| async {
        let message = Message {
            id: partner_sdk::client::new_message_id(),
            sender: "wellcome".parse().expect("a partner"),
            issued_at: Timestamp::now(),
            occurred_at: Timestamp::now(),
            body: Body::Void {
                authorisation: "a-1".parse().expect("an id"),
            },
        };
        client.send(&message, &partner_key).await
    });
    for receipt in futures_util::future::join_all(sends).await {
        assert_eq!(receipt.expect("accepted").fact("left_over"), Some("3"));
    }
    handle.stop(false).await;
}

#[actix_web::test]
async fn a_connection_that_breaks_off_may_be_tried_again() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("an address");
    let base = format!("https://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let client = Client::new(&base, &Pki::new().identity(), trust()).expect("a client");
    let gone = client.post("a.b.c").await.expect_err("nobody answers");
    assert!(gone.retryable() && matches!(gone, ClientError::Transport(_)));
}

#[actix_web::test]
async fn an_enrolment_is_good_only_with_a_certificate_for_its_own_key() {
    let pki = Pki::new();
    let partner = "wellcome".parse().expect("a partner");
    let (csr, _) = new_request(&partner).expect("a request");
    let own = sign_request(&pki.clients, &csr, &partner, Timestamp::now()).expect("a certificate");
    let key = SigningKey::from_bytes("wellcome-1".parse().expect("kid"), &[7; 32]);
    let jws = Enrolment::sign(&partner, "a token", &csr, &key);
    let answer = |certificate: &str, kid: &str| Enrolled {
        certificate: certificate.to_owned(),
        client_ca: pki.clients.cert_pem.clone(),
        kid: kid.parse().expect("a kid"),
        clearing_kid: "clearing-1".parse().expect("a kid"),
        clearing_public_key: clearing_key().verifying_key().to_base64url(),
        log_keys: trust().log_keys(),
    };
    let answers = [
        (answer(&own, "wellcome-1"), true),
        (answer(&pki.identity().cert_pem, "wellcome-1"), false),
        (answer("no certificate", "wellcome-1"), false),
        (answer(&own, "wellcome-2"), false),
    ];
    for (answer, good) in answers {
        let data = web::Data::new(answer);
        let tell = |answer: web::Data<Enrolled>| async move { HttpResponse::Ok().json(&**answer) };
        let (port, listener, door) = pki.door(Arc::new(pki.open()));
        let server = door::serve(listener, door, 1, move || {
            App::new()
                .wrap_fn(crate::edge::http::gate::gate)
                .app_data(data.clone())
                .route("/v1/enrolments", web::post().to(tell))
        })
        .expect("a server");
        let base = format!("https://127.0.0.1:{}", port);
        let handle = server.handle();
        actix_web::rt::spawn(server);
        match enrol(&base, &pki.servers.cert_pem, &jws).await {
            Ok(_) => assert!(good),
            Err(error) => assert!(!good && matches!(error, ClientError::Unexpected { status: 200, .. }), "{error:?}"),
        }
        handle.stop(false).await;
    }
}
