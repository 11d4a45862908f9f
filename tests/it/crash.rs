//! Whatever is killed, nothing acknowledged is lost or doubled, and the books balance.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use clearing::audit::{self, Depth};
use clearing::clock::Clock;
use clearing::commands::demo::sandbox::Sandbox;
use ledger::network::Network;
use partner_sdk::KeyId;
use partner_sdk::client::Client;
use store::books;
use tests::child::Child;
use tests::load::{Draw, Load, MEMBERS, Sent, send_again};
use tests::postgres::Cluster;
use tests::{Backend, on_both};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clearing-under-test");
const POOL: &str = include_str!("networks/pool.toml");

on_both!(two_at_work_are_killed_200_times);

fn sandbox(folder: &Path, database: &str) -> Sandbox {
    let network = POOL.replace("expires_after = \"1 day\"", "expires_after = \"12 months\"");
    let network = Network::parse(&network).expect("the network");
    Sandbox::open(folder, database, &network, Clock::System).expect("a clearinghouse")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn client(sandbox: &Sandbox, base: &str) -> Client {
    let party = sandbox.parties.get(&"wellcome".parse().expect("a partner")).expect("wellcome");
    Client::new(base, &party.identity, sandbox.trust.clone()).expect("a client")
}

fn load(sandbox: &Sandbox, base: &str, clients: usize) -> Load {
    let party = sandbox.parties.get(&"wellcome".parse().expect("a partner")).expect("wellcome");
    Load::start(clients, 5, base, party, &sandbox.trust)
}

/// Every message was one point: the balances are as many as there were messages, and the books balance.
async fn assert_each_counts_once(sandbox: &Sandbox, base: &str, sent: &[Sent]) {
    let client = client(sandbox, base);
    send_again(&client, sent).await;
    let mut points = 0;
    for member in 0..MEMBERS {
        let account: serde_json::Value = client.get(&format!("/v1/accounts/YUU/m{member}")).await.expect("a balance");
        points += account["balance"].as_str().and_then(|b| b.parse::<usize>().ok()).expect("a number");
    }
    assert_eq!(points, sent.len());
    the_log_goes_on(&client, sent).await;
    let mut conn = sandbox.database().expect("a connection");
    assert_eq!(books::check(&mut conn).expect("the check runs"), Vec::<String>::new());
}

/// Every receipt that was given before a kill has a number of its own, and the head of the log that it came with is continued by the log of now.
async fn the_log_goes_on(client: &Client, sent: &[Sent]) {
    let (mut numbers, mut heads) = (BTreeSet::new(), BTreeMap::new());
    for text in sent.iter().filter_map(|s| s.receipt.as_deref()) {
        let receipt = client.verify_receipt(text).expect("it verifies after the kill as well");
        assert!(numbers.insert(receipt.sequence.expect("kept")), "two entries of one number");
        let (_, head) = text.split_once("\n\n").expect("a proof");
        let size: u64 = head.lines().nth(1).expect("a size").parse().expect("a number");
        let before = heads.insert(size, head.to_owned());
        assert!(before.is_none_or(|before| before == head), "two heads of {size} entries");
    }
    // Some of them, the first and the last among them.
    let step = heads.len().div_ceil(30).max(1);
    for head in heads.values().step_by(step).chain(heads.values().last()) {
        let held = client.clone().with_seen(head).expect("a head of this log");
        held.check_log().await.expect("it goes on");
    }
}

#[test]
fn the_server_is_killed_50_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let sandbox = sandbox(folder.path(), "clearing.db");
    let (mut draw, runtime) = (Draw::new(), runtime());
    let (mut all, mut last): (Vec<Sent>, Vec<Sent>) = (vec![], vec![]);
    for _ in 0..50 {
        let child = Child::serve(PROGRAM, folder.path());
        let round = runtime.block_on(async {
            // What the killed one had acknowledged is there.
            let kept: Vec<Sent> = last.iter().filter(|s| s.receipt.is_some()).cloned().collect();
            send_again(&client(&sandbox, &child.base), &kept).await;
            let load = load(&sandbox, &child.base, 4);
            load.acknowledged(usize::try_from(draw.upto(25)).expect("small")).await;
            child.kill_9();
            load.end().await
        });
        all.extend(round.iter().cloned());
        last = round;
    }
    let unacknowledged = all.iter().filter(|s| s.receipt.is_none()).count();
    println!("{} messages, {unacknowledged} of them not acknowledged", all.len());
    assert!(unacknowledged > 0, "no kill hit a message on its way: the test shows nothing");
    let child = Child::serve(PROGRAM, folder.path());
    runtime.block_on(assert_each_counts_once(&sandbox, &child.base, &all));
    child.kill_9();
}

