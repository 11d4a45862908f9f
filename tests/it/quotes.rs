//! Quotes: firm at their rate, until they expire, once; whatever else happens at the same time.

use jiff::ToSpan;
use ledger::network::Network;
use partner_sdk::{Code, Message, MessageId, Receipt};
use store::admin;
use tests::{Backend, World, earn, exchange, on_both, quote, with_bonus};

const MILES: &str = include_str!("networks/miles.toml");

on_both!(
    a_quote_says_what_will_move,
    a_quote_is_firm_when_the_rate_changes,
    a_quote_ends_after_sixty_seconds,
    the_agreement_says_fee_and_life,
    a_quote_is_used_once,
    a_refused_exchange_leaves_the_quote,
    an_exchange_does_what_was_quoted,
    one_quote_raced_by_many_is_used_once,
    a_better_path_is_shown,
    bonuses_are_rates_of_their_own,
);

/// MILES with a further rate from an instant on.
pub fn with_rate(network: &str, numerator: u32, from: jiff::Timestamp) -> String {
    format!(
        "{network}\n[[rate]]\nprogramme = \"BANK\"\nto_programme = \"MILES\"\nnumerator = \"{numerator}\"\ndenominator = \"100\"\nstep = \"100\"\n\
         minimum = \"100\"\nmaximum = \"999000\"\nvalid_from = \"{from}\"\n"
    )
}

/// Publishes what a network file adds, as the operator would while the service runs.
pub fn publish(world: &World, network: &str) -> anyhow::Result<()> {
    let mut conn = world.sandbox.database().expect("a connection");
    admin::apply_network(&mut conn, &Network::parse(network).expect("a network"), world.now())
}

/// A world where a member has BANK points.
fn world_with(backend: Backend, network: &str, points: &str) -> World {
    let mut world = World::new(backend, network);
    world.post("bank", earn("BANK", "m1", points)).expect("the bank's own points");
    world
}

/// The bank asks for a quote: its id and the offer.
fn quoted(world: &mut World, points: &str) -> (MessageId, Receipt) {
    let message = world.message("bank", quote("BANK", "MILES", points));
    let receipt = world.send(&message).expect("an offer");
    (message.id, receipt)
}

fn facts<const N: usize>(receipt: &Receipt, names: [&str; N]) -> [String; N] {
    names.map(|name| receipt.fact(name).unwrap_or("-").to_owned())
}

fn take_up(world: &mut World, points: &str, id: &MessageId) -> Result<Receipt, Code> {
    world.post("bank", exchange("BANK", "MILES", "m1", points, id))
}

fn a_quote_says_what_will_move(backend: Backend) {
    let mut world = world_with(backend, &with_bonus(MILES, "15"), "730");
    let message = world.message("bank", quote("BANK", "MILES", "730"));
    let offer = world.send(&message).expect("an offer");
    let names = [
        "points",
        "credited",
        "bonus",
        "left_over",
        "expires_at",
        "better_path",
        "better_credited",
    ];
    assert_eq!(
        facts(&offer, names),
        ["700", "7000", "1050", "30", "2026-11-20T02:01:00Z", "-", "-"]
    );
    // Nothing has moved, and nobody but the issuer of what is given may ask.
    assert_eq!(world.points("bank", "BANK", "m1"), "730");
    assert_eq!(world.post("airline", quote("BANK", "MILES", "730")), Err(Code::NoAgreement));
    assert_eq!(world.post("bank", quote("BANK", "MILES", "99")), Err(Code::BelowMinimum));
    assert_eq!(world.post("bank", quote("BANK", "MILES", "999100")), Err(Code::AboveMaximum));
    let done = take_up(&mut world, "730", &message.id).expect("firm");
    let moved = ["points", "credited", "bonus", "left_over"];
    assert_eq!(facts(&done, moved), facts(&offer, moved));
    // The same request again is the same offer, although it was used since.
    assert_eq!(world.send(&message), Ok(offer));
    assert_eq!(world.points("airline", "MILES", "m1"), "8050");
}

