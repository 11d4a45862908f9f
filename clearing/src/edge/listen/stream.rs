//! A connection as the HTTP library sees it: one request at a time, each with a head that was read before ([`head`]) and a body as long as that says, and an
//! end to all waiting.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use bytes::{Buf, BytesMut};
use futures_util::future::poll_fn;
use partner_sdk::{Code, Problem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

use super::head;
use crate::edge::http::problem_text;
use crate::edge::shares::{Guest, Link, Place, Share};
use crate::edge::tls::Live;

/// How long the head of a request may take, from its first byte on.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a body may take that nobody reads; who reads one has a bound of its own.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an answer may take to be sent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long what is still on its way is waited for after a refusal, so that the refusal arrives.
const LINGER: Duration = Duration::from_secs(1);
/// How much of a body is read before what was read is looked at.
const AT_ONCE: usize = 32 * 1024;

/// The bytes below HTTP.
pub enum Io {
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
    /// As they are.
    Plain(TcpStream),
}

/// A connection's places, given back when it ends.
pub struct Seat {
    /// What it is counted in.
    pub share: Arc<Share>,
    /// The connection as its share sees it.
    pub link: Arc<Link>,
    /// Whether a partner is known; else the connection ends after one answer.
    pub known: bool,
    /// The place among the partners' connections.
    pub _place: Option<Place>,
    /// The place among all others'; given to somebody else, the connection ends.
    pub guest: Option<Guest>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.share.links.remove(&self.link);
    }
}

/// What is being read.
enum Stage {
    /// A head; so many bytes of it were looked at.
    Head(usize),
    /// So many bytes may still be read as they are: a head that is good, and its body.
    Pass(u64),
    /// Nothing more. What is left of the refusal goes out, then the connection ends.
    Refuse(BytesMut),
    /// Nothing more; what still comes is thrown away for a moment.
    Linger,
    /// Nothing more.
    Ended,
}

/// A connection.
pub struct Stream {
    io: Io,
    seat: Seat,
    /// The names that this service answers to; none where any will do.
    names: Option<Live>,
    idle: Duration,
    stage: Stage,
    /// Bytes that came and weren't given on.
    came: BytesMut,
    /// When reading has to have come further.
    read_by: Pin<Box<Sleep>>,
    /// Whether the first byte of a head has come.
    begun: bool,
    /// Whether the request before was still being answered at the last look.
    answering: bool,
    /// Bytes given on without a pause.
    given: usize,
    /// By when the answer that is being sent has to be gone.
    write_by: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    /// A connection that may be idle for so long.
    pub fn new(io: Io, seat: Seat, names: Option<Live>, idle: Duration) -> Self {
        Self {
            io,
            seat,
            names,
            idle,
            stage: Stage::Head(0),
            came: BytesMut::new(),
            // The first request has to come at once.
            read_by: Box::pin(sleep_until(Instant::now() + HEAD_TIMEOUT)),
            begun: false,
            answering: false,
            given: 0,
            write_by: None,
        }
    }

    /// Says why nobody is let in, and ends.
    pub async fn turn_away(mut self, problem: &Problem) {
        self.refuse(problem);
        // Nobody is there to tell that it didn't arrive.
        let _ = self.first_head().await;
    }

    /// Whose connection it is.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Waits for the first head: until then there is nothing to make room for. `false`: none came.
    pub async fn first_head(&mut self) -> bool {
        poll_fn(|cx| self.poll_head(cx)).await.is_ok_and(|more| more)
    }

