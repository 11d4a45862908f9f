//! What becomes of agreements, rates and obligations when agreements end, follow each other, or their parties change.

use jiff::{Timestamp, ToSpan};
use partner_sdk::agreement::{AgreementKind, BonusSplit, Terms};
use partner_sdk::change::{Change, Status};
use partner_sdk::document::{Action, State};
use partner_sdk::rate::{BonusTerms, RateTerms};
use partner_sdk::{Code, PartnerId, ProgrammeCode};
use store::events::NewEvent;
use store::{self, events};
use tests::market::{Market, later, successor};
use tests::office::code_of;
use tests::{Backend, World, amount, burn, earn, on_both, quote, reverse};

on_both!(
    a_rate_outlives_its_agreement_in_the_books,
    a_bonus_is_never_more_than_was_agreed,
    a_longer_life_of_quotes_opens_no_cycle,
    nobody_is_locked_in,
    parties_still_have_to_be_there,
    who_is_gone_owes_nothing,
    nobody_fills_the_trail,
    before_the_founding_nothing_is_put_in_force,
);

/// The pool exchanges P0 for the grocer's G0, by an agreement that both signed.
struct Swap {
    market: Market,
    terms: Terms,
    hash: String,
}

fn code(text: &str) -> ProgrammeCode {
    text.parse().expect("a programme")
}

impl Swap {
    fn new(backend: Backend) -> Self {
        let market = Market::new(backend, 1);
        let programme = partner_sdk::change::ProgrammeTerms {
            code: code("G0"),
            issuer: "grocer".parse().expect("an id"),
            scale: 0,
            custody: partner_sdk::change::Custody::Hosted,
            face_value: None,
            currency: "HKD".parse().expect("a currency"),
            expires_after: None,
            negative_limit: None,
        };
        let sandbox = &market.world.sandbox;
        market.office.change(sandbox, Change::Programme(programme)).expect("added");
        let mut terms = Terms::new(
            AgreementKind::Exchange,
            "pool".parse().expect("an id"),
            code("P0"),
            amount("0.1"),
            "HKD".parse().expect("a currency"),
            market.world.now(),
        );
        terms.to_programme = Some(code("G0"));
        terms.salt = partner_sdk::client::new_salt();
        terms.bonus = Some(BonusSplit {
            max_percent: amount("20"),
            funded_percent: amount("50"),
        });
        let hash = agree(&market, &terms);
        Self { market, terms, hash }
    }

    fn publish(&self, change: Change) -> Result<(), Code> {
        code_of(self.market.office.change(&self.market.world.sandbox, change)).map(drop)
    }

    fn at(&self, days: i64) -> Timestamp {
        later(self.market.world.now(), days.days())
    }
}

/// Both partners agree, and the operator approves.
fn agree(market: &Market, terms: &Terms) -> String {
    let proposed = market.propose("pool", terms).expect("proposed");
    market.sign("grocer", &proposed).expect("signed");
    assert_eq!(market.approve(&proposed.hash), Ok(State::InForce));
    proposed.hash
}

fn rate(from: &str, to: &str, numerator: &str, valid_from: Timestamp, valid_until: Option<Timestamp>) -> Change {
    Change::Rate(RateTerms {
        programme: code(from),
        to_programme: code(to),
        numerator: amount(numerator),
        denominator: amount("100"),
        step: amount("100"),
        minimum: amount("100"),
        maximum: amount("100000"),
        valid_from,
        valid_until,
    })
}

fn bonus(percent: &str, funded: &str, valid_from: Timestamp, valid_until: Timestamp) -> Change {
    Change::Bonus(BonusTerms {
        programme: code("P0"),
        to_programme: code("G0"),
        percent: amount(percent),
        funded_percent: amount(funded),
        valid_from,
        valid_until,
    })
}

fn a_rate_outlives_its_agreement_in_the_books(backend: Backend) {
    let mut swap = Swap::new(backend);
    swap.publish(rate("P0", "G0", "100", swap.at(0), None)).expect("published");
    swap.publish(rate("P0", "G0", "90", swap.at(50), None)).expect("published");
    swap.publish(bonus("20", "50", swap.at(50), swap.at(60))).expect("published");
    let earning = swap.market.in_force(&swap.market.terms());
    assert_eq!(earning.state, State::InForce);
    swap.market.world.post("grocer", earn("P0", "m1", "1000")).expect("accepted");
    // It ends before the second rate begins; everything that was published can still be read, and the service goes on.
    swap.market.end("grocer", &swap.hash, 31.days()).expect("terminated");
    let mut conn = swap.market.world.sandbox.database().expect("a connection");
    store::load_directory(&mut conn).expect("it can be read back");
    swap.market
        .world
        .exchange_at_quote("pool", "P0", "G0", "m1", "100")
        .expect("still in force");
    swap.market.world.wait(51.days());
    assert_eq!(
        swap.market.world.post("pool", quote("P0", "G0", "100")).err(),
        Some(Code::NoAgreement)
    );
    // A version with another step and split doesn't upset what was published under the first.
    let next = Terms {
        step: Some(amount("7")),
        bonus: None,
        price: amount("0.000001"),
        valid_from: swap.market.world.now(),
        ..swap.terms.clone()
    };
    agree(&swap.market, &next);
    store::load_directory(&mut conn).expect("it can be read back");
    assert_eq!(swap.market.world.post("pool", quote("P0", "G0", "100")).err(), Some(Code::NoRate));
}

