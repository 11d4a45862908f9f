//! What this crate's tests share: a small random source, and a ledger in a temporary folder that tests post to directly.

use diesel::prelude::*;
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::schema::{agreement, exposure, head, message, partner as partner_table, posting, programme};
use migrations::{Conn, DbError, Url, each_backend};
use partner_sdk::agreement::Terms;
use partner_sdk::{Currency, Money, PartnerId};

use crate::book::{Book, Gross};
use crate::netting::{Obligation, Position};
use crate::store::{add_exposure, add_position};
use crate::{Calendar, State, Weekday};

pub fn hkd() -> Currency {
    Currency::new("HKD").expect("a currency")
}

pub fn partner(id: &str) -> PartnerId {
    PartnerId::new(id).expect(id)
}

pub fn owes(debtor: &str, creditor: &str, micros: i64) -> Position {
    Position {
        debtor: partner(debtor),
        creditor: partner(creditor),
        currency: hkd(),
        amount: Money(micros),
    }
}

pub fn at(text: &str) -> Timestamp {
    text.parse().expect(text)
}

pub fn book(gross: Vec<Gross>, obligations: Vec<Obligation>) -> Book {
    Book {
        business_date: jiff::civil::date(2026, 11, 21),
        cut_off_at: at("2026-11-21T16:00:00Z"),
        gross,
        expired: vec![],
        obligations,
        conversions: vec![],
        paying: None,
    }
}

/// Knuth's MMIX generator; a test prints its seed where it fails.
pub struct Lcg(pub u64);

impl Lcg {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    pub fn position(&mut self) -> Position {
        let parties = ["ann", "ben", "clearing", "dot", "eve"];
        let (debtor, creditor) = (*self.pick(&parties), *self.pick(&parties));
        let micros = self.below(1 << 40) as i64;
        owes(debtor, creditor, micros)
    }
}

/// A posting as tests write it: parties, unit, points and price; money is points times price, unless a member takes part.
#[derive(Clone)]
pub struct Entry {
    pub kind: &'static str,
    pub debit: &'static str,
    pub credit: &'static str,
    pub unit: &'static str,
    pub points: i64,
    pub price: i64,
    pub agreement: &'static str,
}

pub fn entry(kind: &'static str, debit: &'static str, credit: &'static str, points: i64, price: i64, agreement: &'static str) -> Entry {
    let unit = if kind == "expiry" { "YUU" } else { "HKD" };
    Entry {
        kind,
        debit,
        credit,
        unit,
        points,
        price,
        agreement,
    }
}

/// The agreements of the examples, by name.
pub const AGREEMENTS: [(&str, &str); 5] = [
    (
        "earn",
        r#"{"kind":"earn","partner":"wellcome","programme":"YUU","price":"0.0055","currency":"HKD","valid_from":"2026-01-01T00:00:00Z"}"#,
    ),
    (
        "card",
        r#"{"kind":"earn","partner":"hangseng","programme":"YUU","price":"0.0055","currency":"HKD","valid_from":"2026-01-01T00:00:00Z"}"#,
    ),
    (
        "burn",
        r#"{"kind":"burn","partner":"ikea","programme":"YUU","price":"0.0048","currency":"HKD","valid_from":"2026-01-01T00:00:00Z"}"#,
    ),
    (
        "miles",
        r#"{"kind":"exchange","partner":"bank","programme":"BANK","to_programme":"MILES","price":"0.08","currency":"HKD","clearing_fee_percent":"1","valid_from":"2026-01-01T00:00:00Z"}"#,
    ),
    (
        "cents",
        r#"{"kind":"exchange","partner":"bank","programme":"BANK","to_programme":"CENTS","price":"0.08","currency":"HKD","valid_from":"2026-01-01T00:00:00Z"}"#,
    ),
];

/// A ledger on SQLite in a temporary folder.
pub struct Ledger {
    pub conn: Conn,
    pub folder: tempfile::TempDir,
    names: Vec<&'static str>,
}

