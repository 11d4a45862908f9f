//! What is refused is told plainly: what is wrong, and what is allowed. And what is too long to be meant isn't taken.

use clearing::office::pki;
use partner_sdk::client::ClientError;
use partner_sdk::text::MAX_NAME;
use partner_sdk::wire::keys::Reason;
use partner_sdk::{Code, Problem};
use tests::raw::Raw;
use tests::{Backend, World, on_both};

use super::command::{FOUNDING, House, suspend};

on_both!(
    refusals_say_what_is_allowed,
    addresses_take_no_other_parameters,
    a_life_of_points_ends,
    names_and_reasons_are_as_long_as_it_says,
);

fn cap(amount: &str) -> String {
    format!("reason = \"grows\"\n[change.cap]\npartner = \"grocer\"\ncurrency = \"HKD\"\namount = \"{amount}\"\n")
}

fn refusals_say_what_is_allowed(backend: Backend) {
    let house = House::founded(backend);
    let status = "[change.status]\npartner = \"grocer\"\nstatus = \"suspended\"\n";
    for (draft, told) in [
        (cap("1000000000000000000"), "too large: at most 18 digits before the point"),
        (cap("0.00550000"), "too fine: at most 6 decimals"),
        (
            cap("05"),
            "not an amount: 1 to 18 digits without a zero before them, then at most 6 decimals",
        ),
        (
            "reason = \"none\"\n".to_owned(),
            "the file states 0 changes, and a proposal is of one",
        ),
        (
            "reason = \"none\"\n[change]\n".to_owned(),
            "the file states 0 changes, and a proposal is of one",
        ),
        (
            format!("{}{status}", cap("1")),
            "the file states 2 changes, and a proposal is of one",
        ),
    ] {
        let said = house.propose("ann", &draft).expect_err(&draft);
        assert!(said.contains(told), "{draft}: {said}");
        assert!(!said.contains("wanted exactly"), "{said}");
    }
    let hash = house.propose("ann", &suspend("late")).expect("proposed");
    let key = |name: &str| house.path(&format!("{name}.key"));
    let (ann, ben) = (key("ann"), key("ben"));
    house.works(&["approve", &hash, "--as", "ben", "--key", &ben]);
    let said = house.fails(&["withdraw", &hash, "--as", "ann", "--key", &ann]);
    assert!(
        said.contains("refused: document_state") && said.contains("the document is in_force: nothing more is done to it"),
        "{said}"
    );
}

fn refused(world: &World, path: &str) -> Problem {
    match world.runtime.block_on(world.client("ikea").get_text(path)) {
        Err(ClientError::Refused(problem)) => *problem,
        other => panic!("{path}: {other:?}"),
    }
}

fn addresses_take_no_other_parameters(backend: Backend) {
    let world = World::new(backend, include_str!("networks/pool.toml"));
    for path in [
        "/v1/positions",
        "/v1/prepaid",
        "/v1/accounts/YUU/m1",
        "/v1/statements/2026-11-20",
        "/v1/statements/2026-11-20/csv",
        "/v1/keys",
        "/v1/health",
        "/v1/rates/YUU/YUU",
        "/v1/exchanges/ikea/x",
        "/v1/agreements/0",
    ] {
        let problem = refused(&world, &format!("{path}?window=2026-11-20"));
        assert_eq!(
            (problem.code, problem.field.as_deref()),
            (Code::BadRequest, Some("window")),
            "{path}"
        );
        assert_eq!(problem.detail, "this address takes no parameters", "{path}");
    }
    let ikea = &world.sandbox.parties[&"ikea".parse().expect("a partner")].identity;
    for path in [
        "/v1/messages",
        "/v1/batches",
        "/v1/signed-batches",
        "/v1/agreements",
        "/v1/keys",
        "/v1/certificates",
        "/v1/revocations",
    ] {
        let mut raw = Raw::connect(&world.sandbox.base().expect("it runs"), ikea, 1).expect("a connection");
        let head = format!("POST {path}?window=2026-11-20 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx");
        raw.write(head.as_bytes()).expect("written");
        let answer = raw.read();
        assert!(answer.contains("this address takes no parameters"), "{path}: {answer}");
    }
    let problem = refused(&world, "/v1/accounts/NOPE/m1");
    assert_eq!(
        (problem.code, problem.field.as_deref()),
        (Code::UnknownProgramme, Some("programme"))
    );
    assert_eq!(
        problem.detail,
        "the network has no programme NOPE: name one that you issue or have an agreement in"
    );
}

fn a_life_of_points_ends(backend: Backend) {
    let house = House::new(backend, true);
    let with = |span: &str| house.write("network.toml", &FOUNDING.replace("12 months", span));
    for span in ["9000 years", "101 years", "100 years 1 day", "1201 months", "36526 days"] {
        let said = house.fails(&["network", "check", &with(span)]);
        assert!(
            said.contains("programme YUU: expires_after must be at most 100 years; leave it out for"),
            "{span}: {said}"
        );
    }
    for span in ["100 years", "1200 months", "36525 days"] {
        house.works(&["network", "check", &with(span)]);
    }
    let house = House::founded(backend);
    let programme =
        "reason = \"new\"\n[change.programme]\ncode = \"NEW\"\nissuer = \"pool\"\ncurrency = \"HKD\"\nexpires_after = \"9000 years\"\n";
    let said = house.propose("ann", programme).expect_err("never");
    assert!(said.contains("expires_after must be at most 100 years"), "{said}");
}

fn names_and_reasons_are_as_long_as_it_says(backend: Backend) {
    let house = House::founded(backend);
    let named = |name: &str, kid: &str| {
        let public = house.key(kid);
        format!("reason = \"new\"\n[change.person]\nname = \"{name}\"\nkid = \"{kid}\"\npublic_key = \"{public}\"\n")
    };
    house.propose("ann", &named(&"é".repeat(MAX_NAME), "long")).expect("a name");
    let said = house
        .propose("ann", &named(&"é".repeat(MAX_NAME + 1), "longer"))
        .expect_err("too long");
    assert!(said.contains("1 to 100 characters"), "{said}");
    assert!("x".repeat(500).parse::<Reason>().is_ok() && "x".repeat(501).parse::<Reason>().is_err());
}

/// A pipe that closed ends these as any other command, with what they make whole.
#[test]
fn a_closed_pipe_leaves_nothing_half_made() {
    let house = House::new(Backend::Sqlite, true);
    let (key, folder) = (house.path("zoe.key"), house.path("another"));
    for arguments in [&["person", "key", &key][..], &["init", &folder, "--sandbox"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let closed = house.command(arguments).stdout(writer).output().expect("it runs");
        assert_eq!(closed.status.code(), Some(141), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&closed.stderr), "", "{arguments:?}");
    }
    let secret = pki::read_secret(key.as_ref()).expect("a key");
    let kid = "zoe-1".parse().expect("a kid");
    partner_sdk::jws::SigningKey::from_base64url(kid, &secret).expect("a whole key");
    let config = format!("{folder}/clearing.toml");
    house.works(&["partner", "list", "--config", &config]);
}
