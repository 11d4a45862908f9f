//! Logs at their most talkative hold no member number and no signed bytes.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;

use clearing::clock::Clock;
use clearing::commands::demo::sandbox::Sandbox;
use clearing::office::{install, pki};
use ledger::network::Network;
use partner_sdk::client::tls::anonymous_config;
use partner_sdk::client::{Client, Identity, new_message_id};
use partner_sdk::jws::TYP_MESSAGE;
use partner_sdk::text::is_plain;
use partner_sdk::{Message, PartnerId};
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tests::child::command;
use tests::raw::Raw;
use tests::{burn, earn};

const POOL: &str = include_str!("networks/pool.toml");
const MEMBER: &str = "4929100000001234";

#[test]
fn logs_name_no_member() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = Network::parse(POOL).expect("the network");
    let sandbox = Sandbox::open(folder.path(), "clearing.db", &network, Clock::System).expect("a clearinghouse");
    let mut serve = command(env!("CARGO_BIN_EXE_clearing-under-test"), folder.path(), None);
    serve
        .args(["serve", "--log-json"])
        .env("RUST_LOG", "clearing=trace,settlement=trace,actix_web=debug,info");
    let mut process = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().expect("its output"))).map_while(Result::ok);
    let address = lines
        .find_map(|line| line.strip_prefix("listening on 127.0.0.1:").map(str::to_owned))
        .expect("it listens");
    let id: PartnerId = "wellcome".parse().expect("a partner");
    let party = sandbox.parties.get(&id).expect("wellcome");
    let client = Client::new(&format!("https://localhost:{address}"), &party.identity, sandbox.trust.clone()).expect("a client");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let now = jiff::Timestamp::now();
    let mut bytes = vec![];
    runtime.block_on(async {
        for body in [
            earn("YUU", MEMBER, "5"),
            burn("YUU", MEMBER, "5"),
            earn("YEN", MEMBER, "5"),
            earn("YUU", MEMBER, "0.5"),
        ] {
            let message = Message {
                id: new_message_id(),
                sender: id.clone(),
                issued_at: now,
                occurred_at: now,
                body,
            };
            bytes.push(message.sign(&party.key));
        }
        let unknown = bytes[0].replace("eyJ", "eyK");
        let malformed = party
            .key
            .sign(TYP_MESSAGE, format!("{{\"member\":\"{MEMBER}\",\"x\":1}}").as_bytes());
        for jws in bytes.iter().chain([&unknown, &malformed]) {
            client.post(jws).await.expect("an answer");
        }
        client.post_batch(&bytes).await.expect("answers");
        for path in [
            format!("/v1/accounts/YUU/{MEMBER}"),
            format!("/v1/accounts/BAD/{MEMBER}"),
            format!("/v1/{MEMBER}"),
        ] {
            let _ = client.get_text(&path).await;
        }
    });
    process.kill().expect("killed");
    let mut log = String::new();
    process.stderr.take().expect("its log").read_to_string(&mut log).expect("text");
    process.wait().expect("gone");
    assert!(
        log.contains("\"partner\":\"wellcome\"") && log.contains("/v1/accounts/{programme}/{member}"),
        "the log shows requests: {log}"
    );
    assert!(!log.contains(MEMBER), "the log has a member number");
    assert!(
        log.chars().all(|c| c == '\n' || is_plain(c)),
        "an event is one line of plain characters"
    );
    for jws in bytes {
        let payload = jws.split('.').nth(1).expect("a payload");
        assert!(!log.contains(&payload[payload.len() - 40..]), "the log has signed bytes");
    }
}

/// What a flood of each kind is refused with, from whom, and how often.
const FLOODS: [(&str, &str, u64); 4] = [
    ("bad_signature", "wellcome", 300),
    ("unknown_key", "wellcome", 40),
    ("sender_mismatch", "wellcome", 50),
    ("certificate_unknown", "(unknown)", 20),
];

