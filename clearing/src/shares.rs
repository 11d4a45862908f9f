//! What partners share, and how much of it each may use: connections, requests under way, bodies in memory, connections to the database, processors, and how
//! much a second. Whoever has used up its share is refused, or waits; nobody else notices. Whoever isn't known as a partner has a small share by its address.

mod links;
mod rate;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use partner_sdk::PartnerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
pub use links::{Link, Links};
pub use rate::Rate;

/// How long a request waits for its turn at what its share has too few of.
const PATIENCE: Duration = Duration::from_secs(5);
/// So much of a body is always taken: nobody's single message is refused because of what others send.
const SMALL_BODY: usize = 64 * 1024;
/// From so many addresses on, those that nothing is known of are forgotten.
const ADDRESSES: usize = 10_000;

/// All shares of one service. Cheap to clone.
#[derive(Clone)]
pub struct Shares(Arc<All>);

struct All {
    limits: Limits,
    /// Connections that there can be in all, and of one address.
    most: usize,
    most_of_address: usize,
    connections: Arc<AtomicUsize>,
    bodies: AtomicUsize,
    partners: Mutex<HashMap<PartnerId, Arc<Share>>>,
    addresses: Mutex<HashMap<IpAddr, Arc<Address>>>,
}

/// What one address has under way before it is known who it is.
struct Address {
    connections: Arc<AtomicUsize>,
    handshakes: Arc<AtomicUsize>,
    rate: Rate,
    share: Arc<Share>,
}

/// What one partner has, or one address of which no partner is known.
pub struct Share {
    /// Its connections.
    pub links: Links,
    requests: Arc<AtomicUsize>,
    most_requests: usize,
    bodies: AtomicUsize,
    most_bodies: usize,
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
    /// There are as many connections as this process can have.
    Full,
    /// This address has too many connections or handshakes under way, or begins too many a second.
    Address,
}

/// Somebody whom nothing but the address is known of.
pub struct Visit {
    places: Places,
    handshake: Place,
    address: Arc<Address>,
}

/// A connection's places among all, and among those of its address.
pub struct Places {
    _of_all: Place,
    _of_address: Place,
}

impl Shares {
    /// Shares by these limits, with `most` connections in all.
    pub fn new(limits: &Limits, most: usize) -> Self {
        // Many tills of one partner may have one address, and each partner has its own share.
        Self::with(limits, most, usize::MAX)
    }

    fn with(limits: &Limits, most: usize, most_of_address: usize) -> Self {
        Self(Arc::new(All {
            limits: limits.clone(),
            most,
            most_of_address,
            connections: Arc::default(),
            bodies: AtomicUsize::new(0),
            partners: Mutex::default(),
            addresses: Mutex::default(),
        }))
    }

    /// The same limits, but nothing in common with these: for a listener that takes whoever comes. An address has a quarter of its connections, those that are
    /// about to end counted.
    pub fn apart(&self, most: usize) -> Self {
        Self::with(&self.0.limits, most, (most / 4).max(1))
    }

    /// A new connection from an address, before its handshake.
    pub fn knock(&self, address: IpAddr) -> Result<Visit, Closed> {
        let limits = &self.0.limits;
        let of_all = Place::take(&self.0.connections, self.0.most).ok_or(Closed::Full)?;
        let address = self.address(address);
        let of_address = Place::take(&address.connections, self.0.most_of_address).ok_or(Closed::Address)?;
        let handshake = Place::take(&address.handshakes, limits.handshakes).ok_or(Closed::Address)?;
        address.rate.take(1, Instant::now()).map_err(|_| Closed::Address)?;
        Ok(Visit {
            places: Places {
                _of_all: of_all,
                _of_address: of_address,
            },
            handshake,
            address,
        })
    }

    /// The share of a partner; without one, of the visitor's address.
    pub fn of(&self, partner: Option<&PartnerId>, visit: &Visit) -> Arc<Share> {
        let Some(partner) = partner else {
            return visit.address.share.clone();
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

    fn address(&self, address: IpAddr) -> Arc<Address> {
        let mut addresses = lock(&self.0.addresses);
        if addresses.len() >= ADDRESSES {
            let now = Instant::now();
            addresses.retain(|_, address| {
                let is_there = Arc::strong_count(address) > 1 || Arc::strong_count(&address.connections) > 1;
                is_there || address.share.links.any() || !address.rate.is_full(now)
            });
        }
        let limits = &self.0.limits;
        let new = || {
            Arc::new(Address {
                connections: Arc::default(),
                handshakes: Arc::default(),
                rate: Rate::new(limits.handshakes_per_second, 2),
                share: Arc::new(Share::of_stranger(limits)),
            })
        };
        addresses.entry(network(address)).or_insert_with(new).clone()
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Visit {
    /// The connection's places, once the handshake is over.
    pub fn enter(self) -> Places {
        self.places
    }

    /// The same, with the place among the address's handshakes.
    pub fn stay(self) -> (Places, Place) {
        (self.places, self.handshake)
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
    /// Memory that its body takes, and then its answer.
    body: Cell<usize>,
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

/// Asks for memory for the request's body, up to `bytes` in all. It is given back when the request is answered: an answer to many messages takes about as
/// much as they did, for as long as its reader wants.
pub fn body(bytes: usize) -> Result<(), Full> {
    work().map_or(Ok(()), |work| work.grow_to(bytes))
}

impl Work {
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
        self.share.bodies.fetch_sub(self.body.get(), Ordering::SeqCst);
        self.all.0.bodies.fetch_sub(self.body.get(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
