//! The connections of one share: each can be told to close while it is idle.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Instant;

use super::lock::lock;
use crate::edge::tls::Peer;

/// One connection, as its share sees it.
pub struct Link {
    /// Whose certificate it is.
    pub peer: Option<Peer>,
    /// When it became idle; `None` while a request is under way.
    idle: Mutex<Option<Instant>>,
    /// Whether an answer is on its way that the other side doesn't take yet.
    sending: AtomicBool,
    closing: AtomicBool,
    found_bad: AtomicU32,
    waker: Mutex<Option<Waker>>,
}

impl Link {
    fn new(peer: Option<Peer>) -> Self {
        Self {
            peer,
            idle: Mutex::new(Some(Instant::now())),
            sending: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            found_bad: AtomicU32::new(0),
            waker: Mutex::default(),
        }
    }

    /// One that is in no share.
    pub fn apart() -> Arc<Self> {
        Arc::new(Self::new(None))
    }

    /// A request begins.
    pub fn begin(&self) {
        *lock(&self.idle) = None;
    }

    /// The request is answered, so the next one may be read.
    pub fn end(&self) {
        *lock(&self.idle) = Some(Instant::now());
        self.wake();
    }

    /// Whether an answer waits for the other side to take it.
    pub fn sending(&self, waits: bool) {
        self.sending.store(waits, Ordering::SeqCst);
    }

    /// Whether a request is under way, or its answer.
    pub fn is_busy(&self) -> bool {
        self.idle_since().is_none()
    }

    fn idle_since(&self) -> Option<Instant> {
        let sending = self.sending.load(Ordering::SeqCst);
        lock(&self.idle).filter(|_| !sending)
    }

    /// Whether the connection has to end now, with no request lost: part of a head is none yet.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst) && !self.is_busy()
    }

    /// Notes whom to wake when anything of this changes.
    pub fn watch(&self, cx: &Context<'_>) {
        let mut waker = lock(&self.waker);
        match &mut *waker {
            Some(old) => old.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*lock(&self.waker) {
            waker.wake_by_ref();
        }
    }
}

/// All connections of one share.
pub struct Links {
    most: usize,
    all: Mutex<Vec<Arc<Link>>>,
}

impl Links {
    /// Room for so many.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            all: Mutex::default(),
        }
    }

    /// A further connection. Where there is no room, the one that has been idle longest makes it; `None` where none is idle.
    pub fn add(&self, peer: Option<Peer>) -> Option<Arc<Link>> {
        let mut all = lock(&self.all);
        if all.len() >= self.most {
            let oldest = all.iter().enumerate().filter_map(|(no, link)| Some((link.idle_since()?, no))).min();
            all.swap_remove(oldest?.1).close();
        }
        let link = Arc::new(Link::new(peer));
        all.push(link.clone());
        Some(link)
    }

    /// A connection has ended.
    pub fn remove(&self, link: &Arc<Link>) {
        let mut all = lock(&self.all);
        if let Some(no) = all.iter().position(|one| Arc::ptr_eq(one, link)) {
            all.swap_remove(no);
        }
    }

    /// Whether there is one.
    pub fn any(&self) -> bool {
        !lock(&self.all).is_empty()
    }

    /// Closes those that are found not to be good for the second time.
    pub(super) fn sweep(&self, good: impl Fn(&Link) -> bool) {
        let all = lock(&self.all).clone();
        for link in all {
            if good(&link) {
                link.found_bad.store(0, Ordering::SeqCst);
            } else if link.found_bad.fetch_add(1, Ordering::SeqCst) > 0 {
                link.close();
            }
        }
    }
}
