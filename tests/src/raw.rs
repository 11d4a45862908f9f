//! A connection on which a test writes what it likes.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use partner_sdk::client::Identity;
use partner_sdk::client::tls::{anonymous_config, client_config};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A TLS connection of one partner, below HTTP.
pub struct Raw {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What came after the last answer.
    came: Vec<u8>,
}

/// A socket to the service's port, from one of this machine's loopback addresses (127.0.0.`from`), so that a test can be at several places.
pub fn socket(base: &str, from: u8) -> std::io::Result<TcpStream> {
    socket_at(base, Ipv4Addr::new(127, 0, 0, from))
}

/// The same from any of them.
pub fn socket_at(base: &str, from: Ipv4Addr) -> std::io::Result<TcpStream> {
    let port: u16 = base.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await?.into_std()
    })?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// The first answer that comes on any of these connections.
pub fn first_answer(of: &mut [Raw]) -> Option<String> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        for raw in &mut *of {
            raw.stream.sock.set_read_timeout(Some(Duration::from_millis(10))).ok()?;
            let came = raw.fill();
            raw.stream.sock.set_read_timeout(Some(PATIENCE)).ok()?;
            if came {
                return Some(raw.read());
            }
        }
    }
    None
}

impl Raw {
    /// Connects from 127.0.0.`from`; the handshake is over when it returns.
    pub fn connect(base: &str, identity: &Identity, from: u8) -> std::io::Result<Self> {
        Self::connect_by(client_config(identity).expect("settings"), base, from)
    }

    /// The same, without a certificate.
    pub fn anonymous(base: &str, ca_pem: &str, from: u8) -> std::io::Result<Self> {
        Self::connect_by(anonymous_config(ca_pem).expect("settings"), base, from)
    }

    /// The same by these settings.
    pub fn connect_by(config: ClientConfig, base: &str, from: u8) -> std::io::Result<Self> {
        let config = Arc::new(config);
        let tls = ClientConnection::new(config, "localhost".try_into().expect("a name")).expect("a client");
        let mut stream = StreamOwned::new(tls, socket(base, from)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream, came: vec![] })
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Writes as much as the service takes before it lets the writer wait this long.
    pub fn write_within(&mut self, bytes: &[u8], wait: Duration) -> std::io::Result<()> {
        self.stream.sock.set_write_timeout(Some(wait))?;
        let written = self.write(bytes);
        self.stream.sock.set_write_timeout(Some(PATIENCE))?;
        written
    }

    /// One answer, head and body; what there is of it where the connection ends before.
    pub fn read(&mut self) -> String {
        loop {
            if let Some(head) = self.came.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&self.came[..head]);
                let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                let all = head + 4 + length.unwrap_or(0);
                if self.came.len() >= all {
                    let answer: Vec<u8> = self.came.drain(..all).collect();
                    return String::from_utf8_lossy(&answer).into_owned();
                }
            }
            if !self.fill() {
                return String::from_utf8_lossy(&self.came).into_owned();
            }
        }
    }

    /// Whether more came before the connection ended or the patience did.
    fn fill(&mut self) -> bool {
        let mut room = [0; 4096];
        let read = self.stream.read(&mut room).unwrap_or(0);
        self.came.extend_from_slice(&room[..read]);
        read > 0
    }

    /// Whether the service has ended the connection; waits for it up to ten seconds.
    pub fn is_ended(&mut self) -> bool {
        match self.stream.read(&mut [0; 1]) {
            Ok(read) => read == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}
