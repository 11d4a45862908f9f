use jiff::civil::date;
use partner_sdk::banking::AccountTerms;

use super::*;
use crate::netting::NettingError;
use crate::settle;
use crate::statement::{Direction, NetResult};
use crate::testing::{Entry, Lcg, Ledger, at, entry, hkd, partner};

const DAY: Date = date(2026, 11, 21);
const MONDAY: Date = date(2026, 11, 23);

fn night() -> Timestamp {
    at("2026-11-21T16:00:00Z")
}

/// The pooled programme of the design.
fn pooled() -> Vec<Entry> {
    vec![
        entry("earn", "wellcome", "pool", 2000, 5500, "earn"),
        entry("earn", "hangseng", "pool", 4000, 5500, "card"),
        entry("burn", "pool", "ikea", 4000, 4800, "burn"),
        entry("earn_reversal", "pool", "wellcome", 500, 5500, "earn"),
        entry("earn_reversal", "pool", "hangseng", 1000, 5500, "card"),
        entry("expiry", "member", "pool", 500, 5500, "earn"),
        // What moves points moves no money, even where a programme is called like a currency.
        Entry {
            unit: "HKD",
            ..entry("earn", "pool", "member", 2000, 5500, "earn")
        },
    ]
}

/// Closes the open window at `now` and nets it.
fn close(ledger: &mut Ledger, now: Timestamp) -> Date {
    let closed = close_due(&mut ledger.conn, now, Some(1)).expect("closes")[0];
    net(&mut ledger.conn, closed, now, Pace::Full, Payments::OneByOne).expect("nets");
    closed
}

#[test]
fn the_pooled_example() {
    let mut ledger = Ledger::standard();
    ledger.post_each(&pooled());
    assert_eq!(statement(&mut ledger.conn, DAY, &partner("pool")).expect("reads"), None);
    assert_eq!(close(&mut ledger, night()), DAY);

    let all = settlement(&mut ledger.conn, DAY).expect("reads").expect("netted");
    let nets: Vec<_> = all.net_positions.iter().map(|n| format!("{} {}", n.partner, n.net)).collect();
    assert_eq!(nets, ["hangseng -16.50", "ikea 19.20", "pool 5.55", "wellcome -8.25"]);
    let payments: Vec<_> = all
        .payments
        .iter()
        .map(|p| format!("{} {} {}", p.payer, p.payee, p.amount))
        .collect();
    assert_eq!(
        payments,
        [
            "hangseng clearing 16.50",
            "clearing ikea 19.20",
            "clearing pool 5.55",
            "wellcome clearing 8.25"
        ]
    );
    let r = &all.reduction[0];
    let reduction = [&r.gross, &r.bilateral, &r.multilateral, &r.efficiency_percent];
    assert_eq!(reduction, ["60.450000", "43.95", "24.75", "59.06"]);

    let pool = statement(&mut ledger.conn, DAY, &partner("pool")).expect("reads").expect("netted");
    let lines = pool.lines.iter().map(|l| {
        format!(
            "{} {} {:?} {} x {} = {}",
            l.counterparty, l.kind, l.direction, l.points, l.price, l.amount
        )
    });
    let expected = [
        "hangseng earn YouAreOwed 4000 x 0.005500 = 22.000000",
        "hangseng earn_reversal YouOwe 1000 x 0.005500 = 5.500000",
        "ikea burn YouOwe 4000 x 0.004800 = 19.200000",
        "wellcome earn YouAreOwed 2000 x 0.005500 = 11.000000",
        "wellcome earn_reversal YouOwe 500 x 0.005500 = 2.750000",
    ];
    assert_eq!(lines.collect::<Vec<_>>(), expected);
    let breakage = &pool.breakage[0];
    assert_eq!((breakage.points.as_str(), breakage.value.as_str()), ("500", "2.750000"));
    assert_eq!(breakage.counterparty, Some(partner("wellcome")));
    assert_eq!((pool.net[0].net.as_str(), pool.net[0].result), ("5.55", NetResult::Receives));

    let ikea = statement(&mut ledger.conn, DAY, &partner("ikea")).expect("reads").expect("netted");
    assert_eq!(
        (ikea.lines.len(), ikea.lines[0].direction, ikea.breakage.len()),
        (1, Direction::YouAreOwed, 0)
    );
    assert_eq!(
        (ikea.obligations[0].net.as_str(), ikea.obligations[0].carried_out.as_str()),
        ("19.20", "0.000000")
    );
    let csv = String::from_utf8(render::to_csv(&ikea).expect("csv")).expect("text");
    let hash = &ikea.lines[0].agreement;
    let expected = format!(
        "points-statement/3,line,2026-11-21,ikea,HKD,pool,burn,you_are_owed,YUU,{hash},0.004800,1,4000,19.200000,,,,,,,,,,,,,,,,,,,,,,,\n\
         points-statement/3,obligation,2026-11-21,ikea,HKD,pool,,,,,,,,,,,0.000000,19.200000,0.000000,19.20,0.000000,,,,,,,,,,,,,,,,\n\
         points-statement/3,net,2026-11-21,ikea,HKD,,,,,,,,,,,,,,,,,19.20,receives,,,,,,,,,,,,,,\n\
         points-statement/3,payment,2026-11-21,ikea,HKD,,,,,,,,,,,,,,,,,,receives,,,,,RF23261121HKD0002,2026-11-23,19.20,,,,,,,\n\
         points-statement/3,running_position,2026-11-21,ikea,HKD,,,,,,,,,,,,,,,,,,,,,,,,,,,,,0.00,0.00,19.20,0.000000\n\
         points-statement/3,reduction,2026-11-21,ikea,HKD,,,,,,,,,,,,,,,,,,,60.450000,43.95,24.75,59.06,,,,,,,,,,\n"
    );
    assert_eq!(csv.split_once('\n').map(|(_, rows)| rows), Some(expected.as_str()));
}

