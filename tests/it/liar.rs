//! A clearinghouse that signs whatever it likes, and what a client makes of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use clearing::office::pki::{issue_server, new_ca, new_request, sign_request};
use jiff::Timestamp;
use partner_sdk::client::{Client, ClientError, Identity, LogFault};
use partner_sdk::jws::{SigningKey, sha256_hex};
use partner_sdk::log::checkpoint::MAX_CHECKPOINT_BYTES;
use partner_sdk::log::note::NoteKey;
use partner_sdk::log::paths::{Missing, Tiles, Tree, root_of_whole};
use partner_sdk::log::tile::{Tile, WIDTH};
use partner_sdk::log::{Checkpoint, Hash, Proof};
use partner_sdk::wire::{Answer, Outcome};
use partner_sdk::{Code, Message, PartnerId, Problem, Receipt, Trust};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tests::earn;
use tokio::runtime::Runtime;

const ORIGIN: &str = "liar.example/log";
const CHECKPOINT: &str = "/v1/log/checkpoint";

fn key(kid: &str) -> SigningKey {
    SigningKey::from_bytes(kid.parse().expect("kid"), &[7; 32])
}

fn trust() -> Trust {
    let log = NoteKey::new(ORIGIN, key("log-1").verifying_key()).expect("a name");
    Trust::new(key("clearing-1").verifying_key(), &log.to_string()).expect("one log")
}

/// A head of that many entries, signed whatever its root.
fn signed(size: u64, root: Hash) -> String {
    let origin = ORIGIN.to_owned();
    Checkpoint { origin, size, root }.sign(&key("log-1")).expect("signed")
}

/// A log in memory.
#[derive(Clone)]
struct Log(Vec<Hash>);

impl Tiles for Log {
    type Error = Missing;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Missing> {
        let mut row = self.0.clone();
        for _ in 0..tile.level() {
            row = row.chunks(WIDTH.into()).filter_map(root_of_whole).collect();
        }
        let first = usize::try_from(tile.index()).expect("small") * usize::from(WIDTH);
        let hashes = row.get(first..first + usize::from(tile.width()));
        hashes.map(<[Hash]>::to_vec).ok_or(Missing(tile))
    }
}

impl Log {
    /// Some entries; two logs are the same up to where one has another.
    fn of(entries: u64, another: Option<u64>) -> Self {
        let entry = |n: u64| if Some(n) == another { vec![] } else { n.to_be_bytes().to_vec() };
        Self((0..entries).map(|n| Hash::leaf(&entry(n))).collect())
    }

    /// The head over its first entries.
    fn head(&self, size: u64) -> String {
        signed(size, Tree::new(self, size).expect("all is there").root())
    }

    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    /// Takes a message, and gives its receipt.
    fn post(&mut self, jws: &str) -> String {
        let receipt = Receipt {
            message_sha256: sha256_hex(jws.as_bytes()),
            sender: partner(),
            id: None,
            code: None,
            field: None,
            sequence: i64::try_from(self.size() + 1).ok(),
            window: Some("2017-01-31".parse().expect("a date")),
            posted_at: "2017-01-31T10:00:00Z".parse().expect("a time"),
            facts: vec![],
            salt: None,
        };
        let entry = receipt.entry();
        self.0.push(Hash::leaf(entry.as_bytes()));
        let (index, size) = (self.size() - 1, self.size());
        let path = Tree::new(&*self, size).and_then(|mut tree| tree.inclusion(index)).expect("a path");
        let checkpoint = self.head(size);
        format!("{entry}\n{}", Proof { index, path, checkpoint })
    }
}

/// What the clearinghouse has, and what it says instead.
struct House {
    log: Log,
    /// By path; nothing: it has no time.
    lies: BTreeMap<String, Option<Vec<u8>>>,
    asked: Vec<String>,
}

impl House {
    fn answer(&mut self, path: &str, body: &str) -> Option<Vec<u8>> {
        self.asked.push(path.to_owned());
        if let Some(lie) = self.lies.get(path) {
            return lie.clone();
        }
        if path == CHECKPOINT {
            return Some(self.log.head(self.log.size()).into_bytes());
        }
        if path == "/v1/messages" {
            let answer = Answer {
                outcome: Some(Outcome::Accepted),
                receipt: Some(self.log.post(body)),
                problem: None,
            };
            return serde_json::to_vec(&answer).ok();
        }
        let tile: Tile = path.strip_prefix("/v1/log/").expect("an address").parse().expect("a tile");
        let hashes = self.log.tile(tile).ok()?;
        Some(hashes.iter().flat_map(|hash| *hash.as_bytes()).collect())
    }
}

/// The running clearinghouse, and who speaks to it.
struct Liar {
    house: Arc<Mutex<House>>,
    base: String,
    identity: Identity,
    runtime: Runtime,
}

fn partner() -> PartnerId {
    PartnerId::new("wellcome").expect("a partner")
}

