//! What partners share, and how much of it each may use: connections, requests under way, bodies and answers in memory, connections to the database, processors, and how
//! much a second. Whoever has used up its share is refused, or waits; nobody else notices. Whoever isn't known as a partner has a small share by its address.

mod links;
mod lock;
mod rate;
mod room;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use partner_sdk::PartnerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::office::config::Limits;
pub use links::{Link, Links};
use lock::lock;
pub use rate::Rate;
pub use room::Guest;
use room::Room;

/// How long a request waits for its turn at what its share has too few of.
const PATIENCE: Duration = Duration::from_secs(5);
/// So much of a body is always taken: nobody's single message is refused because of what others send.
pub const SMALL_BODY: usize = 64 * 1024;
/// From so many addresses on, those that nothing is known of are forgotten.
const ADDRESSES: usize = 2_000;

/// All shares of one service. Cheap to clone.
#[derive(Clone)]
pub struct Shares(Arc<All>);

struct All {
    limits: Limits,
    /// Connections that partners can have in all.
    most: usize,
    connections: Arc<AtomicUsize>,
    /// All others, so that none of them is in a partner's place.
    room: Arc<Room>,
    bodies: AtomicUsize,
    partners: Mutex<HashMap<PartnerId, Arc<Share>>>,
    addresses: Mutex<HashMap<IpAddr, Arc<Address>>>,
}

/// What is known of an address.
struct Address {
    rate: Rate,
    /// Made when first needed: most addresses that come without a word never do.
    share: OnceLock<Arc<Share>>,
}

/// What one partner has, or one address of which no partner is known.
pub struct Share {
    /// Its connections.
    pub links: Links,
    requests: Arc<AtomicUsize>,
    most_requests: usize,
    bodies: AtomicUsize,
    most_bodies: usize,
    /// Memory for answers to batches, in KiB.
    answers: Arc<Semaphore>,
    most_answers: usize,
    database: Arc<Semaphore>,
    processors: Arc<Semaphore>,
    per_second: Rate,
    messages_per_second: Rate,
    steps_per_second: Rate,
}

/// One of a counted number of places, until it is dropped.
pub struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes a place where fewer than `most` are taken.
    fn take(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(count.clone());
        // Counted before it is looked at, so that two that come together don't both get the last place.
        (count.fetch_add(1, Ordering::SeqCst) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Why somebody who knocks isn't let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Everybody in the room is at work.
    Full,
    /// This address begins too many connections a second.
    TooFast,
}

impl Closed {
    /// As it stands in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "no_room",
            Self::TooFast => "too_many_a_second",
        }
    }
}

/// Somebody whom nothing but the address is known of.
pub struct Visit {
    /// Its place in the room.
    pub guest: Guest,
    /// The address of who gave way to it, if anybody had to.
    pub instead_of: Option<IpAddr>,
    address: Arc<Address>,
}

impl Shares {
    /// Shares by these limits, with `most` connections of partners, and room for `waiting` of which it isn't known whose they are.
    pub fn new(limits: &Limits, most: usize, waiting: usize) -> Self {
        // Many tills of one partner may have one address, and each partner has its own share.
        Self::with(limits, most, Room::new(waiting, limits.handshakes))
    }

    fn with(limits: &Limits, most: usize, room: Arc<Room>) -> Self {
        Self(Arc::new(All {
            limits: limits.clone(),
            most,
            connections: Arc::default(),
            room,
            bodies: AtomicUsize::new(0),
            partners: Mutex::default(),
            addresses: Mutex::default(),
        }))
    }

    /// The same limits, but nothing in common with these: for a listener that takes whoever comes, `waiting` at once. An address has a quarter of them.
    pub fn apart(&self, waiting: usize) -> Self {
        let of_address = self.0.limits.handshakes.min((waiting / 4).max(1));
        Self::with(&self.0.limits, 0, Room::new(waiting, of_address))
    }

    /// A new connection from an address, before its handshake.
    pub fn knock(&self, address: IpAddr) -> Result<Visit, Closed> {
        let from = network(address);
        let address = self.address(from);
        address.rate.take(1, Instant::now()).map_err(|_| Closed::TooFast)?;
        let (guest, instead_of) = self.0.room.enter(from).ok_or(Closed::Full)?;
        Ok(Visit {
            guest,
            instead_of,
            address,
        })
    }

    /// A place among the connections of partners.
    pub fn seat(&self) -> Option<Place> {
        Place::take(&self.0.connections, self.0.most)
    }

