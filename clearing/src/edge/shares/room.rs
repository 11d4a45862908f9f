//! Where a connection waits until somebody knows whose it is, or what is asked of a listener that takes whoever comes. A newcomer always gets in: for it one of the
//! address that has most gives way. Who works on a whole request stays.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};

use super::links::Link;
use super::lock::lock;

/// How many connections more make an address one that crowds others out: a shop whose tills all come at once isn't.
const CROWD: usize = 8;

/// Those who wait, in the order in which they came.
pub struct Room {
    most: usize,
    most_of_address: usize,
    all: Mutex<Vec<Arc<Waiting>>>,
}

struct Waiting {
    address: IpAddr,
    /// Whether anything was heard of it.
    heard: AtomicBool,
    /// Set once its request is whole.
    work: OnceLock<Arc<Link>>,
    gives_way: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// A place in the room, until it is dropped.
pub struct Guest {
    room: Arc<Room>,
    waiting: Arc<Waiting>,
}

impl Room {
    /// Room for so many in all and of one address.
    pub fn new(most: usize, most_of_address: usize) -> Arc<Self> {
        let all = Mutex::default();
        Arc::new(Self {
            most,
            most_of_address,
            all,
        })
    }

    /// A newcomer from an address, and the address of who gives way to it; `None` where everybody who would have to is at work.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Option<(Guest, Option<IpAddr>)> {
        let mut all = lock(&self.all);
        let of_address = all.iter().filter(|one| one.address == address).count();
        let gives_way = if of_address >= self.most_of_address {
            Some(first(&all, |one| (one.address == address).then_some(0))?)
        } else if all.len() >= self.most {
            let mut counts = HashMap::new();
            all.iter().for_each(|one| *counts.entry(one.address).or_insert(0) += 1);
            Some(first(&all, |one| counts.get(&one.address).map(|count| count / CROWD))?)
        } else {
            None
        };
        let gone = gives_way.map(|no| all.remove(no));
        if let Some(gone) = &gone {
            gone.give_way();
        }
        let waiting = Arc::new(Waiting {
            address,
            heard: AtomicBool::new(false),
            work: OnceLock::new(),
            gives_way: AtomicBool::new(false),
            waker: Mutex::default(),
        });
        all.push(waiting.clone());
        let room = self.clone();
        Some((Guest { room, waiting }, gone.map(|gone| gone.address)))
    }
}

/// Who gives way: of the highest rank (none: never), of those who said something or of the silent ones, whichever are more, the first that came. So neither silence nor a
/// byte on many connections takes a newcomer's time to speak, or to be heard out.
fn first(all: &[Arc<Waiting>], rank: impl Fn(&Waiting) -> Option<usize>) -> Option<usize> {
    let ranked = |(no, one): (usize, &Arc<Waiting>)| {
        let rank = rank(one).filter(|_| !one.is_at_work())?;
        Some((rank, one.heard.load(Ordering::SeqCst), no))
    };
    let ranked: Vec<_> = all.iter().enumerate().filter_map(ranked).collect();
    let highest = ranked.iter().map(|(rank, ..)| *rank).max()?;
    let (heard, silent): (Vec<_>, Vec<_>) = ranked
        .into_iter()
        .filter(|(rank, ..)| *rank == highest)
        .partition(|(_, heard, _)| *heard);
    let more = if heard.len() > silent.len() { heard } else { silent };
    more.first().map(|(.., no)| *no)
}

impl Waiting {
    fn is_at_work(&self) -> bool {
        self.work.get().is_some_and(|link| link.is_busy())
    }

    fn give_way(&self) {
        self.gives_way.store(true, Ordering::SeqCst);
        if let Some(waker) = lock(&self.waker).take() {
            waker.wake();
        }
    }
}

impl Guest {
    /// Something came.
    pub fn heard(&self) {
        self.waiting.heard.store(true, Ordering::SeqCst);
    }

    /// Its request is whole: it stays until that is answered.
    pub fn works(&self, link: &Arc<Link>) {
        // A second request on the same connection is the same work.
        let _ = self.waiting.work.set(link.clone());
    }

    /// Ready once the place is another's.
    pub fn poll_gives_way(&self, cx: &Context<'_>) -> Poll<()> {
        *lock(&self.waiting.waker) = Some(cx.waker().clone());
        // Looked at after the waker is there, so that it isn't missed.
        match self.waiting.gives_way.load(Ordering::SeqCst) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Waits for that.
    pub async fn gives_way(&self) {
        poll_fn(|cx| self.poll_gives_way(cx)).await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = lock(&self.room.all);
        if let Some(no) = all.iter().position(|one| Arc::ptr_eq(one, &self.waiting)) {
            all.remove(no);
        }
    }
}