#[test]
fn the_documented_files_are_these() {
    let mut ledger = Ledger::standard();
    ledger.post_each(&pooled());
    for (of, account) in [("clearing", "012345678901"), ("pool", "987654321098")] {
        let terms = AccountTerms {
            partner: partner(of),
            currency: hkd(),
            holder: format!("{of} Ltd"),
            account: account.into(),
            bank: "AAAAHKHH".into(),
        };
        store::put_account(&mut ledger.conn, &terms, "a document").expect("in force");
    }
    close(&mut ledger, night());
    advise(
        &mut ledger.conn,
        DAY,
        &ledger.folder.path().join("out"),
        night(),
        Pace::Full,
        |_, _, _| Ok(()),
    )
    .expect("advises");
    let document = include_str!("../../../docs/STATEMENTS.md");
    let agreements = ledger.agreements();
    for (name, bytes) in ledger.files("out/2026-11-21") {
        // Hashes are long, and change with every term that is added; the document has names in their place.
        let text = String::from_utf8(bytes).expect("text");
        let text = agreements
            .iter()
            .fold(text, |text, (name, hash)| text.replace(hash, &format!("<hash of {name}>")));
        if ["pool.csv", "settlement.json", "wellcome.json"].contains(&name.as_str()) {
            assert!(document.contains(&text), "docs/STATEMENTS.md doesn't show this {name}:\n{text}");
        }
    }
    assert!(render::CSV_COLUMNS.iter().all(|column| document.contains(&format!("`{column}`"))));
}

