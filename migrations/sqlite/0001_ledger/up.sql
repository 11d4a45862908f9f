-- The ledger on SQLite. postgres/0001_ledger is its twin: same tables, columns, keys and indexes, in the same order (a test holds them equal).
-- Keys lead with what tells rows apart best (member, id): with few programmes and senders in front, PostgreSQL would read all rows of one.
-- Times are microseconds since 1970 in UTC, dates are ISO texts, points are in the smallest unit of their programme, money is in micros.

-- Reference data: what partners and the operator agreed on and published. Small; held in memory by the service, re-read when head.directory_version grows.
-- A document is in force from its own date, and never from before it was published; where published_at is 0, its own date holds. A rate or bonus that was taken back
-- before it began has the change's hash in taken_back_by. The revocation by a person is kept as it was signed.
CREATE TABLE partner (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    status TEXT NOT NULL
);
CREATE TABLE net_debit_cap (
    partner TEXT NOT NULL REFERENCES partner (id),
    currency TEXT NOT NULL,
    micros BIGINT NOT NULL,
    PRIMARY KEY (partner, currency)
);
CREATE TABLE signing_key (
    kid TEXT NOT NULL PRIMARY KEY,
    partner TEXT NOT NULL REFERENCES partner (id),
    public_key TEXT NOT NULL UNIQUE,
    valid_from BIGINT NOT NULL,
    valid_until BIGINT,
    registered_at BIGINT NOT NULL,
    revoked_at BIGINT,
    revoked_by TEXT,
    revoked_why TEXT,
    revocation TEXT
);
CREATE TABLE programme (
    code TEXT NOT NULL PRIMARY KEY,
    issuer TEXT NOT NULL REFERENCES partner (id),
    terms TEXT NOT NULL
);
CREATE TABLE agreement (
    no INTEGER NOT NULL PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    published_at BIGINT NOT NULL,
    ends_at BIGINT,
    terms TEXT NOT NULL
);
CREATE TABLE rate (
    no INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    hash TEXT NOT NULL,
    agreement INTEGER NOT NULL REFERENCES agreement (no),
    published_at BIGINT NOT NULL,
    terms TEXT NOT NULL,
    taken_back_by TEXT
);

-- One row (id 1). Whoever writes the ledger locks it first: it hands out sequence numbers, so they have no gaps and follow the commits. `last_at` is the
-- latest time of an entry: time never runs back against the numbers. The log's tree has the entries up to number tree_size; those after it are added with the
-- next. `founding` is the hash of the document that named the first people, empty before.
CREATE TABLE head (
    id INTEGER NOT NULL PRIMARY KEY,
    next_seq BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    next_event BIGINT NOT NULL,
    directory_version BIGINT NOT NULL,
    sandbox BOOLEAN NOT NULL,
    founding TEXT NOT NULL,
    tree_size BIGINT NOT NULL
);

-- When windows end: each calendar governs the business dates from its first on, a date has the last of those (by number) that begin by then. Number 1 founded the
-- network; the others were put in force by the document, from a window that hadn't opened.
CREATE TABLE calendar (
    no INTEGER NOT NULL PRIMARY KEY,
    first_date TEXT NOT NULL,
    document TEXT NOT NULL,
    terms TEXT NOT NULL
);

-- A settlement window; the first one in state 'open' takes what is posted.
CREATE TABLE settlement_window (
    business_date TEXT NOT NULL PRIMARY KEY,
    state TEXT NOT NULL,
    cut_off_at BIGINT NOT NULL,
    closed_at BIGINT,
    netted_at BIGINT,
    advised_at BIGINT,
    settled_at BIGINT,
    settled_by TEXT
);
CREATE INDEX window_unnetted ON settlement_window (business_date) WHERE state IN ('open', 'closed');
CREATE INDEX window_state ON settlement_window (state, business_date);

