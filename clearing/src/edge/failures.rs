//! Failed authentication: who came with a certificate, a key or a signature that doesn't count; and who was closed before anybody knew who it is. Logged and
//! counted by partner and address, at a bounded rate: a flood writes a few lines, and then how many there were.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use partner_sdk::{Code, PartnerId};

use crate::edge::looks::Looks;
use crate::edge::shares::network;

/// How often what came again is summed up.
const EVERY: Duration = Duration::from_secs(60);
/// How many are told apart in that time, by partner, address and code: of those whose partner is known, and of all others. The rest is one number each.
const APART: usize = 16;

/// Whether a refusal says that somebody isn't who it has to be.
pub fn is_one(code: Code) -> bool {
    matches!(
        code,
        Code::CertificateUnknown
            | Code::CertificateRevoked
            | Code::UnknownKey
            | Code::BadSignature
            | Code::SenderMismatch
            | Code::KeyRevoked
            | Code::KeyNotValid
            | Code::InvitationInvalid
    )
}

/// What of one answer was refused so: each code, and how often. Handlers put it into the answer's extensions, and the log reads it there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals(pub BTreeMap<Code, u64>);

impl Refusals {
    /// Those among the codes of an answer.
    pub fn among(codes: impl IntoIterator<Item = Code>) -> Self {
        let mut refusals = BTreeMap::new();
        for code in codes.into_iter().filter(|code| is_one(*code)) {
            *refusals.entry(code).or_insert(0) += 1;
        }
        Self(refusals)
    }
}

/// Who, from where, and what for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    partner: Option<PartnerId>,
    /// Whose key a certificate has that was refused before anybody proved to hold the key: certificates can be copied.
    named: Option<PartnerId>,
    from: String,
    why: &'static str,
}

/// What is to be logged of them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    /// The first of its kind in a while, as often as it came at once.
    First(Who, u64),
    /// The same again, as often as since then.
    Again(Who, u64),
    /// Others, of known partners or not, as often as in that time.
    Others(bool, u64),
}

struct Count {
    /// What it is that is counted, as the log says it.
    what: &'static str,
    since: Instant,
    /// How often since it was logged.
    again: BTreeMap<Who, u64>,
    /// How often beside those, of unknown and of known partners.
    others: [u64; 2],
}

/// The counts, each apart, so that none hides another; cheap to clone.
#[derive(Clone)]
pub struct Failures {
    authentication: Arc<Mutex<Count>>,
    closed: Arc<Mutex<Count>>,
    looks: Looks,
}

impl Default for Failures {
    fn default() -> Self {
        let count = |what| {
            Arc::new(Mutex::new(Count {
                what,
                since: Instant::now(),
                again: BTreeMap::new(),
                others: [0; 2],
            }))
        };
        Self {
            authentication: count("failed authentication"),
            closed: count("closed unheard"),
            looks: Looks::default(),
        }
    }
}

impl Failures {
    /// Counts what was refused so in one answer; the first of its kind is logged at once.
    pub fn note(&self, partner: Option<&PartnerId>, from: Option<IpAddr>, refusals: &Refusals) {
        for (code, n) in &refusals.0 {
            let who = Who {
                partner: partner.cloned(),
                named: None,
                from: from.map_or_else(|| "(unknown)".to_owned(), place),
                why: code.as_str(),
            };
            log(&self.authentication, |count| count.add(who, *n));
        }
    }

    /// Counts a TLS handshake that failed for the certificate that was shown, or wasn't. Who came isn't known; the partner whose key the certificate has is only
    /// named.
    pub fn handshake(&self, named: Option<&PartnerId>, from: IpAddr, why: &'static str) {
        let who = Who {
            partner: None,
            named: named.cloned(),
            from: place(from),
            why,
        };
        log(&self.authentication, |count| count.add(who, 1));
    }

    /// Counts a connection that was closed before it was known whose it is, for others or for coming too often.
    pub fn closed(&self, from: IpAddr, why: &'static str) {
        let who = Who {
            partner: None,
            named: None,
            from: place(from),
            why,
        };
        log(&self.closed, |count| count.add(who, 1));
    }

    /// Counts that a partner was told of nothing at an address, given by method and pattern.
    pub fn looked(&self, partner: &PartnerId, address: String, code: Code) {
        self.looks.note((partner.clone(), address, code));
    }

    /// Sums up what came again, once it is time.
    pub fn look(&self) {
        for count in [&self.authentication, &self.closed] {
            log(count, |_| vec![]);
        }
        self.looks.sum_up(EVERY);
    }

