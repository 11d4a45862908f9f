use std::net::Ipv4Addr;
use std::task::{Context, Waker};

use futures_util::FutureExt;

use super::*;

fn id(text: &str) -> PartnerId {
    text.parse().expect("a partner")
}

fn limits() -> Limits {
    Limits {
        connections: 2,
        requests: 2,
        handshakes: 2,
        handshakes_per_second: 0,
        requests_per_second: 10,
        ..Limits::default()
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn gives_way(visit: &Visit) -> bool {
    let cx = &Context::from_waker(Waker::noop());
    visit.guest.poll_gives_way(cx).is_ready()
}

#[test]
fn a_newcomer_gets_in_and_of_its_address_the_first_silent_one_gives_way() {
    let shares = Shares::new(&limits(), 5, 8);
    let knock = |from: &str| shares.knock(address(from)).expect("a newcomer gets in");
    let (first, second, other) = (knock("127.0.0.2"), knock("127.0.0.2"), knock("127.0.0.3"));
    first.guest.heard();
    // Written in another way it is the same address.
    let third = knock("::ffff:127.0.0.2");
    assert!(gives_way(&second) && !gives_way(&first) && !gives_way(&other) && !gives_way(&third));
    assert_eq!(third.instead_of, Some(address("127.0.0.2")));
    drop((second, third));
    assert_eq!(knock("127.0.0.2").instead_of, None, "what was given back is there again");
    // A network of 64 bits is one.
    let v6 = ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(knock);
    assert_eq!([0, 1, 2].map(|no| gives_way(&v6[no])), [true, false, false]);
}

#[test]
fn in_a_full_room_the_address_that_has_most_makes_room_but_nobody_at_work() {
    let limits = Limits {
        handshakes: 100,
        ..limits()
    };
    let shares = Shares::new(&limits, 5, 10);
    let knock = |from: &str| shares.knock(address(from));
    let one = knock("127.0.0.2").expect("room");
    let many: Vec<_> = (0..9).map(|_| knock("127.0.0.3").expect("room")).collect();
    many[0].guest.heard();
    let new = knock("127.0.0.4").expect("a newcomer gets in");
    assert!(gives_way(&many[1]) && !gives_way(&many[0]) && !gives_way(&one));
    let next = knock("127.0.0.4").expect("a newcomer gets in");
    assert!(gives_way(&many[2]) && !gives_way(&one), "of the address that crowds");
    let all = many.iter().filter(|visit| !gives_way(visit)).chain([&one, &next, &new]);
    let links: Vec<_> = all.map(|visit| (visit, Link::apart())).collect();
    for (visit, link) in &links {
        link.begin();
        visit.guest.works(link);
    }
    assert_eq!(knock("127.0.0.5").err(), Some(Closed::Full), "all are at work");
    links.last().expect("the newcomer").1.end();
    assert!(knock("127.0.0.5").is_ok() && gives_way(&new), "it is answered");
    // Where whoever comes is taken, an address has a quarter.
    let apart = shares.apart(8);
    let visits = [0; 3].map(|_| apart.knock(address("127.0.0.2")).expect("a newcomer gets in"));
    assert_eq!([0, 1, 2].map(|no| gives_way(&visits[no])), [true, false, false]);
}

#[test]
fn neither_silence_nor_a_byte_each_takes_a_newcomer_s_time() {
    let shares = Shares::new(&limits(), 5, 10);
    let mut addresses = (1..).map(|no: u32| IpAddr::from(Ipv4Addr::from(0x7f01_0000 + no)));
    let mut crowd = vec![];
    let mut come = |speaks: bool, crowd: &mut Vec<Visit>| {
        let visit = shares.knock(addresses.next().expect("an address")).expect("a newcomer gets in");
        if speaks {
            visit.guest.heard();
        }
        crowd.push(visit);
    };
    for speaks in [true, false] {
        (0..20).for_each(|_| come(speaks, &mut crowd));
        let newcomer = shares.knock(address("10.0.0.1")).expect("room");
        (0..4).for_each(|_| come(speaks, &mut crowd));
        assert!(!gives_way(&newcomer), "before it speaks");
        newcomer.guest.heard();
        (0..4).for_each(|_| come(speaks, &mut crowd));
        assert!(!gives_way(&newcomer), "before it is heard out");
        (0..20).for_each(|_| come(true, &mut crowd));
        assert!(gives_way(&newcomer), "it had its time");
    }
}

#[tokio::test]
async fn an_answer_takes_memory_until_it_is_sent() {
    let limits = Limits { answer_mib: 2, ..limits() };
    let shares = Shares::new(&limits, 5, 8);
    let visit = shares.knock(address("127.0.0.2")).expect("room");
    let work = |partner: &str| Work::new(&shares.of(Some(&id(partner)), &visit), &shares);
    let (first, second) = (work("a"), work("a"));
    assert!(first.reserve(1 << 20).await && second.reserve(1 << 20).await);
    assert_eq!(work("a").reserve(1).now_or_never(), None, "it waits for the others");
    assert!(work("b").reserve(1 << 20).await, "another's share");
    // The answer is smaller than was thought, and its body is gone.
    assert_eq!(first.grow_to(1 << 20), Ok(()));
    first.settle(1 << 19);
    assert_eq!(first.body.get(), 0);
    assert!(work("a").reserve(1 << 19).await);
    drop(second);
    assert!(work("a").reserve(1 << 20).await, "it was sent");
    drop(first);
    assert!(work("a").reserve(1 << 30).await, "one answer is always possible");
}

#[test]
fn a_partner_s_requests_are_counted_at_once_and_a_second() {
    let shares = Shares::new(&limits(), 5, 8);
    let visit = shares.knock(address("127.0.0.2")).expect("room");
    let (own, other) = (shares.of(Some(&id("a")), &visit), shares.of(Some(&id("b")), &visit));
    let under_way = [own.request(), own.request()];
    assert_eq!(own.request().err(), Some(Duration::ZERO), "one too many");
    assert!(other.request().is_ok());
    drop(under_way);
    let wait = (0..30).find_map(|_| own.request().err()).expect("too many a second");
    assert!(!wait.is_zero() && wait <= Duration::from_millis(200), "{wait:?}");
    assert!(other.request().is_ok());
}

#[test]
fn a_rate_gives_back_what_time_brings() {
    let (rate, start) = (Rate::at_once(10, 20), Instant::now());
    assert_eq!(rate.take(20, start), Ok(()));
    assert_eq!(rate.take(1, start), Err(Duration::from_millis(100)));
    let later = start + Duration::from_millis(500);
    assert_eq!(rate.take(6, later), Err(Duration::from_millis(100)));
    assert_eq!(rate.take(5, later), Ok(()));
    assert!(!rate.is_full(later) && rate.is_full(later + Duration::from_secs(2)));
    // More than ever fits is taken where nothing was, and paid for afterwards.
    let much = later + Duration::from_secs(2);
    assert_eq!(rate.take(100, much), Ok(()));
    assert!(rate.take(1, much + Duration::from_secs(8)).is_err());
    assert_eq!(Rate::new(0, 1).take(u32::MAX, start), Ok(()), "0 is no bound");
}

#[test]
fn the_connection_that_is_idle_longest_makes_room() {
    let links = Links::new(2);
    let (first, second) = (links.add(None).expect("room"), links.add(None).expect("room"));
    first.begin();
    let third = links.add(None).expect("the second is idle");
    assert!(second.is_closing() && !first.is_closing());
    third.begin();
    assert!(links.add(None).is_none(), "all are at work");
    first.end();
    first.sending(true);
    assert!(links.add(None).is_none(), "its answer has to be taken yet");
    first.sending(false);
    assert!(links.add(None).is_some() && first.is_closing());
}

#[tokio::test]
async fn bodies_are_counted_by_partner_and_small_ones_always_fit() {
    let shares = Shares::new(
        &Limits {
            body_mib: 4,
            bodies_mib: 4,
            ..limits()
        },
        5,
        8,
    );
    let visit = shares.knock(address("127.0.0.2")).expect("room");
    let body = |partner: &str| Work::new(&shares.of(Some(&id(partner)), &visit), &shares);
    let large = body("a");
    assert_eq!(large.grow_to(3 << 20), Ok(()));
    assert_eq!(body("a").grow_to(2 << 20), Err(Full::Share));
    assert_eq!(body("b").grow_to(2 << 20), Err(Full::All));
    assert_eq!(large.grow_to(4 << 20), Ok(()));
    assert_eq!(body("b").grow_to(SMALL_BODY), Ok(()), "a message always fits");
    drop(large);
    assert_eq!(body("b").grow_to(2 << 20), Ok(()));
}
