//! Rates and bonuses: published by two people, effective-dated, never edited, and never a way to make points out of nothing.

use clearing::documents::Fault;
use jiff::{Span, Timestamp, ToSpan};
use partner_sdk::change::Change;
use partner_sdk::rate::{BonusTerms, Published, RateTerms};
use partner_sdk::{Code, Problem, ProgrammeCode};
use tests::market::later;
use tests::office::{Office, code_of};
use tests::{Backend, World, amount, earn, on_both};

on_both!(
    now_as_of_and_history,
    notice_is_kept,
    no_cycle_gains,
    what_has_not_begun_is_taken_back,
    limits_of_an_agreement,
    the_operators_word_opens_no_cycle_either,
);

const MILES: &str = include_str!("networks/miles.toml");

/// The miles network with the way back: the airline's exchange agreement for BANK, and no rate yet.
fn both_ways() -> String {
    let there = "kind = \"exchange\"\npartner = \"bank\"\nprogramme = \"BANK\"\nto_programme = \"MILES\"";
    let back = "[[agreement]]\nkind = \"exchange\"\npartner = \"airline\"\nprogramme = \"MILES\"\nto_programme = \"BANK\"\nprice = \"0.8\"\n\
                currency = \"HKD\"\nbonus = { max_percent = \"5\", funded_percent = \"50\" }\nvalid_from = \"2026-01-01T00:00:00Z\"\n[[rate]]";
    assert!(MILES.contains(there));
    MILES
        .replace(there, &format!("rate_notice_hours = 24\n{there}"))
        .replace("[[rate]]", back)
}

fn code(text: &str) -> ProgrammeCode {
    text.parse().expect("a programme")
}

fn rate(from: &str, to: &str, numerator: &str, denominator: &str, valid_from: Timestamp) -> RateTerms {
    RateTerms {
        programme: code(from),
        to_programme: code(to),
        numerator: amount(numerator),
        denominator: amount(denominator),
        step: amount(denominator),
        minimum: amount(denominator),
        maximum: amount("999000"),
        valid_from,
        valid_until: None,
    }
}

fn bonus(from: &str, to: &str, percent: &str, valid_from: Timestamp, valid_until: Timestamp) -> Change {
    Change::Bonus(BonusTerms {
        programme: code(from),
        to_programme: code(to),
        percent: amount(percent),
        funded_percent: amount("50"),
        valid_from,
        valid_until,
    })
}

struct Exchange {
    world: World,
    office: Office,
}

impl Exchange {
    fn new(backend: Backend) -> Self {
        let world = World::new(backend, &both_ways());
        let office = Office::found(&world.sandbox);
        Self { world, office }
    }

    fn at(&self, span: Span) -> Timestamp {
        later(self.world.now(), span)
    }

    fn publish(&self, change: Change) -> Result<(), Code> {
        code_of(self.office.change(&self.world.sandbox, change)).map(drop)
    }

    fn problem(&self, change: Change) -> Problem {
        match self.office.change(&self.world.sandbox, change) {
            Err(Fault::Refused(problem)) => *problem,
            other => panic!("{:?}", other.map(drop)),
        }
    }

    fn in_force(&self, at: Option<Timestamp>) -> Vec<Published> {
        let client = self.world.client("hotel");
        self.world.runtime.block_on(client.rates(at)).expect("rates")
    }

    /// Waits until the running service has read what was published beside it.
    fn history(&self, versions: usize) -> Vec<Published> {
        let client = self.world.client("hotel");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        loop {
            let all = self
                .world
                .runtime
                .block_on(client.rate_history(&code("BANK"), &code("MILES")))
                .expect("a history");
            if all.len() == versions {
                return all;
            }
            assert!(std::time::Instant::now() < deadline, "{} versions", all.len());
        }
    }
}

