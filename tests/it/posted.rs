//! From a line of a statement to the messages that made it, for those who are a party of them and for nobody else.

use partner_sdk::client::ClientError;
use partner_sdk::wire::{Direction, LineQuery, PostedMessage, PostedQuery};
use partner_sdk::{Code, Problem};
use tests::market::Market;
use tests::raw::Raw;
use tests::{Backend, World, burn, earn, id, on_both, reverse, with_bonus};

const POOL: &str = include_str!("networks/pool.toml");
const MILES: &str = include_str!("networks/miles.toml");

on_both!(
    each_party_finds_what_concerns_it,
    every_line_of_a_pooled_day_adds_up,
    a_message_names_its_agreement,
    a_funder_learns_what_it_pays_for_and_no_more,
    pages_hold_each_message_once,
    a_table_says_the_same_as_the_lines,
    what_is_asked_wrongly_is_refused_by_name,
    what_was_rejected_is_found_by_its_sender,
);

fn all(world: &World, partner: &str, query: &PostedQuery) -> Vec<PostedMessage> {
    let messages = world.runtime.block_on(world.client(partner).all_messages(query));
    messages.expect("messages")
}

fn of_window(world: &World) -> PostedQuery {
    let mut conn = world.sandbox.database().expect("a connection");
    let dates = settlement::advised_dates(&mut conn).expect("windows");
    PostedQuery {
        window: dates.last().copied(),
        ..PostedQuery::default()
    }
}

fn kinds(messages: &[PostedMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.kind.as_str()).collect()
}

/// The lines of messages as `kind counterparty direction points x price = amount`.
fn lines(messages: &[PostedMessage]) -> Vec<String> {
    let lines = messages.iter().flat_map(|message| &message.lines).map(|line| {
        let (counterparty, direction) = (line.counterparty.as_ref(), line.direction.map(Direction::as_str));
        format!(
            "{} {} {} {} x {} = {}",
            line.kind,
            counterparty.map_or("-", |partner| partner.as_str()),
            direction.unwrap_or("-"),
            line.points,
            line.price,
            line.amount
        )
    });
    lines.collect()
}

/// The worked exchange with its bonus: the bank, the airline and the clearinghouse have to do with it, the hotel hasn't.
fn each_party_finds_what_concerns_it(backend: Backend) {
    let mut world = World::new(backend, &with_bonus(MILES, "15"));
    let earned = id(world.post("bank", earn("BANK", "m1", "730")));
    let exchanged = id(world.exchange_at_quote("bank", "BANK", "MILES", "m1", "730"));
    let burned = id(world.post("hotel", burn("MILES", "m1", "1000")));
    world.close();
    let window = of_window(&world);

    let bank = all(&world, "bank", &window);
    assert_eq!(kinds(&bank), ["earn", "quote", "exchange", "fee"]);
    let owed = [
        "exchange airline you_owe 7000 x 0.080000 = 560.000000",
        "bonus airline you_owe 1050 x 0.040000 = 42.000000",
        "fee clearing you_owe 0 x 0.000000 = 5.600000",
    ];
    assert_eq!(lines(&bank), owed);
    let exchange = &bank[2];
    let (moved, credited) = (
        exchange.moved.as_ref().expect("its own"),
        exchange.credited.as_ref().expect("its own"),
    );
    assert_eq!((&exchange.id, moved.points.as_str()), (&exchanged, "700"));
    assert_eq!((credited.points.as_str(), credited.bonus.as_deref()), ("7000", Some("1050")));
    let agreement = exchange.lines[0].agreement.clone().expect("under an agreement");

    let airline = all(&world, "airline", &window);
    assert_eq!(kinds(&airline), ["exchange", "burn"]);
    let owed = [
        "exchange bank you_are_owed 7000 x 0.080000 = 560.000000",
        "bonus bank you_are_owed 1050 x 0.040000 = 42.000000",
        "burn hotel you_owe 1000 x 0.070000 = 70.000000",
    ];
    assert_eq!(lines(&airline), owed);
    // What was credited in its programme is its business, and where the points came from isn't.
    assert_eq!((&airline[0].credited, &airline[0].moved), (&exchange.credited, &None));
    assert_eq!(airline[0].message_sha256, exchange.message_sha256);
    let of_the_banks = PostedQuery {
        programme: Some("BANK".parse().expect("a programme")),
        ..PostedQuery::default()
    };
    assert_eq!(all(&world, "airline", &of_the_banks), []);

    let hotel = all(&world, "hotel", &window);
    assert_eq!((kinds(&hotel), hotel[0].id.clone()), (vec!["burn"], burned));
    // Whatever it asks for, by id, by member or by a line, it finds nothing of the others'.
    let none = PostedQuery::default;
    let by_line = LineQuery {
        kind: Some("exchange".to_owned()),
        agreement: Some(agreement),
        ..LineQuery::default()
    };
    for query in [
        PostedQuery {
            id: Some(exchanged),
            ..none()
        },
        PostedQuery {
            id: Some(earned),
            sender: Some("bank".parse().expect("a partner")),
            ..none()
        },
        PostedQuery {
            programme: Some("BANK".parse().expect("a programme")),
            member: Some("m1".parse().expect("a member")),
            ..none()
        },
        PostedQuery { line: by_line, ..none() },
    ] {
        assert_eq!(all(&world, "hotel", &query), [], "{query:?}");
        assert!(!all(&world, "bank", &query).is_empty(), "{query:?}");
    }
    assert_eq!(world.lines_add_up(), 7);
}

