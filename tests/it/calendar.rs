//! When windows end: the calendar changes by two people, from a window that hasn't opened.

use jiff::ToSpan;
use jiff::civil::Date;
use migrations::each_backend;
use partner_sdk::Code;
use partner_sdk::calendar::{CalendarTerms, Weekday};
use partner_sdk::change::Change;
use partner_sdk::client::Client;
use tests::office::{Office, code_of};
use tests::{Backend, World, earn, on_both};

on_both!(
    holidays_and_cut_off_change_from_a_window_that_has_not_opened,
    what_would_touch_an_open_window_is_refused,
    the_zone_of_the_members_day_changes_with_it,
    a_calendar_without_a_document_is_found,
);

const POOL: &str = include_str!("networks/pool.toml");

fn date(text: &str) -> Date {
    text.parse().expect("a date")
}

fn calendar(first: &str, zone: &str, cut_off: &str, holidays: &[&str]) -> Change {
    Change::Calendar(CalendarTerms {
        first_date: date(first),
        zone: zone.into(),
        cut_off: cut_off.into(),
        holidays: holidays.iter().map(|day| date(day)).collect(),
        closed_weekdays: vec![],
    })
}

fn open_window(world: &World) -> (String, String) {
    let mut conn = world.sandbox.database().expect("a connection");
    let window = settlement::open_window(&mut conn).expect("an open window");
    (window.business_date.to_string(), window.cut_off_at.to_string())
}

fn holidays_and_cut_off_change_from_a_window_that_has_not_opened(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let before = open_window(&world);
    assert_eq!(before, ("2026-11-20".into(), "2026-11-20T16:00:00Z".into()));
    let change = calendar("2026-11-21", "Asia/Hong_Kong", "18:00", &["2026-11-22"]);
    let done = office.change(&world.sandbox, change).expect("two agree");
    // Everybody is told, and the open window ends as it would have.
    let client: Client = world.client("ikea");
    let events = world.runtime.block_on(client.events(0, std::time::Duration::ZERO)).expect("events");
    let told = events.iter().find(|event| event.kind == "calendar.changed").expect("told");
    assert_eq!(
        (told.subject.as_str(), told.fact("change")),
        ("2026-11-21", Some(done.hash.as_str()))
    );
    assert_eq!(told.fact("cut_off"), Some("18:00"));
    assert_eq!(open_window(&world), before);
    world.post("wellcome", earn("YUU", "m1", "5")).expect("accepted");
    world.close();
    assert_eq!(open_window(&world), ("2026-11-21".into(), "2026-11-21T10:00:00Z".into()));
    world.close();
    // The 22nd has no window: what is posted then is the 23rd's.
    assert_eq!(open_window(&world), ("2026-11-23".into(), "2026-11-23T10:00:00Z".into()));
    // A typing error is put right before it counts: what is approved last holds from its first date on.
    let wrong = calendar("2026-11-25", "Asia/Hong_Kong", "06:00", &[]);
    office.change(&world.sandbox, wrong).expect("possible");
    let right = calendar("2026-11-25", "Asia/Hong_Kong", "16:00", &[]);
    office.change(&world.sandbox, right).expect("possible");
    world.close();
    assert_eq!(open_window(&world), ("2026-11-24".into(), "2026-11-24T10:00:00Z".into()));
    world.close();
    assert_eq!(open_window(&world), ("2026-11-25".into(), "2026-11-25T08:00:00Z".into()));
    // Windows are a function of the documents: caught up at once they are the same.
    world.wait(72.hours());
    world.close();
    assert_eq!(open_window(&world).1, "2026-11-28T08:00:00Z");
}

fn what_would_touch_an_open_window_is_refused(backend: Backend) {
    let world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    let refused = |change| match office.propose(&world.sandbox, &office.first, change) {
        Err(clearing::documents::Fault::Refused(problem)) => (problem.code, problem.field.clone().unwrap_or_default()),
        other => panic!("{:?}", other.map(drop)),
    };
    let bad = |field: &str| (Code::BadTerms, field.to_owned());
    assert_eq!(refused(calendar("2026-11-20", "Asia/Hong_Kong", "18:00", &[])), bad("first_date"));
    assert_eq!(refused(calendar("2026-11-21", "Asia/Atlantis", "18:00", &[])), bad("zone"));
    assert_eq!(refused(calendar("2026-11-21", "Asia/Hong_Kong", "00:00", &[])), bad("cut_off"));
    // 21 November in Kiritimati is over before the 20th is in Hong Kong.
    assert_eq!(
        refused(calendar("2026-11-21", "Pacific/Kiritimati", "00:01", &[])),
        bad("first_date")
    );
    let Change::Calendar(terms) = calendar("2026-11-21", "UTC", "24:00", &[]) else {
        unreachable!()
    };
    use Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
    let never = CalendarTerms {
        closed_weekdays: vec![Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday],
        ..terms
    };
    assert_eq!(refused(Change::Calendar(never)), bad("closed_weekdays"));
    // Proposed in time, approved when the window is open, or is due and nobody has come to open it.
    let change = calendar("2026-11-21", "Asia/Hong_Kong", "18:00", &[]);
    let proposed = office.propose(&world.sandbox, &office.first, change).expect("in time");
    world.wait(18.hours());
    let late = office.approve_change(&world.sandbox, &office.second, &proposed);
    assert_eq!(code_of(late).err(), Some(Code::BadTerms));
    assert_eq!(open_window(&world).0, "2026-11-20");
}

fn the_zone_of_the_members_day_changes_with_it(backend: Backend) {
    assert!(POOL.contains("expires_after = \"1 day\""));
    let mut world = World::new(backend, POOL);
    let office = Office::found(&world.sandbox);
    // From the end of the window of the 20th on, days are those of London: eight hours later than Hong Kong's.
    let change = calendar("2026-11-21", "Europe/London", "24:00", &[]);
    office.change(&world.sandbox, change).expect("two agree");
    world.post("wellcome", earn("YUU", "m1", "5")).expect("accepted");
    world.close();
    world.post("wellcome", earn("YUU", "m2", "7")).expect("accepted");
    use diesel::prelude::*;
    use migrations::schema::lot;
    let mut conn = world.sandbox.database().expect("a connection");
    let query = lot::table.select(lot::expires_at).order(lot::seq);
    let ends: Vec<i64> = each_backend!(&mut conn, |c| query.load(c)).expect("lots");
    let ends: Vec<String> = ends.into_iter().map(|at| ledger::timestamp(at).to_string()).collect();
    // The second was earned at 16:00Z on the 20th, which is still the 20th in London.
    assert_eq!(ends, ["2026-11-21T16:00:00Z", "2026-11-22T00:00:00Z"]);
}

fn a_calendar_without_a_document_is_found(backend: Backend) {
    let world = World::new(backend, POOL);
    let mut conn = world.sandbox.database().expect("a connection");
    let Change::Calendar(terms) = calendar("2026-12-01", "UTC", "24:00", &[]) else {
        unreachable!()
    };
    settlement::add_calendar(&mut conn, terms.first_date, &terms.calendar(), "").expect("slipped in");
    assert_eq!(
        world.check_trail(),
        ["calendar 2 (from 2026-12-01) is in force, and no signed document says so"]
    );
    use diesel::prelude::*;
    use migrations::schema::calendar;
    each_backend!(&mut conn, |c| diesel::delete(calendar::table.find(2)).execute(c)).expect("removed");
}
