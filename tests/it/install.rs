//! A newcomer's way by the command line: init, network, partner, serve, a message; and PostgreSQL over verified TLS.

use partner_sdk::Trust;
use std::path::Path;
use std::process::Output;

use clearing::clock::Clock;
use clearing::commands::demo::sandbox::Sandbox;
use clearing::office::pki;
use ledger::network::Network;
use partner_sdk::agreement::{AgreementKind, Terms};
use partner_sdk::client::{Client, ClientError, Identity, new_message_id};
use partner_sdk::document::State;
use partner_sdk::jws::VerifyingKey;
use partner_sdk::{Code, Message, PartnerId};
use tests::child::{Child, command};
use tests::earn;
use tests::postgres::Cluster;

use super::command::stands;

pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_clearing-under-test");
const POOL: &str = include_str!("networks/pool.toml");

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(PROGRAM, folder, None).args(arguments).output().expect("it runs")
}

fn works(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

fn fails(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(!output.status.success(), "{arguments:?} worked");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn from_nothing_to_the_first_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    assert!(fails(folder, &["serve"]).contains("clearing init"), "the error says what to do");
    works(folder, &["init", &path("")]);
    assert!(fails(folder, &["init", &path("")]).contains("already"));
    std::fs::write(path("network.toml"), POOL).expect("written");
    for command in ["check", "apply"] {
        assert!(
            fails(folder, &["network", command, &path("network.toml")]).contains("signed by the partners themselves"),
            "the operator's word is no agreement"
        );
    }
    let (founding, _) = POOL.split_once("[[agreement]]").expect("agreements last");
    let founding = founding.replace("YUU\"\nissuer = \"pool\"", "YUU\"\nissuer = \"wellcome\"");
    std::fs::write(path("founding.toml"), &founding).expect("written");
    let id: PartnerId = "wellcome".parse().expect("a partner");
    let (csr, key_pem) = pki::new_request(&id).expect("a request");
    std::fs::write(path("wellcome.csr"), csr).expect("written");
    // A public key may look like an option.
    let keys = std::iter::repeat_with(|| pki::random_key("wellcome-2026".parse().expect("a kid")).expect("a key"));
    let mut keys = keys.map(|key| (key.verifying_key().to_base64url(), key));
    let (public, key) = keys.find(|(public, _)| public.starts_with('-')).expect("one of many");
    let csr = path("wellcome.csr");
    let add = [
        "partner",
        "add",
        "wellcome",
        "--csr",
        &csr,
        "--kid",
        "wellcome-2026",
        "--key",
        &public,
    ];
    assert!(fails(folder, &add).contains("network"), "a partner comes from the network file");
    let early = keys_of(folder, &["early-1", "early-2", "early-3"]);
    let early: Vec<&str> = ["network", "found", "--network", "0"]
        .into_iter()
        .chain(early.iter().map(String::as_str))
        .collect();
    assert!(
        fails(folder, &early).contains("network apply"),
        "nobody is named before there is a network"
    );
    works(folder, &["network", "apply", &path("founding.toml")]);
    let weak = "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert!(fails(folder, &["partner", "add", "wellcome", "--csr", &csr, "--kid", "k", "--key", weak]).contains("weak"));
    let cert_pem = works(folder, &add);
    let people = three_people(folder);
    assert!(fails(folder, &["network", "apply", &path("founding.toml")]).contains("clearing propose"));
    // From here on nobody brings in keys alone, not even the same again.
    std::fs::rename(path("client-ca.key"), path("client-ca.key.away")).expect("moved");
    assert!(fails(folder, &add).contains("clearing partner invite ID --as NAME --key FILE"));
    std::fs::rename(path("client-ca.key.away"), path("client-ca.key")).expect("moved back");
    assert!(fails(folder, &add).contains("four_eyes"));
    assert!(fails(folder, &["partner", "invite", "ikea"]).contains("four_eyes"));
    assert!(fails(folder, &["serve", "--sandbox-clock", "2026-01-01T00:00:00Z"]).contains("sandbox"));
    let child = Child::serve(PROGRAM, folder);
    let clearing_key = VerifyingKey::from_base64url(&std::fs::read_to_string(path("operator.pub")).expect("there")).expect("a key");
    let trust = Trust::new(clearing_key, &std::fs::read_to_string(path("log.pub")).expect("there")).expect("keys");
    let identity = Identity {
        ca_pem: std::fs::read_to_string(path("server-ca.pem")).expect("there"),
        cert_pem,
        key_pem,
    };
    let client = Client::new(&child.base, &identity, trust).expect("a client");
    let now = jiff::Timestamp::now();
    let message = Message {
        id: new_message_id(),
        sender: id.clone(),
        issued_at: now,
        occurred_at: now,
        body: earn("YUU", "m1", "5"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let terms = Terms::new(
        AgreementKind::Earn,
        id.clone(),
        "YUU".parse().expect("a programme"),
        tests::amount("0.0055"),
        "HKD".parse().expect("a currency"),
        now,
    );
    let refused = runtime.block_on(client.send(&message, &key));
    assert!(matches!(refused, Err(ClientError::Rejected(problem)) if problem.code == Code::NoAgreement));
    let agreement = runtime.block_on(client.propose(&terms, &key)).expect("proposed");
    assert!(
        fails(folder, &["approve", &agreement.hash, "--as", "ann", "--key", &path("ben.key")]).contains("isn't the key of ann"),
        "nobody approves in another's name"
    );
    works(
        folder,
        &["approve", &agreement.hash[..12], "--as", &people[0], "--key", &path("ann.key")],
    );
    let later = runtime
        .block_on(client.until(&agreement.hash, State::InForce))
        .expect("in force")
        .in_force_from;
    let message = Message::now(id, earn("YUU", "m1", "5"));
    assert!(later.is_some_and(|from| from <= message.occurred_at));
    let receipt = runtime.block_on(client.send(&message, &key)).expect("accepted");
    // The entries before it: the ledger is made, two keys of its own, the network, a partner's key, the founding, a window, the message above, the agreement
    // proposed, two steps that are refused, and approved.
    assert_eq!(receipt.sequence, Some(14));
    changes_by_command(folder, &people);
    invited_by_command(folder, &people);
    assert!(child.terminate().success());
    works(folder, &["check"]);
    // A value that isn't known is refused, in the file and in the environment.
    let unknown = command(PROGRAM, folder, None)
        .env("CLEARING_LISSTEN", "x")
        .arg("check")
        .output()
        .expect("it runs");
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("lissten"));
    let secrets = [
        "client-ca.key",
        "server-ca.key",
        "server.key",
        "operator.key",
        "clearing.toml",
        "clearing.db",
    ];
    for secret in secrets {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            std::fs::metadata(folder.join(secret)).expect("there").permissions().mode() & 0o077,
            0,
            "{secret} is its owner's alone"
        );
    }
}

/// A key for each; returns what names each at the founding.
fn keys_of(folder: &Path, names: &[&str]) -> Vec<String> {
    let founder = |name: &&str| {
        let file = folder.join(format!("{name}.key")).to_string_lossy().into_owned();
        assert!(works(folder, &["person", "key", &file]).contains("public key: "));
        format!("--person={name}:{name}-1:{file}")
    };
    names.iter().map(founder).collect()
}

/// Ann, Ben and Cid found the network, all at once; returns the names of the first two.
fn three_people(folder: &Path) -> [String; 2] {
    let founders = keys_of(folder, &["ann", "ben", "cid"]);
    let seen = format!("--network={}", stands(&works(folder, &["network", "show"])));
    fn found<'a>(seen: &'a str, people: &[&'a str]) -> Vec<&'a str> {
        [&["network", "found", seen], people].concat()
    }
    let [ann, ben, cid] = [&founders[0], &founders[1], &founders[2]].map(String::as_str);
    assert!(
        fails(folder, &found(&seen, &[ann, ben])).contains("3 to 20 people"),
        "two are too few"
    );
    assert!(fails(folder, &found(&seen, &[ann, ben, ben])).contains("of its own"));
    assert!(fails(folder, &found(&seen, &["--person=ann"])).contains("NAME:KID:FILE"));
    assert!(works(folder, &found(&seen, &[ann, ben, cid])).contains("signed as founder-3 by cid"));
    assert!(fails(folder, &found(&seen, &[ann, ben, cid])).contains("is founded"), "once");
    assert!(works(folder, &["person", "list"]).contains("ben-1"));
    ["ann".into(), "ben".into()]
}

/// A partner is suspended: proposed by one, approved by the other, seen by both.
fn changes_by_command(folder: &Path, [ann, ben]: &[String; 2]) {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let draft = "reason = \"late with its payments\"\n[change.status]\npartner = \"ikea\"\nstatus = \"suspended\"\n";
    std::fs::write(path("draft.toml"), draft).expect("written");
    let said = works(folder, &["propose", &path("draft.toml"), "--as", ann, "--key", &path("ann.key")]);
    assert!(said.contains("in force from its approval"), "{said}");
    let hash = said
        .lines()
        .find_map(|line| line.strip_prefix("now another person: clearing approve "))
        .expect("a hash");
    assert!(fails(folder, &["approve", hash, "--as", ann, "--key", &path("ann.key")]).contains("four_eyes"));
    assert!(works(folder, &["approve", hash, "--as", ben, "--key", &path("ben.key")]).contains("in_force"));
    assert!(works(folder, &["document", "list"]).contains("in_force"));
    let shown = works(folder, &["document", "show", &hash[..10]]);
    assert!(
        shown.contains("signed as proposer by ann") && shown.contains("signed as approver by ben"),
        "{shown}"
    );
    assert!(fails(folder, &["withdraw", hash, "--as", ann, "--key", &path("ann.key")]).contains("document_state"));
    let events = works(folder, &["events"]);
    assert!(events.contains("partner.status") && events.contains("document.refused"), "{events}");
}

/// A partner is invited: one prints the token, the other makes it good.
fn invited_by_command(folder: &Path, [ann, ben]: &[String; 2]) {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let key = path("ann.key");
    let invite = ["partner", "invite", "ikea", "--as", ann, "--key", &key, "--why", "lost its laptop"];
    assert!(fails(folder, &invite[..5]).contains("--key"), "a name without its key");
    let said = run(folder, &invite);
    assert!(said.status.success());
    let (token, why) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert_eq!(token.trim().len(), 43, "a token on its own");
    let hash = why
        .lines()
        .find_map(|line| line.strip_prefix("now another person: clearing approve "))
        .expect("a hash");
    assert!(fails(folder, &["approve", hash, "--as", ann, "--key", &key]).contains("four_eyes"));
    assert!(!works(folder, &["events"]).contains("key.invited"));
    let approved = works(folder, &["approve", hash, "--as", ben, "--key", &path("ben.key")]);
    assert!(approved.contains("lost its laptop") && approved.contains("in_force"), "{approved}");
    assert!(!approved.contains(token.trim()), "the token is its bearer's");
    assert!(works(folder, &["events"]).contains("key.invited"));
}

#[test]
fn keys_and_certificates_by_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    works(folder, &["init", &path(""), "--sandbox"]);
    std::fs::write(path("network.toml"), POOL).expect("written");
    works(folder, &["network", "apply", &path("network.toml")]);
    let id: PartnerId = "wellcome".parse().expect("a partner");
    let (csr, _) = pki::new_request(&id).expect("a request");
    std::fs::write(path("wellcome.csr"), csr).expect("written");
    let key = pki::random_key("wellcome-1".parse().expect("a kid")).expect("a key");
    let public = format!("--key={}", key.verifying_key().to_base64url());
    let csr = path("wellcome.csr");
    works(
        folder,
        &["partner", "add", "wellcome", "--csr", &csr, "--kid", "wellcome-1", &public],
    );
    assert!(works(folder, &["key", "list"]).contains("wellcome sign wellcome-1 Valid"));

    let invite = |id| ["partner", "invite", id, "--sandbox-clock", "2026-11-20T10:00:00Z"];
    assert_eq!(works(folder, &invite("wellcome")).trim().len(), 43, "a token on its own");
    assert!(fails(folder, &invite("nobody")).contains("no partner"));
    assert!(fails(folder, &["partner", "invite", "wellcome"]).contains("--sandbox-clock"));

    let founders = keys_of(folder, &["ann", "ben", "cid"]);
    let seen = format!("--network={}", stands(&works(folder, &["network", "show"])));
    let found: Vec<&str> = ["network", "found", &seen]
        .into_iter()
        .chain(founders.iter().map(String::as_str))
        .collect();
    works(folder, &found);
    let (ann, ben) = (path("ann.key"), path("ben.key"));
    let mut revoke = vec!["key", "revoke", "--why", "a test"];
    assert!(fails(folder, &revoke).contains("--as"), "a name without its key is nobody's");
    revoke.extend(["--as", "ann", "--key", &ben]);
    assert!(fails(folder, &revoke).contains("--kid"));
    revoke.extend(["--kid", "wellcome-1"]);
    assert!(fails(folder, &revoke).contains("isn't the key of ann"));
    revoke[7] = &ann;
    works(folder, &revoke);
    works(folder, &["check"]);
    let listed = works(folder, &["key", "list", "--partner", "wellcome"]);
    assert!(listed.contains("wellcome sign wellcome-1 Revoked"), "{listed}");
    assert!(listed.contains("wellcome tls ") && listed.contains(" Valid "), "{listed}");

    let certificate = || std::fs::read_to_string(path("server.pem")).expect("there");
    let (before, names) = (certificate(), vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
    works(folder, &["tls", "renew"]);
    assert!(before != certificate() && pki::server_names(&certificate()).expect("names") == names);
    works(folder, &["tls", "renew", "--name", "::1"]);
    assert_eq!(pki::server_names(&certificate()).expect("names"), ["::1"]);
    assert!(!folder.join("server.key.new").exists());
    std::fs::remove_file(path("server-ca.key")).expect("removed");
    assert!(fails(folder, &["tls", "renew"]).contains("server-ca.key"));
}

#[test]
fn the_service_speaks_verified_tls_to_postgres() {
    let cluster = Cluster::start_with_tls(&["localhost"]).expect("a cluster with TLS");
    let folder = tempfile::tempdir().expect("a folder");
    let network = Network::parse(POOL).expect("the network");
    let url = cluster.url("verify-full", cluster.ca());
    let mut sandbox = Sandbox::open(&folder.path().join("a"), &url, &network, Clock::System).expect("a clearinghouse");
    sandbox.start().expect("the service starts");
    let id: PartnerId = "wellcome".parse().expect("a partner");
    let key = sandbox.parties.get(&id).expect("wellcome").key.clone();
    let now = jiff::Timestamp::now();
    let message = Message {
        id: new_message_id(),
        sender: id.clone(),
        issued_at: now,
        occurred_at: now,
        body: earn("YUU", "m1", "5"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime
        .block_on(sandbox.client(&id).expect("a client").send(&message, &key))
        .expect("accepted");
    let wrong = cluster.url("verify-full", cluster.other_ca());
    assert!(
        Sandbox::open(&folder.path().join("b"), &wrong, &network, Clock::System).is_err(),
        "another CA's server is refused"
    );
}
