//! A rejection that is kept says why in figures: limit, used, room, balance, times, as far as the sender may know them. They stand in the signed receipt, and
//! the problem's detail is made from them, so it never only repeats the code's title.

use jiff::ToSpan;
use partner_sdk::wire::Answer;
use partner_sdk::{Body, Code, Message, MessageId, Receipt};
use tests::{Backend, World, authorise, burn, capture, earn, earn_spend, exchange, on_both, prepay, quote, reverse, reverse_spend, void};

on_both!(
    points_and_balances_are_named,
    times_are_named,
    what_an_earlier_message_leaves_is_named,
    a_cap_is_named_to_its_owner_alone,
    quotes_say_what_they_want
);

/// A rejection: its receipt, and the facts in a line.
fn refused(world: &World, message: &Message) -> (Receipt, String) {
    let sender = message.sender.as_str();
    let answer: Answer = world.post_jws(sender, &world.sign(message));
    let problem = answer.problem.as_ref().unwrap_or_else(|| panic!("accepted: {message:?}"));
    let receipt = world
        .client(sender)
        .verify_receipt(answer.receipt.as_deref().expect("it is signed"))
        .expect("a good receipt");
    assert!(receipt.sequence.is_some(), "it is kept: {problem:?}");
    assert_ne!(problem.detail, problem.title, "{:?}", problem.code);
    // Whoever keeps the receipt can say it again; and the same bytes again are told the same.
    assert_eq!(problem.detail, receipt.detail());
    assert_eq!(world.post_jws(sender, &world.sign(message)), answer);
    let facts: Vec<String> = receipt.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    (receipt, facts.join(", "))
}

/// The code and the facts of a message that is refused.
fn why(world: &mut World, sender: &str, body: Body) -> (Code, String) {
    let message = world.message(sender, body);
    let (receipt, facts) = refused(world, &message);
    (receipt.code.expect("a rejection"), facts)
}

const SHOP: &str = r#"
[calendar]
zone = "Asia/Hong_Kong"

[[partner]]
id = "pool"
name = "Pool"
net_debit_cap = { HKD = "30" }

[[partner]]
id = "shop"
name = "Shop"
net_debit_cap = { HKD = "10" }

[[programme]]
code = "YUU"
issuer = "pool"
currency = "HKD"
scale = 1

[[agreement]]
kind = "earn"
partner = "shop"
programme = "YUU"
price = "0.01"
currency = "HKD"
step = "0.5"
per_message = "900"
per_member_day = "1000"
per_partner_day = "1600.5"
reversal_days = 2
valid_from = "2026-01-01T00:00:00Z"

[[agreement]]
kind = "burn"
partner = "shop"
programme = "YUU"
price = "0.04"
currency = "HKD"
valid_from = "2026-01-01T00:00:00Z"
"#;

fn points_and_balances_are_named(backend: Backend) {
    let mut world = World::new(backend, SHOP);
    let of = |code: Code, facts: &str| (code, facts.to_owned());
    assert_eq!(
        why(&mut world, "shop", earn("YUU", "m1", "0.25")),
        of(Code::BadAmount, "decimals 1")
    );
    assert_eq!(why(&mut world, "shop", earn("YUU", "m1", "0")), of(Code::BadAmount, "decimals 1"));
    assert_eq!(
        why(&mut world, "shop", earn_spend("YUU", "m1", "1", "1.005")),
        of(Code::BadAmount, "decimals 2")
    );
    assert_eq!(
        why(&mut world, "shop", earn("YUU", "m1", "1.1")),
        of(Code::NotAMultiple, "step 0.5")
    );
    assert_eq!(
        why(&mut world, "shop", earn("YUU", "m1", "901")),
        of(Code::LimitPerMessage, "limit 900")
    );
    assert_eq!(why(&mut world, "shop", earn("YUU", "m1", "200000000000000")).0, Code::Overflow);
    world.post("shop", earn("YUU", "m1", "700.5")).expect("accepted");
    assert_eq!(
        why(&mut world, "shop", earn("YUU", "m1", "300")),
        of(Code::LimitMemberDay, "limit 1000, used 700.5, room 299.5")
    );
    world.post("shop", burn("YUU", "m1", "700")).expect("accepted");
    world.post("shop", earn("YUU", "m2", "600")).expect("accepted");
    assert_eq!(
        why(&mut world, "shop", earn("YUU", "m3", "400")),
        of(Code::LimitPartnerDay, "limit 1600.5, used 1300.5, room 300")
    );
    world.post("shop", authorise("YUU", "m2", "60")).expect("accepted");
    assert_eq!(
        why(&mut world, "shop", burn("YUU", "m2", "540.5")),
        of(Code::InsufficientBalance, "available 540, balance 600, held 60, debt 0")
    );
    assert_eq!(why(&mut world, "shop", prepay("YUU", "1")), of(Code::NotPrepaid, ""));
    assert_eq!(why(&mut world, "shop", earn("YEN", "m1", "1")), of(Code::UnknownProgramme, ""));
    let at = world.now();
    assert_eq!(
        why(&mut world, "pool", burn("YUU", "m1", "1")),
        of(Code::NoAgreement, &format!("kind burn, at {at}"))
    );
}