/// Whoever sums a column of a statement gets a figure that is right: nothing stands in it twice, and money has its sign.
#[test]
fn any_column_can_be_summed() {
    let mut ledger = Ledger::standard();
    ledger.post_each(&pooled());
    close(&mut ledger, night());
    let mut all = 0;
    for party in ["pool", "wellcome", "hangseng", "ikea"] {
        let of = statement(&mut ledger.conn, DAY, &partner(party)).expect("reads").expect("netted");
        let csv = String::from_utf8(render::to_csv(&of).expect("csv")).expect("text");
        let header: Vec<&str> = csv.lines().next().expect("a header").split(',').collect();
        let micros = |cell: &str| {
            let (whole, part) = cell.trim_start_matches('-').split_once('.').unwrap_or((cell, ""));
            let units: i64 = format!("{}{part:0<6}", whole.trim_start_matches('-')).parse().expect("a number");
            if cell.starts_with('-') { -units } else { units }
        };
        let sum = |column: &str| -> i64 {
            let place = header.iter().position(|name| *name == column).expect("a column");
            let cells = csv
                .lines()
                .skip(1)
                .filter_map(|row| row.split(',').nth(place))
                .filter(|cell| !cell.is_empty());
            cells.map(micros).sum()
        };
        let net = micros(&of.net[0].net);
        assert_eq!((sum("net"), sum("pair_net")), (net, net), "{party}");
        assert_eq!(sum("line_amount"), sum("pair_you_are_owed") - sum("pair_you_owe"), "{party}");
        assert_eq!(
            sum("line_amount") + sum("pair_carried_in"),
            net + sum("pair_carried_out"),
            "{party}"
        );
        // A column with figures is one section's alone.
        for column in header
            .iter()
            .filter(|name| name.starts_with("line_") || name.starts_with("pair_") || **name == "net")
        {
            let place = header.iter().position(|name| name == column).expect("a column");
            let sections: BTreeSet<&str> = csv
                .lines()
                .skip(1)
                .filter(|row| row.split(',').nth(place).is_some_and(|cell| !cell.is_empty()))
                .filter_map(|row| row.split(',').nth(1))
                .collect();
            assert_eq!(sections.len(), 1, "{column}");
        }
        all += net;
    }
    assert_eq!(all, 0);
}

#[test]
fn the_exchange_example() {
    let mut ledger = Ledger::standard();
    ledger.post(&[
        entry("exchange", "bank", "airline", 7000, 80_000, "miles"),
        entry("bonus", "bank", "airline", 1050, 40_000, "miles"),
    ]);
    // One smallest unit of CENTS is a hundredth of a point.
    ledger.post(&[entry("exchange", "bank", "airline", 50, 800, "cents")]);
    close(&mut ledger, night());
    let bank = statement(&mut ledger.conn, DAY, &partner("bank")).expect("reads").expect("netted");
    let lines: Vec<_> = bank
        .lines
        .iter()
        .map(|l| format!("{} {} {} x {} = {}", l.kind, l.programme, l.points, l.price, l.amount))
        .collect();
    let mut expected = vec![
        "bonus MILES 1050 x 0.040000 = 42.000000",
        "exchange MILES 7000 x 0.080000 = 560.000000",
    ];
    expected.extend(["exchange CENTS 0.50 x 0.080000 = 0.040000", "fee MILES 0 x 0.000000 = 5.600000"]);
    let sorted = |mut lines: Vec<&str>| {
        lines.sort_unstable();
        lines.join("\n")
    };
    assert_eq!(sorted(lines.iter().map(String::as_str).collect()), sorted(expected));
    let pairs: Vec<_> = bank.obligations.iter().map(|o| format!("{} {}", o.counterparty, o.net)).collect();
    assert_eq!(pairs, ["airline -602.04", "clearing -5.60"]);

    // The reversal falls into the next window and gives no fee back.
    ledger.post(&[
        entry("exchange_reversal", "airline", "bank", 4000, 80_000, "miles"),
        entry("bonus_reversal", "airline", "bank", 600, 40_000, "miles"),
    ]);
    close(&mut ledger, at("2026-11-23T16:00:00Z"));
    let airline = settlement(&mut ledger.conn, MONDAY).expect("reads").expect("netted");
    let payments: Vec<_> = airline
        .payments
        .iter()
        .map(|p| format!("{} {} {}", p.payer, p.payee, p.amount))
        .collect();
    assert_eq!(payments, ["airline clearing 344.00", "clearing bank 344.00"]);
}

