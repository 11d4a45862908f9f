-- What partners keep for holding their own records against the ledger, on SQLite. postgres/0003_reconciliation is its twin.
-- No part of the log: nothing that the ledger does follows from these rows, and they follow from no entry.

-- Which column of a partner's record is what, under a name of its own, as JSON. Written again as often as it likes.
CREATE TABLE reconciliation_mapping (
    partner TEXT NOT NULL,
    name TEXT NOT NULL,
    mapping TEXT NOT NULL,
    saved_at BIGINT NOT NULL,
    PRIMARY KEY (partner, name)
);

-- A finding of a window that a partner is done with, and why; by the certificate with this public key.
CREATE TABLE reconciliation_resolved (
    partner TEXT NOT NULL,
    business_date TEXT NOT NULL,
    finding TEXT NOT NULL,
    note TEXT NOT NULL,
    resolved_at BIGINT NOT NULL,
    resolved_by TEXT NOT NULL,
    PRIMARY KEY (partner, business_date, finding)
);
