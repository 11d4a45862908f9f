//! What was given for an earn that was taken back comes back with the earn's own points: whichever comes first, the end is the same (decision 0022).

use partner_sdk::{Body, Code, MessageId};
use tests::{Backend, World, authorise, burn, capture, earn, id, on_both, reverse, void};

const POOL: &str = include_str!("networks/pool.toml");
const ELSEWHERE: &str = include_str!("networks/elsewhere.toml");

on_both!(
    points_that_come_back_go_to_the_lot_that_stood_in,
    what_stood_in_for_what_stood_in_gets_them,
    a_hold_that_ends_repays_what_its_earn_owes,
    a_capture_of_a_part_frees_the_rest,
    what_a_hold_freed_goes_to_the_lot_that_stood_in,
    a_refused_exchange_frees_its_points,
    a_cap_keeps_no_hold_from_being_voided,
    what_stands_in_does_not_make_a_refund_too_large,
    what_a_lapsed_hold_kept_goes_back_though_it_lives,
    many_lots_stand_in_and_get_theirs,
    what_stood_in_keeps_no_hold_from_being_captured,
);

/// Holds may last a week, the balance may go below zero by so much; who pays at redemption is stated.
fn pool(limit: &str, at_redemption: bool) -> String {
    let network = POOL
        .replace("price = \"0.0048\"", "price = \"0.0048\"\nhold_minutes = 10080")
        .replace("\"1 day\"", &format!("\"1 day\"\nnegative_limit = \"{limit}\""));
    match at_redemption {
        true => network.replace("kind = \"earn\"", "kind = \"earn\"\nsettle = \"redemption\""),
        false => network,
    }
}

fn shows(world: &World, balance: &str, held: &str, available: &str) {
    let seen = world.balance("ikea", "YUU", "m1");
    assert_eq!((seen.0.as_str(), seen.1.as_str(), seen.2.as_str()), (balance, held, available));
}

fn earned(world: &mut World, partner: &str, points: &str) -> MessageId {
    id(world.post(partner, earn("YUU", "m1", points)))
}

fn spent(world: &mut World, points: &str) -> MessageId {
    id(world.post("ikea", burn("YUU", "m1", points)))
}

/// What each got (below zero: paid) from 20 November up to a date, in cents.
fn paid(world: &World, until: u32) -> [i64; 4] {
    ["wellcome", "hangseng", "ikea", "pool"].map(|partner| {
        let statements = (20..=until).map(|day| world.statement(&format!("2026-11-{day}"), partner));
        let nets = statements.flat_map(|statement| statement.net);
        nets.map(|net| net.net.replace('.', "").parse::<i64>().expect("cents")).sum()
    })
}

/// Breakage of the points of all days from 20 November up to a date: points and millionths.
fn breakage(world: &World, until: u32) -> (i64, i64) {
    let lines = (20..=until).flat_map(|day| world.breakage(&format!("2026-11-{day}"), "pool"));
    lines.fold((0, 0), |sum, (_, points, value)| {
        let value: i64 = value.replace('.', "").parse().expect("millionths");
        (sum.0 + points.parse::<i64>().expect("points"), sum.1 + value)
    })
}

fn points_that_come_back_go_to_the_lot_that_stood_in(backend: Backend) {
    for at_redemption in [false, true] {
        for limit in ["0", "1000"] {
            for late in [false, true] {
                let mut world = World::new(backend, &pool(limit, at_redemption));
                let (first, second) = (earned(&mut world, "wellcome", "200"), earned(&mut world, "hangseng", "200"));
                let burned = spent(&mut world, "200");
                world.post("wellcome", reverse(&first, "200")).expect("hangseng's stand in");
                world.post("ikea", reverse(&burned, "200")).expect("they go back to hangseng's");
                shows(&world, "200", "0", "200");
                if late {
                    world.at("2026-11-22T10:00+08");
                    world.night();
                    shows(&world, "0", "0", "0");
                    let value = if at_redemption { "0.000000" } else { "1.100000" };
                    assert_eq!(
                        world.breakage("2026-11-21", "pool"),
                        [("expiry".into(), "200".into(), value.into())]
                    );
                }
                world.post("hangseng", reverse(&second, "200")).expect("they are its own");
                shows(&world, "0", "0", "0");
                world.at("2026-11-24T10:00+08");
                world.night();
                let told = format!("{backend:?}, at redemption {at_redemption}, limit {limit}, late {late}");
                assert_eq!((paid(&world, 23), breakage(&world, 23)), ([0; 4], (0, 0)), "{told}");
                world.check_books();
            }
        }
    }
}

