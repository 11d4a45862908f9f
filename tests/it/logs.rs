//! Logs at their most talkative hold no member number and no signed bytes.

use std::io::Read;
use std::process::Stdio;

use clearing::clock::Clock;
use clearing::demo::sandbox::{Party, Sandbox};
use clearing::network::Network;
use clearing::{install, pki};
use partner_sdk::client::{Client, Identity, new_message_id};
use partner_sdk::jws::TYP_MESSAGE;
use partner_sdk::text::is_plain;
use partner_sdk::{Message, PartnerId};
use tests::child::command;
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
    let client = Client::new(
        &format!("https://localhost:{address}"),
        &party.identity,
        sandbox.clearing_key.clone(),
    )
    .expect("a client");
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
const FLOODS: [(&str, &str, u64); 6] = [
    ("bad_signature", "wellcome", 300),
    ("unknown_key", "wellcome", 40),
    ("sender_mismatch", "wellcome", 50),
    ("certificate_unknown", "(unknown)", 20),
    ("certificate_expired", "(unknown)", 7),
    ("certificate_of_unknown_ca", "(unknown)", 9),
];

/// A certificate for this partner's own key, signed by that CA at that time.
fn certificate(ca: &pki::Issued, party: &Party, at: jiff::Timestamp) -> Identity {
    let key = rcgen::KeyPair::from_pem(&party.identity.key_pem).expect("a key");
    let asked = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
    let csr = asked.pem().expect("PEM");
    Identity {
        cert_pem: pki::sign_request(ca, &csr, &party.id, at).expect("a certificate"),
        ..party.identity.clone()
    }
}

#[test]
fn failed_authentication_is_a_few_lines_and_a_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let network = Network::parse(POOL).expect("the network");
    let sandbox = Sandbox::open(folder.path(), "clearing.db", &network, Clock::System).expect("a clearinghouse");
    let mut serve = command(env!("CARGO_BIN_EXE_clearing-under-test"), folder.path(), None);
    let serve = serve
        .arg("serve")
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut process = serve.spawn().expect("it starts");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().expect("its output"))).map_while(Result::ok);
    let port = lines
        .find_map(|line| line.strip_prefix("listening on 127.0.0.1:").map(str::to_owned))
        .expect("it listens");
    let base = format!("https://localhost:{port}");
    let party = |id: &str| {
        sandbox
            .parties
            .get(&id.parse().expect("a partner"))
            .expect("a partner of the network")
    };
    let (wellcome, ikea) = (party("wellcome"), party("ikea"));
    let client = Client::new(&base, &wellcome.identity, sandbox.clearing_key.clone()).expect("a client");
    // A certificate of the right CA, for a key that nobody has registered.
    let (csr, key_pem) = pki::new_request(&wellcome.id).expect("a request");
    let ca = install::client_ca(&sandbox.config.tls).expect("the CA");
    let cert_pem = pki::sign_request(&ca, &csr, &wellcome.id, jiff::Timestamp::now()).expect("a certificate");
    let stranger = Identity {
        ca_pem: wellcome.identity.ca_pem.clone(),
        cert_pem,
        key_pem,
    };
    let stranger = Client::new(&base, &stranger, sandbox.clearing_key.clone()).expect("a client");
    // For the partner's own key: one that ended long ago, and one of a CA that is nobody's.
    let now = jiff::Timestamp::now();
    let refused = [
        certificate(&ca, wellcome, now - jiff::SignedDuration::from_hours(24 * 3000)),
        certificate(&pki::new_ca("elsewhere", now).expect("a CA"), wellcome, now),
    ];
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
        for (identity, times) in refused.iter().zip([7, 9]) {
            for _ in 0..times {
                let client = Client::new(&base, identity, sandbox.clearing_key.clone()).expect("a client");
                client.post(&message.sign(&wellcome.key)).await.expect_err("no handshake");
            }
        }
    });
    let told = std::process::Command::new("kill")
        .args(["-TERM", &process.id().to_string()])
        .status();
    assert!(told.expect("kill runs").success());
    let mut log = String::new();
    process.stderr.take().expect("its log").read_to_string(&mut log).expect("text");
    assert!(process.wait().expect("it ends").success());
    let failed: Vec<&str> = log.lines().filter(|line| line.contains("failed authentication")).collect();
    assert!(failed.len() <= 2 * FLOODS.len(), "a flood is bounded: {log}");
    for (code, partner, times) in FLOODS {
        let own = failed.iter().filter(|line| line.contains(&format!("code=\"{code}\"")));
        let own: Vec<&&str> = own
            .filter(|line| line.contains(&format!("partner=\"{partner}\" address=\"127.0.0.1\"")))
            .collect();
        let count = |line: &&&str| {
            line.rsplit_once("count=")
                .and_then(|(_, n)| n.parse::<u64>().ok())
                .expect("a count")
        };
        assert_eq!(own.iter().map(count).sum::<u64>(), times, "{code}: {log}");
        assert!(own[0].contains(" WARN ") && own.len() == 2, "the first, and the rest: {log}");
        // Nothing has proved yet that it is the one whose key the certificate shows.
        let shown = own.iter().all(|line| line.contains("certificate_of=\"wellcome\""));
        assert_eq!(shown, ["certificate_expired", "certificate_of_unknown_ca"].contains(&code), "{log}");
    }
    assert!(!log.contains(MEMBER), "the log has a member number");
}