/// Two processes on one database are killed a hundred times each: one while both are at work, the other while it works on alone.
fn two_at_work_are_killed_200_times(backend: Backend) {
    let folder = tempfile::tempdir().expect("a folder");
    let sandbox = sandbox(folder.path(), &backend.database());
    let (mut draw, runtime) = (Draw::new(), runtime());
    let mut all: Vec<Sent> = vec![];
    for _ in 0..100 {
        let mut children = vec![Child::serve(PROGRAM, folder.path()), Child::serve(PROGRAM, folder.path())];
        let mut upto = |n| usize::try_from(draw.upto(n)).expect("small");
        all.extend(runtime.block_on(async {
            let mut loads: Vec<Load> = children.iter().map(|child| load(&sandbox, &child.base, 2)).collect();
            for load in &loads {
                load.acknowledged(upto(6)).await;
            }
            let victim = upto(2) - 1;
            children.remove(victim).kill_9();
            let mut sent = loads.remove(victim).end().await;
            let (child, load) = (children.remove(0), loads.remove(0));
            load.acknowledged(upto(12)).await;
            child.kill_9();
            sent.extend(load.end().await);
            sent
        }));
    }
    let unacknowledged = all.iter().filter(|s| s.receipt.is_none()).count();
    println!("{} messages, {unacknowledged} of them not acknowledged", all.len());
    assert!(unacknowledged > 0, "no kill hit a message on its way: the test shows nothing");
    let child = Child::serve(PROGRAM, folder.path());
    runtime.block_on(assert_each_counts_once(&sandbox, &child.base, &all));
    child.kill_9();
    let kid = KeyId::new(&sandbox.config.operator.kid).expect("a kid");
    let mut conn = sandbox.database().expect("a connection");
    let depth = Depth::Whole(folder.path());
    let archive = &sandbox.config.archive;
    let mut findings = audit::check(&mut conn, (&kid, sandbox.trust.key()), archive, depth, &mut |_, _| {}).expect("the check runs");
    // Its agreements are a file's word, which only counts in a sandbox.
    findings.retain(|finding| !finding.ends_with("is in force, and no signed document says so"));
    assert_eq!(findings, Vec::<String>::new());
}

#[test]
fn the_postgres_server_is_killed_20_times() {
    let mut cluster = Cluster::start().expect("a cluster of its own");
    let folder = tempfile::tempdir().expect("a folder");
    let mut sandbox = sandbox(folder.path(), &cluster.create_database().expect("a database"));
    sandbox.start().expect("the service starts");
    let base = sandbox.base().expect("it runs");
    let (mut draw, runtime) = (Draw::new(), runtime());
    let mut all: Vec<Sent> = vec![];
    for _ in 0..20 {
        let load = runtime.block_on(async { load(&sandbox, &base, 4) });
        runtime.block_on(load.acknowledged(usize::try_from(draw.upto(25)).expect("small")));
        cluster.kill_9().expect("killed");
        let round = runtime.block_on(load.end());
        cluster.restart().expect("started again");
        all.extend(round);
        // The first answer after the restart may still be about the broken connection; the service itself must recover.
        let first = all.first().expect("something was sent").jws.clone();
        let client = client(&sandbox, &base);
        let recovered = (0..10).any(|_| runtime.block_on(client.post(&first)).is_ok_and(|answer| answer.receipt.is_some()));
        assert!(recovered, "the service doesn't post after its database came back");
    }
    assert!(
        all.iter().any(|s| s.receipt.is_none()),
        "no kill hit a message on its way: the test shows nothing"
    );
    runtime.block_on(assert_each_counts_once(&sandbox, &base, &all));
    sandbox.stop();
}

/// Connections that were idle meanwhile are closed ones, and nobody's read fails for it.
#[test]
fn reads_go_on_after_the_postgres_server_came_back() {
    let mut cluster = Cluster::start().expect("a cluster of its own");
    let folder = tempfile::tempdir().expect("a folder");
    let mut sandbox = sandbox(folder.path(), &cluster.create_database().expect("a database"));
    sandbox.start().expect("the service starts");
    let client = client(&sandbox, &sandbox.base().expect("it runs"));
    let runtime = runtime();
    for _ in 0..3 {
        let reads = (0..4).map(|_| client.events(0, Duration::ZERO));
        for read in runtime.block_on(futures_util::future::join_all(reads)) {
            read.expect("events");
        }
        cluster.kill_9().expect("killed");
        cluster.restart().expect("started again");
    }
    sandbox.stop();
}

#[test]
fn a_graceful_stop_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let sandbox = sandbox(folder.path(), "clearing.db");
    let runtime = runtime();
    let child = Child::serve(PROGRAM, folder.path());
    let (sent, status) = runtime.block_on(async {
        let load = load(&sandbox, &child.base, 8);
        load.acknowledged(40).await;
        let status = tokio::task::spawn_blocking(|| child.terminate()).await.expect("waited");
        (load.end().await, status)
    });
    assert!(status.success(), "{status}");
    for refused in sent.iter().filter(|s| s.receipt.is_none()) {
        // A clear answer, or none because the connection was closed before the request was read.
        assert!(
            matches!(refused.code, None | Some(partner_sdk::Code::ShuttingDown)),
            "{:?}",
            refused.code
        );
    }
    let child = Child::serve(PROGRAM, folder.path());
    runtime.block_on(assert_each_counts_once(&sandbox, &child.base, &sent));
    assert!(child.terminate().success());
}