fn times_are_named(backend: Backend) {
    let mut world = World::new(backend, SHOP);
    let message = world.message("shop", earn("YUU", "m1", "1"));
    let named = |world: &World, n: u32, change: &dyn Fn(&mut Message)| {
        let mut changed = message.clone();
        changed.id = format!("time-{n}").parse().expect("an id");
        change(&mut changed);
        let (receipt, facts) = refused(world, &changed);
        (receipt.code.expect("a rejection"), facts)
    };
    let now = world.now();
    let ahead = named(&world, 1, &|m| m.issued_at = now + 11.seconds());
    assert_eq!(ahead, (Code::IssuedInFuture, format!("latest {}", now + 10.seconds())));
    let old = named(&world, 2, &|m| m.occurred_at = now - 25.hours());
    assert_eq!(old, (Code::Stale, format!("earliest {}", now - 24.hours())));
    let backwards = named(&world, 3, &|m| m.occurred_at = now + 1.second());
    assert_eq!(backwards, (Code::Stale, format!("latest {now}")));
    let body = |at| match authorise("YUU", "m1", "1") {
        Body::Authorise {
            programme, member, points, ..
        } => Body::Authorise {
            programme,
            member,
            points,
            expires_at: Some(at),
        },
        other => other,
    };
    let (code, facts) = why(&mut world, "shop", body(now + 2.hours()));
    assert_eq!((code, facts), (Code::BadValue, format!("after {now}, latest {}", now + 1.hour())));
}

fn what_an_earlier_message_leaves_is_named(backend: Backend) {
    let mut world = World::new(backend, SHOP);
    let id = |receipt: &Receipt| receipt.id.clone().expect("an id");
    let of = |code: Code, facts: &str| (code, facts.to_owned());
    let earned = id(&world.post("shop", earn_spend("YUU", "m1", "100", "50")).expect("accepted"));
    let hold = id(&world.post("shop", authorise("YUU", "m1", "60")).expect("accepted"));
    assert_eq!(why(&mut world, "shop", capture(&hold, "60.5")), of(Code::HoldExceeded, "held 60"));
    assert_eq!(
        why(&mut world, "shop", reverse(&hold, "1")),
        of(Code::NotReversible, "kind authorise")
    );
    assert_eq!(
        why(&mut world, "shop", reverse(&earned, "41")),
        of(Code::ClawbackLimited, "recoverable 40")
    );
    world.post("shop", reverse_spend(&earned, "12.50")).expect("accepted");
    assert_eq!(
        why(&mut world, "shop", reverse(&earned, "76")),
        of(Code::ReversalExceeded, "limit 100, used 25, room 75")
    );
    assert_eq!(
        why(&mut world, "shop", reverse_spend(&earned, "37.51")),
        of(Code::ReversalExceeded, "limit 50.000000, used 12.500000, room 37.500000")
    );
    let until = world.now() + 1.hour();
    world.wait(1.hour());
    assert_eq!(
        why(&mut world, "shop", void(&hold)),
        of(Code::HoldExpired, &format!("expires_at {until}"))
    );
    let burnt = id(&world.post("shop", burn("YUU", "m1", "1")).expect("accepted"));
    assert_eq!(
        why(&mut world, "shop", reverse_spend(&burnt, "1")),
        of(Code::NotReversible, "kind burn")
    );
    let nothing: MessageId = "nothing".parse().expect("an id");
    assert_eq!(why(&mut world, "shop", capture(&nothing, "1")), of(Code::HoldUnknown, ""));
    assert_eq!(why(&mut world, "shop", reverse(&nothing, "1")), of(Code::TargetUnknown, ""));
    let second = id(&world.post("shop", authorise("YUU", "m1", "1")).expect("accepted"));
    world.post("shop", void(&second)).expect("accepted");
    assert_eq!(why(&mut world, "shop", void(&second)), of(Code::HoldClosed, ""));
    let latest = world.now() - 1.hour() + 48.hours();
    world.wait(48.hours());
    assert_eq!(
        why(&mut world, "shop", reverse(&earned, "1")),
        of(Code::ReversalWindowClosed, &format!("latest {latest}"))
    );
}

