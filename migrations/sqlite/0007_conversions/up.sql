-- A window whose currencies are paid in another one, on SQLite. postgres/0007_conversions is its twin.

-- Into which currency a currency of a window is converted when it is netted, at which rate (micros of the payment currency for one unit), by which document. What has no row is paid in its own currency.
CREATE TABLE fx_rate (
    business_date TEXT NOT NULL,
    currency TEXT NOT NULL,
    payment_currency TEXT NOT NULL,
    rate BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (business_date, currency)
);

-- What a pair's net in a currency is in the payment currency, positive where a owes b: net x rate = amount + difference, where amount is a whole number of minor units and is paid, and difference is
-- carried into the pair's next window in the payment currency. Written by the transaction that marks the window netted, for every obligation in a currency with a rate.
CREATE TABLE conversion (
    business_date TEXT NOT NULL,
    party_a TEXT NOT NULL,
    party_b TEXT NOT NULL,
    currency TEXT NOT NULL,
    net BIGINT NOT NULL,
    rate BIGINT NOT NULL,
    payment_currency TEXT NOT NULL,
    amount BIGINT NOT NULL,
    difference BIGINT NOT NULL,
    PRIMARY KEY (business_date, party_a, party_b, currency)
);
