use super::*;
use crate::netting::{Position, net_positions, obligations};
use crate::testing::{Lcg, hkd, owes, partner};

fn currency(code: &str) -> Currency {
    code.parse().expect("a currency")
}

fn into_hkd(rates: &[(&str, i64)]) -> Rates {
    let rate = |(from, rate): &(&str, i64)| {
        let (payment_currency, rate) = (hkd(), Money(*rate));
        (currency(from), Rate { payment_currency, rate })
    };
    rates.iter().map(rate).collect()
}

fn shown(c: &Conversion) -> String {
    let [net, amount] = [c.net.display(c.currency), c.amount.display(c.payment_currency)];
    format!(
        "{} {} {net} {} {amount} {}",
        c.party_a,
        c.party_b,
        c.currency,
        c.difference.display_micros()
    )
}

fn in_currency(code: &str, mut position: Position) -> Position {
    position.currency = currency(code);
    position
}

/// 10.01 USD at 7.8123 are 78.201123 HKD: 78.20 are paid, and 0.001123 wait.
#[test]
fn a_pair_pays_one_sum_and_carries_the_difference() {
    let positions = [
        in_currency("USD", owes("hotel", "bank", 10_010_000)),
        owes("bank", "hotel", 3_000_000),
        in_currency("JPY", owes("airline", "bank", 501_000_000)),
        in_currency("CNY", owes("airline", "bank", 1_000_000)),
    ];
    let first = obligations(&positions, &[]).expect("nets");
    let made = conversions(&first, &into_hkd(&[("USD", 7_812_300), ("JPY", 52_001)])).expect("fits");
    let lines: Vec<String> = made.iter().map(shown).collect();
    // 501 yen at 0.052001 are 26.052501; a owes b.
    assert_eq!(
        lines,
        ["airline bank 501 JPY 26.05 0.002501", "bank hotel -10.01 USD -78.20 -0.001123"]
    );
    let paid = payable(&first, &made).expect("fits");
    let lines: Vec<String> = paid
        .iter()
        .map(|p| format!("{} {} {} {}", p.currency, p.party_a, p.party_b, p.net.display(p.currency)))
        .collect();
    // 3.00 - 78.20 one way; what has no rate is paid as it is.
    assert_eq!(lines, ["CNY airline bank 1.00", "HKD airline bank 26.05", "HKD bank hotel -75.20"]);
    let next = obligations(&[owes("bank", "hotel", 10_001_123)], &carried_on(first, &made)).expect("nets");
    let carried: Vec<String> = next
        .iter()
        .map(|o| format!("{} {} {} {}", o.party_a, o.party_b, o.carried_in.0, o.net.0))
        .collect();
    assert_eq!(carried, ["airline bank 2501 0", "bank hotel -1123 10000000"]);
}

/// 0.001 is carried on, and 0.001 that was paid too much comes back: nothing is left of the pair.
#[test]
fn a_residue_and_a_difference_cancel_out() {
    let positions = [owes("bank", "hotel", 1_000), in_currency("JPY", owes("bank", "hotel", 1_000_000))];
    let first = obligations(&positions, &[]).expect("nets");
    let made = conversions(&first, &into_hkd(&[("JPY", 49_000)])).expect("fits");
    assert_eq!((made[0].amount, made[0].difference), (Money(50_000), Money(-1_000)));
    assert_eq!(obligations(&[], &carried_on(first, &made)), Ok(vec![]));
}

#[test]
fn what_does_not_fit_or_is_not_exact_is_an_error() {
    let much = obligations(&[in_currency("USD", owes("a", "b", 4 * 10i64.pow(18)))], &[]).expect("nets");
    assert!(conversions(&much, &into_hkd(&[("USD", 2_000_000)])).is_ok());
    let error = conversions(&much, &into_hkd(&[("USD", 3_000_000)])).expect_err("beyond 64 bits");
    assert_eq!(
        error.to_string(),
        "what is converted between a and b in HKD doesn't fit 64 bits in millionths"
    );
    let cent = obligations(&[in_currency("USD", owes("a", "b", 10_000))], &[]).expect("nets");
    let error = conversions(&cent, &into_hkd(&[("USD", 7_812_345)])).expect_err("six decimals");
    assert_eq!(error, NettingError::Inexact(currency("USD")));
    assert_eq!(conversions(&cent, &Rates::new()), Ok(vec![]));
}

/// The nearest multiple of `unit`, a half to the even one: by trying both neighbours.
fn nearest(exact: i128, unit: i128) -> i128 {
    let below = exact.div_euclid(unit) * unit;
    match ((exact - below) * 2).cmp(&unit) {
        std::cmp::Ordering::Less => below,
        std::cmp::Ordering::Greater => below + unit,
        std::cmp::Ordering::Equal if below / unit % 2 == 0 => below,
        std::cmp::Ordering::Equal => below + unit,
    }
}

type Key = (Currency, PartnerId, PartnerId);

/// What an exact reckoning has of all pairs, in 10^-12 of a unit, so that no product is rounded; positive where a owes b.
#[derive(Default)]
struct Exact {
    residues: BTreeMap<Key, i128>,
    /// What was owed, with what was converted out of (less) and into (more) a currency.
    owed: BTreeMap<Key, i128>,
    paid: BTreeMap<Key, i128>,
}

