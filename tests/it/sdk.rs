//! The SDK as docs/PROTOCOL.md shows it.

use clearing::clock::Clock;
use clearing::commands::demo::sandbox::Sandbox;
use jiff::Timestamp;
use ledger::network::Network;
use partner_sdk::agreement::{AgreementKind, Terms};
use partner_sdk::client::Client;
use partner_sdk::document::State;
use partner_sdk::jws::SigningKey;
use partner_sdk::{Body, Message, PartnerId};
use tests::market::PARTNERS;
use tests::office::Office;

/// The lines that docs/PROTOCOL.md shows are these, and they work: on a clearinghouse that isn't a sandbox, at real time.
#[test]
fn from_proposal_to_first_earn_in_the_sdk() {
    async fn lines(
        grocer: Client,
        grocer_key: SigningKey,
        pool: Client,
        pool_key: SigningKey,
    ) -> Result<String, Box<dyn std::error::Error>> {
        // sdk:begin
        let terms = Terms::new(
            AgreementKind::Earn,
            "grocer".parse()?,
            "YUU".parse()?,
            "0.0055".parse()?,
            "HKD".parse()?,
            Timestamp::now(),
        );
        let proposed = grocer.propose(&terms, &grocer_key).await?;

        let seen = pool.agreement(&proposed.hash).await?;
        pool.sign(&seen, &pool_key).await?;

        // The operator: clearing approve HASH --as NAME --key FILE
        grocer.until(&proposed.hash, State::InForce).await?;

        let body = Body::Earn {
            programme: "YUU".parse()?,
            member: "8001".parse()?,
            points: "100".parse()?,
            spend: None,
        };
        let receipt = grocer.send(&Message::now("grocer".parse()?, body), &grocer_key).await?;
        // sdk:end
        Ok(format!("{:?} {:?}", receipt.outcome(), receipt.sequence))
    }
    let shown = |text: &str, begin: &str, end: &str| -> Vec<String> {
        let (_, rest) = text.split_once(begin).expect(begin);
        let (lines, _) = rest.split_once(end).expect(end);
        let lines = lines.lines().map(|line| line.trim().to_owned());
        lines
            .filter(|line| !line.is_empty() && !line.starts_with("```") && !line.starts_with("//"))
            .collect()
    };
    let documented = shown(include_str!("../../docs/PROTOCOL.md"), "<!-- sdk:begin -->", "<!-- sdk:end -->");
    assert_eq!(
        documented,
        shown(include_str!("sdk.rs"), concat!("// sdk:", "begin"), concat!("// sdk:", "end"))
    );
    assert!(documented.len() < 20, "{} lines", documented.len());

    let folder = tempfile::tempdir().expect("a folder");
    let network = format!("{PARTNERS}[[programme]]\ncode = \"YUU\"\nissuer = \"pool\"\ncurrency = \"HKD\"\n");
    let network = Network::parse(&network).expect("a network");
    let mut sandbox = Sandbox::open(folder.path(), "clearing.db", &network, Clock::System).expect("a clearinghouse");
    sandbox.start().expect("it starts");
    let office = Office::found(&sandbox);
    let party = |name: &str| {
        let id = PartnerId::new(name).expect("an id");
        (
            sandbox.client(&id).expect("a client"),
            sandbox.parties.get(&id).expect("a partner").key.clone(),
        )
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ((grocer, grocer_key), (pool, pool_key)) = (party("grocer"), party("pool"));
    let watching = pool.clone();
    let partners = runtime.spawn(async move { lines(grocer, grocer_key, pool, pool_key).await.map_err(|e| e.to_string()) });
    // The operator approves what both have signed, as soon as it hears of it.
    let signed = runtime.block_on(async {
        let mut after = 0;
        loop {
            for event in watching.events(after, std::time::Duration::from_secs(20)).await.expect("events") {
                after = event.no;
                if event.kind == "agreement.signed" {
                    return event.subject;
                }
            }
        }
    });
    office.approve(&sandbox, &signed).expect("approved");
    assert_eq!(
        runtime.block_on(partners).expect("done"),
        Ok(format!(
            "Accepted Some({})",
            store::next_seq(&mut sandbox.database().expect("a connection")).expect("read") - 1
        ))
    );
}
