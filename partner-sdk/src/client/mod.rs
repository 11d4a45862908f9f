//! The HTTPS client: mutual TLS, HTTP/1.1, receipts verified before anybody sees them, retries that can't post twice.
//!
//! A [`Client`] is cheap to clone and meant to be shared: it keeps its connections for the next requests, and never has more than [`CONNECTIONS`].

mod answer;
mod disputes;
mod documents;
mod error;
mod exchanges;
pub mod keys;
mod log;
mod posted;
mod retry;
mod seen;
mod spki;
pub mod tls;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::ids::MessageId;
use crate::jws::{Compact, SigningKey, sha256_hex};
use crate::problem::Problem;
use crate::trust::{Reader, Trust};
use crate::wire::{Answer, Message, Receipt, split_batch};
use answer::{Reply, settle};
use seen::{Head, Seen};

pub use error::{ClientError, LogFault, ReceiptFault};
pub use posted::PostedPage;
pub use retry::Retry;
pub use tls::{Identity, TlsError};

/// The largest answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 16 << 20;

/// The most requests of one client on their way at once, each on a connection of its own; a further one waits. The clearinghouse counts the connections of all
/// of a partner's clients together.
pub const CONNECTIONS: usize = 64;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection is kept for the next request: less than the clearinghouse keeps it, so that no request meets its end.
const KEEP: Duration = Duration::from_secs(50);

/// The client of one partner at one clearinghouse.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    places: Arc<Semaphore>,
    base: Arc<str>,
    trust: Arc<Trust>,
    seen: Arc<Seen>,
    retry: Retry,
}

/// One try at one message.
struct Try {
    answer: Answer,
    receipt: Option<Receipt>,
    retry_after: Option<Duration>,
}

impl Client {
    /// A client for `base`, which is `https://host:port`. Receipts are verified by the keys of `trust` before they are returned.
    pub fn new(base: &str, identity: &Identity, trust: Trust) -> Result<Self, ClientError> {
        let base = origin(base)?;
        let http = connector(tls::client_config(identity).map_err(ClientError::Identity)?)?;
        Ok(Self {
            http,
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            base: base.into(),
            trust: Arc::new(trust),
            seen: Arc::default(),
            retry: Retry::default(),
        })
    }

    /// The same client with another policy for [`Client::send`].
    pub fn with_retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// Posts one signed message, once. A problem is an answer too: with a receipt it is a rejection, without one the outcome is open. An answer that came with a
    /// fault of the log is in [`ClientError::Log`].
    pub async fn post(&self, jws: &str) -> Result<Answer, ClientError> {
        Ok(self.try_post(jws, REQUEST_TIMEOUT).await?.answer)
    }

    /// Posts many signed messages in one request, once; the answers come in the same order. A problem of the request as a whole is
    /// [`ClientError::Refused`].
    pub async fn post_batch(&self, jws: &[String]) -> Result<Vec<Answer>, ClientError> {
        let hashes = jws.iter().map(|one| sha256_hex(one.as_bytes())).collect();
        self.post_lines("/v1/batches", jws.join("\n"), Some(hashes)).await
    }

    /// Posts a signed batch (see [`crate::wire::write_batch`]), once; the answers come in the order of its messages.
    pub async fn post_signed_batch(&self, jws: &str) -> Result<Vec<Answer>, ClientError> {
        // What isn't readable here goes out all the same: to say what is wrong with it is the clearinghouse's part.
        let payload = Compact::parse(jws).map(|batch| batch.payload).unwrap_or_default();
        let hashes = split_batch(&payload)
            .ok()
            .map(|messages| messages.iter().map(|one| sha256_hex(one.as_bytes())).collect());
        self.post_lines("/v1/signed-batches", jws.to_owned(), hashes).await
    }

    /// Posts a body, once, and returns the text of the answer as it came. No receipt in it is verified, so it proves nothing: for tools that
    /// verify later, or by other means. A problem is [`ClientError::Refused`]. `path` starts with a slash.
    pub async fn post_unverified(&self, path: &str, body: String) -> Result<String, ClientError> {
        let reply = self.exchange(self.request(Method::POST, path)?.body(body)).await?;
        if !reply.is_ok() {
            return Err(ClientError::Refused(Box::new(reply.problem()?)));
        }
        reply.text().map(str::to_owned)
    }

