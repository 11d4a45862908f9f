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

#[test]
fn one_address_leaves_room_for_the_others() {
    let shares = Shares::new(&limits(), 5);
    let visits: Vec<_> = (0..2).map(|_| shares.knock(address("127.0.0.2")).expect("its share")).collect();
    assert_eq!(shares.knock(address("127.0.0.2")).err(), Some(Closed::Address));
    assert!(shares.knock(address("127.0.0.3")).is_ok());
    // Written in another way it is the same address, and a network of 64 bits is one.
    assert_eq!(shares.knock(address("::ffff:127.0.0.2")).err(), Some(Closed::Address));
    let _v6 = [shares.knock(address("2001:db8::1")), shares.knock(address("2001:db8::2"))];
    assert_eq!(shares.knock(address("2001:db8::3")).err(), Some(Closed::Address));
    let _fifth = shares.knock(address("127.0.0.4")).expect("the last of all");
    assert_eq!(shares.knock(address("127.0.0.5")).err(), Some(Closed::Full));
    drop(visits);
    assert!(shares.knock(address("127.0.0.2")).is_ok(), "what was given back is there again");
}

#[test]
fn where_whoever_comes_is_taken_an_address_has_a_quarter() {
    let shares = Shares::new(
        &Limits {
            handshakes: 100,
            handshakes_per_second: 0,
            ..limits()
        },
        5,
    );
    let apart = shares.apart(8);
    // What has a seat counts until it ends, as what shakes hands does.
    let seated = apart.knock(address("127.0.0.2")).expect("room").enter();
    let _visit = apart.knock(address("127.0.0.2")).expect("room");
    assert_eq!(apart.knock(address("127.0.0.2")).err(), Some(Closed::Address));
    assert!(apart.knock(address("127.0.0.3")).is_ok());
    drop(seated);
    assert!(apart.knock(address("127.0.0.2")).is_ok());
}

#[test]
fn a_partner_s_requests_are_counted_at_once_and_a_second() {
    let shares = Shares::new(&limits(), 5);
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