fn what_stood_in_for_what_stood_in_gets_them(backend: Backend) {
    for at_redemption in [false, true] {
        let mut world = World::new(backend, &pool("0", at_redemption));
        let (first, second) = (earned(&mut world, "wellcome", "200"), earned(&mut world, "hangseng", "200"));
        let burned = spent(&mut world, "200");
        world.at("2026-11-21T10:00+08");
        earned(&mut world, "wellcome", "300");
        world.post("wellcome", reverse(&first, "150")).expect("hangseng's 150 stand in");
        world
            .post("hangseng", reverse(&second, "200"))
            .expect("its 50, and 150 of the last");
        shows(&world, "150", "0", "150");
        // In pieces, some of them after the first day's points are over: all of it is the last earn's.
        for (day, piece, left) in [("21", "70", "220"), ("22", "30", "250"), ("22", "50", "300")] {
            world.at(&format!("2026-11-{day}T11:00+08"));
            world.post("ikea", reverse(&burned, piece)).expect("given back");
            shows(&world, left, "0", left);
        }
        world
            .post("ikea", reverse(&burned, "50"))
            .expect("these are of the first earn, which kept 50");
        shows(&world, "350", "0", "300");
        world.at("2026-11-24T10:00+08");
        world.night();
        // 50 of the first at the cut-off after they came back, 300 of the last with 22 November.
        let value = if at_redemption { 0 } else { 350 * 5500 };
        assert_eq!(breakage(&world, 23), (350, value));
        let cents = if at_redemption { 0 } else { -193 };
        let [wellcome, hangseng, ikea, _] = paid(&world, 23);
        assert_eq!((hangseng, ikea), (0, 0));
        assert!((wellcome - cents).abs() <= 1, "{wellcome}");
        world.check_books();
    }
}

fn a_hold_that_ends_repays_what_its_earn_owes(backend: Backend) {
    for (ends_at, cut_off) in [("2026-11-22T10:00+08", "18:00"), ("2026-11-21T11:00+08", "23:00")] {
        for lapses in [false, true] {
            for night in [true, false] {
                let zone = "zone = \"Asia/Hong_Kong\"";
                let network = pool("1000", false).replace(zone, &format!("{zone}\ncut_off = \"{cut_off}\""));
                let mut world = World::new(backend, &network);
                let first = earned(&mut world, "wellcome", "200");
                let mut hold = authorise("YUU", "m1", "200");
                if let Body::Authorise { expires_at, .. } = &mut hold {
                    *expires_at = lapses.then(|| ends_at.parse().expect("an instant"));
                }
                let hold = id(world.post("ikea", hold));
                world.post("wellcome", reverse(&first, "200")).expect("owed while it is held");
                shows(&world, "0", "200", "-200");
                world.at(ends_at);
                if night {
                    world.night();
                }
                if !lapses {
                    world.post("ikea", void(&hold)).expect("voided");
                }
                shows(&world, "0", "0", "0");
                let second = earned(&mut world, "hangseng", "200");
                shows(&world, "200", "0", "200");
                let burned = spent(&mut world, "200");
                world.post("ikea", reverse(&burned, "200")).expect("given back");
                let told = format!("{backend:?}: {ends_at}, lapses {lapses}, night {night}");
                world.post("hangseng", reverse(&second, "200")).expect("there, or owed");
                assert_eq!(world.balance("ikea", "YUU", "m1").0, "0", "{told}");
                world.at("2026-11-25T10:00+08");
                world.night();
                shows(&world, "0", "0", "0");
                assert_eq!((paid(&world, 24), breakage(&world, 24)), ([0; 4], (0, 0)), "{told}");
                world.check_books();
            }
        }
    }
}

fn a_capture_of_a_part_frees_the_rest(backend: Backend) {
    for at_redemption in [false, true] {
        let mut world = World::new(backend, &pool("1000", at_redemption));
        let first = earned(&mut world, "wellcome", "200");
        let hold = id(world.post("ikea", authorise("YUU", "m1", "200")));
        world.post("wellcome", reverse(&first, "150")).expect("owed while it is held");
        world.at("2026-11-22T10:00+08");
        world.night();
        world.post("ikea", capture(&hold, "80")).expect("it is held");
        // 120 are free: they repay what their earn owes, and 30 are owed for what was spent.
        shows(&world, "-30", "0", "-30");
        world.at("2026-11-24T10:00+08");
        world.night();
        shows(&world, "-30", "0", "-30");
        // Wellcome pays for the 50 that weren't taken back; ikea gets 0.38 for its 80.
        let [wellcome, hangseng, ikea, _] = paid(&world, 23);
        assert_eq!((wellcome / 10, hangseng, ikea), (-2, 0, 38), "{wellcome}");
        assert_eq!(breakage(&world, 23), (0, 0));
        world.check_books();
    }
}