    /// The share of a partner; without one, of the visitor's address.
    pub fn of(&self, partner: Option<&PartnerId>, visit: &Visit) -> Arc<Share> {
        let Some(partner) = partner else {
            let share = || Arc::new(Share::of_stranger(&self.0.limits));
            return visit.address.share.get_or_init(share).clone();
        };
        let mut partners = lock(&self.0.partners);
        match partners.get(partner) {
            Some(share) => share.clone(),
            None => partners
                .entry(partner.clone())
                .or_insert(Arc::new(Share::of_partner(&self.0.limits)))
                .clone(),
        }
    }

    /// What is known of a network's address.
    fn address(&self, address: IpAddr) -> Arc<Address> {
        let mut addresses = lock(&self.0.addresses);
        if addresses.len() >= ADDRESSES {
            let now = Instant::now();
            addresses.retain(|_, address| {
                let is_there = Arc::strong_count(address) > 1 || address.share.get().is_some_and(|share| share.links.any());
                is_there || !address.rate.is_full(now)
            });
        }
        let new = || {
            Arc::new(Address {
                rate: Rate::new(self.0.limits.handshakes_per_second, 2),
                share: OnceLock::new(),
            })
        };
        addresses.entry(address).or_insert_with(new).clone()
    }

    /// Closes idle connections that are no longer `good`. Each has a second to hear why at a request of its own: it is closed when it is found so twice.
    pub fn sweep(&self, good: impl Fn(&PartnerId, &Link) -> bool) {
        // What is asked takes time, so nobody is kept from connecting meanwhile.
        let partners: Vec<_> = lock(&self.0.partners)
            .iter()
            .map(|(id, share)| (id.clone(), share.clone()))
            .collect();
        for (id, share) in partners {
            share.links.sweep(|link| good(&id, link));
        }
    }
}

/// Whose an address is: whoever has one of IPv6 has its network of 64 bits.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

impl Share {
    fn of_partner(limits: &Limits) -> Self {
        Self {
            links: Links::new(limits.connections),
            requests: Arc::default(),
            most_requests: limits.requests,
            bodies: AtomicUsize::new(0),
            most_bodies: limits.body_mib.saturating_mul(1024 * 1024),
            answers: Arc::new(Semaphore::new(limits.answer_mib.saturating_mul(1024))),
            most_answers: limits.answer_mib.saturating_mul(1024),
            database: Arc::new(Semaphore::new(limits.reads)),
            processors: Arc::new(Semaphore::new(limits.processors)),
            per_second: Rate::new(limits.requests_per_second, 2),
            // A batch takes a thousand at once.
            messages_per_second: Rate::at_once(limits.messages_per_second, limits.messages_per_second.saturating_mul(2).max(2000)),
            steps_per_second: Rate::new(limits.steps_per_second, 10),
        }
    }

    /// Enough to enrol, to look after a health check, or to hear why one isn't let in.
    fn of_stranger(limits: &Limits) -> Self {
        Self {
            links: Links::new(limits.strangers),
            most_requests: limits.strangers,
            most_bodies: 1024 * 1024,
            database: Arc::new(Semaphore::new(1)),
            processors: Arc::new(Semaphore::new(1)),
            per_second: Rate::new(limits.strangers_per_second, 2),
            messages_per_second: Rate::new(0, 1),
            ..Self::of_partner(limits)
        }
    }

    /// A request begins; the error is how long to wait, zero where the request isn't too early but one too many.
    pub fn request(&self) -> Result<Place, Duration> {
        let place = Place::take(&self.requests, self.most_requests).ok_or(Duration::ZERO)?;
        self.per_second.take(1, Instant::now())?;
        Ok(place)
    }
}

/// What a request has of its partner's share while it is worked on.
pub struct Work {
    share: Arc<Share>,
    all: Shares,
    /// Memory that its body takes.
    body: Cell<usize>,
    /// Memory that its answer takes, where that has many lines.
    answer: RefCell<Option<OwnedSemaphorePermit>>,
    /// The right to a connection to the database: an answer that was read takes memory until it has been sent.
    reading: RefCell<Option<OwnedSemaphorePermit>>,
}

tokio::task_local! {
    /// The request that this task works on.
    static WORK: std::rc::Rc<Work>;
}

impl Work {
    /// The work on one request.
    pub fn new(share: &Arc<Share>, all: &Shares) -> std::rc::Rc<Self> {
        std::rc::Rc::new(Self {
            share: share.clone(),
            all: all.clone(),
            body: Cell::new(0),
            answer: RefCell::default(),
            reading: RefCell::default(),
        })
    }

