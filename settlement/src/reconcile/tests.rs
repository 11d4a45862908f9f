use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use jiff::{Timestamp, ToSpan};
use partner_sdk::{Amount, Currency};
use rust_xlsxwriter::Workbook;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn amount(text: &str) -> Amount {
    Amount::parse(text).expect("an amount")
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn rows(text: &str) -> Vec<Row> {
    read(text.as_bytes(), &Mapping::default()).expect("a record")
}

fn refused(bytes: &[u8], mapping: &Mapping) -> String {
    read(bytes, mapping).expect_err("refused").to_string()
}

#[test]
fn a_record_is_read_whichever_way_it_is_written() {
    let expected = Row {
        line: 2,
        id: Some("a-1".into()),
        kind: Some("earn"),
        member: Some("4929".into()),
        programme: None,
        points: Some(amount("12.5")),
        amount: None,
        currency: Currency::new("HKD").ok(),
        at: Some(time("2026-11-20T02:00:00Z")),
    };
    let comma = "Message ID,Type,Card No,Points,Ccy,Time,Shop\na-1,Earn,4929,12.50,HKD,2026-11-20T10:00:00+08:00,\"Central, 1\"\n";
    assert_eq!(rows(comma), std::slice::from_ref(&expected));
    assert_eq!(
        rows(&format!("\u{feff}{}", comma.replace("Central, 1", "x").replace(',', ";"))),
        std::slice::from_ref(&expected)
    );
    let local = Mapping::parse(
        r#"{"columns": {"id": "Beleg", "kind": "Art", "member": "Karte", "points": "Punkte", "currency": "W", "occurred_at": "Wann"},
            "kinds": {"VERKAUF": "earn"}, "time": {"format": "%d.%m.%Y %H:%M", "zone": "Asia/Hong_Kong"}, "tolerance_seconds": 60}"#,
    );
    let local = local.expect("a mapping");
    let text = "Beleg;Art;Karte;Punkte;W;Wann\r\na-1;VERKAUF;4929;12.5;HKD;20.11.2026 10:00\r\n\r\n;;;;;\r\n";
    assert_eq!(read(text.as_bytes(), &local), Ok(vec![expected.clone()]));
    let mut workbook = Workbook::new();
    let sheet = workbook.add_worksheet();
    for (column, (name, text)) in (0..).zip([("Beleg", "a-1"), ("Art", "VERKAUF"), ("Karte", "4929"), ("W", "HKD")]) {
        sheet.write_string(0, column, name).expect("written");
        sheet.write_string(1, column, text).expect("written");
    }
    for (column, name, number) in [(4, "Punkte", 12.5), (5, "Wann", 46346.416666666664)] {
        sheet.write_string(0, column, name).expect("written");
        sheet.write_number(1, column, number).expect("written");
    }
    let bytes = workbook.save_to_buffer().expect("a workbook");
    assert_eq!(read(&bytes, &local), Ok(vec![expected]));
}

#[test]
fn lines_are_those_of_an_editor() {
    for (text, expected) in [
        ("id\na\nb\n", [2, 3]),
        ("id\r\na\r\nb\r\n", [2, 3]),
        ("id\ra\rb", [2, 3]),
        ("\n\nid\r\n\r\na\r\n\r\n\r\nb", [5, 8]),
        ("id,note\na,\"two\nlines\"\nb,\n", [2, 4]),
    ] {
        let lines: Vec<u64> = rows(text).iter().map(|row| row.line).collect();
        assert_eq!(lines, expected, "{text:?}");
    }
}

