-- Windows that are paid together, on PostgreSQL. sqlite/0006_joined is its twin.

-- The payments of a window that were open when the document joined it to others are made with those of the run of the last of them, the lead: what the window's parties pay, who has paid it
-- and when it is settled says the lead from then on. No run of the windows that are paid together has that number before.
CREATE TABLE joined (
    business_date TEXT NOT NULL PRIMARY KEY,
    lead TEXT NOT NULL,
    run BIGINT NOT NULL,
    document TEXT NOT NULL
);
CREATE INDEX joined_to ON joined (lead);
