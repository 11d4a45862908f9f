-- What is taken out of a window after its statements, on PostgreSQL. sqlite/0004_revisions is its twin.

-- In which run of a window a payment was made: the first is the night's, later ones are documents'. And the document whose run made another in its place: it isn't paid any more.
ALTER TABLE payment ADD COLUMN run BIGINT NOT NULL DEFAULT 1;
ALTER TABLE payment ADD COLUMN replaced_by TEXT;
DROP INDEX payment_open;
CREATE INDEX payment_open ON payment (business_date, reference) WHERE confirmed_at IS NULL AND replaced_by IS NULL;

-- What a run takes out of a pair's net in a window, by a document: a whole number of minor units that debtor owes creditor, which no payment of the window moves. The running positions of
-- the window `counted_in` have it; nothing while none has.
CREATE TABLE taken_out (
    business_date TEXT NOT NULL,
    run BIGINT NOT NULL,
    debtor TEXT NOT NULL,
    creditor TEXT NOT NULL,
    currency TEXT NOT NULL,
    micros BIGINT NOT NULL,
    document TEXT NOT NULL,
    counted_in TEXT,
    PRIMARY KEY (business_date, run, debtor, creditor, currency)
);

-- What documents have changed since the window before: opening + confirmed + revised + net = closing.
ALTER TABLE running_position ADD COLUMN revised BIGINT NOT NULL DEFAULT 0;