fn a_quote_is_firm_when_the_rate_changes(backend: Backend) {
    let mut world = world_with(backend, MILES, "300");
    let (first, _) = quoted(&mut world, "100");
    let change = world.now().checked_add(10.seconds()).expect("a time");
    publish(&world, &with_rate(MILES, 900, change)).expect("a later rate");
    let (second, _) = quoted(&mut world, "100");
    world.wait(10.seconds());
    let (third, offer) = quoted(&mut world, "100");
    assert_eq!(offer.fact("credited"), Some("900"));
    let credited = [first, second, third].map(|id| {
        let receipt = take_up(&mut world, "100", &id).expect("firm");
        receipt.fact("credited").expect("a fact").to_owned()
    });
    assert_eq!(credited, ["1000", "1000", "900"]);
    assert_eq!(world.points("airline", "MILES", "m1"), "2900");
}

fn a_quote_ends_after_sixty_seconds(backend: Backend) {
    let mut world = world_with(backend, MILES, "200");
    let [(kept, _), (late, _)] = [quoted(&mut world, "100"), quoted(&mut world, "100")];
    world.wait(59_999_999.microseconds());
    take_up(&mut world, "100", &kept).expect("in its last microsecond");
    world.wait(1.microsecond());
    assert_eq!(take_up(&mut world, "100", &late), Err(Code::QuoteExpired));
    assert_eq!(world.points("bank", "BANK", "m1"), "100");
}

fn the_agreement_says_fee_and_life(backend: Backend) {
    // HK$100 for 5,000 miles or part of it, at most HK$250.
    let terms = "clearing_fee_percent = \"1\"\nquote_seconds = 10\nmember_fee = { amount = \"100\", per = \"5000\", at_most = \"250\" }";
    let network = with_bonus(&MILES.replace("clearing_fee_percent = \"1\"", terms), "15");
    let mut world = world_with(backend, &network, "500");
    let fees = ["500", "599", "600", "1100"].map(|points| facts(&quoted(&mut world, points).1, ["member_fee", "member_fee_currency"]));
    let hkd = |fee: &str| [fee.to_owned(), "HKD".to_owned()];
    assert_eq!(fees, [hkd("100"), hkd("100"), hkd("200"), hkd("250")]);
    let (id, offer) = quoted(&mut world, "500");
    assert_eq!(offer.fact("expires_at"), Some("2026-11-20T02:00:10Z"));
    world.wait(10.seconds());
    assert_eq!(take_up(&mut world, "500", &id), Err(Code::QuoteExpired));
}

fn a_quote_is_used_once(backend: Backend) {
    let mut world = world_with(backend, MILES, "1000");
    let (id, _) = quoted(&mut world, "100");
    let message = world.message("bank", exchange("BANK", "MILES", "m1", "100", &id));
    let done = world.send(&message).expect("firm");
    assert_eq!(world.send(&message), Ok(done), "the same bytes get the same receipt");
    assert_eq!(take_up(&mut world, "100", &id), Err(Code::QuoteUsed));
    // In one batch: a quote, two exchanges by it, and one by a quote that comes too late.
    let offer = world.message("bank", quote("BANK", "MILES", "100"));
    let late = world.message("bank", quote("BANK", "MILES", "100"));
    let by = |world: &mut World, offer: &Message| world.message("bank", exchange("BANK", "MILES", "m1", "100", &offer.id));
    let batch = [
        offer.clone(),
        by(&mut world, &offer),
        by(&mut world, &offer),
        by(&mut world, &late),
        late.clone(),
        by(&mut world, &late),
    ];
    let codes: Vec<Option<Code>> = world.send_all("bank", &batch).into_iter().map(Result::err).collect();
    assert_eq!(codes, [None, None, Some(Code::QuoteUsed), Some(Code::QuoteUnknown), None, None]);
    assert_eq!(world.points("bank", "BANK", "m1"), "700");
}

fn a_refused_exchange_leaves_the_quote(backend: Backend) {
    let mut world = world_with(backend, MILES, "50");
    let (id, _) = quoted(&mut world, "100");
    assert_eq!(take_up(&mut world, "100", &id), Err(Code::InsufficientBalance));
    world.post("bank", earn("BANK", "m1", "50")).expect("accepted");
    take_up(&mut world, "100", &id).expect("still firm");
}

