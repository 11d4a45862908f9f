-- Disputes of lines of statements, on SQLite. postgres/0005_disputes is its twin.

-- A dispute by the document of this hash: debtor says that it doesn't owe creditor so many micros of a line of a window (of the message of that sender and id in it, where one is named). With the run
-- `run` of the window they were taken out of its payments; nothing where they are paid first. `upheld`: how many of them aren't owed, by the document `ended_by`: the change that decides, or the
-- dispute itself where the creditor conceded or the debtor withdrew it. What it makes owed was posted in
-- the window `adjusted_in`, nothing where nothing had to be. Until it ends what was taken out counts against the debtor's cap.
CREATE TABLE dispute (
    hash TEXT NOT NULL PRIMARY KEY REFERENCES document (hash),
    business_date TEXT NOT NULL,
    debtor TEXT NOT NULL,
    creditor TEXT NOT NULL,
    currency TEXT NOT NULL,
    kind TEXT NOT NULL,
    agreement TEXT NOT NULL,
    price TEXT NOT NULL,
    sender TEXT,
    id TEXT,
    micros BIGINT NOT NULL,
    run BIGINT,
    answer_by BIGINT NOT NULL,
    upheld BIGINT,
    ended_by TEXT,
    adjusted_in TEXT
);
CREATE INDEX dispute_of ON dispute (business_date, debtor);