fn a_cap_is_named_to_its_owner_alone(backend: Backend) {
    let mut world = World::new(backend, SHOP);
    world.post("shop", earn("YUU", "m1", "600")).expect("accepted");
    world.post("shop", earn("YUU", "m2", "300")).expect("accepted");
    assert_eq!(
        why(&mut world, "shop", earn("YUU", "m3", "200")),
        (
            Code::NetDebitCap,
            "whose sender, currency HKD, limit 10.000000, used 9.000000, room 1.000000".to_owned()
        )
    );
    // The pool's cap of 30 is nobody else's to know, nor how much of it is left.
    let raised = SHOP.replace("net_debit_cap = { HKD = \"30\" }", "net_debit_cap = { HKD = \"2\" }");
    let network = ledger::network::Network::parse(&raised).expect("a network");
    store::admin::apply_network(&mut world.sandbox.database().expect("a connection"), &network, world.now()).expect("applied");
    let message = world.message("shop", burn("YUU", "m1", "300"));
    assert_eq!(refused(&world, &message).1, "whose issuer, currency HKD");
}

fn quotes_say_what_they_want(backend: Backend) {
    let mut world = World::new(backend, include_str!("networks/miles.toml"));
    let of = |code: Code, facts: &str| (code, facts.to_owned());
    assert_eq!(
        why(&mut world, "bank", quote("BANK", "MILES", "99")),
        of(Code::BelowMinimum, "minimum 100, step 100")
    );
    assert_eq!(
        why(&mut world, "bank", quote("BANK", "MILES", "1000000")),
        of(Code::AboveMaximum, "maximum 999000")
    );
    let quoted = world.message("bank", quote("BANK", "MILES", "730"));
    let expires_at = world.now() + 60.seconds();
    world.send(&quoted).expect("accepted");
    assert_eq!(
        why(&mut world, "bank", exchange("BANK", "MILES", "m1", "700", &quoted.id)),
        of(Code::QuoteMismatch, "quoted 730")
    );
    assert_eq!(
        why(&mut world, "bank", exchange("BANK", "MILES", "m1", "730", &quoted.id)),
        of(Code::InsufficientBalance, "available 0, balance 0, held 0, debt 0")
    );
    world.wait(60.seconds());
    assert_eq!(
        why(&mut world, "bank", exchange("BANK", "MILES", "m1", "730", &quoted.id)),
        of(Code::QuoteExpired, &format!("expires_at {expires_at}"))
    );
    let nothing: MessageId = "nothing".parse().expect("an id");
    assert_eq!(
        why(&mut world, "bank", exchange("BANK", "MILES", "m1", "730", &nothing)),
        of(Code::QuoteUnknown, "")
    );
}