impl Liar {
    fn new(log: Log) -> Self {
        let now = Timestamp::now();
        let ca = new_ca("CA", now).expect("a CA");
        let server = issue_server(&ca, &["localhost".to_owned()], now).expect("a certificate");
        let (csr, key_pem) = new_request(&partner()).expect("a request");
        let identity = Identity {
            ca_pem: ca.cert_pem.clone(),
            cert_pem: sign_request(&ca, &csr, &partner(), now).expect("a certificate"),
            key_pem,
        };
        let chain = CertificateDer::from_pem_slice(server.cert_pem.as_bytes()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(server.key_pem.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .expect("a configuration");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
        let house = Arc::new(Mutex::new(House {
            log,
            lies: BTreeMap::new(),
            asked: vec![],
        }));
        let (config, served) = (Arc::new(config), house.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (config, house) = (config.clone(), served.clone());
                std::thread::spawn(move || serve(config, socket, &house));
            }
        });
        let runtime = Runtime::new().expect("a runtime");
        Self {
            house,
            base,
            identity,
            runtime,
        }
    }

    fn house(&self) -> MutexGuard<'_, House> {
        self.house.lock().expect("nobody panicked")
    }

    fn client(&self) -> Client {
        Client::new(&self.base, &self.identity, trust()).expect("a client")
    }

    /// A client that has seen this.
    fn saw(&self, seen: &str) -> Client {
        self.client().with_seen(seen).expect("heads of one log")
    }

    fn post(&self, client: &Client) -> Result<Answer, ClientError> {
        let message = Message::now(partner(), earn("YUU", "m", "1"));
        self.runtime.block_on(client.post(&message.sign(&key("wellcome-1"))))
    }

    fn look(&self, client: &Client) -> Result<u64, ClientError> {
        self.runtime.block_on(client.check_log()).map(|head| head.size)
    }

    fn lies(&self, path: &str, with: Option<Vec<u8>>) {
        self.house().lies.insert(path.to_owned(), with);
    }

    fn posts(&self) -> usize {
        self.house().asked.iter().filter(|path| *path == "/v1/messages").count()
    }
}

/// Answers the requests of one connection.
fn serve(config: Arc<ServerConfig>, socket: TcpStream, house: &Mutex<House>) -> Option<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config).ok()?, socket);
    let mut came = vec![];
    loop {
        let text = String::from_utf8_lossy(&came).into_owned();
        let whole = text.split_once("\r\n\r\n").filter(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            body.len() >= length.unwrap_or(0)
        });
        let Some((head, body)) = whole else {
            let mut room = [0; 4096];
            let read = stream.read(&mut room).ok().filter(|read| *read > 0)?;
            came.extend_from_slice(&room[..read]);
            continue;
        };
        let answer = house.lock().ok()?.answer(head.split(' ').nth(1)?, body);
        let busy = || serde_json::to_vec(&Problem::new(Code::Overloaded, "")).unwrap_or_default();
        let (head, body) = match answer {
            Some(body) => ("200 OK\r\ncontent-type: application/json", body),
            None => ("503 Busy\r\ncontent-type: application/problem+json", busy()),
        };
        write!(stream, "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len()).ok()?;
        stream.write_all(&body).ok()?;
        stream.flush().ok()?;
        came.clear();
    }
}

fn fault<T>(found: Result<T, ClientError>) -> (LogFault, Vec<Answer>) {
    match found {
        Err(ClientError::Log { fault, answers }) => (fault, answers),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("no fault"),
    }
}

#[test]
fn a_fault_that_a_post_brings_to_light_comes_with_the_receipt() {
    let earlier = Log::of(300, Some(299)).head(300);
    let liar = Liar::new(Log::of(600, None));
    // What was kept is held to the head of the first receipt already.
    let client = liar.saw(&earlier);
    let (found, answers) = fault(liar.post(&client));
    let LogFault::Forked { earlier: kept, later } = &found else {
        panic!("{found:?}")
    };
    assert_eq!((kept, later), (&earlier, &liar.house().log.head(601)));
    let [answer] = &answers[..] else { panic!("{answers:?}") };
    let receipt = trust().receipt(answer.receipt.as_deref().expect("a receipt")).expect("a good one");
    assert_eq!((answer.outcome, receipt.sequence), (Some(Outcome::Accepted), Some(601)));
    // Nothing more is sent.
    assert_eq!(fault(liar.post(&client)), (found, vec![]));
    assert_eq!(liar.posts(), 1);
}