fn what_a_hold_freed_goes_to_the_lot_that_stood_in(backend: Backend) {
    for late in [false, true] {
        let mut world = World::new(backend, &pool("0", true));
        let first = earned(&mut world, "wellcome", "200");
        world.at("2026-11-21T10:00+08");
        let second = earned(&mut world, "hangseng", "200");
        let hold = id(world.post("ikea", authorise("YUU", "m1", "200")));
        world.post("wellcome", reverse(&first, "200")).expect("hangseng's stand in");
        shows(&world, "200", "200", "0");
        if late {
            world.at("2026-11-22T10:00+08");
            world.night();
            shows(&world, "200", "200", "0");
        }
        world.post("ikea", void(&hold)).expect("voided");
        shows(&world, "200", "0", "200");
        let burned = spent(&mut world, "200");
        world.post("ikea", reverse(&burned, "200")).expect("given back");
        world.post("hangseng", reverse(&second, "200")).expect("they are its own");
        world.at("2026-11-24T10:00+08");
        world.night();
        shows(&world, "0", "0", "0");
        assert_eq!((paid(&world, 23), breakage(&world, 23)), ([0; 4], (0, 0)));
        world.check_books();
    }
}

fn a_refused_exchange_frees_its_points(backend: Backend) {
    let mut world = World::new(backend, &ELSEWHERE.replace("\"2 months\"", "\"1 day\"\nnegative_limit = \"1000\""));
    let first = id(world.post("shop", earn("BANK", "m1", "200")));
    let waits = id(world.exchange_at_quote("bank", "BANK", "MILES", "m1", "200"));
    world.post("shop", reverse(&first, "200")).expect("owed while it waits");
    world.at("2026-11-22T10:00+08");
    world.night();
    let refusal = Body::Refuse {
        sender_of: "bank".parse().expect("a partner"),
        exchange: waits,
        reason: "member_unknown".parse().expect("a reason"),
    };
    world.post("airline", refusal).expect("refused");
    let shown = world.balance("bank", "BANK", "m1");
    assert_eq!(shown, ("0".into(), "0".into(), "0".into()));
    world.check_books();
}

/// What a hold kept may have been refunded by one funder while another's points stood in: when it is voided the first owes again, whatever its cap says.
fn a_cap_keeps_no_hold_from_being_voided(backend: Backend) {
    let capped = pool("0", true).replace("name = \"Wellcome\"", "name = \"Wellcome\"\nnet_debit_cap = { HKD = \"0.60\" }");
    let mut world = World::new(backend, &capped);
    let first = earned(&mut world, "wellcome", "200");
    earned(&mut world, "hangseng", "200");
    spent(&mut world, "100");
    let hold = id(world.post("ikea", authorise("YUU", "m1", "100")));
    world.post("wellcome", reverse(&first, "100")).expect("hangseng's stand in");
    world.post("wellcome", earn("YUU", "m2", "100")).expect("nothing is owed yet");
    world.post("ikea", burn("YUU", "m2", "100")).expect("within the cap");
    world.post("ikea", void(&hold)).expect("never refused");
    assert_eq!(world.balance("ikea", "YUU", "m1"), ("200".into(), "0".into(), "200".into()));
    // 1.10 is more than its 0.60: nothing else that makes it owe more is accepted.
    world.post("wellcome", earn("YUU", "m2", "1")).expect("paid when it is spent");
    assert_eq!(world.post("ikea", burn("YUU", "m2", "1")).map(|_| ()), Err(Code::NetDebitCap));
    world.check_books();
}

fn what_stands_in_does_not_make_a_refund_too_large(backend: Backend) {
    const MANY: &str = "15000000000";
    let network = pool("0", false).replace("partner = \"hangseng\"", "partner = \"hangseng\"\nsettle = \"redemption\"");

    let mut world = World::new(backend, &network);
    let first = earned(&mut world, "wellcome", MANY);
    spent(&mut world, MANY);
    earned(&mut world, "hangseng", MANY);
    // 82,500,000.00 back to one and as much owed by the other: each fits.
    world.post("wellcome", reverse(&first, MANY)).expect("each alone fits");
    shows(&world, "0", "0", "0");
    let beyond = world.post("wellcome", earn("YUU", "m1", "20000000000"));
    assert_eq!(beyond.map(|_| ()), Err(Code::Overflow));
    world.check_books();
}

