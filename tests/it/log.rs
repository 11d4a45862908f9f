//! The log as partners read it: its head, its tiles, their own entries; and that whoever rewrites it is found out.

use partner_sdk::client::{Client, ClientError, LogFault};
use partner_sdk::log::Hash;
use partner_sdk::log::tree::verify_inclusion;
use partner_sdk::{Code, Receipt};
use tests::{Backend, World, burn, earn, execute, on_both};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(
    a_partner_reads_its_own_entries,
    what_a_client_saw_goes_on,
    a_forked_log_is_found_out,
    a_shorter_log_is_found_out
);

/// Ends a world whose books somebody has rewritten: they don't balance any more.
fn end(mut world: World) {
    world.sandbox.stop();
    std::mem::forget(world);
}

/// Takes the last entry of the log away, a message that earned points, as if it had never been; the next one gets its number.
fn forget_the_last(world: &World) {
    let mut conn = world.sandbox.database().expect("a connection");
    let last = "(SELECT next_seq - 1 FROM head)";
    for table in ["posting", "lot", "message"] {
        execute(&mut conn, &format!("DELETE FROM {table} WHERE seq = {last}"));
    }
    execute(&mut conn, "UPDATE head SET next_seq = next_seq - 1, tree_size = tree_size - 1");
}

fn get(world: &World, client: &Client, path: &str) -> String {
    world.runtime.block_on(client.get_text(path)).expect(path)
}