fn a_bonus_is_never_more_than_was_agreed(backend: Backend) {
    let mut swap = Swap::new(backend);
    swap.publish(rate("P0", "G0", "100", swap.at(0), None)).expect("published");
    assert_eq!(swap.publish(bonus("21", "50", swap.at(0), swap.at(9))), Err(Code::BadTerms));
    assert_eq!(swap.publish(bonus("20", "51", swap.at(0), swap.at(9))), Err(Code::BadTerms));
    swap.publish(bonus("20", "50", swap.at(0), swap.at(9))).expect("published");
    let credited = |swap: &mut Swap| {
        let receipt = swap.market.world.post("pool", quote("P0", "G0", "100"))?;
        Ok::<_, Code>(receipt.fact("bonus").expect("a bonus").to_owned())
    };
    assert_eq!(credited(&mut swap), Ok("20".into()));
    // The next version allows less: the bonus isn't paid at anybody's cost who didn't agree to it.
    let mut next = successor(
        &swap.market.fetch("pool", &swap.hash).expect("there"),
        &swap.terms,
        swap.market.world.now(),
    );
    next.bonus = Some(BonusSplit {
        max_percent: amount("5"),
        funded_percent: amount("50"),
    });
    agree(&swap.market, &next);
    assert_eq!(credited(&mut swap), Ok("20".into()));
    swap.market.world.wait(1.hour());
    assert_eq!(credited(&mut swap), Err(Code::NoRate));
    // Nor does dating a bonus back put it under the version before.
    swap.market.world.wait(9.days());
    let dated_back = bonus("20", "50", later(swap.market.world.now(), (-230).hours()), swap.at(5));
    assert!(matches!(swap.publish(dated_back), Err(Code::BadTerms | Code::Superseded)));
}

fn a_longer_life_of_quotes_opens_no_cycle(backend: Backend) {
    let swap = Swap::new(backend);
    let back = Terms {
        partner: "grocer".parse().expect("an id"),
        programme: code("G0"),
        to_programme: Some(code("P0")),
        ..swap.terms.clone()
    };
    let proposed = swap.market.propose("grocer", &back).expect("proposed");
    swap.market.sign("pool", &proposed).expect("signed");
    assert_eq!(swap.market.approve(&proposed.hash), Ok(State::InForce));
    let change = swap.at(5);
    swap.publish(rate("P0", "G0", "200", swap.at(0), Some(change))).expect("published");
    swap.publish(rate("G0", "P0", "100", later(change, 61.seconds()), None))
        .expect("no quote lives any more");
    let mut next = successor(
        &swap.market.fetch("pool", &swap.hash).expect("there"),
        &swap.terms,
        swap.market.world.now(),
    );
    next.quote_seconds = Some(3600);
    let proposed = swap.market.propose("pool", &next).expect("proposed");
    swap.market.sign("grocer", &proposed).expect("signed");
    assert_eq!(swap.market.approve(&proposed.hash), Err(Code::CycleGains));
}

fn nobody_is_locked_in(backend: Backend) {
    let market = Market::new(backend, 2);
    // A notice of a thousand years is cut short by the other party.
    let (filed, terms) = market.agreement_in(State::InForce);
    market.end("grocer", &filed.hash, 7000.years()).expect("notice is notice");
    let shortened = market.end("pool", &filed.hash, 31.days()).expect("sooner");
    assert_eq!(shortened.in_force_until, Some(later(market.world.now(), 31.days())));
    let longer = market.end("grocer", &filed.hash, 32.days()).expect_err("no later");
    assert_eq!(longer.0, Code::DocumentState);
    // And while it runs out, both may agree anew.
    let next = successor(&filed, &terms, market.world.now());
    market.in_force(&next);
    assert_eq!(market.fetch("pool", &filed.hash).map(|f| f.state), Ok(State::Superseded));

    // A version that is ended before it begins leaves the one before it as it was.
    let (filed, terms) = market.agreement_in(State::InForce);
    let mut far = successor(&filed, &terms, market.world.now());
    far.valid_from = later(market.world.now(), 700.days());
    let far = market.in_force(&far);
    assert_eq!(market.fetch("pool", &filed.hash).map(|f| f.state), Ok(State::Superseded));
    market.end("pool", &far.hash, 31.days()).expect("terminated");
    let restored = market.fetch("pool", &filed.hash).expect("there");
    assert_eq!((restored.state, restored.in_force_until), (State::InForce, None));
    market.end("pool", &filed.hash, 31.days()).expect("and can be ended");
    market.in_force(&successor(&filed, &terms, market.world.now()));
}