fn now_as_of_and_history(backend: Backend) {
    let mut network = Exchange::new(backend);
    let begin = network.world.now();
    let (second, third) = (network.at(48.hours()), network.at(72.hours()));
    network
        .publish(Change::Rate(rate("BANK", "MILES", "900", "100", second)))
        .expect("published");
    network
        .publish(Change::Rate(rate("BANK", "MILES", "800", "100", third)))
        .expect("published");
    let (from, until) = (network.at(50.hours()), network.at(60.hours()));
    network.publish(bonus("BANK", "MILES", "10", from, until)).expect("published");
    let all = network.history(4);
    let spans: Vec<_> = all.iter().map(|p| (p.in_force_from, p.in_force_until)).collect();
    assert_eq!(spans[1..], [(second, Some(third)), (third, None), (from, Some(until))]);
    assert_eq!(spans[0].1, Some(second));
    assert!(all.iter().all(|one| one.agreement.len() == 64));
    let numerators = |at: Timestamp| -> Vec<String> {
        let all = network.in_force(Some(at));
        all.iter()
            .filter_map(|p| p.rate.as_ref().map(|r| r.numerator.to_string()))
            .collect()
    };
    assert_eq!(numerators(begin), ["1000"]);
    assert_eq!(numerators(later(second, (-1).seconds())), ["1000"]);
    assert_eq!(numerators(second), ["900"]);
    assert_eq!(numerators(third), ["800"]);
    let bonuses = |at: Timestamp| network.in_force(Some(at)).iter().filter(|p| p.bonus.is_some()).count();
    assert_eq!([bonuses(begin), bonuses(from), bonuses(until)], [0, 1, 0]);
    // An earlier start would rewrite what others were shown.
    let between = rate("BANK", "MILES", "850", "100", network.at(60.hours()));
    assert_eq!(network.publish(Change::Rate(between)), Err(Code::Superseded));
    assert_eq!(network.publish(bonus("BANK", "MILES", "5", from, third)), Err(Code::Superseded));
    // What is published is what is posted.
    network.world.post("bank", earn("BANK", "m1", "1000")).expect("accepted");
    for (wait, credited) in [(0, "1000"), (51, "990"), (21, "800")] {
        network.world.wait(wait.hours());
        let receipt = network
            .world
            .exchange_at_quote("bank", "BANK", "MILES", "m1", "100")
            .expect("accepted");
        let sum = ["credited", "bonus"].map(|f| receipt.fact(f).expect(f).parse::<i64>().expect("a number"));
        assert_eq!(sum.iter().sum::<i64>().to_string(), credited);
    }
}

fn notice_is_kept(backend: Backend) {
    let network = Exchange::new(backend);
    let soon = rate("BANK", "MILES", "900", "100", network.at(23.hours()));
    assert_eq!(network.publish(Change::Rate(soon)), Err(Code::NoticeTooShort));
    // Proposed in time, approved too late.
    let next = Change::Rate(rate("BANK", "MILES", "900", "100", network.at(25.hours())));
    let sandbox = &network.world.sandbox;
    let proposed = network.office.propose(sandbox, &network.office.first, next).expect("in time");
    network.world.wait(2.hours());
    let approved = network.office.approve_change(sandbox, &network.office.second, &proposed);
    assert_eq!(code_of(approved).err(), Some(Code::NoticeTooShort));
    // The first rate of a pair needs none.
    let first = rate("MILES", "BANK", "1", "10", network.world.now());
    network.publish(Change::Rate(first)).expect("published");
}

fn no_cycle_gains(backend: Backend) {
    let network = Exchange::new(backend);
    let now = network.world.now();
    let back = |numerator, at| Change::Rate(rate("MILES", "BANK", numerator, "1000", at));
    let problem = network.problem(back("101", now));
    assert_eq!(problem.code, Code::CycleGains);
    let shown = problem.detail.as_str();
    assert!(
        shown.contains("BANK -> MILES -> BANK") || shown.contains("MILES -> BANK -> MILES"),
        "{shown}"
    );
    assert!(shown.contains("101/100"), "{shown}");
    network.publish(back("100", now)).expect("exactly one for one");
    // On top of one for one, any bonus gains.
    let problem = network.problem(bonus("MILES", "BANK", "0.000001", network.at(1.hour()), network.at(2.hours())));
    assert_eq!(problem.code, Code::CycleGains);
    // MILES become dearer in two days; a quote at the old rate lives 60 seconds longer.
    let change = network.at(48.hours());
    network
        .publish(Change::Rate(rate("BANK", "MILES", "500", "100", change)))
        .expect("fewer miles");
    // A rate names none before it, so nobody is told to.
    let problem = network.problem(Change::Rate(rate("BANK", "MILES", "400", "100", change)));
    assert_eq!((problem.code, problem.field.as_deref()), (Code::Superseded, Some("valid_from")));
    assert!(!problem.what_to_do.contains("supersedes"), "{}", problem.what_to_do);
    assert_eq!(network.publish(back("200", change)), Err(Code::CycleGains));
    assert_eq!(network.publish(back("200", later(change, 59.seconds()))), Err(Code::CycleGains));
    network
        .publish(back("200", later(change, 60.seconds())))
        .expect("no quote lives any more");
    // A bonus that is over before the cheaper way back opens is none that gains; one that reaches into it is.
    let ends = |seconds: i64| bonus("BANK", "MILES", "5", later(change, 10.seconds()), later(change, seconds.seconds()));
    assert_eq!(network.publish(ends(30)), Err(Code::CycleGains));
}