    /// Signs a message, posts it, and tries again with the same bytes while that may help.
    ///
    /// A rejection is [`ClientError::Rejected`]. A fault of the log is [`ClientError::Log`], with the answer where there was one. After any other error the outcome
    /// may be open: send the same message again.
    pub async fn send(&self, message: &Message, key: &SigningKey) -> Result<Receipt, ClientError> {
        let (jws, start) = (message.sign(key), Instant::now());
        let mut made = 0;
        loop {
            let left = self.retry.deadline.saturating_sub(start.elapsed());
            let (error, retry_after) = match self.try_post(&jws, left.min(REQUEST_TIMEOUT)).await {
                // Only the sender's own message has a place in the ledger.
                Ok(done)
                    if done
                        .receipt
                        .as_ref()
                        .is_some_and(|r| r.sequence.is_some() && r.sender != message.sender) =>
                {
                    return Err(ClientError::ReceiptInvalid(ReceiptFault::OtherMessage));
                }
                Ok(done) => match verdict(done.receipt, done.answer.problem) {
                    Ok(receipt) => return Ok(receipt),
                    Err(error) => (error, done.retry_after),
                },
                Err(error) => (error, None),
            };
            made += 1;
            let [.., a, b, c, d] = random();
            let pause = self
                .retry
                .pause(made, start.elapsed(), retry_after, u32::from_le_bytes([a, b, c, d]));
            match pause.filter(|_| error.retryable()) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
        }
    }