fn parties_still_have_to_be_there(backend: Backend) {
    let market = Market::new(backend, 2);
    let (filed, _) = market.agreement_in(State::Signed);
    let become_ = |status| Change::Status {
        partner: "grocer".parse().expect("an id"),
        status,
    };
    market
        .office
        .change(&market.world.sandbox, become_(Status::Suspended))
        .expect("suspended");
    assert_eq!(market.approve(&filed.hash), Err(Code::PartnerSuspended));
    market
        .office
        .change(&market.world.sandbox, become_(Status::Active))
        .expect("active");
    assert_eq!(market.approve(&filed.hash), Ok(State::InForce));
    // Terms that are over by now aren't put in force, whatever was signed.
    let mut short = market.terms();
    short.valid_until = Some(later(market.world.now(), 1.hour()));
    let proposed = market.propose("grocer", &short).expect("proposed");
    market.sign("pool", &proposed).expect("signed");
    market.world.wait(2.hours());
    assert_eq!(market.approve(&proposed.hash), Err(Code::BadTerms));
}

fn who_is_gone_owes_nothing(backend: Backend) {
    let mut world = World::new(backend, include_str!("networks/pool.toml"));
    let office = tests::office::Office::found(&world.sandbox);
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    let burned = world.post("ikea", burn("YUU", "m1", "100")).expect("accepted").id.expect("an id");
    let date = world.close().business_date;
    let mut conn = world.sandbox.database().expect("a connection");
    settlement::settle(&mut conn, date, world.now(), "finance").expect("settled");
    for status in [Status::Leaving, Status::Gone] {
        let change = Change::Status {
            partner: PartnerId::new("pool").expect("an id"),
            status,
        };
        office.change(&world.sandbox, change).expect("nothing is open");
    }
    assert_eq!(world.post("ikea", reverse(&burned, "100")).err(), Some(Code::PartnerSuspended));
    assert_eq!(world.points("ikea", "YUU", "m1"), "0");
}

/// Whoever founds the network may have enrolled both partners' keys.
fn before_the_founding_nothing_is_put_in_force(backend: Backend) {
    let market = Market::with(backend, 1, tests::office::Office::nobody);
    let (filed, _) = market.agreement_in(State::Signed);
    assert_eq!(market.approve(&filed.hash), Err(Code::FourEyes));
}

fn nobody_fills_the_trail(backend: Backend) {
    let market = Market::new(backend, 1);
    let (filed, _) = market.agreement_in(State::Proposed);
    for _ in 0..50 {
        market.act("grocer", Action::Decline, &filed.hash).expect_err("not the proposer's");
    }
    assert_eq!(market.refusals().len(), 30);
    // Nor do others' events, however many, make room for more.
    let mut conn = market.world.sandbox.database().expect("a connection");
    let others: Vec<NewEvent> = (0..2_000)
        .map(|_| NewEvent {
            recipient: events::OPERATOR.into(),
            kind: "document.proposed",
            subject: String::new(),
            facts: vec![],
        })
        .collect();
    let now = market.world.now().as_microsecond();
    market.world.alters_rows();
    conn.transaction(|conn| events::append(conn, now, &others)).expect("appended");
    market.act("grocer", Action::Decline, &filed.hash).expect_err("not the proposer's");
    assert_eq!(market.refusals().len(), 30);
    market.act("pool", Action::Withdraw, &filed.hash).expect_err("not the other's");
    assert_eq!(market.refusals().len(), 31, "others are recorded all the same");
    market.world.wait(2.minutes());
    market.act("grocer", Action::Decline, &filed.hash).expect_err("not the proposer's");
    assert_eq!(market.refusals().len(), 32);
    // What names no document at all goes no further.
    let long = format!("/v1/agreements/{}/acts", "%0A%1B".repeat(100));
    assert_eq!(market.post("grocer", &long, String::new()).expect_err("none").0, Code::NotFound);
    let huge = market.post("grocer", &format!("/v1/agreements/{}/acts", filed.hash), "a".repeat(100_000));
    assert_eq!(huge.expect_err("too large").0, Code::TooLarge);
    let mut conn = market.world.sandbox.database().expect("a connection");
    assert!(
        events::after(&mut conn, &[events::OPERATOR], 0, 1000)
            .expect("events")
            .iter()
            .all(|e| e.subject.len() <= 64)
    );
}
