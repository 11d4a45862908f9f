//! The books must balance: what the balances say is what the postings sum to. Run after every test, and by `clearing check`.

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::SqliteAggregateFunction;
use migrations::schema::{head, hold, lot};
use migrations::{Conn, DbError, each_backend};

use super::rows::held_lots;

/// How many rows break a rule, and one of them.
#[derive(QueryableByName)]
struct Broken {
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = Nullable<Text>)]
    first: Option<String>,
}

#[diesel::declare_sql_function]
extern "SQL" {
    /// A sum as text, however large: SQLite's own fails beyond 64 bits.
    #[aggregate]
    fn wide_sum(number: BigInt) -> Text;
}

#[derive(Default)]
struct WideSum(i128);

impl SqliteAggregateFunction<i64> for WideSum {
    type Output = String;

    fn step(&mut self, number: i64) {
        self.0 += i128::from(number);
    }

    fn finalize(aggregator: Option<Self>) -> String {
        aggregator.unwrap_or_default().0.to_string()
    }
}

/// The netted windows, each with the window before it.
const WINDOWS: &str = "(SELECT business_date, earlier FROM (SELECT business_date, state, LAG(business_date) OVER (ORDER BY business_date) AS earlier FROM settlement_window) x \
                       WHERE state IN ('netted', 'advised', 'settled'))";

/// In which currency what a position `p` owes is paid.
const PAID_IN: &str =
    "COALESCE((SELECT f.payment_currency FROM fx_rate f WHERE f.business_date = p.business_date AND f.currency = p.currency), p.currency)";

/// The obligations that are paid as they are.
const UNCONVERTED: &str = "(SELECT * FROM obligation p WHERE PAID_IN = p.currency)";

/// What pairs carry on from a window, by the currency in which they do.
const CARRIED: &str = "(SELECT business_date, party_a, party_b, currency, carried_out AS micros FROM obligation \
                       UNION ALL SELECT business_date, party_a, party_b, payment_currency, difference FROM conversion)";

/// The windows, each with the one that has its payments.
const LEADS: &str = "(SELECT w.business_date AS business_date, COALESCE(j.lead, w.business_date) AS lead FROM settlement_window w LEFT JOIN joined j ON j.business_date = w.business_date)";

/// The confirmed payments by the windows that they pay: also those that are another's since a window was joined to it.
const CONFIRMED: &str = "(SELECT business_date, partner, currency, run FROM payment WHERE confirmed_at IS NOT NULL UNION ALL \
                    SELECT j.business_date, p.partner, p.currency, p.run FROM joined j JOIN payment p ON p.business_date = j.lead AND p.run >= j.run WHERE p.confirmed_at IS NOT NULL)";

/// A query for how many rows break a rule and which of them comes first, in the words of a database: `WIDE[x]` is a sum as text, however large, so that no amount of rows keeps the books
/// from being checked. It has no `LIMIT`: PostgreSQL would take it that a broken row comes soon, and compare each row with each other where none does.
fn broken(conn: &Conn, rule: &str) -> String {
    let (begin, end) = match conn {
        Conn::Sqlite(_) => ("wide_sum(", ")"),
        Conn::Postgres(_) => ("CAST(SUM(", ") AS TEXT)"),
    };
    let named = [
        ("WINDOWS", WINDOWS),
        ("UNCONVERTED", UNCONVERTED),
        ("CARRIED", CARRIED),
        ("PAID_IN", PAID_IN),
        ("LEADS", LEADS),
        ("CONFIRMED", CONFIRMED),
    ];
    let rule = named.iter().fold(rule.to_owned(), |rule, (name, text)| rule.replace(name, text));
    let rule = rule.replace("WIDE[", begin).replace(']', end);
    // Where rows were tampered with, any of it may be missing.
    let [subject, books, postings] = ["subject", "books", "postings"].map(|column| format!("COALESCE(CAST({column} AS TEXT), 'nothing')"));
    format!("SELECT COUNT(*) AS count, MIN({subject} || ': ' || {books} || ' against ' || {postings}) AS first FROM ({rule}) broken")
}