#[test]
fn days_without_a_window_are_skipped() {
    let mut ledger = Ledger::standard();
    let conn = &mut ledger.conn;
    assert_eq!(open_first(conn, at("2030-01-01T00:00:00Z")).expect("is there"), DAY);
    assert_eq!(close_due(conn, at("2026-11-21T15:59:59.999999Z"), None).expect("runs"), []);
    let now = at("2026-12-26T16:00:00Z");
    let closed = close_due(conn, now, Some(7)).expect("a sandbox's clock may jump");
    assert_eq!(closed.len(), 36 - 5 - 1); // five Sundays and Christmas Day
    assert_eq!((closed[0], closed[1], closed[29]), (DAY, MONDAY, date(2026, 12, 26)));
    assert!(!closed.contains(&date(2026, 12, 25)));
    let open = open_window(conn).expect("one");
    assert_eq!((open.business_date, open.closed_at), (date(2026, 12, 28), None));
    assert_eq!(
        pending(conn).expect("reads").iter().map(|w| w.business_date).collect::<Vec<_>>(),
        closed
    );

    let late = net(conn, closed[2], now, Pace::Full, Payments::OneByOne).expect_err("out of order");
    assert!(
        matches!(late, SettlementError::OutOfOrder { earlier, .. } if earlier == DAY),
        "{late}"
    );
    assert!(matches!(
        net(conn, open.business_date, now, Pace::Full, Payments::OneByOne),
        Err(SettlementError::NotYet { state: State::Open, .. })
    ));
    assert!(matches!(
        net(conn, date(2026, 12, 25), now, Pace::Full, Payments::OneByOne),
        Err(SettlementError::Unknown(_))
    ));
    for date in closed {
        net(conn, date, now, Pace::Full, Payments::OneByOne).expect("empty windows are a success");
        advise(conn, date, ledger.folder.path(), now, Pace::Full, |_, _, _| Ok(())).expect("and have statements");
    }
    assert_eq!(pending(conn).expect("reads"), vec![]);
}

#[test]
fn every_phase_may_run_twice() {
    let mut ledger = Ledger::standard();
    let mut entries = pooled();
    entries.push(entry("exchange", "bank", "airline", 700, 80_000, "miles"));
    ledger.post_each(&entries);
    close(&mut ledger, night());
    let out = ledger.folder.path().join("out");
    assert!(matches!(
        settle(&mut ledger.conn, DAY, night(), "ops"),
        Err(SettlementError::NotYet { state: State::Netted, .. })
    ));
    assert!(matches!(
        advise(&mut ledger.conn, MONDAY, &out, night(), Pace::Full, |_, _, _| Ok(())),
        Err(SettlementError::NotYet { state: State::Open, .. })
    ));

    let paths = advise(&mut ledger.conn, DAY, &out, night(), Pace::Full, |_, _, _| Ok(())).expect("advises");
    let first = ledger.files("out/2026-11-21");
    assert_eq!(first.len(), paths.len());
    let names: Vec<_> = first
        .iter()
        .filter(|(name, _)| name.ends_with(".json"))
        .map(|(name, _)| name.trim_end_matches(".json"))
        .collect();
    assert_eq!(
        names,
        [
            "airline",
            "bank",
            "clearing",
            "hangseng",
            "idle",
            "ikea",
            "pool",
            "settlement",
            "wellcome"
        ]
    );

    // A kill left a temporary file and half a folder; a later run, at another time, makes it whole.
    std::fs::write(out.join("2026-11-21/.bank.csv.tmp"), "half").expect("writes");
    std::fs::remove_file(out.join("2026-11-21/settlement.json")).expect("removes");
    let later = at("2027-01-01T00:00:00Z");
    let exposures = ledger.exposures();
    net(&mut ledger.conn, DAY, later, Pace::Full, Payments::OneByOne).expect("does nothing");
    assert_eq!(
        advise(&mut ledger.conn, DAY, &out, later, Pace::Full, |_, _, _| Ok(())).expect("advises"),
        paths
    );
    assert_eq!(ledger.files("out/2026-11-21"), first);
    assert_eq!(ledger.exposures(), exposures);
    // 700 x 0.08 and the fee of 1 % on it; the clearinghouse itself has none.
    assert!(exposures.contains(&("bank".into(), 56_560_000)), "{exposures:?}");
    assert!(exposures.iter().all(|(partner, _)| partner != "clearing"), "{exposures:?}");

    settle(&mut ledger.conn, DAY, later, "ops").expect("settles");
    assert!(matches!(
        settle(&mut ledger.conn, DAY, later, "again"),
        Err(SettlementError::Settled(DAY))
    ));
    assert_eq!(ledger.exposures(), vec![]);
    let window = store::window(&mut ledger.conn, DAY).expect("reads").expect("is there");
    assert_eq!((window.state, window.settled_by.as_deref()), (State::Settled, Some("ops")));
    assert_eq!(
        (window.netted_at, window.advised_at, window.settled_at),
        (Some(night()), Some(night()), Some(later))
    );
    advise(&mut ledger.conn, DAY, &out, later, Pace::Full, |_, _, _| Ok(())).expect("advises");
    assert_eq!(ledger.files("out/2026-11-21"), first);
}