    /// Sums up what came again, now.
    pub fn end(&self) {
        for count in [&self.authentication, &self.closed] {
            log(count, Count::sum_up);
        }
        self.looks.sum_up(Duration::ZERO);
    }
}

/// Logs what is to be said once the lock is free, with what was to be summed up first.
fn log(count: &Mutex<Count>, body: impl FnOnce(&mut Count) -> Vec<Line>) {
    let mut count = count.lock().unwrap_or_else(|e| e.into_inner());
    let (what, lines) = (count.what, count.at(Instant::now(), body));
    drop(count);
    lines.iter().for_each(|line| line.log(what));
}

impl Count {
    fn at(&mut self, now: Instant, body: impl FnOnce(&mut Self) -> Vec<Line>) -> Vec<Line> {
        let mut lines = vec![];
        if now.duration_since(self.since) >= EVERY {
            lines = self.sum_up();
            self.since = now;
        }
        lines.extend(body(self));
        lines
    }

    fn add(&mut self, who: Who, n: u64) -> Vec<Line> {
        if let Some(again) = self.again.get_mut(&who) {
            *again += n;
            return vec![];
        }
        let known = who.partner.is_some();
        if self.again.keys().filter(|other| other.partner.is_some() == known).count() >= APART {
            self.others[usize::from(known)] += n;
            return vec![];
        }
        self.again.insert(who.clone(), 0);
        vec![Line::First(who, n)]
    }

    fn sum_up(&mut self) -> Vec<Line> {
        let again = std::mem::take(&mut self.again).into_iter().filter(|(_, n)| *n > 0);
        let mut lines: Vec<Line> = again.map(|(who, n)| Line::Again(who, n)).collect();
        let others = std::mem::take(&mut self.others);
        lines.extend([true, false].map(|known| Line::Others(known, others[usize::from(known)])));
        lines.retain(|line| !matches!(line, Line::Others(_, 0)));
        lines
    }
}

impl Line {
    fn log(&self, what: &str) {
        let id = |partner: &Option<PartnerId>| partner.as_ref().map_or("(unknown)", PartnerId::as_str).to_owned();
        let one = |who: &Who, count: &u64, again: &str| {
            tracing::warn!(
                partner = id(&who.partner),
                named = who.named.as_ref().map(PartnerId::as_str),
                address = who.from,
                code = who.why,
                count,
                "{what}{again}"
            );
        };
        match self {
            Self::First(who, count) => one(who, count, ""),
            Self::Again(who, count) => one(who, count, ", again"),
            Self::Others(known, count) => tracing::warn!(partners_known = known, count, "{what} of others"),
        }
    }
}

/// An address; of IPv6 its network of 64 bits, within which one party has all of them.
fn place(from: IpAddr) -> String {
    match network(from) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(partner: Option<&str>, from: &str) -> Who {
        Who {
            partner: partner.map(|id| id.parse().expect("a partner")),
            named: None,
            from: from.to_owned(),
            why: "bad_signature",
        }
    }

    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        let (failures, start) = (Failures::default(), Instant::now());
        let at = |now, body: &mut dyn FnMut(&mut Count) -> Vec<Line>| failures.authentication.lock().expect("free").at(now, body);
        let add = |one: Who, n| at(start, &mut |count| count.add(one.clone(), n));
        assert_eq!(add(who(None, "a"), 3), [Line::First(who(None, "a"), 3)]);
        let mut lines = 0;
        for n in 0..10_000 {
            lines += add(who(None, "a"), 1).len() + add(who(None, &format!("b{n}")), 1).len();
        }
        assert_eq!(lines, APART - 1, "those of unknown partners");
        assert_eq!(add(who(Some("grocer"), "a"), 1).len(), 1, "a flood of strangers hides no partner");
        let summed = at(start + EVERY, &mut |_| vec![]);
        let rest = 10_000 - u64::try_from(APART - 1).expect("few");
        assert_eq!(summed, [Line::Again(who(None, "a"), 10_000), Line::Others(false, rest)]);
        assert_eq!(at(start + 2 * EVERY, &mut |_| vec![]), [], "nothing twice");
        assert_eq!(add(who(None, "a"), 1).len(), 1, "and anew from then on");
    }

    #[test]
    fn an_address_is_a_place() {
        let place = |text: &str| place(text.parse().expect("an address"));
        assert_eq!(place("::ffff:10.0.0.7"), "10.0.0.7");
        assert_eq!(place("2001:db8:1:2:3::4"), "2001:db8:1:2::/64");
    }
}
