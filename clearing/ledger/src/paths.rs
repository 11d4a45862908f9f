//! The better path: whether a chain of exchanges would credit more than a single one for the same points.
//!
//! Each hop is worked out as a quote for it would be: step, minimum, maximum, rounding and bonus. What a later hop leaves over is counted as lost. A hop
//! never gives less for more points, and no cycle of hops gains any (a publication that would make one is refused). So it is enough to know, for each
//! programme, the most points that arrive there in so many hops, and the work is bounded by hops in force times hops in a path.

use jiff::Timestamp;
use partner_sdk::agreement::AgreementKind;
use partner_sdk::rate::{Bonus, Rate};
use partner_sdk::{Points, ProgrammeCode};

use crate::bounds::{fits, most_given};
use crate::directory::{Directory, Status};

/// The most exchanges in a path.
const MAX_HOPS: usize = 4;

/// An exchange that is possible now; programmes by their place in [`Routes`].
#[derive(Debug)]
struct Hop {
    from: usize,
    to: usize,
    rate: Rate,
    bonus: Option<Bonus>,
    /// The most points that it takes at once.
    most: Points,
}

impl Hop {
    /// What arrives when up to `points` are exchanged, bonus included; `None` where nothing would.
    fn arriving(&self, points: Points) -> Option<Points> {
        let offered = points.min(self.most);
        let (used, credited) = self.rate.ratio.exchange(offered, self.rate.step)?;
        if offered < self.rate.minimum || used == Points::ZERO || credited == Points::ZERO {
            return None;
        }
        let bonus = self.bonus.as_ref().map_or(Some(Points::ZERO), |b| b.bonus(credited))?;
        credited.checked_add(bonus)
    }
}

/// Every exchange that is possible at one instant.
#[derive(Debug)]
pub struct Routes {
    programmes: Vec<ProgrammeCode>,
    hops: Vec<Hop>,
}

/// A chain of exchanges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// From the programme that gives to the one that takes.
    pub programmes: Vec<ProgrammeCode>,
    /// What arrives at its end, bonuses included.
    pub credited: Points,
}

impl Path {
    /// As it travels: `BANK>HOTEL>MILES`.
    pub fn text(&self) -> String {
        let codes: Vec<&str> = self.programmes.iter().map(ProgrammeCode::as_str).collect();
        codes.join(">")
    }
}

/// The most points known to arrive somewhere, and by which programmes.
#[derive(Debug, Clone)]
struct Arrival {
    points: Points,
    by: Vec<usize>,
}

impl Routes {
    /// The exchanges whose rate and agreement are in force and whose partner is active, in the order of their programmes.
    pub fn at(directory: &Directory, now: Timestamp) -> Self {
        let mut programmes: Vec<ProgrammeCode> = directory.programmes.keys().cloned().collect();
        programmes.sort();
        let hop = |rate: &Rate| {
            let (from, to) = (&rate.terms.programme, &rate.terms.to_programme);
            let issuer = directory.programmes.get(from)?.terms.issuer.clone();
            directory.partners.get(&issuer).filter(|p| p.status == Status::Active)?;
            let key = (AgreementKind::Exchange, issuer, from.clone(), Some(to.clone()));
            let agreement = &directory.agreement(&key, now)?.item;
            let bonus = directory.bonus(from, to, now).map(|b| b.item.clone());
            // Nobody is shown what no quote would give.
            if !fits(agreement, rate, bonus.as_ref()) {
                return None;
            }
            let bounded = most_given(agreement, rate, bonus.as_ref());
            let limits = [Some(rate.maximum), agreement.per_message, Some(bounded)];
            Some(Hop {
                from: programmes.binary_search(from).ok()?,
                to: programmes.binary_search(to).ok()?,
                rate: rate.clone(),
                bonus,
                most: limits.into_iter().flatten().min()?,
            })
        };
        let hops = directory.rates_at(now).filter_map(|r| hop(&r.item)).collect();
        Self { programmes, hops }
    }