#[test]
fn what_cannot_be_read_is_said_with_its_place() {
    let none = Mapping::default();
    let said = |text: &str| refused(text.as_bytes(), &none);
    for (text, why) in [
        ("", "it has no header"),
        ("foo,bar\n1,2\n", "the header has `foo`, `bar`"),
        ("id,Message ID\n1,2\n", "more than one column is `id`"),
        ("id,points\na,1\nb,\"1,000\"\n", "line 3, column `points`: not an amount"),
        ("id,points\na,-1\n", "line 2, column `points`"),
        ("id,kind\na,sale\n", "line 2, column `kind`: no kind"),
        ("id,time\na,20.11.2026\n", "line 2, column `time`: no time such as"),
        ("id,points\n,5\n", "line 2 has neither an id"),
        ("id,points\na,5,6\n", "line 2 has more cells than the header's 2"),
        ("id\na\0b\n", "zero bytes"),
    ] {
        assert!(said(text).contains(why), "{text}: {}", said(text));
    }
    let secret = said("id,points\na,4929100000001234x\n");
    assert!(!secret.contains("4929"), "{secret}");
    let long = format!("id,points\na,\"{}\n", "9".repeat(1_000_000));
    assert!(said(&long).contains("is a quotation mark open?"), "{}", said(&long));
    let wide = format!("id{}\n", ",x".repeat(64));
    assert!(said(&wide).contains("more than 64 columns"));
    let many = format!("id\n{}", "a\n".repeat(200_001));
    assert!(said(&many).contains("more than 200000 rows"));
    assert!(refused(&vec![b'a'; MAX_FILE + 1], &none).contains("bytes"));
    let utf16: Vec<u8> = "\u{feff}id\na\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(refused(&utf16, &none).contains("UTF-16"));
    let garbage: Vec<u8> = (0..5000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
    assert!(refused(&garbage, &none).contains("neither UTF-8 nor a workbook"));
    assert!(refused(b"PK\x03\x04 and no more", &none).contains("no whole workbook"));
}

#[test]
fn mappings_are_strict() {
    for (text, why) in [
        ("{", "EOF"),
        (r#"{"colums": {}}"#, "unknown field"),
        (r#"{"columns": {"points": "P"}}"#, "a record has a column `id`"),
        (r#"{"columns": {"id": "P", "points": "P"}}"#, "named twice"),
        (r#"{"columns": {"id": ""}}"#, "1 to 128"),
        (r#"{"time": {"zone": "Asia/Hong_Kong", "format": "%F %T %z"}}"#, "no zone or offset"),
        (r#"{"time": {"zone": "Mars/Olympus"}}"#, "no zone of the IANA database"),
        (r#"{"columns": {"id": "a\u202eb"}}"#, "plain"),
        (r#"{"kinds": {"a\u0000": "earn"}}"#, "plain"),
        (r#"{"kinds": {"SALE": "sale"}}"#, "the kinds are"),
        (r#"{"tolerance_seconds": 86401}"#, "a day"),
    ] {
        let error = Mapping::parse(text).expect_err("refused").to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let format = |format: &str| Mapping::parse(&format!(r#"{{"time": {{"zone": "Asia/Hong_Kong", "format": "{format}"}}}}"#));
    for zone in ["%::z", "%-z", "%10s", "%_10s", "%:::z", "%%%z", "%:Q", "%Z", "%0:z"] {
        let error = format(&format!("%F %T {zone}")).expect_err(zone).to_string();
        assert!(error.contains("no zone or offset"), "{zone}: {error}");
    }
    for none in ["%F %T", "%F %%z", "%d.%m.%y %H:%M:%S%.f", "%-d/%-m/%Y %I:%M %p zsQ"] {
        format(none).expect(none);
    }
    let named = Mapping::parse(r#"{"columns": {"id": "Beleg"}}"#).expect("a mapping");
    assert!(refused(b"id\na\n", &named).contains("there is no column `Beleg`; the header has `id`"));
}

/// A workbook whose sheet is of these pieces.
fn parts(sheet: &mut dyn Iterator<Item = String>) -> Vec<u8> {
    parts_with("<sst/>", sheet)
}

/// The same, with texts that cells share.
fn parts_with(texts: &str, sheet: &mut dyn Iterator<Item = String>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    let book = "<workbook xmlns:r='r'><sheets><sheet name='a' sheetId='1' r:id='x'/></sheets></workbook>";
    let rels = "<Relationships><Relationship Id='x' Target='worksheets/sheet1.xml'/></Relationships>";
    let parts = [
        ("xl/workbook.xml", book),
        ("xl/_rels/workbook.xml.rels", rels),
        ("xl/sharedStrings.xml", texts),
    ];
    for (name, text) in parts {
        zip.start_file(name, SimpleFileOptions::default()).expect("a part");
        zip.write_all(text.as_bytes()).expect("written");
    }
    zip.start_file("xl/worksheets/sheet1.xml", SimpleFileOptions::default())
        .expect("a part");
    for text in sheet {
        zip.write_all(text.as_bytes()).expect("written");
    }
    zip.finish().expect("a file").into_inner()
}

fn sheet(rows: &str) -> Vec<u8> {
    parts(&mut [format!("<worksheet><sheetData>{rows}</sheetData></worksheet>")].into_iter())
}

#[test]
fn a_hostile_workbook_is_refused_within_bounds() {
    let none = Mapping::default();
    let said = |bytes: &[u8]| refused(bytes, &none);
    const HEADER: &str =
        "<row r='1'><c r='A1' t='inlineStr'><is><t>id</t></is></c><c r='B1' t='inlineStr'><is><t>points</t></is></c></row>";
    let formula = format!("{HEADER}<row r='2'><c r='A2' t='str'><v>a</v></c><c r='B2'><f>1+1</f><v>2</v></c></row>");
    assert!(said(&sheet(&formula)).contains("line 2, column `points`: a formula"));
    let good = formula.replace("<f>1+1</f>", "");
    assert_eq!(read(&sheet(&good), &none).expect("a record")[0].points, Some(amount("2")));
    let digits = good.replace("<v>2</v>", "<v>4929100000001234</v>");
    assert!(said(&sheet(&digits)).contains("keep it as text"));
    let long = good.replace("<v>a</v>", &format!("<v>{}</v>", "a".repeat(100_000)));
    assert!(said(&sheet(&long)).contains("longer than 32767 bytes"));
    let shared = good.replace("t='str'", "t='s'");
    assert!(said(&sheet(&shared)).contains("a text that isn't there"));
    let far = good.replace("B2", "ZZZ2");
    assert!(said(&sheet(&far)).contains("beyond column 64"));
    let deep = format!("{HEADER}{}", "<a>".repeat(100));
    assert!(said(&sheet(&deep)).contains("64 deep"));
    assert!(said(&sheet("<!DOCTYPE a [<!ENTITY b 'c'>]>")).contains("document type"));
    assert!(said(&sheet(&good.replace("<v>a</v>", "<v>&b;</v>"))).contains("isn't declared"));
    let row = "<row><c t='str'><v>a</v></c></row>".repeat(1000);
    let mut million = [format!("<worksheet><sheetData>{HEADER}")]
        .into_iter()
        .chain((0..1000).map(|_| row.clone()));
    assert!(said(&parts(&mut million)).contains("more than 200000 rows"));
    // A hundred thousandth of what it unpacks to, none of it a row.
    let zeros = " ".repeat(1024 * 1000);
    let mut bomb = ["<worksheet>".to_owned()]
        .into_iter()
        .chain((0..100).map(|_| format!("{zeros}<a/>")));
    let bomb = parts(&mut bomb);
    assert!(
        bomb.len() < 200_000 && said(&bomb).contains("unpacks to more than 64 MiB"),
        "{}",
        said(&bomb)
    );
}

#[test]
fn cells_that_share_a_long_text_or_are_blank_cost_little() {
    let none = Mapping::default();
    let begun = std::time::Instant::now();
    let blank = format!("<sst><si><t>{}</t></si></sst>", " ".repeat(32_767));
    let cells = |row: &str, times: usize| {
        let (row, begin) = (row.to_owned(), "<worksheet><sheetData>".to_owned());
        parts_with(&blank, &mut [begin].into_iter().chain((0..times).map(|_| row.clone())))
    };
    let shared = format!("<row>{}</row>", "<c t='s'><v>0</v></c>".repeat(1_000));
    let many = cells(&shared, 3_001);
    assert!(many.len() < MAX_FILE && refused(&many, &none).contains("more than 3000000 cells"));
    let coloured = format!("<row>{}</row>", "<c/>".repeat(16_385));
    assert!(refused(&cells(&coloured, 1), &none).contains("more than 16384 cells"));
    let rows = "<row/>".repeat(1_024);
    assert!(refused(&cells(&rows, 1_025), &none).contains("more than 1048576 rows"));
    let tag = format!("<row a='{}'/>", " ".repeat(2_000_000));
    assert!(refused(&cells(&tag, 1), &none).contains("longer than 1 MiB"));
    // Copying the text for each cell would take minutes.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    // What is blank in the texts is blank in the cells, and ends are cut.
    let texts = "<sst><si><t> id </t></si><si><t>  </t></si><si><t> a-1 </t></si></sst>";
    let few = "<worksheet><sheetData><row><c t='s'><v>0</v></c></row><row><c t='s'><v>1</v></c></row><row><c t='s'><v>2</v></c></row></sheetData></worksheet>";
    let rows = read(&parts_with(texts, &mut [few.to_owned()].into_iter()), &none).expect("a record");
    assert_eq!(rows.iter().map(|row| row.id.as_deref()).collect::<Vec<_>>(), [Some("a-1")]);
}

/// The report of a record in a window without messages, as JSON and as CSV.
fn alone(record: &str) -> (serde_json::Value, String) {
    let (rows, elsewhere) = (rows(record), BTreeMap::new());
    let both = Both {
        rows: &rows,
        messages: &[],
        elsewhere: &elsewhere,
        window: (None, time("2026-11-20T16:00:00Z")),
        tolerance: 600,
    };
    let found = find(&both, &pairs(&rows, &[], &elsewhere, 600).expect("few"));
    let report = Report::new("2026-11-20".parse().expect("a date"), &both, found, &BTreeMap::new());
    let json = serde_json::from_slice(&report.json().expect("JSON")).expect("JSON");
    (json, String::from_utf8(report.csv().expect("CSV")).expect("text"))
}

#[test]
fn what_is_not_listed_is_counted() {
    let lines = |n: usize| (0..n).map(|n| format!("a{n},p{n}\n")).collect::<String>();
    let (json, csv) = alone(&format!("id,programme\n{}", lines(1_000)));
    assert_eq!((&json["not_listed"], &json["sums_not_listed"]), (&0.into(), &0.into()));
    assert!(csv.lines().count() == 1_001 && !csv.contains("not_listed"));
    let (json, csv) = alone(&format!("id,programme\n{}", lines(1_234)));
    assert_eq!((&json["not_listed"], &json["sums_not_listed"]), (&234.into(), &234.into()));
    assert_eq!(json["sums"].as_array().map(Vec::len), Some(1_000));
    let last = csv.lines().last().expect("a row");
    assert!(
        csv.lines().count() == 1_002 && last.starts_with("not_listed,,234 more findings"),
        "{last}"
    );
}

fn message(seq: i64, id: &str, member: &str, points: &str, at: &str) -> Message {
    Message {
        seq,
        id: id.into(),
        kind: "earn".into(),
        member: Some(member.into()),
        programme: Some("YUU".into()),
        points: Some(amount(points)),
        reversed: None,
        amount: Some((amount("1.234567"), Currency::new("HKD").expect("a currency"))),
        at: time(at),
        code: None,
    }
}

/// The findings of a record as `line reason` or, of messages, `#number reason`.
fn findings(record: &str, messages: &[Message], elsewhere: &BTreeMap<String, Elsewhere>) -> (Vec<String>, usize) {
    let rows = rows(record);
    let both = Both {
        rows: &rows,
        messages,
        elsewhere,
        window: (Some(time("2026-11-20T00:00:00Z")), time("2026-11-20T16:00:00Z")),
        tolerance: 600,
    };
    let pairs = pairs(&rows, messages, elsewhere, 600).expect("few");
    let (found, matched) = find(&both, &pairs);
    let one = |found: &Found| {
        let who = found.row.map_or_else(
            || format!("#{}", messages[found.message.expect("of either")].seq),
            |row| rows[row].line.to_string(),
        );
        format!("{who} {} {}", found.kind.as_str(), found.reason.as_str())
    };
    let all = found.iter().map(one).collect();
    let report = Report::new("2026-11-20".parse().expect("a date"), &both, (found, matched), &BTreeMap::new());
    assert!(report.json().is_ok() && report.csv().is_ok());
    (all, matched)
}

const RECORD: &str = "id,member,points,amount,time\n\
        same,same,100,1.234567,\n\
        points,points,90,1.234567,\n\
        scaled,scaled,1,,\n\
        rounded,rounded,100,1.23,\n\
        left,left,60,,\n\
        no,no,100,,\n\
        again,again,100,,2026-11-20T08:00:01Z\n\
        till-7,other,100,,2026-11-20T08:09:00Z\n\
        sale,sale,100,,2026-11-20T08:00:00Z\n\
        same,same,100,1.234567,\n\
        ,without,100,,2026-11-20T08:00:02Z\n\
        ,without,100,,2026-11-20T08:00:09Z\n\
        yesterday,x,1,,\n\
        never,x,1,,2026-11-20T09:00:00Z\n\
        early,x,1,,2026-11-20T00:59:00Z\n\
        gone,x,1,,2026-11-21T09:00:00Z\n";
const EXPECTED: [&str; 17] = [
    "3 different differs",
    "4 different scaled",
    "5 different rounded",
    "6 different reversed",
    "7 missing_here rejected",
    "8 different sent_again",
    "9 different other_id",
    "11 doubled id_twice",
    "13 doubled recorded_twice",
    "14 missing_here other_window",
    "15 missing_here never_arrived",
    "16 missing_here near_cut_off",
    "17 missing_here outside_window",
    "#10 doubled sent_twice",
    "#11 missing_there reversal",
    "#12 missing_there near_cut_off",
    "#13 missing_there not_recorded",
];

#[test]
fn each_finding_has_its_reason() {
    let at = "2026-11-20T08:00:00Z";
    let mut messages: Vec<Message> = (1..)
        .zip([
            "same",
            "points",
            "scaled",
            "rounded",
            "left",
            "no",
            "again",
            "other",
            "sale",
            "sale-again",
            "refund",
            "late",
            "lost",
        ])
        .map(|(seq, id)| message(seq, id, id, "100", at))
        .collect();
    messages[4].reversed = Some(amount("40"));
    for rejected in [5, 6] {
        messages[rejected] = Message {
            code: Some("limit_per_message".into()),
            member: None,
            points: None,
            ..messages[rejected].clone()
        };
    }
    messages[9].member = Some("sale".into());
    messages[10].kind = "reverse".into();
    messages[11].at = time("2026-11-20T15:30:00Z");
    messages.push(message(20, "again-2", "again", "100", at));
    messages.push(message(21, "their-own", "without", "100", at));
    let elsewhere = BTreeMap::from([(
        "yesterday".to_owned(),
        Elsewhere {
            seq: 0,
            window: "2026-11-19".parse().expect("a date"),
            code: None,
        },
    )]);
    assert_eq!(findings(RECORD, &messages, &elsewhere), (EXPECTED.map(str::to_owned).to_vec(), 3));
}

/// Random numbers that a seed gives again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Who is whose, one pair after the other: the nearest of all that are left, found by looking at every one.
fn slowly(rows: &[Row], messages: &[Message], tolerance: i64) -> BTreeMap<usize, usize> {
    let mut whose = BTreeMap::new();
    let first = |place: usize| !rows[..place].iter().any(|row| row.id.is_some() && row.id == rows[place].id);
    for (place, row) in rows.iter().enumerate().filter(|(place, _)| first(*place)) {
        if let Some(message) = messages.iter().position(|message| Some(&message.id) == row.id.as_ref()) {
            whose.insert(place, message);
        }
    }
    let by_id = whose.clone();
    whose.retain(|_, message| messages[*message].code.is_none());
    loop {
        let mut nearest: Option<(i64, usize, usize)> = None;
        for (place, row) in rows
            .iter()
            .enumerate()
            .filter(|(place, _)| first(*place) && !whose.contains_key(place))
        {
            for (other, message) in messages.iter().enumerate() {
                let is_free = message.code.is_none() && whose.values().chain(by_id.values()).all(|taken| *taken != other);
                let Some(at) = row.at else { continue };
                let apart = (at.as_microsecond() - message.at.as_microsecond()).abs();
                let says = row.member.is_some() && row.member == message.member && row.points.is_some() && row.points == message.points;
                if is_free && says && apart <= tolerance * 1_000_000 && nearest.is_none_or(|best| (apart, place, other) < best) {
                    nearest = Some((apart, place, other));
                }
            }
        }
        let Some((_, row, message)) = nearest else { return whose };
        whose.insert(row, message);
    }
}

#[test]
fn pairs_are_those_of_a_slow_search() {
    let first = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    for seed in first..first + 2_000 {
        let mut dice = Dice(seed);
        let start = time("2026-11-20T08:00:00Z");
        let mut messages = vec![];
        for seq in 0..dice.below(12) {
            let (member, points) = (dice.below(2).to_string(), (1 + dice.below(2)).to_string());
            messages.push(Message {
                code: (dice.below(6) == 0).then(|| "no_agreement".into()),
                at: start + (dice.below(900) as i64).seconds(),
                ..message(seq as i64, &format!("m{seq}"), &member, &points, "2026-11-20T08:00:00Z")
            });
        }
        let rows: Vec<Row> = (0..dice.below(12))
            .map(|line| Row {
                line,
                id: (dice.below(2) == 0).then(|| format!("m{}", dice.below(14)).into()),
                member: (dice.below(8) > 0).then(|| dice.below(2).to_string().into()),
                points: (dice.below(8) > 0).then(|| amount(&(1 + dice.below(2)).to_string())),
                at: (dice.below(8) > 0).then(|| start + (dice.below(900) as i64).seconds()),
                ..Row::default()
            })
            .collect();
        let tolerance = dice.below(600) as i64;
        let found = pairs(&rows, &messages, &BTreeMap::new(), tolerance).expect("few");
        let of_row = |place: usize| {
            let by_id = found.by_id[place].filter(|message| messages[*message].code.is_none());
            by_id.or(found.near[place]).map(|message| (place, message))
        };
        let fast: BTreeMap<usize, usize> = (0..rows.len()).filter_map(of_row).collect();
        assert_eq!(fast, slowly(&rows, &messages, tolerance), "seed {seed}: {rows:?} {messages:?}");
    }
}

#[test]
fn very_many_alike_are_refused() {
    let messages: Vec<Message> = (0..2_000)
        .map(|seq| message(seq, &seq.to_string(), "m", "1", "2026-11-20T08:00:00Z"))
        .collect();
    let row = Row {
        member: Some("m".into()),
        points: Some(amount("1")),
        at: Some(time("2026-11-20T08:00:00Z")),
        ..Row::default()
    };
    assert_eq!(
        pairs(&vec![row; 2_000], &messages, &BTreeMap::new(), 600),
        Err(RecordError::TooAlike)
    );
}
