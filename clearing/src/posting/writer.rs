//! Group commit: one thread takes whatever waits, applies it in order, and commits it in one transaction. Answers leave after the commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use migrations::{Conn, DbError, Url};
use partner_sdk::jws::SigningKey;
use partner_sdk::log::note::SignError;
use partner_sdk::log::paths::{Fetched, Tree};
use partner_sdk::log::{Checkpoint, Hash, Proof};
use partner_sdk::{Code, PartnerId};
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use crate::posting::queue::Queue;
use crate::telemetry;
use ledger::directory::Directory;
use ledger::tree::Edge;
use ledger::{Outcome, Posted, Verified, apply};
use store::{Checkpoints, Unready};

/// The reference data as last seen; replaced whenever a newer version is read.
#[derive(Debug, Clone)]
pub struct Reference(Arc<RwLock<Arc<Directory>>>);

impl Reference {
    /// Starts from a directory.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self(Arc::new(RwLock::new(directory)))
    }

    /// The latest.
    pub fn get(&self) -> Arc<Directory> {
        self.0.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Puts a newer version in place; an older one is ignored.
    pub fn put(&self, new: &Arc<Directory>) {
        let mut current = self.0.write().unwrap_or_else(|e| e.into_inner());
        if new.version > current.version {
            *current = new.clone();
        }
    }
}

/// What became of a message.
#[derive(Debug, Clone)]
pub enum Answered {
    /// It is kept: its entry stands in the log, and this proves it.
    Kept(Arc<Posted>, Proof),
    /// Its id is another message's; this one leaves no trace.
    IdReused,
    /// Its key doesn't count; it leaves no trace.
    KeyRefused(Code),
}

/// What became of a message, or what is known where it failed: nothing was posted, unless it is `outcome_unknown`.
pub type Posting = Result<Answered, Code>;

/// The log's name and key: one signature is made for each group that was committed.
pub struct Signer {
    /// The log's origin, which names its key too.
    pub origin: String,
    /// The log's own key.
    pub key: SigningKey,
}

struct Job {
    messages: Vec<Arc<Verified>>,
    reply: oneshot::Sender<Vec<Posting>>,
    /// When it came into the queue.
    since: Instant,
}

/// The queue, closed when nobody is left to add to it.
struct Entrance(Arc<Queue<Job>>);

impl Drop for Entrance {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The way into the ledger. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    jobs: Arc<Entrance>,
    draining: Arc<AtomicBool>,
}

impl Ledger {
    /// Posts messages of one request, in order, with others' in one transaction; where one of them fails, the others in transactions of their own. An outcome for
    /// each, in order; an error where all were turned away.
    pub async fn post(&self, messages: Vec<Arc<Verified>>) -> Result<Vec<Posting>, Code> {
        let Some(sender) = messages.first().map(|one| one.message.sender.clone()) else {
            return Ok(vec![]);
        };
        if self.draining.load(Ordering::SeqCst) {
            return Err(Code::ShuttingDown);
        }
        let (count, (reply, answer)) = (messages.len(), oneshot::channel());
        let since = Instant::now();
        self.jobs.0.push(&sender, Job { messages, reply, since }, count)?;
        answer.await.map_err(|_| Code::OutcomeUnknown)
    }

    /// Whether the service is about to stop.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// From now on new messages are refused; those that wait are still posted.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }
}

/// Starts the thread; it tells `news` the number of the newest event. It ends when every [`Ledger`] is gone and the queue is empty.
pub fn start(
    url: Url,
    reference: Reference,
    clock: Clock,
    news: watch::Sender<i64>,
    signer: Arc<Signer>,
    (capacity, share, group): (usize, usize, usize),
) -> Result<(Ledger, JoinHandle<()>), DbError> {
    let queue = Queue::new(capacity, share);
    let ledger = Ledger {
        jobs: Arc::new(Entrance(queue.clone())),
        draining: Arc::default(),
    };
    let conn = Conn::open(&url)?.for_posting()?;
    let writer = Writer {
        checkpoints: Checkpoints::start(&url)?,
        url,
        conn: Some(conn),
        edge: None,
        reference,
        clock,
        news,
        signer,
        group,
    };
    let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || writer.run(&queue));
    thread
        .map(|thread| (ledger, thread))
        .map_err(|e| DbError::Corrupt(format!("cannot start the ledger's thread: {e}")))
}