-- The log: its entry of a number is the message or the other entry with it. Every message that was answered with a sequence number, accepted or rejected, with the
-- exact bytes that were signed, and what the clearinghouse posts by itself. `salt` keeps an entry without a signature of its own from being guessed; the
-- first of a transaction `leads`, so that the check can do it again with the others. Never updated, but for `bytes`: they are empty once the window is archived.
CREATE TABLE signed_batch (
    sha256 TEXT NOT NULL PRIMARY KEY,
    sender TEXT NOT NULL,
    bytes TEXT NOT NULL
);
CREATE TABLE message (
    seq INTEGER NOT NULL PRIMARY KEY,
    sender TEXT NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    business_date TEXT NOT NULL,
    posted_at BIGINT NOT NULL,
    code TEXT,
    field TEXT,
    facts TEXT NOT NULL,
    programme TEXT,
    member TEXT,
    points BIGINT NOT NULL,
    spend BIGINT,
    to_programme TEXT,
    to_member TEXT,
    credited BIGINT NOT NULL,
    bonus BIGINT NOT NULL,
    agreement INTEGER,
    rate INTEGER,
    bonus_rate INTEGER,
    batch TEXT,
    sha256 TEXT NOT NULL,
    bytes TEXT NOT NULL,
    salt TEXT,
    leads BOOLEAN NOT NULL,
    UNIQUE (id, sender)
);

-- The log's other entries: what changes what the ledger does and is no message. `subject` is whom or what it is about: a document's hash, a partner, a date. `body` is the entry as it stands in
-- the log, to the byte. Never updated.
CREATE TABLE entry (
    seq INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL
);
-- The log's tree as C2SP tlog-tiles: 32 bytes for each hash, up to 256 in a tile. A tile only grows.
CREATE TABLE log_tile (
    level INTEGER NOT NULL,
    no BIGINT NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, no)
);

-- One side gives, the other takes: a row is a whole entry, so every posting sums to zero. `unit` is a programme or a currency. For points,
-- `debit` or `credit` is 'member' (the message says which) and the other is the issuer; for money both are parties and debit owes credit.
CREATE TABLE posting (
    business_date TEXT NOT NULL,
    seq BIGINT NOT NULL,
    leg INTEGER NOT NULL,
    kind TEXT NOT NULL,
    unit TEXT NOT NULL,
    debit TEXT NOT NULL,
    credit TEXT NOT NULL,
    amount BIGINT NOT NULL,
    points BIGINT NOT NULL,
    price BIGINT NOT NULL,
    agreement INTEGER,
    lot_seq BIGINT,
    lot_leg INTEGER,
    PRIMARY KEY (business_date, seq, leg)
) WITHOUT ROWID;

-- Points issued together. `prepaid` ones were drawn from a block. `charged` counts those that the funder has paid for or owes; `reversed`, where it pays at redemption, those of its earn
-- that were taken back: it is liable for issued - reversed. `expired` counts those that expired unspent, `expired_paid` those of them that had been paid for. The first cut-off at or
-- after `due_at` looks whether what no hold keeps of them expires: that is `expires_at`, and later once one has looked or points came back. `lent`: how many were given for other earns
-- that were taken back; below zero, how many others gave, or the member owes, for its own earn.
CREATE TABLE lot (
    seq BIGINT NOT NULL,
    leg INTEGER NOT NULL,
    programme TEXT NOT NULL,
    member TEXT NOT NULL,
    agreement INTEGER NOT NULL,
    funder TEXT NOT NULL,
    price BIGINT NOT NULL,
    currency TEXT NOT NULL,
    at_redemption BOOLEAN NOT NULL,
    prepaid BOOLEAN NOT NULL,
    issued BIGINT NOT NULL,
    remaining BIGINT NOT NULL,
    charged BIGINT NOT NULL,
    reversed BIGINT NOT NULL,
    expired BIGINT NOT NULL,
    expired_paid BIGINT NOT NULL,
    lent BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    PRIMARY KEY (seq, leg)
) WITHOUT ROWID;
CREATE INDEX lot_open ON lot (member, programme, expires_at, seq, leg) WHERE remaining > 0;
CREATE INDEX lot_due ON lot (due_at, seq, leg) WHERE remaining > 0 AND due_at < 9223372036854775807;
CREATE INDEX lot_funded ON lot (funder) WHERE remaining > 0 AND at_redemption;
CREATE INDEX lot_lent ON lot (member, programme, expires_at, seq, leg) WHERE lent > 0;
CREATE INDEX lot_borrowed ON lot (member, programme) WHERE lent < 0 AND remaining > 0;

