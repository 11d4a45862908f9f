//! Logs at their most talkative hold no member number and no signed bytes.

use std::io::Read;
use std::process::Stdio;

use clearing::clock::Clock;
use clearing::demo::sandbox::Sandbox;
use clearing::network::Network;
use partner_sdk::client::{Client, new_message_id};
use partner_sdk::jws::TYP_MESSAGE;
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
    for jws in bytes {
        let payload = jws.split('.').nth(1).expect("a payload");
        assert!(!log.contains(&payload[payload.len() - 40..]), "the log has signed bytes");
    }
}