/// The most transactions in which one group is tried: enough to single out three messages of 500.
const MAX_TRIES: usize = 64;
/// How long after the first failure a group is still tried again in halves: others wait meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

struct Writer {
    url: Url,
    checkpoints: Option<Checkpoints>,
    conn: Option<Conn>,
    /// The edge of the log's tree, as the last transaction on this connection has committed it.
    edge: Option<Edge>,
    reference: Reference,
    clock: Clock,
    news: watch::Sender<i64>,
    signer: Arc<Signer>,
    group: usize,
}

impl Writer {
    fn run(mut self, queue: &Queue<Job>) {
        while let Some(first) = queue.pop() {
            let (mut replies, mut messages, mut waited) = (vec![], Vec::<Arc<Verified>>::new(), Duration::ZERO);
            let mut job = Some(first);
            while let Some(next) = job {
                let sender: Option<PartnerId> = next.messages.first().map(|one| one.message.sender.clone());
                waited += next.since.elapsed() * u32::try_from(next.messages.len()).unwrap_or(u32::MAX);
                replies.push((next.reply, sender, next.messages.len()));
                messages.extend(next.messages);
                job = if messages.len() < self.group { queue.try_pop() } else { None };
            }
            tracing::debug!(
                messages = messages.len(),
                queue = waited.as_micros(),
                "taken from the queue; what they waited in microseconds, added up"
            );
            let mut outcomes = self.post(&messages).into_iter();
            for (reply, sender, count) in replies {
                if let Some(sender) = sender {
                    queue.done(&sender, count);
                }
                // A client that went away needs no answer.
                let _ = reply.send(outcomes.by_ref().take(count).collect());
            }
        }
    }

    /// Posts a group in one transaction. Where that fails, nobody's fault is everybody's: the group is tried again in halves, so that what fails is one message
    /// alone. After a commit that failed nothing is tried again: whether it took effect isn't known.
    fn post(&mut self, messages: &[Arc<Verified>]) -> Vec<Posting> {
        let (mut outcomes, mut tries) = (Vec::with_capacity(messages.len()), 0);
        let mut left = vec![messages];
        let mut first_failed: Option<Instant> = None;
        while let Some(part) = left.pop() {
            tries += 1;
            match self.attempt(part) {
                Ok(done) => outcomes.extend(done.into_iter().map(Ok)),
                Err(error) => {
                    let since = *first_failed.get_or_insert_with(Instant::now);
                    let again = part.len() > 1 && tries < MAX_TRIES && since.elapsed() < PATIENCE && may_be_of_one(&error);
                    if again {
                        let (first, second) = part.split_at(part.len() / 2);
                        left.extend([second, first]);
                        continue;
                    }
                    outcomes.extend(part.iter().map(|_| Err(error.code())));
                }
            }
        }
        outcomes
    }

    /// One transaction. After any failure the connection is thrown away, so the next transaction reads everything anew.
    fn attempt(&mut self, messages: &[Arc<Verified>]) -> Result<Vec<Answered>, Unready> {
        // A panic is a fault of ours: the connection goes, and with it the transaction.
        let posted = catch_unwind(AssertUnwindSafe(|| self.try_post(messages)));
        let posted = posted.unwrap_or_else(|_| Err(DbError::Corrupt("posting panicked".into()).into()));
        posted.inspect_err(|error| {
            (self.conn, self.edge) = (None, None);
            tracing::error!(error = telemetry::chain(error), messages = messages.len(), code = %error.code(), "posting failed");
        })
    }