fn what_has_not_begun_is_taken_back(backend: Backend) {
    let mut network = Exchange::new(backend);
    let start = network.at(48.hours());
    // A typing error in `valid_from`: a year too late, and no rate can start before it.
    let wrong = rate("BANK", "MILES", "900", "100", network.at(9000.hours()));
    network.publish(Change::Rate(wrong.clone())).expect("published");
    let right = Change::Rate(rate("BANK", "MILES", "900", "100", start));
    assert_eq!(network.publish(right.clone()), Err(Code::Superseded));
    let hash = network.history(2)[1].hash.clone();
    let back = |hash: &str| Change::TakeBack { published: hash.into() };
    assert_eq!(network.publish(back(&"ab".repeat(32))), Err(Code::BadTerms));
    let begun = network.history(2)[0].hash.clone();
    assert_eq!(network.publish(back(&begun)), Err(Code::BadTerms), "in force already");
    network.publish(back(&hash)).expect("two agree");
    assert_eq!(network.history(1)[0].in_force_until, None, "the one before goes on");
    assert_eq!(network.publish(back(&hash)), Err(Code::BadTerms), "once");
    network.publish(right).expect("the pair isn't blocked");
    // The same again is another publication, and takes its own number.
    network.publish(Change::Rate(wrong)).expect("published");
    network.history(3);
    // A bonus too; everybody is told.
    let reward = bonus("BANK", "MILES", "10", start, network.at(60.hours()));
    network.publish(reward.clone()).expect("published");
    let bonus_hash = network.history(4)[3].hash.clone();
    network.publish(back(&bonus_hash)).expect("two agree");
    network.history(3);
    let client = network.world.client("hotel");
    let feed = network
        .world
        .runtime
        .block_on(client.events(0, std::time::Duration::ZERO))
        .expect("events");
    let told: Vec<_> = feed.iter().filter(|event| event.kind.ends_with(".taken_back")).collect();
    let facts: Vec<_> = told.iter().map(|event| (event.kind.as_str(), event.subject.as_str())).collect();
    assert_eq!(facts, [("rate.taken_back", "BANK>MILES"), ("bonus.taken_back", "BANK>MILES")]);
    assert_eq!(
        (told[0].fact("rate"), told[1].fact("bonus")),
        (Some(hash.as_str()), Some(bonus_hash.as_str()))
    );
    // What is exchanged meanwhile is by the rate that is in force.
    network.world.post("bank", earn("BANK", "m1", "1000")).expect("accepted");
    network.world.wait(49.hours());
    let receipt = network
        .world
        .exchange_at_quote("bank", "BANK", "MILES", "m1", "100")
        .expect("accepted");
    assert_eq!((receipt.fact("credited"), receipt.fact("bonus")), (Some("900"), Some("0")));
}

/// The step, the partner's day and the cap of the agreement itself.
fn limits_of_an_agreement(backend: Backend) {
    let earn_agreement = "kind = \"earn\"\npartner = \"bank\"\nprogramme = \"BANK\"";
    let limits = format!("{earn_agreement}\nstep = \"10\"\nper_partner_day = \"1000\"\nnet_debit_cap = \"70\"");
    let mut world = World::new(
        backend,
        &MILES
            .replace(earn_agreement, &limits)
            .replace("issuer = \"bank\"", "issuer = \"airline\"")
            .replace(
                "[[agreement]]\nkind = \"exchange\"\npartner = \"bank\"",
                "[[agreement]]\nkind = \"exchange\"\npartner = \"airline\"",
            ),
    );
    assert_eq!(world.post("bank", earn("BANK", "m1", "15")).err(), Some(Code::NotAMultiple));
    world.post("bank", earn("BANK", "m1", "600")).expect("accepted");
    // 870 points would cost 69.60, 880 are 70.40.
    assert_eq!(world.post("bank", earn("BANK", "m2", "280")).err(), Some(Code::NetDebitCap));
    world.post("bank", earn("BANK", "m2", "270")).expect("accepted");
    let batch: Vec<_> = ["m3", "m4"].map(|m| world.message("bank", earn("BANK", m, "140"))).to_vec();
    let refused = world.send_all("bank", &batch);
    assert!(
        refused.iter().all(|r| r.as_ref().err() == Some(&Code::LimitPartnerDay)),
        "{refused:?}"
    );
    world.close();
    // A new day, but the debt is still there.
    assert_eq!(world.post("bank", earn("BANK", "m3", "140")).err(), Some(Code::NetDebitCap));
}

fn the_operators_word_opens_no_cycle_either(backend: Backend) {
    let world = World::new(backend, &both_ways());
    let gains = format!(
        "{}[[rate]]\nprogramme = \"MILES\"\nto_programme = \"BANK\"\nnumerator = \"11\"\ndenominator = \"100\"\nstep = \"100\"\nminimum = \"100\"\n\
         maximum = \"1000\"\nvalid_from = \"2026-06-01T00:00:00Z\"\n",
        both_ways()
    );
    let network = ledger::network::Network::parse(&gains).expect("a network");
    let mut conn = world.sandbox.database().expect("a connection");
    let error = store::admin::apply_network(&mut conn, &network, world.now()).expect_err("refused");
    assert!(format!("{error:#}").contains("11/10"), "{error:#}");
}