#[test]
fn only_what_the_tiles_prove_is_a_fork() {
    let log = Log::of(600, None);
    let earlier = log.head(300);
    let liar = Liar::new(log.clone());
    assert_eq!(liar.look(&liar.saw(&earlier)).ok(), Some(600));
    // A tile of which the root isn't made, but the path from 300 entries.
    let mut rotten = log.tile("tile/0/001".parse().expect("a tile")).expect("it is there");
    rotten[44] = Hash::EMPTY;
    let bytes: Vec<u8> = rotten.iter().flat_map(|hash| *hash.as_bytes()).collect();
    liar.lies("/v1/log/tile/0/001", Some(bytes));
    let head = log.head(600);
    assert_eq!(fault(liar.look(&liar.saw(&earlier))).0, LogFault::Tiles { head: head.clone() });
    // Others than are signed for, and true to what they say.
    let other = Log::of(300, Some(20)).head(300);
    liar.house().lies.clear();
    let forked = LogFault::Forked {
        earlier: other.clone(),
        later: head,
    };
    assert_eq!(fault(liar.look(&liar.saw(&other))).0, forked);
}

#[test]
fn what_is_not_proved_yet_is_kept() {
    let liar = Liar::new(Log::of(600, None));
    let client = liar.saw(&liar.house().log.head(600));
    // No proof is given. That is no fault yet, and every receipt comes.
    let tile = "/v1/log/tile/0/002.p/89";
    liar.lies(tile, None);
    for _ in 0..3 {
        liar.post(&client).expect("accepted");
    }
    assert!(liar.house().asked.iter().any(|path| path == tile));
    let heads: Vec<String> = (600..=603).map(|size| liar.house().log.head(size)).collect();
    let seen = client.seen().expect("heads");
    assert_eq!(seen, heads.join("\n"));
    // A head from elsewhere waits as well.
    let mut elsewhere = Log::of(650, Some(620));
    let receipt = elsewhere.post("another's");
    client.verify_receipt(&receipt).expect("a good receipt");
    assert_eq!(client.seen(), Some(format!("{seen}\n{}", elsewhere.head(651))));
    let kept = client.seen().expect("heads");
    liar.house().lies.clear();
    // What was kept is held to the newest head, all of it.
    let again = liar.saw(&seen);
    assert_eq!(liar.look(&again).ok(), Some(603));
    assert_eq!(again.seen(), Some(liar.house().log.head(603)));
    for _ in 603..651 {
        liar.house().log.0.push(Hash::EMPTY);
    }
    let forked = LogFault::Forked {
        earlier: elsewhere.head(651),
        later: liar.house().log.head(651),
    };
    assert_eq!(fault(liar.look(&liar.saw(&kept))).0, forked);
    for bad in [
        "",
        "\n",
        &seen[1..],
        seen.trim_end(),
        &format!("{seen}\n"),
        &seen.replace("\n602\n", "\n604\n"),
    ] {
        assert!(matches!(liar.client().with_seen(bad), Err(ClientError::Checkpoint(_))), "{bad:?}");
    }
}

#[test]
fn answers_about_the_log_are_short() {
    let liar = Liar::new(Log::of(600, None));
    let client = liar.saw(&liar.house().log.head(300));
    for (path, most) in [(CHECKPOINT, MAX_CHECKPOINT_BYTES), ("/v1/log/tile/0/001", 32 * usize::from(WIDTH))] {
        liar.lies(path, Some(vec![b'x'; most + 1]));
        let found = liar.look(&client).expect_err("too long");
        assert!(
            matches!(&found, ClientError::Unexpected { status: 200, why } if why.contains(&most.to_string())),
            "{found:?}"
        );
        liar.house().lies.clear();
    }
    assert_eq!(liar.look(&client).ok(), Some(600));
}

#[test]
fn nothing_is_posted_while_too_many_heads_wait() {
    let log = Log::of(600, None);
    let receipt = log.clone().post("another's");
    let liar = Liar::new(log);
    let heads: Vec<String> = (1..=65_537).map(|size| signed(size, Hash::EMPTY)).collect();
    liar.lies(CHECKPOINT, None);
    let full = liar.saw(&heads.join("\n"));
    assert!(matches!(liar.post(&full), Err(ClientError::Refused(problem)) if problem.code == Code::Overloaded));
    assert!(matches!(full.verify_receipt(&receipt), Err(ClientError::Unchecked)));
    assert_eq!(liar.posts(), 0);
    // Where there is room, the answer comes without a proof.
    let client = liar.saw(&heads[1000..].join("\n"));
    liar.post(&client).expect("accepted");
    assert_eq!(liar.posts(), 1);
}

#[test]
fn a_look_goes_on_where_nobody_waits_for_it() {
    let liar = Liar::new(Log::of(600, None));
    let client = liar.saw(&liar.house().log.head(300));
    let (head, waits) = (liar.house().log.head(600), std::time::Duration::from_millis(50));
    // The clearinghouse stands still until the caller has gone.
    let house = liar.house();
    let gone = liar
        .runtime
        .block_on(async { tokio::time::timeout(waits, client.check_log()).await });
    assert!(gone.is_err(), "{gone:?}");
    drop(house);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while client.seen().as_ref() != Some(&head) {
        assert!(std::time::Instant::now() < until, "it was given up");
        std::thread::yield_now();
    }
}