#[test]
fn residues_are_carried_from_window_to_window() {
    let mut ledger = Ledger::standard();
    for now in ["2026-11-21T16:00:00Z", "2026-11-23T16:00:00Z", "2026-11-24T16:00:00Z"] {
        ledger.post(&[entry("earn", "wellcome", "pool", 1, 5_500, "earn")]);
        close(&mut ledger, at(now));
    }
    // Three times 0.0055: paid 0.01 (0.0055 up), 0.00 (0.0010), 0.01 (0.0065 up).
    let view = |conn: &mut Conn, date| {
        let pair = statement(conn, date, &partner("wellcome"))
            .expect("reads")
            .expect("netted")
            .obligations
            .remove(0);
        format!("{} {} {}", pair.carried_in, pair.net, pair.carried_out)
    };
    assert_eq!(view(&mut ledger.conn, DAY), "0.000000 -0.01 0.004500");
    assert_eq!(view(&mut ledger.conn, MONDAY), "0.004500 0.00 -0.001000");
    assert_eq!(view(&mut ledger.conn, date(2026, 11, 24)), "-0.001000 -0.01 0.003500");
    // A window in which nothing happens hands it on.
    close(&mut ledger, at("2026-11-25T16:00:00Z"));
    assert_eq!(view(&mut ledger.conn, date(2026, 11, 25)), "0.003500 0.00 0.003500");
}

#[test]
fn what_the_lines_do_not_explain_is_not_advised() {
    let mut ledger = Ledger::standard();
    ledger.post(&[entry("earn", "wellcome", "pool", 1, 5_500, "earn")]);
    store::add_position(&mut ledger.conn, DAY, &crate::testing::owes("pool", "ikea", 1)).expect("adds");
    close(&mut ledger, night());
    let error = advise(&mut ledger.conn, DAY, ledger.folder.path(), night(), Pace::Full, |_, _, _| Ok(()))
        .expect_err("a cent that nobody can explain");
    assert!(matches!(error, SettlementError::Netting(NettingError::Lines { .. })), "{error}");
}

