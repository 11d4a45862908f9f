//! What waits for the ledger: each partner's requests in their order, and the partners in turn, so that nobody waits behind all that another has sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use partner_sdk::{Code, PartnerId};

/// A bounded queue with a lane for each partner.
pub struct Queue<T> {
    /// Messages that may wait, of one partner and of all.
    share: usize,
    capacity: usize,
    lanes: Mutex<Lanes<T>>,
    changed: Condvar,
}

struct Lanes<T> {
    waiting: BTreeMap<PartnerId, Lane<T>>,
    /// Whose turn it is: every partner that has something waiting, once.
    turns: VecDeque<PartnerId>,
    /// Messages that wait or are being posted.
    count: usize,
    closed: bool,
}

struct Lane<T> {
    jobs: VecDeque<T>,
    count: usize,
}

impl<T> Queue<T> {
    /// A queue for `capacity` messages, of which one partner's are at most `share`. A request that is larger than either is taken when nothing else waits.
    pub fn new(capacity: usize, share: usize) -> Arc<Self> {
        Arc::new(Self {
            share,
            capacity,
            lanes: Mutex::new(Lanes {
                waiting: BTreeMap::new(),
                turns: VecDeque::new(),
                count: 0,
                closed: false,
            }),
            changed: Condvar::new(),
        })
    }

    /// Adds a request of `count` messages. The error says why there is no place.
    pub fn push(&self, partner: &PartnerId, job: T, count: usize) -> Result<(), Code> {
        let mut lanes = self.lock();
        let lanes = &mut *lanes;
        if lanes.closed {
            return Err(Code::ShuttingDown);
        }
        let own = lanes.waiting.get(partner).map_or(0, |lane| lane.count);
        if own + count > self.share.max(count) {
            return Err(Code::TooManyRequests);
        }
        // Whoever has nothing waiting gets in as long as others have more than it asks for: the bound is there for memory, and bends by one request each.
        if lanes.count + count > self.capacity.max(count) && own > 0 {
            return Err(Code::Overloaded);
        }
        let lane = lanes.waiting.entry(partner.clone()).or_insert_with(|| Lane {
            jobs: VecDeque::new(),
            count: 0,
        });
        if lane.jobs.is_empty() {
            lanes.turns.push_back(partner.clone());
        }
        lane.jobs.push_back(job);
        lane.count += count;
        lanes.count += count;
        self.changed.notify_one();
        Ok(())
    }

    /// The next request, of the partner whose turn it is; waits for one. `None`: the queue is closed and empty.
    pub fn pop(&self) -> Option<T> {
        let mut lanes = self.lock();
        loop {
            if let Some(job) = lanes.next() {
                return Some(job);
            }
            if lanes.closed {
                return None;
            }
            lanes = self.changed.wait(lanes).unwrap_or_else(|e| e.into_inner());
        }
    }

    /// The next request if one waits.
    pub fn try_pop(&self) -> Option<T> {
        self.lock().next()
    }

    /// So many of a partner's messages have been posted.
    pub fn done(&self, partner: &PartnerId, count: usize) {
        let mut lanes = self.lock();
        lanes.count = lanes.count.saturating_sub(count);
        if let Some(lane) = lanes.waiting.get_mut(partner) {
            lane.count = lane.count.saturating_sub(count);
            if lane.count == 0 && lane.jobs.is_empty() {
                lanes.waiting.remove(partner);
            }
        }
    }

    /// Takes nothing more in; what waits can still be taken out.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Lanes<T>> {
        self.lanes.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<T> Lanes<T> {
    fn next(&mut self) -> Option<T> {
        let partner = self.turns.pop_front()?;
        let lane = self.waiting.get_mut(&partner)?;
        let job = lane.jobs.pop_front();
        if !lane.jobs.is_empty() {
            self.turns.push_back(partner);
        }
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> PartnerId {
        text.parse().expect("a partner")
    }

    #[test]
    fn partners_take_turns_and_each_keeps_its_order() {
        let queue = Queue::new(100, 100);
        for no in 0..3 {
            queue.push(&id("a"), format!("a{no}"), 1).expect("room");
        }
        queue.push(&id("b"), "b0".into(), 1).expect("room");
        queue.push(&id("c"), "c0".into(), 1).expect("room");
        let order: Vec<String> = std::iter::from_fn(|| queue.try_pop()).collect();
        assert_eq!(order, ["a0", "b0", "c0", "a1", "a2"]);
    }

    #[test]
    fn one_fills_its_share_and_no_other_s() {
        let queue = Queue::new(10, 4);
        queue.push(&id("a"), 1, 4).expect("its share");
        assert_eq!(queue.push(&id("a"), 2, 1), Err(Code::TooManyRequests));
        queue.push(&id("b"), 3, 4).expect("another's share");
        // Taken out but not yet posted, it still counts.
        assert_eq!(queue.try_pop(), Some(1));
        assert_eq!(queue.push(&id("a"), 2, 1), Err(Code::TooManyRequests));
        queue.done(&id("a"), 4);
        queue.push(&id("a"), 4, 2).expect("room again");
        // Full for those that have something in it, never for who has nothing.
        queue.push(&id("a"), 5, 1).expect("seven of ten");
        assert_eq!(queue.push(&id("b"), 6, 1), Err(Code::TooManyRequests));
        queue.push(&id("c"), 7, 1).expect("it has nothing there yet");
        // Larger than every bound, it is taken where nothing of its partner waits.
        queue.push(&id("d"), 8, 50).expect("the only one of its partner");
        assert_eq!(queue.push(&id("c"), 9, 1), Err(Code::Overloaded));
    }

    #[test]
    fn closed_it_is_emptied() {
        let queue = Queue::new(10, 10);
        queue.push(&id("a"), 1, 1).expect("room");
        queue.close();
        assert_eq!(queue.push(&id("a"), 2, 1), Err(Code::ShuttingDown));
        assert_eq!((queue.pop(), queue.pop()), (Some(1), None));
    }
}