    /// The path of two to four hops by which most arrives for `points`, if that is more than `direct`. Of equals, the shortest.
    pub fn better(&self, from: &ProgrammeCode, to: &ProgrammeCode, points: Points, direct: Points) -> Option<Path> {
        let place = |code| self.programmes.binary_search(code).ok();
        let (from, to) = (place(from)?, place(to)?);
        let mut most: Vec<Option<Arrival>> = vec![None; self.programmes.len()];
        let mut found = Arrival {
            points: direct,
            by: vec![],
        };
        *most.get_mut(from)? = Some(Arrival { points, by: vec![from] });
        for _ in 0..MAX_HOPS {
            let before = most.clone();
            for hop in self.hops.iter().filter(|hop| (hop.from, hop.to) != (from, to)) {
                let Some(start) = before.get(hop.from).and_then(Option::as_ref) else {
                    continue;
                };
                let Some(points) = hop.arriving(start.points).filter(|_| !start.by.contains(&hop.to)) else {
                    continue;
                };
                let arrival = |start: &Arrival| Arrival {
                    points,
                    by: start.by.iter().copied().chain([hop.to]).collect(),
                };
                if hop.to == to {
                    if points > found.points {
                        found = arrival(start);
                    }
                } else if let Some(known) = most.get_mut(hop.to)
                    && known.as_ref().is_none_or(|known| points > known.points)
                {
                    *known = Some(arrival(start));
                }
            }
        }
        let path: Vec<ProgrammeCode> = found.by.iter().filter_map(|place| self.programmes.get(*place).cloned()).collect();
        (!path.is_empty()).then_some(Path {
            programmes: path,
            credited: found.points,
        })
    }
}

#[cfg(test)]
mod tests {
    use partner_sdk::agreement::Agreement;

    use super::*;

    /// A hop between programmes by their place: `numerator` for `denominator`, in steps of `step`, from `minimum` to `maximum`.
    fn hop(from: usize, to: usize, ratio: (i64, i64), step: i64, minimum: i64, maximum: i64) -> Hop {
        let terms = format!(
            r#"{{"programme":"P{from}","to_programme":"P{to}","numerator":"{}","denominator":"{}","step":"{step}","minimum":"{minimum}","maximum":"{maximum}","valid_from":"2026-01-01T00:00:00Z"}}"#,
            ratio.0, ratio.1
        );
        let agreement = r#"{"kind":"exchange","partner":"p","programme":"P0","to_programme":"P1","price":"1","currency":"HKD","valid_from":"2026-01-01T00:00:00Z"}"#;
        let agreement = Agreement::new(serde_json::from_str(agreement).expect("terms"), 0, 0).expect("an agreement");
        let rate = Rate::new(serde_json::from_str(&terms).expect("terms"), 0, 0, &agreement).expect("a rate");
        Hop {
            from,
            to,
            most: rate.maximum,
            rate,
            bonus: None,
        }
    }

    fn routes(count: usize, hops: Vec<Hop>) -> Routes {
        let programmes = (0..count).map(|n| format!("P{n}").parse().expect("a code")).collect();
        Routes { programmes, hops }
    }

    /// The better path from P0 to P1, as text and number.
    fn better(routes: &Routes, points: i64, direct: i64) -> Option<(String, i64)> {
        let (from, to) = ("P0".parse().expect("a code"), "P1".parse().expect("a code"));
        let path = routes.better(&from, &to, Points(points), Points(direct))?;
        Some((path.text(), path.credited.0))
    }

    const MANY: i64 = 1_000_000_000;