/// Random days, in two orders of arrival and with other numbers for the agreements, give the same files.
#[test]
fn the_order_of_arrival_does_not_show() {
    for seed in 1..=5 {
        let mut random = Lcg(seed);
        let entries: Vec<Entry> = (0..60).map(|_| random_entry(&mut random)).collect();
        let mut shuffled = entries.clone();
        random.shuffle(&mut shuffled);
        let files = [(entries, [0, 1, 2, 3, 4]), (shuffled, [3, 4, 1, 0, 2])].map(|(entries, order)| {
            let mut ledger = Ledger::new(order);
            ledger.post_each(&entries);
            close(&mut ledger, night());
            let out = ledger.folder.path().join("out");
            advise(&mut ledger.conn, DAY, &out, night(), Pace::Full, |_, _, _| Ok(())).expect("advises");
            ledger.files("out/2026-11-21")
        });
        assert!(files[0] == files[1], "seed {seed}");
    }
}

fn random_entry(random: &mut Lcg) -> Entry {
    let kinds = [
        entry("earn", "wellcome", "pool", 0, 5_500, "earn"),
        entry("earn", "hangseng", "pool", 0, 5_500, "card"),
        entry("redemption", "hangseng", "pool", 0, 5_501, "card"),
        entry("burn", "pool", "ikea", 0, 4_800, "burn"),
        entry("burn_reversal", "ikea", "pool", 0, 4_800, "burn"),
        entry("exchange", "bank", "airline", 0, 80_000, "miles"),
        entry("bonus", "bank", "airline", 0, 40_000, "miles"),
        entry("exchange", "bank", "airline", 0, 800, "cents"),
        entry("expiry", "member", "pool", 0, 5_500, "earn"),
        entry("expiry", "member", "pool", 0, 0, "card"),
    ];
    Entry {
        points: random.below(100_000) as i64 + 1,
        ..random.pick(&kinds).clone()
    }
}

#[test]
fn a_line_counts_the_messages_of_all_pieces_once() {
    let (mut ledger, mut total) = (Ledger::standard(), 0);
    for skipped in [0, 1, 4_093, 1, 20_000, 4_095, 4_096, 4_097] {
        // As if others had taken the numbers between.
        let skip = diesel::sql_query(format!("UPDATE head SET next_seq = next_seq + {skipped}"));
        migrations::each_backend!(&mut ledger.conn, |c| diesel::RunQueryDsl::execute(skip, c)).expect("skipped");
        // Two postings of one message are one message of the line.
        ledger.post(&[
            entry("earn", "wellcome", "pool", 2000, 5500, "earn"),
            entry("earn", "wellcome", "pool", 30, 5500, "earn"),
        ]);
        total += 2030;
    }
    close(&mut ledger, night());
    let pool = statement(&mut ledger.conn, DAY, &partner("pool")).expect("reads").expect("netted");
    let lines: Vec<_> = pool.lines.iter().map(|line| (line.messages, line.points.clone())).collect();
    assert_eq!(lines, [(8, total.to_string())]);
}

/// Whoever says meanwhile that payments go elsewhere is heard: statements name the accounts that are in force when they are kept.
#[test]
fn an_account_that_changes_while_statements_are_made_is_the_one_they_name() {
    let mut ledger = Ledger::standard();
    ledger.post_each(&pooled());
    close(&mut ledger, night());
    let window = store::window(&mut ledger.conn, DAY).expect("reads").expect("there");
    let before = store::read_book(&mut ledger.conn, &window, Pace::Full).expect("a book");
    let terms = AccountTerms {
        partner: partner("clearing"),
        currency: hkd(),
        holder: "Clearing".into(),
        account: "012345678901".into(),
        bank: "AAAAHKHH".into(),
    };
    store::put_account(&mut ledger.conn, &terms, "a document").expect("in force");
    let partners = store::partners(&mut ledger.conn).expect("partners");
    let files = keep_book(&mut ledger.conn, DAY, night(), &before, partners);
    assert_eq!(files.expect("reads"), None, "they are made again");
    keep(&mut ledger.conn, DAY, night(), Pace::Full).expect("kept");
    let file = advised(&mut ledger.conn, DAY, &partner("wellcome"), Format::Json)
        .expect("reads")
        .expect("kept");
    assert!(file.text.contains("012345678901"), "{}", file.text);
}