    /// Reads on until a head is whole; `false`: the connection ends.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if self.gives_way(cx) {
                self.stage = Stage::Ended;
            }
            match &mut self.stage {
                Stage::Pass(_) => return Poll::Ready(Ok(true)),
                Stage::Ended => return Poll::Ready(Ok(false)),
                Stage::Refuse(left) => {
                    while !left.is_empty() {
                        match self.io.poll_write(cx, left) {
                            Poll::Ready(Ok(sent)) if sent > 0 => left.advance(sent),
                            Poll::Pending if self.read_by.as_mut().poll(cx).is_pending() => return Poll::Pending,
                            _ => break,
                        }
                    }
                    self.begin(Stage::Linger, LINGER);
                }
                Stage::Linger => {
                    ready!(self.poll_linger(cx));
                    self.stage = Stage::Ended;
                }
                Stage::Head(seen) => {
                    let seen = *seen;
                    self.seat.link.watch(cx);
                    // The answer to the request before comes first; only then is the connection idle.
                    if self.seat.link.is_busy() {
                        self.answering = true;
                        return Poll::Pending;
                    }
                    if std::mem::take(&mut self.answering) {
                        self.read_by.as_mut().reset(Instant::now() + self.idle);
                    }
                    if !self.look(seen) {
                        continue;
                    }
                    let more = ready!(self.poll_more(cx))?;
                    if !more {
                        self.stage = Stage::Ended;
                    }
                }
            }
        }
    }

    fn gives_way(&self, cx: &Context<'_>) -> bool {
        self.seat.guest.as_ref().is_some_and(|guest| guest.poll_gives_way(cx).is_ready())
    }

    /// Looks at what came; whether more of the head is needed.
    fn look(&mut self, seen: usize) -> bool {
        let read = if self.came.is_empty() {
            Ok(None)
        } else {
            head::read(&self.came, seen)
        };
        let named = |name: &Option<String>| match (&self.names, name) {
            (Some(names), Some(name)) => names.is_named(name),
            (named, _) => named.is_none(),
        };
        match read {
            Ok(None) => {
                self.stage = Stage::Head(self.came.len());
                return true;
            }
            Ok(Some(head)) if named(&head.host) => {
                self.seat.link.begin();
                let length = u64::try_from(head.length).unwrap_or(u64::MAX).saturating_add(head.body);
                self.begin(Stage::Pass(length), BODY_TIMEOUT);
                self.write_by = None;
            }
            Ok(Some(_)) => self.refuse(&Problem::new(Code::Misdirected, Code::Misdirected.title())),
            Err(problem) => self.refuse(&problem),
        }
        false
    }

    /// Waits for more of a head; `false`: it is over.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        // Whatever part of a head has come: who sends one byte on each connection would keep all of them otherwise.
        if self.seat.link.is_closing() {
            return Poll::Ready(Ok(false));
        }
        let mut room = [0; 4096];
        let mut buf = ReadBuf::new(&mut room);
        match self.io.poll_read(cx, &mut buf) {
            Poll::Ready(Ok(())) if buf.filled().is_empty() => Poll::Ready(Ok(false)),
            Poll::Ready(Ok(())) => {
                if !std::mem::replace(&mut self.begun, true) {
                    self.read_by.as_mut().reset(Instant::now() + HEAD_TIMEOUT);
                }
                self.came.extend_from_slice(buf.filled());
                self.seat.guest.iter().for_each(Guest::heard);
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(self.read_by.as_mut().poll(cx));
                // Whoever was idle knows why.
                if !self.begun {
                    return Poll::Ready(Ok(false));
                }
                self.refuse(&Problem::new(Code::TooSlow, "the head did not arrive in time"));
                Poll::Ready(Ok(true))
            }
        }
    }

    fn refuse(&mut self, problem: &Problem) {
        tracing::debug!(code = %problem.code, detail = problem.detail, "a request was refused by its head");
        self.begin(Stage::Refuse(problem_text(problem).as_str().into()), LINGER);
    }

    fn begin(&mut self, stage: Stage, within: Duration) {
        self.stage = stage;
        self.begun = false;
        self.read_by.as_mut().reset(Instant::now() + within);
    }

    /// Says that nothing more will be sent, and throws away what still comes: a socket closed with bytes unread would take the answer back.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.read_by.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if let Poll::Ready(Err(_)) = self.io.poll_shutdown(cx) {
            return Poll::Ready(());
        }
        let mut room = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut room);
            let read = ready!(self.io.poll_read(cx, &mut buf));
            self.given += buf.filled().len();
            if read.is_err() || buf.filled().is_empty() || self.given > 4 * head::MAX_HEAD {
                return Poll::Ready(());
            }
        }
    }

    fn poll_pass(&mut self, cx: &mut Context<'_>, left: u64, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Answered already, the rest of its body keeps no connection.
        self.seat.link.watch(cx);
        if self.seat.link.is_closing() || self.gives_way(cx) {
            self.stage = Stage::Ended;
            return Poll::Ready(Ok(()));
        }
        if self.given >= AT_ONCE {
            self.given = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let most = buf.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = if self.came.is_empty() {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(most));
            let read = self.io.poll_read(cx, &mut part);
            let filled = part.filled().len();
            if read.is_pending() {
                self.given = 0;
                ready!(self.read_by.as_mut().poll(cx));
                return Poll::Ready(Err(ErrorKind::TimedOut.into()));
            }
            ready!(read)?;
            buf.advance(filled);
            filled
        } else {
            let length = most.min(self.came.len());
            buf.put_slice(&self.came.split_to(length));
            length
        };
        self.given += read;
        let left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
        if left == 0 {
            self.seat.guest.iter().for_each(|guest| guest.works(&self.seat.link));
            self.begin(Stage::Head(0), self.idle);
        } else if read > 0 {
            self.stage = Stage::Pass(left);
        }
        Poll::Ready(Ok(()))
    }

    /// What writing came to; an answer that the other side doesn't take in time ends the connection.
    fn written<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.seat.link.sending(result.is_pending());
        if result.is_pending() {
            let write_by = self
                .write_by
                .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + ANSWER_TIMEOUT)));
            ready!(write_by.as_mut().poll(cx));
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl Io {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buf),
            Io::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Io::Tls(tls) => Pin::new(&mut **tls).poll_write(cx, bytes),
            Io::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
            Io::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Io::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(cx),
            Io::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !matches!(this.stage, Stage::Pass(_)) && !ready!(this.poll_head(cx))? {
            return Poll::Ready(Ok(()));
        }
        match this.stage {
            Stage::Pass(left) => this.poll_pass(cx, left, buf),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = this.io.poll_write(cx, bytes);
        this.written(cx, result)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = this.io.poll_flush(cx);
        this.written(cx, result)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.gives_way(cx) {
            true => Poll::Ready(Ok(())),
            false => this.io.poll_shutdown(cx),
        }
    }
}