impl Ledger {
    /// With the partners, programmes and agreements of the examples; `order` is the order in which the agreements get their numbers. The open
    /// window is that of Saturday, 21 November 2026, and Sundays have none.
    pub fn new(order: [usize; 5]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut conn = Conn::open(&Url::new(folder.path().join("ledger.db").display().to_string())).expect("opens");
        conn.migrate().expect("migrates");
        let calendar = Calendar {
            zone: "Asia/Hong_Kong".into(),
            cut_off: "24:00".into(),
            holidays: vec![jiff::civil::date(2026, 12, 25)],
            closed_weekdays: vec![Weekday::Sunday],
        };
        let first = (
            head::id.eq(1),
            head::next_seq.eq(1),
            head::last_at.eq(0),
            head::next_event.eq(1),
            head::directory_version.eq(1),
            head::sandbox.eq(true),
            head::founding.eq(""),
            head::tree_size.eq(0),
        );
        each_backend!(&mut conn, |c| diesel::insert_into(head::table).values(first).execute(c)).expect("head");
        crate::found_calendar(&mut conn, &calendar).expect("a calendar");
        for id in ["airline", "bank", "hangseng", "idle", "ikea", "pool", "wellcome"] {
            let row = (
                partner_table::id.eq(id),
                partner_table::name.eq(id),
                partner_table::status.eq("active"),
            );
            each_backend!(&mut conn, |c| diesel::insert_into(partner_table::table).values(row).execute(c)).expect(id);
        }
        for (code, issuer, scale) in [
            ("YUU", "pool", 0),
            ("BANK", "bank", 0),
            ("MILES", "airline", 0),
            ("CENTS", "airline", 2),
        ] {
            let row = (
                programme::code.eq(code),
                programme::issuer.eq(issuer),
                programme::terms.eq(format!(r#"{{"scale":{scale},"currency":"HKD"}}"#)),
            );
            each_backend!(&mut conn, |c| diesel::insert_into(programme::table).values(row).execute(c)).expect(code);
        }
        for (no, index) in (1..).zip(order) {
            let terms: Terms = serde_json::from_str(AGREEMENTS[index].1).expect("terms");
            let terms = partner_sdk::agreement::Agreement::new(terms, 0, 0).expect("an agreement");
            let row = (
                agreement::no.eq(no),
                agreement::hash.eq(&terms.hash),
                agreement::published_at.eq(0),
                agreement::terms.eq(terms.terms.canonical()),
            );
            each_backend!(&mut conn, |c| diesel::insert_into(agreement::table).values(row).execute(c)).expect("agreement");
        }
        let names = order.map(|index| AGREEMENTS[index].0).to_vec();
        let mut ledger = Self { conn, folder, names };
        crate::open_first(&mut ledger.conn, at("2026-11-21T02:00:00Z")).expect("the first window");
        ledger
    }

    pub fn standard() -> Self {
        Self::new([0, 1, 2, 3, 4])
    }

    /// Posts each entry as a message of its own.
    pub fn post_each(&mut self, entries: &[Entry]) {
        let names = &self.names;
        let all = |conn: &mut Conn| -> Result<(), DbError> {
            entries.iter().for_each(|entry| post(conn, names, std::slice::from_ref(entry)));
            Ok(())
        };
        self.conn.transaction(all).expect("commits");
    }

    /// Posts one message of some entries.
    pub fn post(&mut self, entries: &[Entry]) {
        post(&mut self.conn, &self.names, entries);
    }

    /// The agreements' names and hashes.
    pub fn agreements(&mut self) -> Vec<(&'static str, String)> {
        let query = agreement::table.select(agreement::hash).order(agreement::no);
        let hashes = each_backend!(&mut self.conn, |c| query.load::<String>(c)).expect("hashes");
        self.names.iter().copied().zip(hashes).collect()
    }

    /// Every exposure but zero.
    pub fn exposures(&mut self) -> Vec<(String, i64)> {
        let query = exposure::table
            .filter(exposure::micros.ne(0))
            .select((exposure::partner, exposure::micros))
            .order(exposure::partner);
        each_backend!(&mut self.conn, |c| query.load(c)).expect("exposures")
    }

    /// The bytes of every file of a folder, by name.
    pub fn files(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(self.folder.path().join(folder)).expect("a folder");
        let file = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.expect("an entry").path();
            (
                path.file_name().expect("a name").display().to_string(),
                std::fs::read(&path).expect("bytes"),
            )
        };
        let mut files: Vec<_> = entries.map(file).collect();
        files.sort();
        files
    }
}

/// Posts one message of some entries to the open window, as the ledger would.
fn post(conn: &mut Conn, names: &[&str], entries: &[Entry]) {
    let window = crate::open_window(conn).expect("open");
    assert_eq!(window.state, State::Open);
    let seq = crate::store::lock_head(conn).expect("head");
    let date = window.business_date.to_string();
    let row = (
        (
            message::seq.eq(seq),
            message::sender.eq("test"),
            message::id.eq(seq.to_string()),
            message::kind.eq("test"),
        ),
        (message::business_date.eq(&date), message::posted_at.eq(0), message::facts.eq("{}")),
        (message::sha256.eq(""), message::bytes.eq("")),
        message::leads.eq(true),
        (message::points.eq(0), message::credited.eq(0), message::bonus.eq(0)),
    );
    each_backend!(conn, |c| {
        diesel::update(head::table)
            .set(head::next_seq.eq(seq + 1))
            .execute(c)
            .expect("head");
        diesel::insert_into(message::table).values(row).execute(c).expect("message");
    });
    for (leg, entry) in (0..).zip(entries) {
        post_entry(conn, names, window.business_date, (seq, leg), entry);
    }
}

fn post_entry(conn: &mut Conn, names: &[&str], date: Date, (seq, leg): (i64, i32), entry: &Entry) {
    let money = entry.debit != "member" && entry.credit != "member";
    let amount = if money { entry.points * entry.price } else { entry.points };
    let no = names.iter().position(|name| *name == entry.agreement).expect("an agreement") as i32 + 1;
    let row = (
        (
            posting::business_date.eq(date.to_string()),
            posting::seq.eq(seq),
            posting::leg.eq(leg),
            posting::kind.eq(entry.kind),
        ),
        (
            posting::unit.eq(entry.unit),
            posting::debit.eq(entry.debit),
            posting::credit.eq(entry.credit),
            posting::amount.eq(amount),
        ),
        (
            posting::points.eq(entry.points),
            posting::price.eq(entry.price),
            posting::agreement.eq(no),
        ),
    );
    each_backend!(conn, |c| diesel::insert_into(posting::table).values(row).execute(c)).expect("posting");
    if money {
        add_position(conn, date, &owes(entry.debit, entry.credit, amount)).expect("position");
        add_exposure(conn, &partner(entry.debit), hkd(), amount.into()).expect("exposure");
        add_exposure(conn, &partner(entry.credit), hkd(), (-amount).into()).expect("exposure");
    }
}
