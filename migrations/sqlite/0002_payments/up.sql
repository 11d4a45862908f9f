-- Payments that are known one by one, on SQLite. postgres/0002_payments is its twin.

-- When what a window has netted is paid; nothing for one that was netted before payments were rows, which is settled as a whole.
ALTER TABLE settlement_window ADD COLUMN value_date TEXT;

-- What a partner pays through the clearing account for a window in a currency, or (above zero) receives. Written by the transaction that marks the window netted; confirmed once,
-- by the document that says so, with the day on which the bank booked it where the document names the payment.
CREATE TABLE payment (
    reference TEXT NOT NULL PRIMARY KEY,
    business_date TEXT NOT NULL,
    partner TEXT NOT NULL,
    currency TEXT NOT NULL,
    micros BIGINT NOT NULL,
    value_date TEXT NOT NULL,
    paid_on TEXT,
    confirmed_at BIGINT,
    confirmed_by TEXT
);
CREATE INDEX payment_of ON payment (partner, business_date);
CREATE INDEX payment_in ON payment (business_date, reference);
CREATE INDEX payment_open ON payment (business_date, reference) WHERE confirmed_at IS NULL;

-- What a partner is to pay (below zero) or to receive in a currency, over all windows up to this one: opening + confirmed + net = closing, and the next window opens with it. Written
-- once, with the payments; only for windows that have a value date.
CREATE TABLE running_position (
    business_date TEXT NOT NULL,
    partner TEXT NOT NULL,
    currency TEXT NOT NULL,
    opening BIGINT NOT NULL,
    confirmed BIGINT NOT NULL,
    net BIGINT NOT NULL,
    closing BIGINT NOT NULL,
    PRIMARY KEY (business_date, partner, currency)
);

-- Where a partner is paid in a currency, or (of 'clearing') where partners pay; put there by the document.
CREATE TABLE bank_account (
    partner TEXT NOT NULL,
    currency TEXT NOT NULL,
    holder TEXT NOT NULL,
    account TEXT NOT NULL,
    bank TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (partner, currency)
);