/// A hold ends by itself, is voided, or ends before the refund: the points of the earn that was taken back are gone, and those that stood in are there until
/// their time is over.
fn what_a_lapsed_hold_kept_goes_back_though_it_lives(backend: Backend) {
    #[derive(Debug, PartialEq, Clone, Copy)]
    enum Ends {
        ByItself,
        Voided,
        BeforeTheRefund,
    }
    for ends in [Ends::ByItself, Ends::Voided, Ends::BeforeTheRefund] {
        for nights in [true, false] {
            let mut world = World::new(backend, &pool("0", false).replace("\"1 day\"", "\"2 days\""));
            earned(&mut world, "hangseng", "100");
            world.at("2026-11-21T10:00+08");
            let refunded = earned(&mut world, "wellcome", "100");
            let other = id(world.post("ikea", authorise("YUU", "m1", "100")));
            let mut hold = authorise("YUU", "m1", "100");
            if let Body::Authorise { expires_at, .. } = &mut hold {
                *expires_at = Some("2026-11-22T12:00+08".parse().expect("an instant"));
            }
            let hold = id(world.post("ikea", hold));
            world.post("ikea", void(&other)).expect("voided");
            if ends != Ends::BeforeTheRefund {
                world.post("wellcome", reverse(&refunded, "100")).expect("hangseng's stand in");
                shows(&world, "100", "100", "0");
            }
            if ends == Ends::Voided {
                world.post("ikea", void(&hold)).expect("voided");
            }
            world.at("2026-11-22T13:00+08");
            if nights {
                world.night();
            }
            if ends == Ends::BeforeTheRefund {
                world.post("wellcome", reverse(&refunded, "100")).expect("its own");
            }
            world.at("2026-11-23T10:00+08");
            if nights {
                world.night();
            }
            let told = format!("{backend:?}, {ends:?}, nights {nights}");
            assert_eq!(world.balance("ikea", "YUU", "m1"), ("0".into(), "0".into(), "0".into()), "{told}");
            world.at("2026-11-27T10:00+08");
            world.night();
            assert_eq!(
                world.breakage("2026-11-22", "pool"),
                [("expiry".into(), "100".into(), "0.550000".into())],
                "{told}"
            );
            assert_eq!(paid(&world, 26), [0, -55, 0, 55], "{told}");
            world.check_books();
        }
    }
}

/// More lots than are loaded at once stand in, and get their points back in pieces, those that are spent last first.
fn many_lots_stand_in_and_get_theirs(backend: Backend) {
    const LOTS: usize = 150;
    let mut world = World::new(backend, &pool("0", true).replace("\"1 day\"", "\"300 days\""));
    let first = earned(&mut world, "wellcome", "100");
    let burned = spent(&mut world, "100");
    let others: Vec<MessageId> = (0..LOTS).map(|_| earned(&mut world, "hangseng", "1")).collect();
    world
        .post("wellcome", reverse(&first, "100"))
        .expect("a hundred of hangseng's stand in");
    shows(&world, "50", "0", "50");
    for (piece, left) in [("1", "51"), ("40", "91"), ("59", "150")] {
        world.post("ikea", reverse(&burned, piece)).expect("given back");
        shows(&world, left, "0", left);
        world.check_books();
    }
    for other in &others {
        world.post("hangseng", reverse(other, "1")).expect("its own");
    }
    shows(&world, "0", "0", "0");
    world.close();
    assert_eq!(paid(&world, 20), [0; 4]);
}

/// What goes back to lots that stood in isn't what a capture asks for: neither a bound nor a cap refuses it.
fn what_stood_in_keeps_no_hold_from_being_captured(backend: Backend) {
    let network = pool("0", false);
    let (before, after) = network.split_once("partner = \"hangseng\"").expect("its agreement");
    let dear = after.replacen("\"0.0055\"", "\"1.00\"\nsettle = \"redemption\"", 1);
    let network = format!("{}partner = \"hangseng\"{dear}", before.replace("\"0.0055\"", "\"0.000001\""));
    let capped = "name = \"Pool\"\nnet_debit_cap = { HKD = \"500000\" }";
    let mut world = World::new(backend, &network.replace("name = \"Pool\"", capped));
    let first = earned(&mut world, "wellcome", "200000000");
    for _ in 0..2 {
        earned(&mut world, "hangseng", "100000000");
    }
    let hold = id(world.post("ikea", authorise("YUU", "m1", "200000000")));
    for _ in 0..2 {
        world.post("wellcome", reverse(&first, "100000000")).expect("hangseng's stand in");
    }
    world.post("ikea", capture(&hold, "1")).expect("held, whatever goes back besides");
    shows(&world, "199999999", "0", "199999999");
    world.check_books();
}