/// Earns, a burn, refunds and breakage, on all statements of two windows.
fn every_line_of_a_pooled_day_adds_up(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let base = id(world.post("wellcome", earn("YUU", "m1", "2000")));
    let bonus = id(world.post("hangseng", earn("YUU", "m1", "4000")));
    world.post("wellcome", earn("YUU", "m2", "70")).expect("accepted");
    world.post("ikea", burn("YUU", "m1", "4000")).expect("enough points");
    world.post("wellcome", reverse(&base, "500")).expect("within what was earned");
    world.post("hangseng", reverse(&bonus, "1000")).expect("within what was earned");
    world.close();
    world.close();
    // Of the day: five lines of the pool's, which the others have too; and what expired, of the next.
    assert_eq!(world.lines_add_up(), 5 + 5 + 2);
    // The pool finds the points that nobody will redeem: one message for all of whom they were.
    let expired = PostedQuery {
        kind: Some("expiry".to_owned()),
        ..PostedQuery::default()
    };
    let expired = all(&world, "pool", &expired);
    let lost = [
        "expiry hangseng - 500 x 0.005500 = 2.750000",
        "expiry wellcome - 70 x 0.005500 = 0.385000",
    ];
    let mut found = lines(&expired);
    found.sort();
    assert_eq!((found, expired[0].moved.clone()), (lost.map(str::to_owned).to_vec(), None));
}

/// From a message to the agreement with what both signed, and back to the messages under it.
fn a_message_names_its_agreement(backend: Backend) {
    let mut market = Market::new(backend, 2);
    let (first, second) = (market.in_force(&market.terms()), market.in_force(&market.terms()));
    for (programme, points) in [("P0", "1000"), ("P1", "20"), ("P0", "3")] {
        market.world.post("grocer", earn(programme, "m1", points)).expect("accepted");
    }
    for partner in ["grocer", "pool"] {
        for (filed, points) in [(&first, vec!["1000", "3"]), (&second, vec!["20"])] {
            let line = LineQuery {
                agreement: Some(filed.hash.clone()),
                ..LineQuery::default()
            };
            let under = PostedQuery {
                line,
                ..PostedQuery::default()
            };
            let found = all(&market.world, partner, &under);
            let moved: Vec<&str> = found
                .iter()
                .flat_map(|message| &message.lines)
                .map(|line| line.points.as_str())
                .collect();
            assert_eq!(moved, points, "{partner}");
            for message in &found {
                let hash = message.lines[0].agreement.as_ref().expect("under an agreement");
                let agreement = market.fetch(partner, hash).expect("a party's");
                let signers: Vec<&str> = agreement.signatures.iter().map(|signature| signature.signer.as_str()).collect();
                assert!(signers.starts_with(&["grocer", "pool"]), "{signers:?}");
            }
        }
    }
    assert_eq!(all(&market.world, "cafe", &PostedQuery::default()), []);
}

/// Whose points were spent elsewhere pays for them, and learns how many and why: not who spent them, nor on what.
fn a_funder_learns_what_it_pays_for_and_no_more(backend: Backend) {
    let at_redemption = POOL.replacen("price = \"0.0055\"", "settle = \"redemption\"\nprice = \"0.0055\"", 1);
    let mut world = World::new(backend, &at_redemption);
    world.post("wellcome", earn("YUU", "m1", "10")).expect("accepted");
    world.post("hangseng", earn("YUU", "m1", "4000")).expect("accepted");
    let burned = id(world.post("ikea", burn("YUU", "m1", "4010")));
    let of_burn = PostedQuery {
        id: Some(burned),
        ..PostedQuery::default()
    };
    let seen = all(&world, "wellcome", &of_burn);
    assert_eq!(lines(&seen), ["redemption pool you_owe 10 x 0.005500 = 0.055000"]);
    assert_eq!((&seen[0].moved, &seen[0].message_sha256), (&None, &None));
    assert_eq!(all(&world, "hangseng", &of_burn), []);
    let member = PostedQuery {
        member: Some("m1".parse().expect("a member")),
        kind: Some("burn".to_owned()),
        ..PostedQuery::default()
    };
    assert_eq!(all(&world, "wellcome", &member), []);
    assert_eq!(
        all(&world, "pool", &member)[0].moved.as_ref().map(|moved| moved.points.as_str()),
        Some("4010")
    );
    world.close();
    world.lines_add_up();
}