fn an_exchange_does_what_was_quoted(backend: Backend) {
    let mut world = world_with(backend, MILES, "1000");
    let (id, _) = quoted(&mut world, "730");
    let refusal = |world: &mut World, sender: &str, from: &str, to: &str, points: &str, id: &MessageId| {
        let message = world.message(sender, exchange(from, to, "m1", points, id));
        let problem = world.post_jws(sender, &world.sign(&message)).problem.expect("refused");
        (problem.code, problem.field)
    };
    let at = |code: Code, field: &str| (code, Some(field.to_owned()));
    // Both would move 700 points, and still it isn't what was quoted.
    assert_eq!(
        refusal(&mut world, "bank", "BANK", "MILES", "700", &id),
        at(Code::QuoteMismatch, "points")
    );
    assert_eq!(
        refusal(&mut world, "bank", "MILES", "MILES", "730", &id),
        at(Code::QuoteMismatch, "programme")
    );
    assert_eq!(
        refusal(&mut world, "bank", "BANK", "BANK", "730", &id),
        at(Code::QuoteMismatch, "to_programme")
    );
    let nobody = "nobody".parse().expect("an id");
    assert_eq!(
        refusal(&mut world, "bank", "BANK", "MILES", "730", &nobody),
        at(Code::QuoteUnknown, "quote")
    );
    // Another's quote, a message that is no quote, and a quote that was refused.
    assert_eq!(
        refusal(&mut world, "airline", "BANK", "MILES", "730", &id),
        at(Code::QuoteUnknown, "quote")
    );
    let earned = world.post("bank", earn("BANK", "m1", "1")).expect("accepted").id.expect("an id");
    assert_eq!(
        refusal(&mut world, "bank", "BANK", "MILES", "730", &earned),
        at(Code::QuoteUnknown, "quote")
    );
    let refused = world.message("bank", quote("BANK", "MILES", "99"));
    assert_eq!(world.send(&refused), Err(Code::BelowMinimum));
    assert_eq!(
        refusal(&mut world, "bank", "BANK", "MILES", "99", &refused.id),
        at(Code::QuoteUnknown, "quote")
    );
    // A quote can't be taken back; it ends by itself. And an amount is an amount, however it is written.
    assert_eq!(world.post("bank", tests::reverse(&id, "1")), Err(Code::NotReversible));
    take_up(&mut world, "730.00", &id).expect("the quote is still there");
}

fn one_quote_raced_by_many_is_used_once(backend: Backend) {
    const CLIENTS: usize = 32;
    const ROUNDS: usize = 20;
    let mut world = world_with(backend, MILES, "1000000");
    let bank = "bank".parse().expect("a partner");
    let clients: Vec<_> = (0..CLIENTS).map(|_| world.sandbox.client(&bank).expect("a client")).collect();
    for round in 0..ROUNDS {
        let (id, _) = quoted(&mut world, "100");
        let signed: Vec<String> = (0..CLIENTS)
            .map(|_| {
                let message = world.message("bank", exchange("BANK", "MILES", "m1", "100", &id));
                world.sign(&message)
            })
            .collect();
        let answers = world.runtime.block_on(async {
            let posts = clients.iter().zip(signed).map(|(client, jws)| {
                let client = client.clone();
                tokio::spawn(async move { client.post(&jws).await })
            });
            let mut answers = vec![];
            for post in posts.collect::<Vec<_>>() {
                answers.push(post.await.expect("a task").expect("an answer"));
            }
            answers
        });
        let results: Vec<_> = answers.iter().map(|answer| world.read("bank", answer)).collect();
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "round {round}");
        assert!(
            results.iter().all(|r| r.is_ok() || *r == Err(Code::QuoteUsed)),
            "round {round}: {results:?}"
        );
        assert_eq!(world.points("airline", "MILES", "m1"), ((round + 1) * 1000).to_string());
    }
}

/// MILES with a hotel whose points can be exchanged both ways round the direct rate.
fn with_hotel(to_hotel: &str, to_miles: &str) -> String {
    let exchange = |partner: &str, from: &str, to: &str, numerator: &str, step: &str| {
        format!(
            "[[agreement]]\nkind = \"exchange\"\npartner = \"{partner}\"\nprogramme = \"{from}\"\nto_programme = \"{to}\"\nprice = \"0.01\"\n\
             currency = \"HKD\"\nvalid_from = \"2026-01-01T00:00:00Z\"\n[[rate]]\nprogramme = \"{from}\"\nto_programme = \"{to}\"\n\
             numerator = \"{numerator}\"\ndenominator = \"100\"\nstep = \"{step}\"\nminimum = \"1\"\nmaximum = \"999000\"\nvalid_from = \"2026-01-01T00:00:00Z\"\n"
        )
    };
    let programme = "[[programme]]\ncode = \"HOTEL\"\nissuer = \"hotel\"\ncurrency = \"HKD\"\n";
    let (out, back) = (
        exchange("bank", "BANK", "HOTEL", to_hotel, "1"),
        exchange("hotel", "HOTEL", "MILES", to_miles, "1000"),
    );
    format!("{MILES}\n{programme}{out}{back}")
}