    /// Gets a JSON document; `path` starts with a slash and may have a query.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.get_reply(path).await?.json()
    }

    /// Gets a document as text; `path` starts with a slash and may have a query.
    pub async fn get_text(&self, path: &str) -> Result<String, ClientError> {
        self.get_reply(path).await?.text().map(str::to_owned)
    }

    /// Gets bytes; `path` starts with a slash and may have a query.
    pub async fn get_bytes(&self, path: &str) -> Result<Vec<u8>, ClientError> {
        Ok(self.get_reply(path).await?.body)
    }

    /// Verifies a receipt by the clearinghouse's keys and reads it, wherever it comes from. Its head of the log is held to the newest one with the next look.
    pub fn verify_receipt(&self, text: &str) -> Result<Receipt, ClientError> {
        if self.seen.is_full() {
            return Err(ClientError::Unchecked);
        }
        let (receipt, heads) = self.read_receipt(text)?;
        self.seen.note(heads)?;
        Ok(receipt)
    }

    fn read_receipt(&self, text: &str) -> Result<(Receipt, Vec<Head>), ClientError> {
        let mut reader = Reader::new(&self.trust);
        let read = reader.receipt(text);
        let (receipt, _) = read.map_err(|e| ClientError::ReceiptInvalid(ReceiptFault::Invalid(e)))?;
        Ok((receipt, heads(&reader)))
    }

    async fn try_post(&self, jws: &str, timeout: Duration) -> Result<Try, ClientError> {
        self.make_room().await?;
        let reply = self
            .exchange(self.request(Method::POST, "/v1/messages")?.body(jws.to_owned()).timeout(timeout))
            .await?;
        let answer = match reply.is_ok() {
            true => reply.json()?,
            false => Answer {
                outcome: None,
                receipt: None,
                problem: Some(reply.problem()?),
            },
        };
        let mut reader = Reader::new(&self.trust);
        let settled = settle(answer, Some(&sha256_hex(jws.as_bytes())), &mut reader);
        let log = self.saw(heads(&reader)).await;
        let (answer, receipt) = settled.map_err(ClientError::ReceiptInvalid)?;
        match log {
            Ok(()) => Ok(Try {
                answer,
                receipt,
                retry_after: reply.retry_after,
            }),
            Err(fault) => Err(ClientError::Log {
                fault,
                answers: vec![answer],
            }),
        }
    }

    async fn post_lines(&self, path: &str, body: String, hashes: Option<Vec<String>>) -> Result<Vec<Answer>, ClientError> {
        self.make_room().await?;
        let reply = self.accepted(self.exchange(self.request(Method::POST, path)?.body(body)).await?)?;
        let (trust, status) = (self.trust.clone(), reply.status);
        // A thousand signatures take 50 ms: not on a thread that others wait for.
        let read = tokio::task::spawn_blocking(move || {
            let mut reader = Reader::new(&trust);
            (reply.lines(hashes.as_deref(), &mut reader), heads(&reader))
        });
        let (answers, heads) = read.await.map_err(|_| ClientError::Unexpected {
            status,
            why: "reading it was broken off".into(),
        })?;
        let log = self.saw(heads).await;
        let answers = answers?;
        match log {
            Ok(()) => Ok(answers),
            Err(fault) => Err(ClientError::Log { fault, answers }),
        }
    }

    async fn get_reply(&self, path: &str) -> Result<Reply, ClientError> {
        self.accepted(self.exchange(self.request(Method::GET, path)?).await?)
    }

    /// Sends a request when it has a place, and reads the whole answer.
    async fn exchange(&self, request: RequestBuilder) -> Result<Reply, ClientError> {
        self.exchange_within(request, MAX_ANSWER_BYTES).await
    }

    /// The same for an answer of at most `most` bytes.
    async fn exchange_within(&self, request: RequestBuilder, most: usize) -> Result<Reply, ClientError> {
        self.seen.sound()?;
        // It is never closed, so there is always a place in the end.
        let _place = self.places.acquire().await;
        exchange(request, most).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, ClientError> {
        if !path.starts_with('/') {
            return Err(ClientError::Address);
        }
        let post = method == Method::POST;
        let request = self.http.request(method, format!("{}{path}", self.base));
        Ok(if post {
            request.header(CONTENT_TYPE, "application/jose")
        } else {
            request
        })
    }

    /// The reply, unless it is a problem.
    fn accepted(&self, reply: Reply) -> Result<Reply, ClientError> {
        if reply.is_ok() {
            return Ok(reply);
        }
        let problem = reply.problem()?;
        let receipt = problem.receipt.as_deref().map(|receipt| self.read_receipt(receipt)).transpose()?;
        match self.seen.note(receipt.into_iter().flat_map(|(_, heads)| heads)) {
            Ok(()) => Err(ClientError::Refused(Box::new(problem))),
            Err(fault) => Err(ClientError::Log {
                fault,
                answers: vec![Answer {
                    outcome: None,
                    receipt: None,
                    problem: Some(problem),
                }],
            }),
        }
    }
}

/// The heads of the log that came with receipts.
fn heads(reader: &Reader<'_>) -> Vec<Head> {
    reader
        .heads()
        .iter()
        .map(|(text, checkpoint)| Head::new(checkpoint, text))
        .collect()
}

/// `https://host:port` of a base, which must be just that.
fn origin(base: &str) -> Result<String, ClientError> {
    let url = reqwest::Url::parse(base).map_err(|_| ClientError::Address)?;
    let origin = url.origin().ascii_serialization();
    if url.scheme() != "https" || url.as_str().trim_end_matches('/') != origin {
        return Err(ClientError::Address);
    }
    Ok(origin)
}

/// What makes and keeps connections.
fn connector(tls: rustls::ClientConfig) -> Result<reqwest::Client, ClientError> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .pool_idle_timeout(KEEP)
        // A connection that died without a word is noticed, so that no request is sent into it.
        .tcp_keepalive(Duration::from_secs(15))
        .build()
        .map_err(transport)
}

/// Addresses hold member numbers and errors end up in logs: the one is taken out of the other.
fn transport(error: reqwest::Error) -> ClientError {
    ClientError::Transport(error.without_url())
}

/// What a settled answer means to whoever sent the message.
fn verdict(receipt: Option<Receipt>, problem: Option<Problem>) -> Result<Receipt, ClientError> {
    match (receipt, problem) {
        (Some(receipt), problem) => match receipt.code {
            None => Ok(receipt),
            Some(code) => Err(ClientError::Rejected(Box::new(
                problem.unwrap_or_else(|| Problem::new(code, code.title()).at(receipt.field)),
            ))),
        },
        (None, Some(problem)) => Err(ClientError::Refused(Box::new(problem))),
        (None, None) => Err(ClientError::ReceiptInvalid(ReceiptFault::Missing)),
    }
}