-- points = the sum of remaining over the member's lots, open_lots = how many of them have any, lending_lots = how many lots have lent > 0; debt = points owed after a clawback; the balance is points - debt.
CREATE TABLE account (
    programme TEXT NOT NULL,
    member TEXT NOT NULL,
    points BIGINT NOT NULL,
    debt BIGINT NOT NULL,
    open_lots BIGINT NOT NULL,
    lending_lots BIGINT NOT NULL,
    PRIMARY KEY (member, programme)
) WITHOUT ROWID;
-- How many accounts of a programme have points or debt.
CREATE TABLE holders (
    programme TEXT NOT NULL PRIMARY KEY,
    members BIGINT NOT NULL
);
-- Points set aside, and which: `lots` names them as `seq.leg:points`, in the order in which they are spent. `lapsed` ones ended by themselves.
CREATE TABLE hold (
    seq INTEGER NOT NULL PRIMARY KEY,
    programme TEXT NOT NULL,
    member TEXT NOT NULL,
    points BIGINT NOT NULL,
    lots TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    is_open BOOLEAN NOT NULL,
    lapsed BOOLEAN NOT NULL
);
CREATE INDEX hold_open ON hold (member, programme) WHERE is_open;
CREATE INDEX hold_ends ON hold (expires_at) WHERE is_open AND expires_at < 9223372036854775807;

-- How much of a message has been reversed, in points and in micros of spend.
CREATE TABLE reversal (
    seq INTEGER NOT NULL PRIMARY KEY,
    points BIGINT NOT NULL,
    spend BIGINT NOT NULL
);

-- Points under an agreement with a limit per window: of a member, or (member '') of all together.
CREATE TABLE limit_use (
    agreement INTEGER NOT NULL,
    member TEXT NOT NULL,
    business_date TEXT NOT NULL,
    points BIGINT NOT NULL,
    PRIMARY KEY (agreement, member, business_date)
) WITHOUT ROWID;

-- What debtor owes creditor from one window, gross; and per partner the net over all windows not yet settled (positive: it owes).
CREATE TABLE position (
    business_date TEXT NOT NULL,
    debtor TEXT NOT NULL,
    creditor TEXT NOT NULL,
    currency TEXT NOT NULL,
    micros BIGINT NOT NULL,
    PRIMARY KEY (business_date, debtor, creditor, currency)
);
CREATE TABLE exposure (
    partner TEXT NOT NULL,
    currency TEXT NOT NULL,
    micros BIGINT NOT NULL,
    PRIMARY KEY (partner, currency)
);

-- What netting made of a pair in a window; party_a < party_b, positive net: a owes b. Written once, by the transaction that marks the window netted.
CREATE TABLE obligation (
    business_date TEXT NOT NULL,
    party_a TEXT NOT NULL,
    party_b TEXT NOT NULL,
    currency TEXT NOT NULL,
    a_owes BIGINT NOT NULL,
    b_owes BIGINT NOT NULL,
    carried_in BIGINT NOT NULL,
    net BIGINT NOT NULL,
    carried_out BIGINT NOT NULL,
    PRIMARY KEY (business_date, party_a, party_b, currency)
);

-- What the statements of a netted window are, to the byte, under the names of their files; and the SHA-256 of each. Written once, before the files.
CREATE TABLE statement_file (
    business_date TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    bytes TEXT NOT NULL,
    PRIMARY KEY (business_date, name)
);

