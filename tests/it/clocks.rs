//! Time never runs back against the numbers, and a clock that jumps closes no month of windows by itself.

use std::sync::{Arc, Barrier};

use diesel::prelude::*;
use jiff::ToSpan;
use migrations::schema::head;
use migrations::{DbError, each_backend};
use partner_sdk::Code;
use store::{self, Unready};
use tests::{Backend, World, burn, earn, on_both};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(
    time_does_not_run_back,
    a_clock_that_jumps_ahead_stops_and_asks,
    the_clock_is_read_after_the_lock,
);

fn time_does_not_run_back(backend: Backend) {
    let mut world = World::new(backend, POOL);
    let first = world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    // Clocks of several machines differ a little: the entry takes the time of the one before it.
    world.wait(-800.milliseconds());
    let second = world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    assert_eq!(
        (second.sequence, second.posted_at),
        (first.sequence.map(|n| n + 1), first.posted_at)
    );
    world.wait(-300.milliseconds());
    let message = world.message("wellcome", earn("YUU", "m1", "100"));
    assert_eq!(world.send(&message), Err(Code::ClockBehind));
    assert_eq!(world.points("ikea", "YUU", "m1"), "200");
    // Once the clock is right, the same bytes are taken.
    world.wait(1.seconds());
    world.send(&message).expect("accepted");
}

fn a_clock_that_jumps_ahead_stops_and_asks(backend: Backend) {
    let mut world = World::new(backend, POOL);
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    // A sandbox's clock may jump; to the service that runs, this one is none any more.
    let mut conn = world.sandbox.database().expect("a connection");
    let none = |sandbox: bool| head::sandbox.eq(sandbox);
    each_backend!(&mut conn, |c| diesel::update(head::table).set(none(false)).execute(c)).expect("set");
    // Seven days at once are a long weekend and its night, eight are taken for a fault.
    world.at("2026-11-27T23:59+08");
    let open = |world: &World| {
        let mut conn = world.sandbox.database().expect("a connection");
        settlement::open_window(&mut conn).expect("open").business_date.to_string()
    };
    world.at("2026-11-28T10:00+08");
    let message = world.message("wellcome", earn("YUU", "m1", "100"));
    assert_eq!(world.send(&message), Err(Code::WindowsOverdue));
    let error = world.sandbox.close_due().expect_err("the night doesn't either");
    assert!(format!("{error:#}").contains("--catch-up"), "{error:#}");
    assert_eq!(open(&world), "2026-11-20");
    world.at("2026-11-27T10:00+08");
    world.post("wellcome", earn("YUU", "m1", "100")).expect("seven close");
    assert_eq!(open(&world), "2026-11-27");
    each_backend!(&mut conn, |c| diesel::update(head::table).set(none(true)).execute(c)).expect("set back");
    world.at("2026-12-27T10:00+08");
    assert_eq!(world.post("ikea", burn("YUU", "m1", "1")), Err(Code::InsufficientBalance));
    assert_eq!(open(&world), "2026-12-27");
}

fn the_clock_is_read_after_the_lock(backend: Backend) {
    let world = World::new(backend, POOL);
    let mut conn = world.sandbox.database().expect("a connection");
    let directory = Arc::new(store::load_directory(&mut conn).expect("a directory"));
    let (clock, now) = (world.sandbox.clock.clone(), world.now());
    let started = Arc::new(Barrier::new(2));
    let waiter = {
        let (mut conn, started) = (world.sandbox.database().expect("a connection"), started.clone());
        move || {
            started.wait();
            let set = conn.transaction(|conn| store::load(conn, &directory, &[], || clock.now().as_microsecond()));
            set.map_err(|e: Unready| e.to_string()).expect("loaded").now
        }
    };
    let waiter = conn
        .transaction(|conn| -> Result<_, DbError> {
            store::lock_head(conn)?;
            let waiter = std::thread::spawn(waiter);
            started.wait();
            world.wait(90.seconds());
            Ok(waiter)
        })
        .expect("committed");
    let seen = waiter.join().expect("no panic");
    assert_eq!(
        seen - now.as_microsecond(),
        90_000_000,
        "whoever waits for the lock posts at the time at which it has it"
    );
}