/// Each rule: what it is, and a query for the rows that break it.
const RULES: &[(&str, &str)] = &[
    (
        "an account's points are what remains in its lots",
        "SELECT a.programme AS subject, a.points AS books, CAST(COALESCE(l.sum, 0) AS BIGINT) AS postings FROM account a \
         LEFT JOIN (SELECT programme, member, SUM(remaining) AS sum FROM lot GROUP BY programme, member) l \
         ON l.programme = a.programme AND l.member = a.member WHERE a.points <> COALESCE(l.sum, 0)",
    ),
    (
        "an account counts its lots with points left",
        "SELECT a.programme AS subject, a.open_lots AS books, CAST(COALESCE(l.n, 0) AS BIGINT) AS postings FROM account a \
         LEFT JOIN (SELECT programme, member, COUNT(*) AS n FROM lot WHERE remaining > 0 GROUP BY programme, member) l \
         ON l.programme = a.programme AND l.member = a.member WHERE a.open_lots <> COALESCE(l.n, 0)",
    ),
    (
        "an account counts its lots that gave points for other earns",
        "SELECT a.programme AS subject, a.lending_lots AS books, CAST(COALESCE(l.n, 0) AS BIGINT) AS postings FROM account a \
         LEFT JOIN (SELECT programme, member, COUNT(*) AS n FROM lot WHERE lent > 0 GROUP BY programme, member) l \
         ON l.programme = a.programme AND l.member = a.member WHERE a.lending_lots <> COALESCE(l.n, 0)",
    ),
    (
        "what was given for earns that were taken back is owed, or was given up",
        "SELECT g.code AS subject, COALESCE(l.sum, '0') AS books, COALESCE(d.sum, '0') AS postings FROM programme g \
         LEFT JOIN (SELECT programme, WIDE[lent] AS sum FROM lot GROUP BY programme) l ON l.programme = g.code \
         LEFT JOIN (SELECT programme, WIDE[-points] AS sum FROM (SELECT programme, debt AS points FROM account \
         UNION ALL SELECT programme, points FROM message WHERE kind = 'write_off' AND code IS NULL) x GROUP BY programme) d ON d.programme = g.code \
         WHERE COALESCE(l.sum, '0') <> COALESCE(d.sum, '0')",
    ),
    (
        "what expired of a lot is what its postings say",
        "SELECT l.programme AS subject, l.expired AS books, CAST(COALESCE(p.sum, 0) AS BIGINT) AS postings FROM lot l LEFT JOIN \
         (SELECT lot_seq, lot_leg, SUM(CASE kind WHEN 'expiry' THEN amount ELSE -amount END) AS sum FROM posting WHERE kind IN ('expiry', 'expiry_reversal') \
         GROUP BY lot_seq, lot_leg) p ON p.lot_seq = l.seq AND p.lot_leg = l.leg WHERE l.expired <> COALESCE(p.sum, 0)",
    ),
    (
        "time doesn't run back against the numbers",
        "SELECT kind AS subject, posted_at AS books, earlier AS postings FROM \
         (SELECT kind, posted_at, LAG(posted_at) OVER (ORDER BY seq) AS earlier FROM message) m WHERE posted_at < earlier \
         UNION ALL SELECT m.kind, m.posted_at, h.last_at FROM message m, head h WHERE m.posted_at > h.last_at",
    ),
    (
        "a lot belongs to an account",
        "SELECT l.programme AS subject, l.remaining AS books, CAST(0 AS BIGINT) AS postings FROM lot l WHERE NOT EXISTS \
         (SELECT 1 FROM account a WHERE a.programme = l.programme AND a.member = l.member)",
    ),
    (
        "nothing is below zero, and no lot holds more than it issued",
        "SELECT programme AS subject, remaining AS books, issued AS postings FROM lot WHERE remaining < 0 OR remaining > issued OR charged < 0 OR reversed < 0 OR charged + reversed > issued \
         OR expired < 0 OR expired_paid < 0 OR expired_paid > expired OR remaining + expired > issued OR remaining + expired + lent > issued OR lent < -issued \
         UNION ALL SELECT programme, points, debt FROM account WHERE points < 0 OR debt < 0 \
         UNION ALL SELECT partner, remaining, bought FROM prepaid WHERE remaining < 0 OR remaining > bought",
    ),
    (
        "a lot's points are those issued and given back, less those taken and those that repaid a debt",
        "SELECT l.programme AS subject, l.remaining AS books, CAST(p.sum AS BIGINT) AS postings FROM lot l JOIN \
         (SELECT lot_seq, lot_leg, SUM(CASE WHEN credit = 'member' THEN amount ELSE -amount END) AS sum FROM posting WHERE lot_seq IS NOT NULL GROUP BY lot_seq, lot_leg) p \
         ON p.lot_seq = l.seq AND p.lot_leg = l.leg WHERE l.remaining > p.sum",
    ),
    (
        "a programme's balances are what its postings sum to",
        "SELECT a.programme AS subject, a.sum AS books, COALESCE(p.sum, '0') AS postings FROM \
         (SELECT programme, WIDE[points - debt] AS sum FROM account GROUP BY programme) a LEFT JOIN \
         (SELECT unit, WIDE[CASE WHEN credit = 'member' THEN amount ELSE -amount END] AS sum FROM posting WHERE credit = 'member' OR debit = 'member' GROUP BY unit) p \
         ON p.unit = a.programme WHERE a.sum <> COALESCE(p.sum, '0')",
    ),
    (
        "an account's balance is what the points of its messages sum to",
        "SELECT a.programme AS subject, a.points - a.debt AS books, CAST(p.sum AS BIGINT) AS postings FROM account a JOIN \
         (SELECT l.programme AS programme, l.member AS member, SUM(CASE WHEN p.credit = 'member' THEN p.amount ELSE -p.amount END) AS sum \
         FROM posting p JOIN lot l ON l.seq = p.lot_seq AND l.leg = p.lot_leg GROUP BY l.programme, l.member) p \
         ON p.programme = a.programme AND p.member = a.member WHERE a.debt = 0 AND a.points > p.sum",
    ),
    (
        "a position is what the money postings of its window sum to",
        "SELECT p.debtor AS subject, p.micros AS books, COALESCE(s.sum, '0') AS postings FROM position p LEFT JOIN \
         (SELECT business_date, debit, credit, unit, WIDE[amount] AS sum FROM posting WHERE credit <> 'member' AND debit <> 'member' GROUP BY business_date, debit, credit, unit) s \
         ON s.business_date = p.business_date AND s.debit = p.debtor AND s.credit = p.creditor AND s.unit = p.currency WHERE CAST(p.micros AS TEXT) <> COALESCE(s.sum, '0')",
    ),
    (
        "a money posting has a position",
        "SELECT s.debit AS subject, CAST(0 AS BIGINT) AS books, s.amount AS postings FROM posting s WHERE s.credit <> 'member' AND s.debit <> 'member' AND NOT EXISTS \
         (SELECT 1 FROM position p WHERE s.business_date = p.business_date AND s.debit = p.debtor AND s.credit = p.creditor AND s.unit = p.currency)",
    ),
    (
        "a money posting is points times price",
        "SELECT debit AS subject, amount AS books, points * price AS postings FROM posting WHERE credit <> 'member' AND debit <> 'member' AND kind NOT IN ('fee', 'adjustment') AND amount <> points * price",
    ),
    (
        "an exposure is the net of the positions of the windows not yet settled, but for payments that are confirmed and what was taken out, with what is disputed",
        "SELECT k.partner AS subject, COALESCE(e.micros, 0) AS books, COALESCE(s.sum, '0') AS postings FROM \
         (SELECT partner, currency FROM exposure UNION SELECT debtor, currency FROM position UNION SELECT creditor, currency FROM position UNION SELECT debtor, currency FROM taken_out UNION SELECT creditor, currency FROM taken_out) k \
         LEFT JOIN exposure e ON e.partner = k.partner AND e.currency = k.currency LEFT JOIN \
         (SELECT partner, currency, WIDE[micros] AS sum FROM ( \
         SELECT p.debtor AS partner, p.currency AS currency, p.micros AS micros FROM position p JOIN settlement_window w ON w.business_date = p.business_date AND w.state <> 'settled' \
         WHERE NOT EXISTS (SELECT 1 FROM CONFIRMED y WHERE y.business_date = p.business_date AND y.partner = p.debtor AND y.currency = PAID_IN) \
         UNION ALL SELECT p.creditor, p.currency, -p.micros FROM position p JOIN settlement_window w ON w.business_date = p.business_date AND w.state <> 'settled' \
         WHERE NOT EXISTS (SELECT 1 FROM CONFIRMED y WHERE y.business_date = p.business_date AND y.partner = p.creditor AND y.currency = PAID_IN) \
         UNION ALL SELECT t.debtor, t.currency, -t.micros FROM taken_out t JOIN settlement_window w ON w.business_date = t.business_date AND w.state <> 'settled' WHERE NOT EXISTS \
         (SELECT 1 FROM CONFIRMED y WHERE y.business_date = t.business_date AND y.partner = t.debtor AND y.currency = t.currency AND y.run >= t.run) \
         UNION ALL SELECT t.creditor, t.currency, t.micros FROM taken_out t JOIN settlement_window w ON w.business_date = t.business_date AND w.state <> 'settled' WHERE NOT EXISTS \
         (SELECT 1 FROM CONFIRMED y WHERE y.business_date = t.business_date AND y.partner = t.creditor AND y.currency = t.currency AND y.run >= t.run) \
         UNION ALL SELECT t.debtor, t.currency, t.micros FROM taken_out t JOIN dispute d ON d.hash = t.document WHERE d.upheld IS NULL) x \
         GROUP BY partner, currency) s ON s.partner = k.partner AND s.currency = k.currency WHERE k.partner <> 'clearing' \
         AND CAST(COALESCE(e.micros, 0) AS TEXT) <> COALESCE(s.sum, '0')",
    ),
    (
        "an obligation owes what the positions of its window do, and a netted position is in an obligation",
        "SELECT o.party_a AS subject, o.a_owes AS books, COALESCE(p.micros, 0) AS postings FROM obligation o LEFT JOIN position p ON p.business_date = o.business_date \
         AND p.currency = o.currency AND p.debtor = o.party_a AND p.creditor = o.party_b WHERE o.a_owes <> COALESCE(p.micros, 0) \
         UNION ALL SELECT o.party_b, o.b_owes, COALESCE(p.micros, 0) FROM obligation o LEFT JOIN position p ON p.business_date = o.business_date \
         AND p.currency = o.currency AND p.debtor = o.party_b AND p.creditor = o.party_a WHERE o.b_owes <> COALESCE(p.micros, 0) \
         UNION ALL SELECT p.debtor, 0, p.micros FROM position p JOIN settlement_window w ON w.business_date = p.business_date AND w.state IN ('netted', 'advised', 'settled') \
         WHERE p.debtor <> p.creditor AND p.micros <> 0 AND NOT EXISTS (SELECT 1 FROM obligation o WHERE o.business_date = p.business_date AND o.currency = p.currency \
         AND o.party_a = p.debtor AND o.party_b = p.creditor) AND NOT EXISTS (SELECT 1 FROM obligation o WHERE o.business_date = p.business_date AND o.currency = p.currency \
         AND o.party_a = p.creditor AND o.party_b = p.debtor)",
    ),
    (
        "the payments of a window, and of those that are paid with it, but for those with others in their place, are its nets, converted where they are, less what was taken out",
        "SELECT x.partner AS subject, COALESCE(y.sum, '0') AS books, x.sum AS postings FROM (SELECT l.lead AS lead, n.currency AS currency, n.partner AS partner, WIDE[n.micros] AS sum FROM ( \
         SELECT business_date, currency, party_a AS partner, -net AS micros FROM UNCONVERTED o \
         UNION ALL SELECT business_date, currency, party_b, net FROM UNCONVERTED o \
         UNION ALL SELECT business_date, payment_currency, party_a, -amount FROM conversion UNION ALL SELECT business_date, payment_currency, party_b, amount FROM conversion \
         UNION ALL SELECT business_date, currency, debtor, micros FROM taken_out UNION ALL SELECT business_date, currency, creditor, -micros FROM taken_out) n \
         JOIN LEADS l ON l.business_date = n.business_date WHERE n.partner <> 'clearing' GROUP BY l.lead, n.currency, n.partner) x \
         JOIN settlement_window w ON w.business_date = x.lead AND w.value_date IS NOT NULL \
         LEFT JOIN (SELECT l.lead AS lead, p.currency AS currency, p.partner AS partner, WIDE[p.micros] AS sum FROM payment p JOIN LEADS l ON l.business_date = p.business_date \
         WHERE p.replaced_by IS NULL GROUP BY l.lead, p.currency, p.partner) y \
         ON y.lead = x.lead AND y.currency = x.currency AND y.partner = x.partner WHERE x.sum <> COALESCE(y.sum, '0')",
    ),
    (
        "what a pair pays and carries on is what it owes and was carried",
        "SELECT party_a AS subject, net + carried_out AS books, a_owes - b_owes + carried_in AS postings FROM obligation \
         WHERE net + carried_out <> a_owes - b_owes + carried_in",
    ),
    (
        "what a netted window carries in is what the window before carried on, with the differences of its conversions",
        "SELECT k.party_a AS subject, COALESCE(o.carried_in, 0) AS books, COALESCE(c.sum, '0') AS postings FROM \
         (SELECT o.business_date AS business_date, w.earlier AS earlier, o.party_a AS party_a, o.party_b AS party_b, o.currency AS currency \
         FROM obligation o JOIN WINDOWS w ON w.business_date = o.business_date \
         UNION SELECT w.business_date, w.earlier, x.party_a, x.party_b, x.currency FROM CARRIED x JOIN WINDOWS w ON w.earlier = x.business_date) k \
         LEFT JOIN obligation o ON o.business_date = k.business_date AND o.party_a = k.party_a AND o.party_b = k.party_b AND o.currency = k.currency \
         LEFT JOIN (SELECT business_date, party_a, party_b, currency, WIDE[micros] AS sum FROM CARRIED x GROUP BY business_date, party_a, party_b, currency) c \
         ON c.business_date = k.earlier AND c.party_a = k.party_a AND c.party_b = k.party_b AND c.currency = k.currency \
         WHERE CAST(COALESCE(o.carried_in, 0) AS TEXT) <> COALESCE(c.sum, '0')",
    ),
    (
        "what a conversion pays and carries on is its net at its rate",
        "SELECT party_a AS subject, CAST(amount AS NUMERIC) + difference AS books, CAST(net / 1000000 AS NUMERIC) * rate + CAST(net % 1000000 AS NUMERIC) * rate / 1000000 AS postings \
         FROM conversion WHERE CAST(net % 1000000 AS NUMERIC) * rate % 1000000 <> 0 \
         OR CAST(amount AS NUMERIC) + difference <> CAST(net / 1000000 AS NUMERIC) * rate + CAST(net % 1000000 AS NUMERIC) * rate / 1000000",
    ),
    (
        "a net in a currency with a rate is converted at that rate, and no other is",
        "SELECT c.party_a AS subject, c.net AS books, COALESCE(o.net, 0) AS postings FROM conversion c \
         LEFT JOIN obligation o ON o.business_date = c.business_date AND o.party_a = c.party_a AND o.party_b = c.party_b AND o.currency = c.currency \
         LEFT JOIN fx_rate f ON f.business_date = c.business_date AND f.currency = c.currency AND f.rate = c.rate AND f.payment_currency = c.payment_currency \
         WHERE o.net IS NULL OR f.rate IS NULL OR o.net <> c.net \
         UNION ALL SELECT o.party_a, CAST(0 AS BIGINT), o.net FROM obligation o JOIN fx_rate f ON f.business_date = o.business_date AND f.currency = o.currency \
         WHERE NOT EXISTS (SELECT 1 FROM conversion c WHERE c.business_date = o.business_date AND c.party_a = o.party_a AND c.party_b = o.party_b AND c.currency = o.currency)",
    ),
    (
        "points that were due at the cut-off of a netted window are gone",
        "SELECT l.programme AS subject, l.due_at AS books, w.last AS postings FROM lot l, \
         (SELECT MAX(cut_off_at) AS last FROM settlement_window WHERE state IN ('netted', 'advised', 'settled')) w WHERE l.remaining > 0 AND l.due_at <= w.last",
    ),
    (
        "the exposures of a currency, with what confirmed payments took out of them and without what is disputed, sum to what is owed to the clearinghouse",
        "SELECT e.currency AS subject, e.sum AS books, COALESCE(c.sum, '0') AS postings FROM (SELECT currency, WIDE[micros] AS sum FROM ( \
         SELECT currency, micros FROM exposure UNION ALL SELECT p.currency, p.micros FROM position p \
         JOIN settlement_window w ON w.business_date = p.business_date AND w.state <> 'settled' WHERE p.debtor <> p.creditor AND EXISTS \
         (SELECT 1 FROM CONFIRMED y WHERE y.business_date = p.business_date AND y.partner = p.debtor AND y.currency = PAID_IN) \
         UNION ALL SELECT p.currency, -p.micros FROM position p \
         JOIN settlement_window w ON w.business_date = p.business_date AND w.state <> 'settled' WHERE p.debtor <> p.creditor AND EXISTS \
         (SELECT 1 FROM CONFIRMED y WHERE y.business_date = p.business_date AND y.partner = p.creditor AND y.currency = PAID_IN) \
         UNION ALL SELECT t.currency, -t.micros FROM taken_out t JOIN settlement_window w ON w.business_date = t.business_date AND w.state <> 'settled' WHERE t.debtor <> 'clearing' AND EXISTS \
         (SELECT 1 FROM CONFIRMED y WHERE y.business_date = t.business_date AND y.partner = t.debtor AND y.currency = t.currency AND y.run >= t.run) \
         UNION ALL SELECT t.currency, t.micros FROM taken_out t JOIN settlement_window w ON w.business_date = t.business_date AND w.state <> 'settled' WHERE t.creditor <> 'clearing' AND EXISTS \
         (SELECT 1 FROM CONFIRMED y WHERE y.business_date = t.business_date AND y.partner = t.creditor AND y.currency = t.currency AND y.run >= t.run) \
         UNION ALL SELECT t.currency, -t.micros FROM taken_out t JOIN dispute d ON d.hash = t.document WHERE d.upheld IS NULL) x GROUP BY currency) e \
         LEFT JOIN (SELECT currency, WIDE[micros] AS sum FROM (SELECT p.currency AS currency, CASE WHEN p.creditor = 'clearing' THEN p.micros ELSE -p.micros END AS micros FROM position p \
         JOIN settlement_window w ON w.business_date = p.business_date AND w.state <> 'settled' WHERE (p.creditor = 'clearing') <> (p.debtor = 'clearing') \
         UNION ALL SELECT t.currency, CASE WHEN t.creditor = 'clearing' THEN -t.micros ELSE t.micros END FROM taken_out t \
         JOIN settlement_window w ON w.business_date = t.business_date AND w.state <> 'settled' WHERE t.creditor = 'clearing' OR t.debtor = 'clearing') o \
         GROUP BY currency) c ON c.currency = e.currency WHERE e.sum <> COALESCE(c.sum, '0')",
    ),
    (
        "what a dispute takes out of a window is what is disputed",
        "SELECT d.debtor AS subject, d.micros AS books, COALESCE(t.micros, 0) AS postings FROM dispute d LEFT JOIN taken_out t ON t.document = d.hash \
         WHERE (d.run IS NULL) <> (t.document IS NULL) OR t.run <> d.run OR t.business_date <> d.business_date OR t.debtor <> d.debtor OR t.creditor <> d.creditor \
         OR t.currency <> d.currency OR t.micros <> d.micros",
    ),
    (
        "a dispute's outcome is posted once, as its adjustment",
        "SELECT d.debtor AS subject, d.micros AS books, COALESCE(p.amount, 0) AS postings FROM (SELECT hash, debtor, currency, micros, adjusted_in, \
         CASE WHEN run IS NULL THEN creditor ELSE debtor END AS owes, CASE WHEN run IS NULL THEN debtor ELSE creditor END AS owed, \
         CASE WHEN upheld IS NULL THEN 0 WHEN run IS NULL THEN upheld ELSE micros - upheld END AS due FROM dispute) d \
         LEFT JOIN message m ON m.id = d.hash AND m.sender = 'clearing' AND m.kind = 'adjustment' LEFT JOIN posting p ON p.seq = m.seq AND p.business_date = m.business_date \
         WHERE d.due <> COALESCE(p.amount, 0) OR (d.due > 0) <> (d.adjusted_in IS NOT NULL) OR d.adjusted_in <> m.business_date OR p.kind <> 'adjustment' OR p.debit <> d.owes \
         OR p.credit <> d.owed OR p.unit <> d.currency \
         UNION ALL SELECT m.id, m.seq, CAST(0 AS BIGINT) FROM message m WHERE m.kind = 'adjustment' AND NOT EXISTS (SELECT 1 FROM dispute d WHERE d.hash = m.id)",
    ),
    (
        "sequence numbers have no gap",
        "SELECT 'log' AS subject, h.next_seq - 1 AS books, CAST(m.n AS BIGINT) AS postings FROM head h, \
         (SELECT COUNT(*) AS n, COUNT(DISTINCT seq) AS d, COALESCE(MAX(seq), 0) AS last FROM (SELECT seq FROM message UNION ALL SELECT seq FROM entry) e) m \
         WHERE h.next_seq - 1 <> m.n OR m.last <> m.n OR m.d <> m.n",
    ),
    (
        "a posting belongs to an accepted message of the same window",
        "SELECT p.kind AS subject, p.seq AS books, CAST(0 AS BIGINT) AS postings FROM posting p WHERE NOT EXISTS \
         (SELECT 1 FROM message m WHERE m.seq = p.seq AND m.business_date = p.business_date AND m.code IS NULL)",
    ),
    (
        "a quote is what its message was told",
        "SELECT q.programme AS subject, q.credited + q.bonus AS books, COALESCE(m.credited + m.bonus, 0) AS postings FROM quote q LEFT JOIN message m \
         ON m.seq = q.seq AND m.kind = 'quote' AND m.code IS NULL WHERE m.seq IS NULL OR m.points <> q.points OR m.credited <> q.credited OR m.bonus <> q.bonus \
         OR m.agreement <> q.agreement OR m.rate <> q.rate OR COALESCE(m.bonus_rate, 0) <> COALESCE(q.bonus_rate, 0) \
         UNION ALL SELECT m.programme, CAST(0 AS BIGINT), m.credited + m.bonus FROM message m WHERE m.kind = 'quote' AND m.code IS NULL \
         AND NOT EXISTS (SELECT 1 FROM quote q WHERE q.seq = m.seq)",
    ),
    (
        "an exchange uses up one quote",
        "SELECT 'quote' AS subject, CAST(q.n AS BIGINT) AS books, CAST(m.n AS BIGINT) AS postings FROM (SELECT COUNT(*) AS n FROM quote WHERE NOT is_open) q, \
         (SELECT COUNT(*) AS n FROM message WHERE kind = 'exchange' AND code IS NULL) m WHERE q.n <> m.n",
    ),
    (
        "what was exchanged at a rate is what its used quotes offered",
        "SELECT q.programme AS subject, q.sum AS books, COALESCE(m.sum, '0') AS postings FROM \
         (SELECT programme, rate, COALESCE(bonus_rate, 0) AS bonus_rate, WIDE[points + credited + bonus] AS sum FROM quote WHERE NOT is_open \
         GROUP BY programme, rate, COALESCE(bonus_rate, 0)) q LEFT JOIN \
         (SELECT rate, COALESCE(bonus_rate, 0) AS bonus_rate, WIDE[points + credited + bonus] AS sum FROM message WHERE kind = 'exchange' AND code IS NULL \
         GROUP BY rate, COALESCE(bonus_rate, 0)) m ON m.rate = q.rate AND m.bonus_rate = q.bonus_rate WHERE q.sum <> COALESCE(m.sum, '0')",
    ),
    (
        "an exchange that waits for an issuer holds its points, and no other does",
        "SELECT m.sender AS subject, h.points AS books, m.points AS postings FROM hold h JOIN message m ON m.seq = h.seq AND m.kind = 'exchange' \
         LEFT JOIN pending_exchange p ON p.seq = h.seq WHERE p.seq IS NULL OR h.is_open <> (p.state = 'instructed') OR h.points <> m.points \
         UNION ALL SELECT p.sender, CAST(0 AS BIGINT), m.points FROM pending_exchange p JOIN message m ON m.seq = p.seq JOIN programme g ON g.code = m.programme \
         WHERE g.terms NOT LIKE '%\"custody\":\"external\"%' AND NOT EXISTS (SELECT 1 FROM hold h WHERE h.seq = p.seq)",
    ),
    (
        "an exchange that an issuer was told has one answer, or none while it is open",
        "SELECT p.sender AS subject, p.seq AS books, COALESCE(p.answer_seq, 0) AS postings FROM pending_exchange p LEFT JOIN message a ON a.seq = p.answer_seq AND a.code IS NULL \
         AND a.sender = p.to_issuer AND a.kind = CASE p.state WHEN 'captured' THEN 'acknowledge' WHEN 'released' THEN 'refuse' END \
         WHERE (p.state = 'instructed') <> (p.answer_seq IS NULL) OR (p.state <> 'instructed' AND a.seq IS NULL) \
         UNION ALL SELECT a.sender, a.seq, CAST(0 AS BIGINT) FROM message a LEFT JOIN (SELECT DISTINCT answer_seq FROM pending_exchange) p ON p.answer_seq = a.seq \
         WHERE a.code IS NULL AND a.kind IN ('acknowledge', 'refuse') AND p.answer_seq IS NULL",
    ),
    (
        "an exchange into a programme that is kept elsewhere waits for its issuer, or was answered",
        "SELECT m.sender AS subject, m.seq AS books, CAST(0 AS BIGINT) AS postings FROM message m JOIN programme g ON g.code = m.to_programme \
         WHERE m.kind = 'exchange' AND m.code IS NULL AND g.terms LIKE '%\"custody\":\"external\"%' AND NOT EXISTS (SELECT 1 FROM pending_exchange p WHERE p.seq = m.seq)",
    ),
    (
        "an answer ends one exchange",
        "SELECT MIN(sender) AS subject, answer_seq AS books, CAST(COUNT(*) AS BIGINT) AS postings FROM pending_exchange \
         WHERE answer_seq IS NOT NULL GROUP BY answer_seq HAVING COUNT(*) > 1",
    ),
    (
        "an exchange gives and credits what its message says, once, when it is done",
        "SELECT m.sender AS subject, m.points + m.credited + m.bonus AS books, CAST(COALESCE(s.sum, 0) AS BIGINT) AS postings FROM message m \
         LEFT JOIN pending_exchange p ON p.seq = m.seq LEFT JOIN \
         (SELECT seq, SUM(amount) AS sum FROM posting WHERE kind IN ('exchange', 'bonus') AND (credit = 'member' OR debit = 'member') GROUP BY seq) s \
         ON s.seq = COALESCE(p.answer_seq, m.seq) WHERE m.kind = 'exchange' AND m.code IS NULL \
         AND COALESCE(s.sum, 0) <> CASE COALESCE(p.state, 'captured') WHEN 'captured' THEN m.points + m.credited + m.bonus ELSE 0 END",
    ),
    (
        "a captured exchange owes what was reserved for it",
        "SELECT p.sender AS subject, p.micros AS books, CAST(COALESCE(s.sum, 0) AS BIGINT) AS postings FROM pending_exchange p LEFT JOIN \
         (SELECT seq, unit, SUM(amount) AS sum FROM posting WHERE kind IN ('exchange', 'bonus') AND credit <> 'member' AND debit <> 'member' GROUP BY seq, unit) s \
         ON s.seq = p.answer_seq AND s.unit = p.currency WHERE COALESCE(s.sum, 0) <> CASE p.state WHEN 'captured' THEN p.micros ELSE 0 END",
    ),
    (
        "what exchanges credited elsewhere or took from there is what its postings sum to",
        "SELECT unit AS subject, WIDE[books] AS books, WIDE[postings] AS postings FROM ( \
         SELECT m.to_programme AS unit, m.credited + m.bonus AS books, 0 AS postings FROM pending_exchange p JOIN message m ON m.seq = p.seq WHERE p.state = 'captured' \
         UNION ALL SELECT m.programme, -m.points, 0 FROM message m JOIN programme g ON g.code = m.programme AND g.terms LIKE '%\"custody\":\"external\"%' \
         LEFT JOIN pending_exchange p ON p.seq = m.seq WHERE m.kind = 'exchange' AND m.code IS NULL AND COALESCE(p.state, 'captured') = 'captured' \
         UNION ALL SELECT unit, 0, CASE WHEN credit = 'member' THEN amount ELSE -amount END FROM posting \
         WHERE lot_seq IS NULL AND kind IN ('exchange', 'bonus') AND (credit = 'member' OR debit = 'member')) x GROUP BY unit HAVING WIDE[books] <> WIDE[postings]",
    ),
    (
        "what is reserved is what the exchanges that wait reserve",
        "SELECT k.debtor AS subject, COALESCE(r.micros, 0) AS books, COALESCE(p.sum, '0') AS postings FROM \
         (SELECT debtor, creditor, currency FROM reserved UNION SELECT debtor, creditor, currency FROM pending_exchange WHERE state = 'instructed') k \
         LEFT JOIN reserved r ON r.debtor = k.debtor AND r.creditor = k.creditor AND r.currency = k.currency LEFT JOIN \
         (SELECT debtor, creditor, currency, WIDE[micros] AS sum FROM pending_exchange WHERE state = 'instructed' GROUP BY debtor, creditor, currency) p \
         ON p.debtor = k.debtor AND p.creditor = k.creditor AND p.currency = k.currency WHERE CAST(COALESCE(r.micros, 0) AS TEXT) <> COALESCE(p.sum, '0')",
    ),
    (
        "a programme has as many holders as accounts with points or debt",
        "SELECT g.code AS subject, COALESCE(h.members, 0) AS books, COALESCE(a.n, 0) AS postings FROM programme g LEFT JOIN holders h ON h.programme = g.code \
         LEFT JOIN (SELECT programme, COUNT(*) AS n FROM account WHERE points <> 0 OR debt <> 0 GROUP BY programme) a ON a.programme = g.code \
         WHERE COALESCE(h.members, 0) <> COALESCE(a.n, 0)",
    ),
    (
        "a programme that is kept elsewhere has no accounts here",
        "SELECT a.programme AS subject, a.points AS books, CAST(0 AS BIGINT) AS postings FROM account a JOIN programme g ON g.code = a.programme \
         WHERE g.terms LIKE '%\"custody\":\"external\"%'",
    ),
    (
        "points bought in advance are those of the messages that bought them, less what was taken back",
        "SELECT COALESCE(b.partner, 'prepaid') AS subject, COALESCE(b.bought, 0) AS books, COALESCE(m.sum, '0') AS postings FROM \
         (SELECT agreement FROM prepaid UNION SELECT agreement FROM message WHERE kind = 'prepay' AND code IS NULL) k \
         LEFT JOIN prepaid b ON b.agreement = k.agreement LEFT JOIN \
         (SELECT m.agreement AS agreement, WIDE[m.points - COALESCE(r.points, 0)] AS sum FROM message m LEFT JOIN reversal r ON r.seq = m.seq \
         WHERE m.kind = 'prepay' AND m.code IS NULL GROUP BY m.agreement) m ON m.agreement = k.agreement WHERE CAST(COALESCE(b.bought, 0) AS TEXT) <> COALESCE(m.sum, '0')",
    ),
    (
        "points bought in advance were paid for, and what is left is what no earn has drawn",
        "SELECT b.partner AS subject, b.bought - b.remaining AS books, COALESCE(p.drawn, '0') AS postings FROM prepaid b LEFT JOIN \
         (SELECT agreement, WIDE[CASE kind WHEN 'prepaid' THEN points WHEN 'prepaid_reversal' THEN -points ELSE 0 END] AS paid, \
         WIDE[CASE kind WHEN 'drawn' THEN points WHEN 'drawn_reversal' THEN -points ELSE 0 END] AS drawn FROM posting \
         WHERE kind IN ('prepaid', 'prepaid_reversal', 'drawn', 'drawn_reversal') GROUP BY agreement) p ON p.agreement = b.agreement \
         WHERE CAST(b.bought AS TEXT) <> COALESCE(p.paid, '0') OR CAST(b.bought - b.remaining AS TEXT) <> COALESCE(p.drawn, '0')",
    ),
    (
        "points drawn from a block are in lots of their own",
        "SELECT b.partner AS subject, CAST(b.bought - b.remaining AS TEXT) AS books, COALESCE(l.sum, '0') AS postings FROM prepaid b LEFT JOIN \
         (SELECT agreement, funder, programme, WIDE[charged] AS sum FROM lot WHERE prepaid GROUP BY agreement, funder, programme) l \
         ON l.agreement = b.agreement AND l.funder = b.partner AND l.programme = b.programme WHERE CAST(b.bought - b.remaining AS TEXT) <> COALESCE(l.sum, '0') \
         UNION ALL SELECT l.funder, '0', CAST(l.charged AS TEXT) FROM lot l WHERE l.prepaid AND NOT EXISTS \
         (SELECT 1 FROM prepaid b WHERE b.agreement = l.agreement AND b.partner = l.funder AND b.programme = l.programme)",
    ),
    (
        "once there are windows, exactly one is open",
        "SELECT 'settlement_window' AS subject, CAST(n AS BIGINT) AS books, CAST(1 AS BIGINT) AS postings FROM \
         (SELECT COUNT(*) AS n FROM settlement_window WHERE state = 'open') w WHERE n <> 1 AND EXISTS (SELECT 1 FROM settlement_window)",
    ),
];