/// Starts the service, which logs warnings; where it listens.
fn start(folder: &Path, crl: Option<&Path>) -> (Child, String) {
    let mut serve = command(env!("CARGO_BIN_EXE_clearing-under-test"), folder, None);
    serve.arg("serve").env("RUST_LOG", "warn");
    serve.envs(crl.map(|path| ("CLEARING_TLS__CRL", path)));
    let mut process = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().expect("its output"))).map_while(Result::ok);
    let port = lines
        .find_map(|line| line.strip_prefix("listening on 127.0.0.1:").map(str::to_owned))
        .expect("it listens");
    (process, format!("https://localhost:{port}"))
}

/// Stops the service; what it logged.
fn end(mut process: Child) -> String {
    let told = std::process::Command::new("kill")
        .args(["-TERM", &process.id().to_string()])
        .status();
    assert!(told.expect("kill runs").success());
    let mut log = String::new();
    process.stderr.take().expect("its log").read_to_string(&mut log).expect("text");
    assert!(process.wait().expect("it ends").success());
    log
}

/// How often, by a line about failed authentication.
fn count(line: &str) -> u64 {
    let count = line.rsplit_once("count=").and_then(|(_, count)| count.parse().ok());
    count.expect("a count")
}

#[test]
fn failed_authentication_is_a_few_lines_and_a_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = Network::parse(POOL).expect("the network");
    let sandbox = Sandbox::open(folder.path(), "clearing.db", &network, Clock::System).expect("a clearinghouse");
    let (process, base) = start(folder.path(), None);
    let party = |id: &str| {
        sandbox
            .parties
            .get(&id.parse().expect("a partner"))
            .expect("a partner of the network")
    };
    let (wellcome, ikea) = (party("wellcome"), party("ikea"));
    let client = Client::new(&base, &wellcome.identity, sandbox.trust.clone()).expect("a client");
    // A certificate of the right CA, for a key that nobody has registered.
    let (csr, key_pem) = pki::new_request(&wellcome.id).expect("a request");
    let ca = install::client_ca(&sandbox.config.tls).expect("the CA");
    let cert_pem = pki::sign_request(&ca, &csr, &wellcome.id, jiff::Timestamp::now()).expect("a certificate");
    let stranger = Identity {
        ca_pem: wellcome.identity.ca_pem.clone(),
        cert_pem,
        key_pem,
    };
    let stranger = Client::new(&base, &stranger, sandbox.trust.clone()).expect("a client");
    let message = Message::now(wellcome.id.clone(), earn("YUU", MEMBER, "5"));
    let unknown = pki::random_key("nobody-1".parse().expect("a kid")).expect("a key");
    let forged = {
        let good = message.sign(&wellcome.key);
        let (signed, _) = good.rsplit_once('.').expect("a signature");
        let (_, other) = message
            .sign(&unknown)
            .rsplit_once('.')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .expect("another");
        format!("{signed}.{other}")
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for _ in 0..3 {
            client.post_batch(&vec![forged.clone(); 100]).await.expect("answers");
        }
        for (jws, times) in [(message.sign(&unknown), 40), (message.sign(&ikea.key), 50)] {
            for _ in 0..times {
                client.post(&jws).await.expect("an answer");
            }
        }
        for _ in 0..20 {
            let refused = stranger.post(&message.sign(&wellcome.key)).await;
            assert!(refused.map_or(true, |answer| answer.problem.is_some()), "nobody's certificate");
        }
    });
    let log = end(process);
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("failed authentication")).collect();
    assert!(failed.len() <= 2 * FLOODS.len(), "a flood is bounded: {log}");
    for (code, partner, times) in FLOODS {
        let own = failed.iter().filter(|line| line.contains(&format!("code=\"{code}\"")));
        let own: Vec<&&str> = own
            .filter(|line| line.contains(&format!("partner=\"{partner}\" address=\"127.0.0.1\"")))
            .collect();
        assert_eq!(own.iter().map(|line| count(line)).sum::<u64>(), times, "{code}: {log}");
        assert!(own[0].contains(" WARN ") && own.len() == 2, "the first, and the rest: {log}");
    }
    assert!(!log.contains(MEMBER), "the log has a member number");
}