    fn try_post(&mut self, messages: &[Arc<Verified>]) -> Result<Vec<Answered>, Unready> {
        let conn = match &mut self.conn {
            Some(conn) => conn,
            none => none.insert(Conn::open(&self.url)?.for_posting()?),
        };
        let (known, clock) = (self.reference.get(), &self.clock);
        let mut phases = Phases::start();
        let (outcomes, head, directory, newest, edge) = conn.transaction(|conn| -> Result<_, Unready> {
            let mut set = store::load(conn, &known, messages, || clock.now().as_microsecond())?;
            phases.end();
            let outcomes: Vec<Outcome> = messages.iter().map(|message| apply(&mut set, message)).collect();
            phases.end();
            store::persist(conn, &set)?;
            let grown = store::add_messages(conn, &set, self.edge.as_ref())?;
            let edge = grown.as_ref().map(|grown| grown.edge.clone());
            let first = set.changes.messages.first().map_or(i64::MAX, |(posted, _)| posted.seq);
            let before = kept(&outcomes).map(|posted| posted.seq).filter(|seq| *seq < first);
            let mut tree = store::tree(conn, grown, before)?;
            let outcomes = paths(outcomes, &mut tree)?;
            let newest = if set.changes.told.is_empty() {
                None
            } else {
                Some(store::events::newest(conn)?)
            };
            phases.end();
            Ok((outcomes, (tree.size(), tree.root()), set.directory, newest, edge))
        })?;
        self.edge = edge.or(self.edge.take());
        self.checkpoints
            .iter_mut()
            .for_each(|checkpoints| checkpoints.posted(messages.len()));
        phases.end();
        if let Some(newest) = newest {
            self.news.send_replace(newest);
        }
        self.reference.put(&directory);
        let answered = self.signer.prove(outcomes, &head)?;
        phases.end();
        phases.log(messages.len());
        Ok(answered)
    }
}

/// What is kept of some outcomes.
fn kept(outcomes: &[Outcome]) -> impl Iterator<Item = &Posted> {
    outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Kept(posted) => Some(posted.as_ref()),
        Outcome::IdReused | Outcome::KeyRefused(_) => None,
    })
}

/// The path of each entry; empty where there is none.
fn paths(outcomes: Vec<Outcome>, tree: &mut Tree<Fetched>) -> Result<Vec<(Outcome, Vec<Hash>)>, DbError> {
    let path = |outcome: Outcome| {
        let path = match &outcome {
            Outcome::Kept(posted) => tree
                .inclusion(index(posted))
                .map_err(|error| DbError::Corrupt(format!("the log's tree: {error}")))?,
            Outcome::IdReused | Outcome::KeyRefused(_) => vec![],
        };
        Ok((outcome, path))
    };
    outcomes.into_iter().map(path).collect()
}

/// Where its entry stands in the log: the first has number 1.
fn index(posted: &Posted) -> u64 {
    posted.seq.saturating_sub(1).try_into().unwrap_or(0)
}

impl Signer {
    /// Signs a head of the log: the same one always gives the same text.
    pub fn checkpoint(&self, size: u64, root: Hash) -> Result<String, SignError> {
        let origin = self.origin.clone();
        Checkpoint { origin, size, root }.sign(&self.key)
    }

    /// Signs the head of the log that was committed, once for all these.
    fn prove(&self, outcomes: Vec<(Outcome, Vec<Hash>)>, (size, root): &(u64, Hash)) -> Result<Vec<Answered>, SignError> {
        let checkpoint = self.checkpoint(*size, *root)?;
        let prove = |(outcome, path)| match outcome {
            Outcome::Kept(posted) => {
                let (index, checkpoint) = (index(&posted), checkpoint.clone());
                Answered::Kept(posted, Proof { index, path, checkpoint })
            }
            Outcome::IdReused => Answered::IdReused,
            Outcome::KeyRefused(code) => Answered::KeyRefused(code),
        };
        Ok(outcomes.into_iter().map(prove).collect())
    }
}

/// Whether a failure may be that of one message among several.
fn may_be_of_one(error: &Unready) -> bool {
    matches!(error, Unready::Db(DbError::Query(_) | DbError::Corrupt(_)))
}

/// How long the phases of one transaction took, for the debug log.
struct Phases {
    last: Instant,
    micros: Vec<u128>,
}

impl Phases {
    fn start() -> Self {
        Self {
            last: Instant::now(),
            micros: Vec::with_capacity(5),
        }
    }

    fn end(&mut self) {
        self.micros.push(self.last.elapsed().as_micros());
        self.last = Instant::now();
    }

    fn log(&self, messages: usize) {
        if let [load, apply, persist, commit, prove] = self.micros[..] {
            tracing::debug!(messages, load, apply, persist, commit, prove, "posted; phases in microseconds");
        }
    }
}