fn pages_hold_each_message_once(backend: Backend) {
    let mut world = World::new(backend, POOL);
    for n in 0..23 {
        world.post("wellcome", earn("YUU", &format!("m{n}"), "100")).expect("accepted");
        world.post("hangseng", earn("YUU", &format!("m{n}"), "5")).expect("accepted");
    }
    let every = all(&world, "pool", &PostedQuery::default());
    assert_eq!(every.len(), 46);
    let (mut leafed, mut after, mut pages) = (vec![], "0".to_owned(), 0);
    loop {
        let path = format!("/v1/messages?after={after}&limit=7");
        let text = world.runtime.block_on(world.client("pool").get_text(&path)).expect("a page");
        let (messages, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
        let page: Vec<PostedMessage> = messages
            .lines()
            .map(|line| serde_json::from_str(line).expect("a message"))
            .collect();
        assert!(page.len() <= 7, "{path}");
        leafed.extend(page);
        pages += 1;
        let last: serde_json::Value = serde_json::from_str(last).expect("where to go on");
        match last["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((leafed, pages), (every, 7));
}

fn a_table_says_the_same_as_the_lines(backend: Backend) {
    let mut world = World::new(backend, &with_bonus(MILES, "15"));
    for n in 0..3 {
        world.post("bank", earn("BANK", &format!("m{n}"), "700")).expect("accepted");
        world
            .exchange_at_quote("bank", "BANK", "MILES", &format!("m{n}"), "700")
            .expect("accepted");
    }
    let date = world.close().business_date;
    let text = |path: &str| world.runtime.block_on(world.client("airline").get_text(path)).expect("a table");
    let table = text(&format!("/v1/messages/csv?window={date}"));
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let headers = reader.headers().expect("a header").clone();
    let place = |name: &str| headers.iter().position(|header| header == name).expect(name);
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    // Three exchanges with two lines each.
    assert_eq!(rows.len(), 6);
    let sum = |column: &str| -> i64 {
        let cells = rows.iter().map(|row| row[place(column)].replace('.', ""));
        cells
            .filter(|cell| !cell.is_empty())
            .map(|cell| cell.parse::<i64>().expect("a number"))
            .sum()
    };
    let found = all(&world, "airline", &of_window(&world));
    assert_eq!(sum("line_amount"), 3 * 602_000_000);
    // A message's own figures stand once, however many lines it has.
    assert_eq!((sum("message_credited"), sum("message_bonus")), (3 * 7000, 3 * 1050));
    assert_eq!(sum("breakage_value"), 0);
    assert_eq!(found.iter().map(|message| message.lines.len().max(1)).sum::<usize>(), rows.len());
    // Each page says where the next is, by an address that is good as it stands.
    let base = world.sandbox.base().expect("it runs");
    let airline = &world.sandbox.parties[&"airline".parse().expect("a partner")].identity;
    let (mut path, mut pages, mut lines) = (format!("/v1/messages/csv?limit=2&window={date}"), 0, 0);
    loop {
        let mut raw = Raw::connect(&base, airline, 1).expect("a connection");
        raw.write(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
            .expect("written");
        let answer = raw.read();
        pages += 1;
        lines += answer
            .lines()
            .filter(|line| line.contains(",airline,") || line.contains(",bank,"))
            .count();
        let next = answer.lines().find_map(|line| line.strip_prefix("link: <"));
        match next.and_then(|link| link.strip_suffix(">; rel=\"next\"")) {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    assert_eq!((pages, lines), (2, 6));
}

fn refused(world: &World, path: &str) -> Problem {
    match world.runtime.block_on(world.client("ikea").get_text(path)) {
        Err(ClientError::Refused(problem)) => *problem,
        other => panic!("{path}: {other:?}"),
    }
}

fn what_is_asked_wrongly_is_refused_by_name(backend: Backend) {
    let world = World::new(backend, POOL);
    for (query, field) in [
        ("window=21.11.2026", "window"),
        ("sender=%20", "sender"),
        ("id=%2F", "id"),
        ("programme=yuu%20", "programme"),
        ("member=%00", "member"),
        ("counterparty=%20", "counterparty"),
        ("direction=owes", "direction"),
        ("currency=hkd", "currency"),
        ("after=-1", "after"),
        ("limit=1001", "limit"),
    ] {
        for path in ["/v1/messages", "/v1/messages/csv"] {
            let problem = refused(&world, &format!("{path}?{query}"));
            assert_eq!(
                (problem.code, problem.field.as_deref()),
                (Code::BadValue, Some(field)),
                "{path}?{query}"
            );
            assert!(problem.detail.contains(field), "{}", problem.detail);
        }
    }
    let unknown = refused(&world, "/v1/messages?date=2026-11-20");
    assert_eq!((unknown.code, unknown.field.as_deref()), (Code::BadRequest, Some("date")));
    let none = refused(&world, "/v1/messages?window=2020-01-01");
    assert_eq!((none.code, none.field.as_deref()), (Code::NotFound, Some("window")));
}

fn what_was_rejected_is_found_by_its_sender(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.post("ikea", burn("YUU", "m1", "4000")).expect_err("there are no points");
    let mine = all(&world, "ikea", &PostedQuery::default());
    let [message] = mine.as_slice() else { panic!("{mine:?}") };
    assert_eq!((message.code, message.lines.as_slice()), (Some(Code::InsufficientBalance), &[][..]));
    assert_eq!(all(&world, "pool", &PostedQuery::default()), []);
}