/// Shows a certificate, whether or not the key is the certificate's.
fn showing(of: &Identity, key_pem: &str) -> ClientConfig {
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).expect("a key");
    let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key that signs");
    let chain = CertificateDer::pem_slice_iter(of.cert_pem.as_bytes()).map(|cert| cert.expect("a certificate"));
    let shown = CertifiedKey::new(chain.collect(), key);
    let mut config = anonymous_config(&of.ca_pem).expect("settings");
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(shown));
    config
}

#[test]
fn a_refused_handshake_is_nobody_s_and_says_whom_the_certificate_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = Network::parse(POOL).expect("the network");
    let sandbox = Sandbox::open(folder.path(), "clearing.db", &network, Clock::System).expect("a clearinghouse");
    let own = |id: &str| {
        &sandbox
            .parties
            .get(&id.parse().expect("a partner"))
            .expect("of the network")
            .identity
    };
    let (wellcome, ikea) = (own("wellcome"), own("ikea"));
    let ca = install::client_ca(&sandbox.config.tls).expect("the CA");
    let crl = folder.path().join("crl.pem");
    std::fs::write(&crl, crate::reload::list(&ca, &[&ikea.cert_pem], 0)).expect("written");
    // Certificates for wellcome's key, as anybody can show them who has seen one.
    let key = KeyPair::from_pem(&wellcome.key_pem).expect("a key");
    let request = CertificateParams::default()
        .serialize_request(&key)
        .and_then(|request| request.pem());
    let request = request.expect("a request");
    let now = jiff::Timestamp::now();
    let signed = |ca: &pki::Issued, at| Identity {
        cert_pem: pki::sign_request(ca, &request, &"wellcome".parse().expect("a partner"), at).expect("a certificate"),
        ..wellcome.clone()
    };
    let old = now - jiff::SignedDuration::from_hours(24 * 500);
    let later = now + jiff::SignedDuration::from_hours(24 * 500);
    let foreign = pki::new_ca("elsewhere", now).expect("a CA");
    let other_key = pki::new_request(&"wellcome".parse().expect("a partner")).expect("a key").1;
    let (process, base) = start(folder.path(), Some(&crl));
    let cases = [
        ("certificate_missing", None, anonymous_config(&wellcome.ca_pem).expect("settings")),
        (
            "certificate_of_unknown_ca",
            Some("wellcome"),
            showing(&signed(&foreign, now), &other_key),
        ),
        ("certificate_expired", Some("wellcome"), showing(&signed(&ca, old), &other_key)),
        (
            "certificate_not_yet_valid",
            Some("wellcome"),
            showing(&signed(&ca, later), &other_key),
        ),
        ("certificate_revoked", Some("ikea"), showing(ikea, &other_key)),
        ("certificate_of_another", None, showing(wellcome, &other_key)),
    ];
    for (code, _, config) in &cases {
        for _ in 0..3 {
            // With TLS 1.3 the client's side of the handshake may be over before the refusal comes.
            let raw = Raw::connect_by(config.clone(), &base, 1);
            assert!(raw.map_or(true, |mut raw| raw.is_ended()), "{code}: nobody gets in");
        }
    }
    // Whoever holds a key of its own is let in meanwhile.
    Raw::connect(&base, wellcome, 1).expect("a connection");
    let log = end(process);
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("failed authentication")).collect();
    for (code, named, _) in &cases {
        let own: Vec<&&str> = failed.iter().filter(|line| line.contains(&format!("code=\"{code}\""))).collect();
        assert_eq!(own.iter().map(|line| count(line)).sum::<u64>(), 3, "{code}: {log}");
        for line in own {
            assert!(
                line.contains(" partner=\"(unknown)\" "),
                "nobody has proved to be a partner: {line}"
            );
            let says = named.map(|name| format!(" named=\"{name}\" "));
            assert!(says.map_or(!line.contains("named="), |says| line.contains(&says)), "{line}");
            assert!(line.contains(" address=\"127.0.0.1\" "), "{line}");
        }
    }
    assert_eq!(failed.len(), 2 * cases.len(), "nothing else failed: {log}");
}