    #[test]
    fn each_hop_rounds_steps_and_stops_as_a_quote_would() {
        let way = |second: Hop| routes(3, vec![hop(0, 1, (1, 1), 1, 1, MANY), hop(0, 2, (5, 1), 1, 1, MANY), second]);
        // 730 become 3,650.
        assert_eq!(
            better(&way(hop(2, 1, (1, 3), 1, 1, MANY)), 730, 730),
            Some(("P0>P2>P1".into(), 1216))
        );
        assert_eq!(
            better(&way(hop(2, 1, (1, 3), 1000, 1, MANY)), 730, 730),
            Some(("P0>P2>P1".into(), 1000))
        );
        // Only so many at once; as much as the direct way isn't more.
        assert_eq!(better(&way(hop(2, 1, (1, 1), 1, 1, 731)), 730, 730), Some(("P0>P2>P1".into(), 731)));
        assert_eq!(better(&way(hop(2, 1, (1, 1), 1, 1, 730)), 730, 730), None);
        assert_eq!(better(&way(hop(2, 1, (1, 1), 1, 3651, MANY)), 730, 730), None);
        assert_eq!(better(&way(hop(1, 2, (9, 1), 1, 1, MANY)), 730, 730), None);
    }

    #[test]
    fn a_path_has_at_most_four_hops_and_the_shortest_of_equals_is_shown() {
        let chain = |hops: &[usize]| -> Vec<Hop> {
            hops.windows(2)
                .filter_map(|pair| Some(hop(*pair.first()?, *pair.get(1)?, (2, 1), 1, 1, MANY)))
                .collect()
        };
        assert_eq!(
            better(&routes(6, chain(&[0, 2, 3, 4, 1])), 1, 1),
            Some(("P0>P2>P3>P4>P1".into(), 16))
        );
        assert_eq!(better(&routes(6, chain(&[0, 2, 3, 4, 5, 1])), 1, 1), None);
        let mut both = chain(&[0, 2, 3, 1]);
        both.extend([hop(0, 4, (2, 1), 1, 1, MANY), hop(4, 1, (4, 1), 1, 1, MANY)]);
        assert_eq!(better(&routes(6, both), 1, 1), Some(("P0>P4>P1".into(), 8)));
    }

    /// All simple paths of two to four hops, one by one.
    fn most_by_trying(routes: &Routes, by: &[usize], points: Points) -> Option<Points> {
        let here = *by.last()?;
        let next = routes.hops.iter().filter(|hop| hop.from == here && !by.contains(&hop.to));
        next.filter_map(|hop| {
            let arriving = hop.arriving(points)?;
            let by: Vec<usize> = by.iter().copied().chain([hop.to]).collect();
            match (hop.to, by.len()) {
                (1, 2) => None,
                (1, _) => Some(arriving),
                (_, 5..) => None,
                _ => most_by_trying(routes, &by, arriving),
            }
        })
        .max()
    }

    #[test]
    fn nothing_better_is_missed() {
        let mut state = 7u64;
        let mut upto = |n: i64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            1 + i64::try_from(state >> 33).expect("31 bits") % n
        };
        let mut found = 0;
        for _ in 0..300 {
            // What a point is worth; a hop never gives more than that, so no cycle gains.
            let worth: Vec<i64> = (0..7).map(|_| upto(40)).collect();
            let mut hops = vec![];
            for (from, worth_from) in worth.iter().enumerate() {
                for (to, worth_to) in worth.iter().enumerate() {
                    if from != to && upto(3) > 1 {
                        let step = upto(50);
                        let taken = worth_to + upto(4) - 1;
                        hops.push(hop(from, to, (*worth_from, taken), step, upto(100), 100 + upto(5000)));
                    }
                }
            }
            let routes = routes(7, hops);
            for points in [100, 777, 5000] {
                let most = most_by_trying(&routes, &[0], Points(points)).map(|p| p.0);
                found += usize::from(most.is_some());
                assert_eq!(
                    better(&routes, points, 0).map(|(_, credited)| credited),
                    most,
                    "{routes:?} for {points}"
                );
            }
        }
        assert!(found > 100, "{found}");
    }
}
