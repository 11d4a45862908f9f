//! Who may read a member's balance: the issuer, a partner with an agreement in force, and any other for members that it has dealings with.

use jiff::Span;
use partner_sdk::client::ClientError;
use partner_sdk::{Code, PartnerId};
use tests::{Backend, World, authorise, burn, earn, on_both};

const POOL: &str = include_str!("networks/pool.toml");

on_both!(balances_are_read_under_an_agreement_or_for_ones_own_members);

fn balances_are_read_under_an_agreement_or_for_ones_own_members(backend: Backend) {
    // Wellcome's and IKEA's agreements end on the next day; Hang Seng's begins a month later.
    let network = POOL.replace("expires_after = \"1 day\"", "expires_after = \"1 year\"");
    let ends = "valid_from = \"2026-01-01T00:00:00Z\"\nvalid_until = \"2026-11-21T02:00:00Z\"";
    let parts: Vec<String> = network
        .split("[[agreement]]")
        .map(|part| {
            let begins = if part.contains("hangseng") && part.contains("price") {
                "valid_from = \"2026-12-20T00:00:00Z\""
            } else {
                ends
            };
            part.replace("valid_from = \"2026-01-01T00:00:00Z\"", begins)
        })
        .collect();
    let mut world = World::new(backend, &parts.join("[[agreement]]"));
    world.post("wellcome", earn("YUU", "m1", "100")).expect("accepted");
    world.post("wellcome", earn("YUU", "m2", "100")).expect("accepted");
    let read = |world: &World, partner: &str, member: &str| {
        let path = format!("/v1/accounts/YUU/{member}");
        let read = world.runtime.block_on(world.client(partner).get::<serde_json::Value>(&path));
        read.map(|answer| answer["balance"].as_str().expect("a balance").to_owned())
            .map_err(|error| match error {
                ClientError::Refused(problem) => problem.code,
                other => panic!("{other}"),
            })
    };
    let (hundred, none, forbidden) = (Ok("100".to_owned()), Ok("0".to_owned()), Err(Code::Forbidden));
    for partner in ["pool", "wellcome", "ikea"] {
        assert_eq!(read(&world, partner, "m1"), hundred, "{partner}");
        assert_eq!(read(&world, partner, "m9"), none, "{partner}: a member that was never seen");
    }
    assert_eq!(read(&world, "hangseng", "m1"), forbidden, "its agreement hasn't begun");
    assert_eq!(
        read(&world, "hangseng", "m9"),
        forbidden,
        "nor does it learn whether there is such a member"
    );
    // IKEA holds points of m2 beyond the end of its agreement, and Wellcome's earn of m1 is spent.
    world.wait(Span::new().hours(23).minutes(30));
    world.post("ikea", authorise("YUU", "m2", "10")).expect("held");
    world.post("ikea", burn("YUU", "m1", "100")).expect("burned");
    world.wait(Span::new().minutes(45));
    assert_eq!(read(&world, "pool", "m1"), none, "the issuer reads all");
    assert_eq!(read(&world, "wellcome", "m2"), hundred, "it has paid for these points");
    assert_eq!(read(&world, "wellcome", "m1"), forbidden, "nothing of its is left");
    assert_eq!(read(&world, "ikea", "m2"), hundred, "it holds some of them");
    assert_eq!(read(&world, "ikea", "m1"), forbidden);
    world.wait(Span::new().hours(1));
    assert_eq!(read(&world, "ikea", "m2"), forbidden, "its hold is over");
    world.wait(Span::new().hours(24 * 35));
    let hangseng: PartnerId = "hangseng".parse().expect("a partner");
    assert_eq!(read(&world, hangseng.as_str(), "m1"), none, "now its agreement is in force");
}