    /// Does it: what is asked for below, is asked for this request.
    pub async fn on<F: Future>(self: std::rc::Rc<Self>, work: F) -> F::Output {
        WORK.scope(self, work).await
    }
}

fn work() -> Option<std::rc::Rc<Work>> {
    WORK.try_with(Clone::clone).ok()
}

async fn turn(of: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    tokio::time::timeout(PATIENCE, of.clone().acquire_owned()).await.ok()?.ok()
}

/// The partner's turn to read from the database; it lasts until the request is answered, or [`read`] was called. Whether it came in time.
pub async fn may_read() -> bool {
    let Some(work) = work() else { return true };
    if work.reading.borrow().is_some() {
        return true;
    }
    let turn = turn(&work.share.database).await;
    let came = turn.is_some();
    work.reading.replace(turn);
    came
}

/// Gives the turn back, where the request goes on to wait for something else.
pub fn read() {
    if let Some(work) = work() {
        work.reading.replace(None);
    }
}

/// The partner's turn at the processors, until it is dropped; `Err` if it didn't come in time.
pub async fn processor() -> Result<Option<OwnedSemaphorePermit>, ()> {
    match work() {
        None => Ok(None),
        Some(work) => turn(&work.share.processors).await.map(Some).ok_or(()),
    }
}

/// Counts messages towards the partner's rate; the error is how long to wait.
pub fn messages(count: usize) -> Result<(), Duration> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    work().map_or(Ok(()), |work| work.share.messages_per_second.take(count, Instant::now()))
}

/// Counts a step with a document, a key or a certificate towards the partner's rate: each takes the ledger's lock and is kept. The error is how long to wait.
pub fn step() -> Result<(), Duration> {
    work().map_or(Ok(()), |work| work.share.steps_per_second.take(1, Instant::now()))
}

/// Why a body gets no more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The partner's own bodies take its share.
    Share,
    /// All bodies together take what there is.
    All,
}

/// Asks for memory for an answer that will have about so many bytes, before anything is done that would have to be answered. It is given back when that was sent,
/// however long its reader takes. Whether it came free in time.
pub async fn answer(bytes: usize) -> bool {
    match work() {
        None => true,
        Some(work) => work.reserve(bytes).await,
    }
}

/// The answer is there: what counts from now on are its bytes, and those of the body no more.
pub fn answered(bytes: usize) {
    if let Some(work) = work() {
        work.settle(bytes);
    }
}

/// Asks for memory for the request's body, up to `bytes` in all. It is given back when the request is answered, if not before.
pub fn body(bytes: usize) -> Result<(), Full> {
    work().map_or(Ok(()), |work| work.grow_to(bytes))
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

impl Work {
    async fn reserve(&self, bytes: usize) -> bool {
        // One answer is always possible.
        let kib = u32::try_from(kib(bytes).min(self.share.most_answers)).unwrap_or(u32::MAX);
        let memory = tokio::time::timeout(PATIENCE, self.share.answers.clone().acquire_many_owned(kib)).await;
        let memory = memory.ok().and_then(Result::ok);
        let came = memory.is_some();
        self.answer.replace(memory);
        came
    }

    fn settle(&self, bytes: usize) {
        self.give_back();
        let mut answer = self.answer.borrow_mut();
        let Some(memory) = &mut *answer else { return };
        match memory.num_permits().checked_sub(kib(bytes)) {
            Some(over) => drop(memory.split(over)),
            // What is done has to be answered, even where the estimate was too low and all else is taken.
            None => {
                let more = u32::try_from(kib(bytes) - memory.num_permits()).unwrap_or(u32::MAX);
                if let Ok(more) = self.share.answers.clone().try_acquire_many_owned(more) {
                    memory.merge(more);
                }
            }
        }
    }

    /// The body is gone.
    fn give_back(&self) {
        let body = self.body.take();
        self.share.bodies.fetch_sub(body, Ordering::SeqCst);
        self.all.0.bodies.fetch_sub(body, Ordering::SeqCst);
    }

    fn grow_to(&self, bytes: usize) -> Result<(), Full> {
        let more = bytes.saturating_sub(self.body.get());
        if more == 0 {
            return Ok(());
        }
        self.body.set(bytes);
        let all = &self.all.0;
        let own = self.share.bodies.fetch_add(more, Ordering::SeqCst) + more;
        let sum = all.bodies.fetch_add(more, Ordering::SeqCst) + more;
        if own > self.share.most_bodies {
            Err(Full::Share)
        } else if sum > all.limits.bodies_mib.saturating_mul(1024 * 1024) && own > SMALL_BODY {
            Err(Full::All)
        } else {
            Ok(())
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests;