fn a_better_path_is_shown(backend: Backend) {
    let better = ["credited", "better_path", "better_credited"];
    // 730 become 3,650 hotel points, of which 3,000 become 7,500 miles: more than 7,000.
    let mut world = World::new(backend, &with_hotel("500", "250"));
    let offer = world.post("bank", quote("BANK", "MILES", "730")).expect("an offer");
    assert_eq!(facts(&offer, better), ["7000", "BANK>HOTEL>MILES", "7500"]);
    // The whole way can be gone, and gives what was said.
    world.post("bank", earn("BANK", "m1", "730")).expect("accepted");
    world.exchange_at_quote("bank", "BANK", "HOTEL", "m1", "730").expect("accepted");
    world.exchange_at_quote("hotel", "HOTEL", "MILES", "m1", "3650").expect("accepted");
    assert_eq!(world.points("airline", "MILES", "m1"), "7500");
    // A bonus on the direct way counts: 7,000 and 1,050 are more.
    publish(&world, &with_bonus(&with_hotel("500", "250"), "15")).expect("a bonus");
    let offer = world.post("bank", quote("BANK", "MILES", "730")).expect("an offer");
    assert_eq!(facts(&offer, better), ["7000", "-", "-"]);
    // 3,000 points at 100 -> 233 are 6,990: less.
    let mut worse = World::new(backend, &with_hotel("500", "233"));
    let offer = worse.post("bank", quote("BANK", "MILES", "730")).expect("an offer");
    assert_eq!(facts(&offer, better), ["7000", "-", "-"]);
}

fn bonuses_are_rates_of_their_own(backend: Backend) {
    let period = |percent: &str, from: &str, until: &str| {
        with_bonus("", percent)
            .replace("2026-01-01T00:00:00Z", from)
            .replace("2027-01-01T00:00:00Z", until)
    };
    let first = format!("{MILES}{}", period("15", "2026-11-20T02:00:10Z", "2026-11-20T02:00:20Z"));
    let mut world = world_with(backend, &first, "400");
    // One that overlaps is refused, by an instant too; one that follows on isn't.
    let overlapping = format!("{first}{}", period("20", "2026-11-20T02:00:19.999999Z", "2026-11-20T02:00:30Z"));
    let error = format!("{:#}", publish(&world, &overlapping).expect_err("an overlap"));
    assert!(error.contains("overlaps another bonus"), "{error}");
    let half_micros = format!(
        "{first}{}",
        period("20", "2026-11-20T02:00:20Z", "2026-11-20T02:00:30Z").replace("\"50\"", "\"0.000001\"")
    );
    assert!(publish(&world, &half_micros).is_err(), "a share that is no whole number of micros");
    let second = format!("{first}{}", period("20", "2026-11-20T02:00:20Z", "2026-11-20T02:00:30Z"));
    publish(&world, &second).expect("it follows on");
    publish(&world, &second).expect("the same again changes nothing");
    let mut quotes = vec![];
    for _ in 0..4 {
        let (id, offer) = quoted(&mut world, "100");
        quotes.push((id, offer.fact("bonus").expect("a fact").to_owned()));
        world.wait(10.seconds());
    }
    let bonuses: Vec<&str> = quotes.iter().map(|(_, bonus)| bonus.as_str()).collect();
    assert_eq!(bonuses, ["0", "150", "200", "0"]);
    // They are firm too: each is still what it was when its time is over.
    for (id, bonus) in quotes.into_iter().skip(1) {
        let done = take_up(&mut world, "100", &id).expect("firm");
        assert_eq!(done.fact("bonus"), Some(bonus.as_str()));
    }
    assert_eq!(world.points("airline", "MILES", "m1"), "3350");
}
