//! A partner's own record held against what it sent: uploaded as CSV and as a workbook, by a mapping that is remembered, with findings that stay resolved.

use jiff::ToSpan;
use partner_sdk::Body;
use partner_sdk::client::ClientError;
use rust_xlsxwriter::Workbook;
use serde_json::{Value, json};
use tests::raw::Raw;
use tests::{Backend, World, burn, earn, id, on_both, reverse};

const NETWORK: &str = include_str!("networks/miles.toml");
const MAPPINGS: &str = "/v1/reconciliations/mappings";

on_both!(
    a_record_is_held_against_a_window,
    what_cannot_be_read_is_refused_with_its_reason,
    mappings_and_notes_are_ones_own,
    what_is_resolved_is_bounded_and_may_be_marked_by_two_at_once,
);

/// What a file posted to an address is answered: status and body.
fn upload(world: &World, partner: &str, path: &str, file: &[u8]) -> (u16, String) {
    let answer = answer(world, partner, path, file);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

/// The whole answer, with its head.
fn answer(world: &World, partner: &str, path: &str, file: &[u8]) -> String {
    let party = &world.sandbox.parties[&partner.parse().expect("a partner")];
    let mut raw = Raw::connect(&world.sandbox.base().expect("it runs"), &party.identity, 1).expect("a connection");
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", file.len());
    raw.write(head.as_bytes()).expect("sent");
    // What is refused by its length isn't read to the end.
    let _ = raw.write(file);
    raw.read()
}

fn report(world: &World, path: &str, file: &[u8]) -> Value {
    let (status, body) = upload(world, "bank", path, file);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

fn post(world: &World, partner: &str, path: &str, body: &Value) -> Result<Value, String> {
    let sent = world.client(partner);
    match world.runtime.block_on(sent.post_unverified(path, body.to_string())) {
        Ok(text) => Ok(serde_json::from_str(&text).expect("JSON")),
        Err(ClientError::Refused(problem)) => Err(problem.code.to_string()),
        Err(other) => panic!("{other:?}"),
    }
}

fn mapping() -> Value {
    json!({
        "columns": {"id": "Ref", "kind": "What", "member": "Card", "points": "Pts", "amount": "Owed", "currency": "Ccy", "occurred_at": "When"},
        "kinds": {"SALE": "earn", "REFUND": "reverse"},
        "time": {"format": "%Y-%m-%d %H:%M", "zone": "Asia/Hong_Kong"},
    })
}

/// The findings of a report as `line finding reason sequence`, in order.
fn findings(report: &Value) -> Vec<String> {
    let all = report["findings"].as_array().expect("findings").iter();
    let one = |one: &Value| {
        let text = |name: &str| one[name].as_str().expect("a text").to_owned();
        format!(
            "{} {} {}",
            one["line"].as_u64().map_or("-".to_owned(), |line| line.to_string()),
            text("finding"),
            text("reason")
        )
    };
    all.map(one).collect()
}

/// A window with one of each: the messages' ids, and the record as rows.
fn a_day(world: &mut World) -> (String, Vec<[String; 7]>) {
    let earned = |world: &mut World, member: &str, points: &str| id(world.post("bank", earn("BANK", member, points))).to_string();
    let old = earned(world, "m0", "5");
    world.close();
    // Far from either end of the window.
    world.wait(3.hours());
    let (same, off) = (earned(world, "m1", "700"), earned(world, "m2", "50"));
    let (left, no_id) = (earned(world, "m3", "100"), earned(world, "m4", "60"));
    let taken_back = left.parse().expect("an id");
    world.post("bank", reverse(&taken_back, "40")).expect("taken back");
    let once = earned(world, "m5", "30");
    earned(world, "m5", "30");
    earned(world, "m6", "20");
    let refused = world.message("bank", spend());
    world.send(&refused).expect_err("without an agreement");
    let at = world.now().to_zoned(jiff::tz::TimeZone::get("Asia/Hong_Kong").expect("a zone"));
    let at = at.strftime("%Y-%m-%d %H:%M").to_string();
    let row = |id: &str, kind: &str, member: &str, points: &str| [id, kind, member, points, "", "", at.as_str()].map(str::to_owned);
    let rows = vec![
        row(&same, "SALE", "m1", "700"),
        row(&off, "SALE", "m2", "55"),
        row(&left, "SALE", "m3", "60"),
        row("", "SALE", "m4", "60"),
        row(&once, "SALE", "m5", "30"),
        row(refused.id.as_str(), "burn", "m7", "10"),
        row(&old, "SALE", "m0", "5"),
        row("never-sent", "SALE", "m8", "1"),
        row(&same, "SALE", "m1", "700"),
    ];
    assert!(!no_id.is_empty());
    let date = world.close().business_date.to_string();
    (date, rows)
}

/// What the bank may not: it has no agreement to.
fn spend() -> Body {
    burn("BANK", "m7", "10")
}

const HEADER: [&str; 7] = ["Ref", "What", "Card", "Pts", "Owed", "Ccy", "When"];
const FOUND: [&str; 9] = [
    "3 different differs",
    "4 different reversed",
    "7 missing_here rejected",
    "8 missing_here other_window",
    "9 missing_here never_arrived",
    "10 doubled id_twice",
    "- missing_there reversal",
    "- doubled sent_twice",
    "- missing_there not_recorded",
];

fn csv(rows: &[[String; 7]]) -> String {
    let lines = rows.iter().map(|row| format!("{}\n", row.join(";")));
    format!("{}\n{}", HEADER.join(";"), lines.collect::<String>())
}

fn a_record_is_held_against_a_window(backend: Backend) {
    let mut world = World::new(backend, NETWORK);
    let (date, rows) = a_day(&mut world);
    let (address, csv) = (format!("/v1/reconciliations/{date}"), csv(&rows));
    let by_name = format!("{address}?mapping=till");
    // Its header says nothing to anybody else.
    let (status, said) = upload(&world, "bank", &address, csv.as_bytes());
    assert!(status == 422 && said.contains("the header has `Ref`, `What`"), "{said}");
    assert_eq!(upload(&world, "bank", &by_name, csv.as_bytes()).0, 404);
    let kept = post(&world, "bank", MAPPINGS, &json!({"name": "till", "mapping": mapping()}));
    assert_eq!(kept.expect("kept")["mappings"]["till"], mapping());

    let first = report(&world, &by_name, csv.as_bytes());
    assert_eq!(findings(&first), FOUND);
    let counts = json!({"matched": 3, "different": 2, "missing_here": 3, "missing_there": 2, "doubled": 2, "resolved": 0});
    assert_eq!(
        (&first["counts"], &first["record_rows"], &first["ledger_messages"]),
        (&counts, &json!(9), &json!(8))
    );
    let found = &first["findings"];
    assert_eq!(
        found[0]["differences"],
        json!([{"field": "points", "record": "55", "ledger": "50"}])
    );
    assert_eq!(
        (&found[2]["code"], &found[3]["other_window"]),
        (&json!("no_agreement"), &json!("2026-11-20"))
    );
    assert_eq!(found[7]["other_line"], 6);
    let earned = first["sums"]
        .as_array()
        .expect("sums")
        .iter()
        .find(|sum| sum["kind"] == "earn" && sum["programme"] == "BANK");
    assert_eq!(earned.expect("the ledger's")["ledger_points"], "990.000000");

    // The same as a workbook, and as a table.
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    let header = HEADER.map(str::to_owned);
    for (line, row) in (0..).zip([&header].into_iter().chain(&rows)) {
        for (column, cell) in (0..).zip(row) {
            sheet.write_string(line, column, cell).expect("written");
        }
    }
    assert_eq!(report(&world, &by_name, &workbook.save_to_buffer().expect("a workbook")), first);
    let (status, table) = upload(&world, "bank", &format!("{by_name}&form=csv"), csv.as_bytes());
    assert!(status == 200 && table.lines().count() == FOUND.len() + 1, "{table}");
    assert!(table.contains("ledger_programme") && !table.contains("not_listed"), "{table}");
    let whole = answer(&world, "bank", &format!("{by_name}&form=csv"), csv.as_bytes()).to_lowercase();
    assert!(whole.contains(&format!("filename=\"reconciliation-{date}.csv\"")), "{whole}");
    resolved_stays_so(&world, &address, &csv, &first);
}

/// What is resolved stays so, as long as it is the same.
fn resolved_stays_so(world: &World, address: &str, csv: &str, first: &Value) {
    let (by_name, key) = (format!("{address}?mapping=till"), first["findings"][0]["key"].clone());
    let marked = post(
        world,
        "bank",
        &format!("{address}/resolved"),
        &json!({"findings": [{"key": key, "note": "a typing error"}]}),
    );
    assert_eq!(
        marked.expect("marked")["resolved"][key.as_str().expect("a key")]["note"],
        "a typing error"
    );
    let second = report(world, &by_name, csv.as_bytes());
    let last = second["findings"].as_array().expect("findings").last().expect("one").clone();
    assert_eq!(
        (&last["key"], &last["resolved"]["note"], &second["counts"]["resolved"]),
        (&key, &json!("a typing error"), &json!(1))
    );
    let changed = report(world, &by_name, csv.replace(";55;", ";54;").as_bytes());
    assert_eq!(
        (findings(&changed), &changed["counts"]["resolved"]),
        (FOUND.map(str::to_owned).to_vec(), &json!(0))
    );
    post(world, "bank", &format!("{address}/resolved"), &json!({"findings": [{"key": key}]})).expect("opened again");
    assert_eq!(report(world, &by_name, csv.as_bytes()), *first);
}

fn what_cannot_be_read_is_refused_with_its_reason(backend: Backend) {
    let mut world = World::new(backend, NETWORK);
    world.post("bank", earn("BANK", "m1", "1")).expect("accepted");
    let date = world.close().business_date.to_string();
    let address = format!("/v1/reconciliations/{date}");
    let utf16: Vec<u8> = "\u{feff}id\na\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let million = format!("id\n{}", "a\n".repeat(1_000_000));
    for (file, why) in [
        (&b""[..], "it has no header"),
        (b"id,points\na,1e3\n", "line 2, column `points`"),
        (&utf16, "UTF-16"),
        (&[0x80; 1000], "neither UTF-8 nor a workbook"),
        (b"PK\x03\x04", "no whole workbook"),
        (million.as_bytes(), "more than 200000 rows"),
    ] {
        let (status, said) = upload(&world, "bank", &address, file);
        assert!(status == 422 && said.contains(why), "{why}: {status} {said}");
    }
    assert_eq!(upload(&world, "bank", &address, &vec![b'a'; 5_000_000]).0, 413);
    for (path, status) in [
        ("/v1/reconciliations/2020-01-01".to_owned(), 404),
        ("/v1/reconciliations/today".to_owned(), 422),
        (format!("{address}?form=pdf"), 422),
        (format!("{address}?from=1"), 400),
        (format!("{address}?mapping=%00"), 422),
        (format!("{address}?mapping=Till"), 422),
        (format!("{address}?mapping="), 422),
    ] {
        assert_eq!(upload(&world, "bank", &path, b"id\na\n").0, status, "{path}");
    }
}

fn mappings_and_notes_are_ones_own(backend: Backend) {
    let mut world = World::new(backend, NETWORK);
    let earned = id(world.post("bank", earn("BANK", "m1", "1")));
    let date = world.close().business_date.to_string();
    let address = format!("/v1/reconciliations/{date}");
    post(&world, "bank", MAPPINGS, &json!({"name": "till", "mapping": {}})).expect("kept");
    let key = "ab".repeat(16);
    let note = json!({"findings": [{"key": key, "note": "done"}]});
    post(&world, "bank", &format!("{address}/resolved"), &note).expect("marked");
    // To another the message isn't there, nor what the bank has kept.
    let record = format!("id\n{earned}\n");
    let (status, said) = upload(&world, "airline", &address, record.as_bytes());
    assert!(
        status == 200 && said.contains("never_arrived") && said.contains("\"ledger_messages\":0"),
        "{said}"
    );
    assert_eq!(
        upload(&world, "airline", &format!("{address}?mapping=till"), record.as_bytes()).0,
        404
    );
    for path in [MAPPINGS, &format!("{address}/resolved")] {
        let theirs: Value = world.runtime.block_on(world.client("airline").get(path)).expect("a list");
        assert!(
            !theirs.to_string().contains("till") && !theirs.to_string().contains("done"),
            "{theirs}"
        );
    }
    for (name, mapping) in [("Till", json!({})), ("", json!({})), ("x", json!({"columns": {"points": "p"}}))] {
        let refused = post(&world, "bank", MAPPINGS, &json!({"name": name, "mapping": mapping}));
        assert_eq!(refused, Err("bad_value".to_owned()), "{name}");
    }
    for body in [
        json!({"findings": [{"key": "short", "note": "x"}]}),
        json!({"findings": [{"key": key, "note": "\n"}]}),
        json!({"findings": [{"key": key, "note": "a\u{202e}b"}]}),
        json!({"findings": vec![json!({"key": key, "note": "x"}); 101]}),
    ] {
        assert_eq!(
            post(&world, "bank", &format!("{address}/resolved"), &body),
            Err("bad_value".to_owned())
        );
    }
    assert_eq!(
        post(&world, "bank", "/v1/reconciliations/2020-01-01/resolved", &note),
        Err("not_found".to_owned())
    );
}

fn what_is_resolved_is_bounded_and_may_be_marked_by_two_at_once(backend: Backend) {
    let mut world = World::new(backend, NETWORK);
    world.post("bank", earn("BANK", "m1", "1")).expect("accepted");
    let date = world.close().business_date.to_string();
    let address = format!("/v1/reconciliations/{date}/resolved");
    let some = |from: u32, note: Option<&str>| {
        let one = |n: u32| match note {
            Some(note) => json!({"key": format!("{n:032x}"), "note": note}),
            None => json!({"key": format!("{n:032x}")}),
        };
        json!({"findings": (from..from + 100).map(one).collect::<Vec<_>>()})
    };
    let count = |answer: &Value| answer["resolved"].as_object().map(serde_json::Map::len);
    // Four at once mark the same, and keep the same mapping: all are done.
    let client = world.client("bank");
    let at_once = |path: &str, body: &Value| {
        let sent = (0..4).map(|_| client.post_unverified(path, body.to_string()));
        let answers = world.runtime.block_on(futures_util::future::join_all(sent));
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    };
    for round in 0..3 {
        at_once(&address, &some(round * 50, Some("by four")));
    }
    at_once(MAPPINGS, &json!({"name": "till", "mapping": {}}));
    let again = post(&world, "bank", &address, &some(0, Some("again"))).expect("marked");
    assert_eq!(count(&again), Some(200));
    assert_eq!(again["resolved"][format!("{:032x}", 3)]["note"], "again");
    assert_eq!(again["resolved"][format!("{:032x}", 150)]["note"], "by four");
    for hundred in 2..10 {
        post(&world, "bank", &address, &some(hundred * 100, Some("x"))).expect("marked");
    }
    // The window is full: no more, but others' notes may change and go.
    assert_eq!(post(&world, "bank", &address, &some(950, Some("y"))), Err("bad_value".to_owned()));
    let kept = post(&world, "bank", &address, &some(900, Some("y"))).expect("changed");
    assert_eq!(
        (count(&kept), &kept["resolved"][format!("{:032x}", 900)]["note"]),
        (Some(1_000), &json!("y"))
    );
    let mut swapped = some(900, None);
    let more = some(1_000, Some("z"));
    let list = |of: &Value| of["findings"].as_array().expect("findings").clone();
    swapped["findings"] = list(&swapped)[..50].iter().chain(&list(&more)[..50]).cloned().collect();
    assert_eq!(count(&post(&world, "bank", &address, &swapped).expect("swapped")), Some(1_000));
}