/// Sends a request and reads the whole answer, up to `most` bytes.
async fn exchange(request: RequestBuilder, most: usize) -> Result<Reply, ClientError> {
    let mut response = request.send().await.map_err(transport)?;
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let is_problem = header(CONTENT_TYPE).starts_with("application/problem+json");
    let retry_after = retry::read_retry_after(header(RETRY_AFTER));
    let mut reply = Reply {
        status: response.status().as_u16(),
        is_problem,
        retry_after,
        body: Vec::new(),
    };
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if reply.body.len() + chunk.len() > most {
            return Err(reply.unexpected(format!("longer than {most} bytes")));
        }
        reply.body.extend_from_slice(&chunk);
    }
    Ok(reply)
}

/// Random bytes from the operating system, or a panic where it has none, as a `HashMap` of the standard library does.
fn random() -> [u8; 16] {
    static SOURCE: LazyLock<&'static dyn rustls::crypto::SecureRandom> =
        LazyLock::new(|| rustls::crypto::ring::default_provider().secure_random);
    let mut bytes = [0; 16];
    match SOURCE.fill(&mut bytes) {
        Ok(()) => bytes,
        Err(_) => panic!("the operating system gives no random bytes"),
    }
}

/// 128 random bits for a document.
///
/// # Panics
/// Where the operating system gives no random bytes.
pub fn new_salt() -> crate::Salt {
    crate::Salt::from_bytes(random())
}

/// A new message id that grows with time: a UUIDv7 (RFC 9562), milliseconds since 1970 and 74 random bits.
///
/// # Panics
/// Where the operating system gives no random bytes.
pub fn new_message_id() -> MessageId {
    let millis = u128::from(jiff::Timestamp::now().as_millisecond().max(0).unsigned_abs());
    let id = uuid_v7(millis, u128::from_le_bytes(random()));
    match MessageId::new(&id) {
        Ok(id) => id,
        Err(_) => unreachable!("digits and hyphens are in the alphabet"),
    }
}

fn uuid_v7(millis: u128, random: u128) -> String {
    let bits = (millis << 80) | (random >> 48);
    let version = (bits & !(0xf << 76)) | (7 << 76);
    let hex = format!("{:032x}", (version & !(3 << 62)) | (2 << 62));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_with_time_and_are_of_version_7() {
        // The example of RFC 9562, appendix A.6.
        assert_eq!(uuid_v7(0x17F22E279B0, u128::MAX), "017f22e2-79b0-7fff-bfff-ffffffffffff");
        assert_eq!(uuid_v7(0x17F22E279B0, 0), "017f22e2-79b0-7000-8000-000000000000");
        assert_eq!(uuid_v7((1 << 48) - 1, 0).len(), 36);
        assert!(uuid_v7(1, u128::MAX) < uuid_v7(2, 0));
        assert_ne!(new_message_id(), new_message_id());
    }

    #[test]
    fn only_https_addresses_without_a_path_are_taken() {
        let trust = crate::trust::testing::trust(&SigningKey::from_bytes("clearing-1".parse().expect("kid"), &[3; 32]));
        let identity = Identity {
            ca_pem: String::new(),
            cert_pem: String::new(),
            key_pem: String::new(),
        };
        for bad in [
            "",
            "localhost:1",
            "http://localhost:1",
            "https://localhost:1/v1",
            "https://u:p@localhost:1",
            "https://localhost:1/?q",
        ] {
            assert!(
                matches!(Client::new(bad, &identity, trust.clone()), Err(ClientError::Address)),
                "{bad}"
            );
        }
        for good in ["https://localhost:8443", "https://[::1]:8443/", "https://clearing.example"] {
            assert!(
                matches!(Client::new(good, &identity, trust.clone()), Err(ClientError::Identity(_))),
                "{good}"
            );
        }
    }
}