/// Makes a connection ready for [`sums`].
pub fn prepare(conn: &mut Conn) -> Result<(), DbError> {
    match conn {
        Conn::Sqlite(c) => {
            // Sums of very many rows are sorted on the disk.
            c.batch_execute("PRAGMA temp_store = FILE")?;
            wide_sum_utils::register_impl::<WideSum, _>(c).map_err(DbError::Query)
        }
        Conn::Postgres(_) => Ok(()),
    }
}

/// Every rule that doesn't hold, with an example, and where the log's tree isn't that of its entries; empty when the books balance. Names no member.
pub fn check(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    prepare(conn)?;
    conn.snapshot(|conn| Ok(sums(conn)?.into_iter().chain(tree(conn)?).collect()))
}

/// Where the log's tree isn't that of its entries; for one unchanging view of the database.
pub fn tree(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    super::proved::check(conn)
}

/// Every rule that doesn't hold, with an example; for one unchanging view of the database, on a connection that is [prepared](prepare). Names no member.
pub fn sums(conn: &mut Conn) -> Result<Vec<String>, DbError> {
    let mut findings = vec![];
    plan_rules(conn, "SET LOCAL enable_nestloop = off; SET LOCAL jit = off")?;
    for (rule, text) in RULES {
        let query = sql_query(broken(conn, text));
        let Broken { count, first } = each_backend!(conn, |c| query.get_result(c))?;
        findings.extend(first.map(|first| format!("{rule}: broken {count} times, first at {first}")));
    }
    plan_rules(conn, "SET LOCAL enable_nestloop TO DEFAULT; SET LOCAL jit TO DEFAULT")?;
    findings.extend(held_twice(conn)?);
    Ok(findings)
}

