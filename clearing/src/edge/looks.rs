//! Looks at what isn't there for whoever looked: another's, or nobody's, which answers don't tell apart. Counted by partner and address, so that an operator sees
//! who tries.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use partner_sdk::{Code, PartnerId};

/// Who looked, where (method and the address's pattern, as a path may hold a member number), and with what it was refused. There are only so many of each.
type Look = (PartnerId, String, Code);

struct Count {
    since: Instant,
    /// How often since it was logged.
    again: BTreeMap<Look, u64>,
}

/// The looks that were refused; cheap to clone.
#[derive(Clone)]
pub struct Looks(Arc<Mutex<Count>>);

impl Default for Looks {
    fn default() -> Self {
        let (since, again) = (Instant::now(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Count { since, again })))
    }
}

impl Looks {
    /// Counts one; the first of its kind is logged at once.
    pub fn note(&self, look: Look) {
        let mut count = self.0.lock().unwrap_or_else(|e| e.into_inner());
        match count.again.get_mut(&look) {
            Some(again) => *again += 1,
            None => {
                count.again.insert(look.clone(), 0);
                drop(count);
                log(&look, 1, "");
            }
        }
    }

    /// Sums up what came again, where that is at least so long ago.
    pub fn sum_up(&self, after: Duration) {
        let mut count = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if count.since.elapsed() < after {
            return;
        }
        count.since = Instant::now();
        let again = std::mem::take(&mut count.again);
        drop(count);
        for (look, n) in again.iter().filter(|(_, n)| **n > 0) {
            log(look, *n, ", again");
        }
    }
}

fn log((partner, address, code): &Look, count: u64, again: &str) {
    tracing::info!(%partner, address, code = code.as_str(), count, "nothing there for the partner{again}");
}