fn a_partner_reads_its_own_entries(backend: Backend) {
    let mut world = World::new(backend, POOL);
    for n in 0..5 {
        world.post("wellcome", earn("YUU", &format!("m{n}"), "10")).expect("accepted");
        world.post("hangseng", earn("YUU", &format!("m{n}"), "10")).expect("accepted");
    }
    assert_eq!(
        world.post("ikea", burn("YUU", "m0", "999")).expect_err("too many"),
        Code::InsufficientBalance
    );
    let kinds = |partner: &str, query: &str| {
        let text = get(&world, &world.client(partner), &format!("/v1/log/entries{query}"));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let next = lines.pop().expect("where to go on");
        (lines, next)
    };
    // Its keys, the window, and its own messages; the issuer has those of its programme, and a rejection is its sender's alone.
    let (own, next) = kinds("wellcome", "");
    let size = world.entries();
    let whole = format!(r#"{{"next":"{size}"}}"#);
    assert_eq!((own.len(), &next), (7, &whole));
    assert!(
        own[0].contains(r#""entry":"key""#) && own[1].contains(r#""entry":"window""#),
        "{own:?}"
    );
    let read = |line: &String| Receipt::parse_entry(line.as_bytes()).expect("an entry of a message");
    assert!(own[2..].iter().all(|line| read(line).sender.as_str() == "wellcome"));
    assert_eq!(kinds("ikea", "").0.len(), 3);
    assert_eq!(kinds("pool", "").0.len(), 12);
    // In pieces they are the same.
    let (first, next) = kinds("pool", "?limit=7");
    assert_eq!(next, r#"{"next":"7"}"#);
    let (second, next) = kinds("pool", "?after=7");
    assert_eq!(next, whole);
    assert_eq!([first, second].concat(), kinds("pool", "").0);
    assert_eq!(kinds("pool", &format!("?after={size}")), (vec![], whole.clone()));
    // Each stands in the tree, by tiles that anybody may read.
    let client = world.client("ikea");
    let head = world.runtime.block_on(client.check_log()).expect("a head");
    assert_eq!(head.size, size);
    let tile = world
        .runtime
        .block_on(client.get_bytes(&format!("/v1/log/tile/0/000.p/{size}")))
        .expect("the tile");
    let leaves: Vec<Hash> = tile
        .chunks(32)
        .map(|hash| Hash::from_bytes(hash.try_into().expect("32 bytes")))
        .collect();
    for line in &own[2..] {
        let place = usize::try_from(read(line).sequence.expect("a number") - 1).expect("small");
        assert_eq!(leaves[place], Hash::leaf(line.as_bytes()));
    }
    assert!(verify_inclusion(leaves[0], 0, 1, &[], leaves[0]).is_ok());
    // What isn't there yet, or is no tile.
    for path in [
        "/v1/log/tile/0/000",
        &format!("/v1/log/tile/0/000.p/{}", size + 1),
        "/v1/log/tile/1/000.p/1",
        "/v1/log/tile/0/0",
        "/v1/log/tile/x",
    ] {
        match world.runtime.block_on(client.get_bytes(path)) {
            Err(ClientError::Refused(problem)) => assert_eq!(problem.code, Code::NotFound, "{path}"),
            other => panic!("{path}: {other:?}"),
        }
    }
}

fn what_a_client_saw_goes_on(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let client = world.client("wellcome");
    assert_eq!(client.seen(), None);
    let before = world.entries();
    let post = |world: &mut World, n: usize| {
        let message = world.message("wellcome", earn("YUU", "m", "1"));
        let jws = world.sign(&message);
        let answer = world.runtime.block_on(client.post(&jws)).expect("an answer");
        assert!(answer.problem.is_none(), "{n}: {answer:?}");
    };
    for n in 0..300 {
        post(&mut world, n);
        if n % 37 == 0 {
            world.runtime.block_on(client.check_log()).expect("it goes on");
        }
    }
    let head = world.runtime.block_on(client.check_log()).expect("it goes on");
    assert_eq!(head.size, before + 300);
    // Kept and brought back, it is held to what comes.
    let seen = client.seen().expect("a head");
    let again = world.client("wellcome").with_seen(&seen).expect("a head of this log");
    post(&mut world, 300);
    assert_eq!(world.runtime.block_on(again.check_log()).expect("it goes on").size, before + 301);
    let other = seen.replace(&format!("\n{}\n", head.size), &format!("\n{}\n", head.size + 1));
    assert!(matches!(
        world.client("wellcome").with_seen(&other),
        Err(ClientError::Checkpoint(_))
    ));
}

fn a_forked_log_is_found_out(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let size = world.entries() + 2;
    let client = world.client("wellcome");
    let post = |world: &mut World, points: &str| {
        let message = world.message("wellcome", earn("YUU", "m", points));
        let jws = world.sign(&message);
        world.runtime.block_on(client.post(&jws))
    };
    post(&mut world, "1").expect("accepted");
    post(&mut world, "2").expect("accepted");
    world.runtime.block_on(client.check_log()).expect("it goes on");
    let earlier = client.seen().expect("a head");
    // Another message under the number of the last: a head of the same size, and another root.
    forget_the_last(&world);
    let found = match post(&mut world, "3") {
        Err(ClientError::Log { fault, .. }) => fault,
        other => panic!("{other:?}"),
    };
    let LogFault::Forked { earlier: kept, later } = &found else {
        panic!("{found:?}")
    };
    assert_eq!(kept, &earlier);
    // Both are signed by the log's key: that is the evidence.
    let sizes = [kept, later].map(|head| world.sandbox.trust.checkpoint(head).expect("signed").size);
    assert_eq!(sizes, [size, size]);
    // From here on it does nothing more, whatever is asked.
    let asked = world.runtime.block_on(client.get_text("/v1/positions"));
    assert!(matches!(asked, Err(ClientError::Log { fault, .. }) if fault == found));
    // Whoever comes back with the head of then finds it by the tiles, with more entries on top.
    let other = world.client("wellcome").with_seen(&earlier).expect("a head");
    world.post("hangseng", earn("YUU", "m", "4")).expect("accepted");
    let asked = world.runtime.block_on(other.check_log());
    assert!(
        matches!(
            asked,
            Err(ClientError::Log {
                fault: LogFault::Forked { .. },
                ..
            })
        ),
        "{asked:?}"
    );
    end(world);
}

fn a_shorter_log_is_found_out(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let client = world.client("wellcome");
    for _ in 0..2 {
        let message = world.message("wellcome", earn("YUU", "m", "1"));
        let jws = world.sign(&message);
        world.runtime.block_on(client.post(&jws)).expect("accepted");
    }
    world.runtime.block_on(client.check_log()).expect("it goes on");
    forget_the_last(&world);
    let asked = world.runtime.block_on(client.check_log());
    assert!(
        matches!(
            asked,
            Err(ClientError::Log {
                fault: LogFault::Shrunk { .. },
                ..
            })
        ),
        "{asked:?}"
    );
    end(world);
}