-- Documents that several sign: agreements between partners, and changes by the operator's people. The payload is what was signed, to the byte.
CREATE TABLE document (
    hash TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    proposer TEXT NOT NULL,
    counterparty TEXT NOT NULL,
    payload TEXT NOT NULL,
    proposed_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE INDEX document_proposed ON document (proposer, kind, proposed_at);
CREATE INDEX document_received ON document (counterparty, kind, proposed_at);
CREATE TABLE document_signature (
    document TEXT NOT NULL REFERENCES document (hash),
    role TEXT NOT NULL,
    signer TEXT NOT NULL,
    kid TEXT NOT NULL,
    protected TEXT NOT NULL,
    signature TEXT NOT NULL,
    signed_at BIGINT NOT NULL,
    PRIMARY KEY (document, role)
);
-- What parties did to documents, with the exact bytes that were signed.
CREATE TABLE document_act (
    document TEXT NOT NULL REFERENCES document (hash),
    place BIGINT NOT NULL,
    action TEXT NOT NULL,
    signer TEXT NOT NULL,
    bytes TEXT NOT NULL,
    acted_at BIGINT NOT NULL,
    PRIMARY KEY (document, place)
);

-- The operator's people, who propose and approve; the name stands in the trail, so it is never given again. Each comes and goes by a document: a row without one
-- counts for nothing.
CREATE TABLE person (
    name TEXT NOT NULL PRIMARY KEY,
    kid TEXT NOT NULL UNIQUE,
    public_key TEXT NOT NULL UNIQUE,
    added_at BIGINT NOT NULL,
    added_by TEXT NOT NULL,
    left_at BIGINT,
    left_by TEXT
);

-- What happened, in order: a feed for each partner. An empty recipient means everybody, 'clearing' the operator. Written once, never updated.
CREATE TABLE event (
    no BIGINT NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL,
    recipient TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    facts TEXT NOT NULL
);
CREATE INDEX event_of ON event (recipient, no);

-- A firm offer: what an exchange that names this quote message does, once, until the offer ends by itself.
CREATE TABLE quote (
    seq INTEGER NOT NULL PRIMARY KEY,
    programme TEXT NOT NULL,
    to_programme TEXT NOT NULL,
    offered BIGINT NOT NULL,
    points BIGINT NOT NULL,
    credited BIGINT NOT NULL,
    bonus BIGINT NOT NULL,
    agreement INTEGER NOT NULL,
    rate INTEGER NOT NULL,
    bonus_rate INTEGER,
    expires_at BIGINT NOT NULL,
    is_open BOOLEAN NOT NULL
);
CREATE INDEX quote_open ON quote (expires_at) WHERE is_open;

-- The public keys of partners' TLS certificates, by the SHA-256 of their SubjectPublicKeyInfo. A key that was revoked stays, so that it never comes back.
CREATE TABLE tls_key (
    spki_sha256 TEXT NOT NULL PRIMARY KEY,
    partner TEXT NOT NULL REFERENCES partner (id),
    registered_at BIGINT NOT NULL,
    revoked_at BIGINT,
    revoked_by TEXT,
    revoked_why TEXT,
    revocation TEXT
);
-- Invitations to enrol, by the SHA-256 of their token: good once, and not for long.
CREATE TABLE invitation (
    token_sha256 TEXT NOT NULL PRIMARY KEY,
    partner TEXT NOT NULL REFERENCES partner (id),
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
-- The clearinghouse's own public keys, those that it signs with now and those before them: nobody else may have one of them. `origin` names the log whose key it is;
-- without one it signs answers and documents.
CREATE TABLE clearing_key (
    kid TEXT NOT NULL PRIMARY KEY,
    public_key TEXT NOT NULL UNIQUE,
    since BIGINT NOT NULL,
    origin TEXT
);

-- An exchange into a programme whose issuer keeps the balances: told to the issuer, and open until it has answered. `seq` is the exchange message, and its
-- hold where the points are here. While it is open, debtor will owe creditor so many micros once it is captured: reserved, so that caps count it.
CREATE TABLE pending_exchange (
    seq INTEGER NOT NULL PRIMARY KEY,
    sender TEXT NOT NULL,
    id TEXT NOT NULL,
    to_issuer TEXT NOT NULL,
    state TEXT NOT NULL,
    instructed_at BIGINT NOT NULL,
    deadline BIGINT NOT NULL,
    queries INTEGER NOT NULL,
    next_query_at BIGINT NOT NULL,
    debtor TEXT NOT NULL,
    creditor TEXT NOT NULL,
    currency TEXT NOT NULL,
    micros BIGINT NOT NULL,
    answered_at BIGINT,
    answer_seq BIGINT,
    answer TEXT,
    UNIQUE (id, sender)
);
CREATE INDEX pending_due ON pending_exchange (next_query_at) WHERE state = 'instructed';
CREATE INDEX pending_sent ON pending_exchange (sender, seq) WHERE state = 'instructed';
CREATE INDEX pending_told ON pending_exchange (to_issuer, seq) WHERE state = 'instructed';

-- What debtor will owe creditor once all exchanges that wait are captured: the sum of the open ones, so that posting needn't read them.
CREATE TABLE reserved (
    debtor TEXT NOT NULL,
    creditor TEXT NOT NULL,
    currency TEXT NOT NULL,
    micros BIGINT NOT NULL,
    PRIMARY KEY (debtor, creditor, currency)
);

-- Points that a partner bought in advance under an agreement, at its price: all of them less those taken back, and what earns haven't drawn.
CREATE TABLE prepaid (
    agreement INTEGER NOT NULL PRIMARY KEY REFERENCES agreement (no),
    partner TEXT NOT NULL,
    programme TEXT NOT NULL,
    bought BIGINT NOT NULL,
    remaining BIGINT NOT NULL
);