impl Exact {
    /// A window, from positions and rates alone: what each pair pays.
    fn window(&mut self, positions: &[Position], rates: &Rates) -> BTreeMap<Key, i128> {
        let mut owes = std::mem::take(&mut self.residues);
        for p in positions.iter().filter(|p| p.debtor != p.creditor) {
            let (a, b, sign) = match p.debtor < p.creditor {
                true => (&p.debtor, &p.creditor, 1),
                false => (&p.creditor, &p.debtor, -1),
            };
            let micros = sign * i128::from(p.amount.0) * 1_000_000;
            *owes.entry((p.currency, a.clone(), b.clone())).or_default() += micros;
            *self.owed.entry((p.currency, a.clone(), b.clone())).or_default() += micros;
        }
        let unit = |currency: Currency| 10i128.pow(12 - currency.minor_digits());
        let mut pays: BTreeMap<Key, i128> = BTreeMap::new();
        for ((currency, a, b), exact) in owes {
            let net = nearest(exact, unit(currency));
            *self.residues.entry((currency, a.clone(), b.clone())).or_default() += exact - net;
            let Some(rate) = rates.get(&currency) else {
                *pays.entry((currency, a, b)).or_default() += net;
                continue;
            };
            let into = (rate.payment_currency, a.clone(), b.clone());
            // Of 18 decimals six are none: the net is whole minor units.
            let worth = net / unit(currency) * i128::from(rate.rate.0) * 10i128.pow(6 - currency.minor_digits());
            let amount = nearest(worth, unit(rate.payment_currency));
            *self.owed.entry((currency, a, b)).or_default() -= net;
            *self.owed.entry(into.clone()).or_default() += worth;
            *pays.entry(into.clone()).or_default() += amount;
            *self.residues.entry(into).or_default() += worth - amount;
        }
        for (key, amount) in &pays {
            *self.paid.entry(key.clone()).or_default() += amount;
        }
        pays
    }
}

/// Many windows, some of them converted, into one currency or another: what pairs pay is what an exact reckoning says, nets sum to zero, and what was paid and what is left is what was owed.
#[test]
fn random_windows_lose_nothing() {
    let codes = ["HKD", "JPY", "KWD", "USD"];
    for seed in 1..=300 {
        let mut random = Lcg(seed);
        let (mut previous, mut exact) = (vec![], Exact::default());
        for window in 0..10 {
            let mut positions: Vec<Position> = (0..random.below(14)).map(|_| random.position()).collect();
            positions
                .iter_mut()
                .for_each(|p| p.currency = currency(random.pick::<&str>(&codes)));
            let payment_currency = currency(random.pick::<&str>(&codes));
            let mut rates = Rates::new();
            for from in codes.map(currency) {
                if from != payment_currency && random.below(3) > 0 {
                    let step = 10i64.pow(from.minor_digits());
                    let rate = Money((random.below(20_000_000) as i64 / step + 1) * step);
                    rates.insert(from, Rate { payment_currency, rate });
                }
            }
            let net = obligations(&positions, &previous).expect("fits");
            let made = conversions(&net, &rates).expect("fits");
            let paid = payable(&net, &made).expect("fits");
            let mut pays = exact.window(&positions, &rates);
            pays.retain(|_, amount| *amount != 0);
            let ours: BTreeMap<Key, i128> = paid
                .iter()
                .filter(|p| p.net != Money::ZERO)
                .map(|p| ((p.currency, p.party_a.clone(), p.party_b.clone()), i128::from(p.net.0) * 1_000_000))
                .collect();
            assert_eq!(ours, pays, "seed {seed}, window {window}");
            assert!(made.iter().all(|c| rates.contains_key(&c.currency)), "seed {seed}, window {window}");
            net_positions(paid).expect("they sum to zero");
            previous = carried_on(net, &made);
        }
        let mut left: BTreeMap<Key, i128> = exact.paid.clone();
        for o in &previous {
            *left.entry((o.currency, o.party_a.clone(), o.party_b.clone())).or_default() += i128::from(o.carried_out.0) * 1_000_000;
        }
        left.retain(|_, sum| *sum != 0);
        exact.owed.retain(|_, sum| *sum != 0);
        assert_eq!(left, exact.owed, "seed {seed}");
    }
}

#[test]
fn a_partner_sees_what_its_counterparty_sees_with_the_other_sign() {
    let net = obligations(&[in_currency("USD", owes("hotel", "bank", 10_010_000))], &[]).expect("nets");
    let made = conversions(&net, &into_hkd(&[("USD", 7_812_300)])).expect("fits");
    let [bank, hotel] = ["bank", "hotel"].map(|id| crate::converted::lines(&made, &partner(id)).expect("converted").remove(0));
    assert_eq!([&*bank.net, &bank.amount, &bank.difference], ["10.01", "78.20", "0.001123"]);
    assert_eq!([&*hotel.net, &hotel.amount, &hotel.difference], ["-10.01", "-78.20", "-0.001123"]);
    assert_eq!([&*bank.rate, hotel.counterparty.as_str()], ["7.812300", "bank"]);
    assert_eq!(crate::converted::lines(&made, &partner("airline")), None);
}

/// docs/STATEMENTS.md shows this one.
#[test]
fn the_document_shows_what_is_on_the_statement() {
    let net = obligations(&[in_currency("USD", owes("hotel", "bank", 10_010_000))], &[]).expect("nets");
    let made = conversions(&net, &into_hkd(&[("USD", 7_812_300)])).expect("fits");
    let lines = crate::converted::lines(&made, &partner("hotel"));
    let text = String::from_utf8(crate::render::to_json(&lines).expect("json")).expect("text");
    let document = include_str!("../../../docs/STATEMENTS.md");
    assert!(document.contains(&text), "docs/STATEMENTS.md doesn't show this:\n{text}");
}