/// On PostgreSQL: a rule reads each table from end to end and joins it at once. Row by row may look cheaper where it takes many rows for few, and takes hours.
fn plan_rules(conn: &mut Conn, settings: &str) -> Result<(), DbError> {
    match conn {
        Conn::Sqlite(_) => Ok(()),
        Conn::Postgres(c) => Ok(c.batch_execute(settings)?),
    }
}

/// What the holds that are open keep of lots is there: no point is held twice, or held and gone.
fn held_twice(conn: &mut Conn) -> Result<Option<String>, DbError> {
    // One that was over by the last entry keeps nothing, whether a night has noted that or not.
    let last_at: i64 = each_backend!(conn, |c| head::table.select(head::last_at).first(c))?;
    let open = hold::table
        .select((hold::points, hold::lots))
        .filter(hold::is_open)
        .filter(hold::expires_at.gt(last_at));
    let (mut held, mut broken) = (BTreeMap::<(i64, i32), i64>::new(), 0);
    for (points, lots) in each_backend!(conn, |c| open.load::<(i64, String)>(c))? {
        let lots = held_lots(&lots)?;
        broken += usize::from(lots.iter().map(|(_, points)| points).sum::<i64>() != points);
        for (lot, points) in lots {
            *held.entry((lot.seq, lot.leg)).or_default() += points;
        }
    }
    let seqs: Vec<i64> = held.keys().map(|(seq, _)| *seq).collect();
    for seqs in seqs.chunks(conn.bind_limit() / 2) {
        let lots = lot::table
            .select((lot::seq, lot::leg, lot::remaining))
            .filter(lot::seq.eq_any(seqs));
        for (seq, leg, remaining) in each_backend!(conn, |c| lots.load::<(i64, i32, i64)>(c))? {
            broken += usize::from(held.remove(&(seq, leg)).is_some_and(|held| held > remaining));
        }
    }
    broken += held.len();
    Ok((broken > 0).then(|| format!("what holds keep is left in its lots: broken {broken} times")))
}
