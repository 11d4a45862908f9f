//! Passwords and private keys: neither shown, nor taken from where others can read them.

use std::os::unix::fs::PermissionsExt;
use tests::Backend;
use tests::child::command;

use super::command::{House, suspend};
use super::install::PROGRAM;

#[test]
fn a_password_is_not_taken_from_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, url) = (
        folder.path().join("a"),
        "postgresql://clearing:s3cret@127.0.0.1:1/clearing?connect_timeout=2",
    );
    let path = path.to_string_lossy();
    let said = |arguments: &[&str], database: Option<&str>| {
        let output = command(PROGRAM, folder.path(), database).args(arguments).output().expect("it runs");
        assert!(!output.status.success(), "nobody listens there");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("s3cret"), "{said}");
        said
    };
    for arguments in [
        &["init", &path, "--database", url][..],
        &["bench", "--database", url],
        &["demo", "--database", url],
    ] {
        assert!(said(arguments, None).contains("PGPASSWORD"), "{arguments:?}");
    }
    // The other form that libpq takes would be the name of a file.
    let parameters = "host=127.0.0.1 user=clearing password=s3cret";
    assert!(said(&["init", &path], Some(parameters)).contains("write it as a URL"));
    assert!(said(&["init", &path, "--database", parameters], None).contains("write it as a URL"));
    assert!(!folder.path().join("a").exists(), "nothing was made");
    assert!(said(&["init", &path], Some(url)).contains("cannot connect to the database"));
    // A mistake in the URL that a configuration holds isn't told with the password in it.
    let house = House::new(Backend::Sqlite, true);
    let config = house.path("clearing.toml");
    for wrong in [
        "postgresql://u:s3cret@h:port/d",
        "postgresql://u:s3/cret@h/d",
        "postgresql://u:s3%cret@h/d",
        "host=h user=u password=s3cret",
    ] {
        let text = std::fs::read_to_string(&config).expect("there");
        let text: Vec<String> = text
            .lines()
            .map(|line| {
                if line.starts_with("database = ") {
                    format!("database = \"{wrong}\"")
                } else {
                    line.to_owned()
                }
            })
            .collect();
        std::fs::write(&config, text.join("\n")).expect("written");
        for arguments in [&["check"][..], &["serve", "--log-json"]] {
            let told = house.fails(arguments);
            assert!(!told.contains("s3") && !told.contains("cret"), "{told}");
        }
    }
}

#[test]
fn a_configuration_and_a_database_open_to_others_are_refused() {
    let house = House::founded(Backend::Sqlite);
    for (name, holds) in [("clearing.toml", "the database's password"), ("clearing.db", "members' data")] {
        let path = house.path(name);
        let mode = |bits| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).expect("set");
        for bits in [0o644, 0o604, 0o602, 0o601, 0o666] {
            mode(bits);
            for arguments in [&["partner", "list"][..], &["check"], &["serve"]] {
                let said = house.fails(arguments);
                assert!(
                    said.contains(&format!("{name} is open to others (its mode is {bits:04o})")),
                    "{said}"
                );
                assert!(said.contains(holds) && said.contains("chmod o-rwx "), "{said}");
            }
        }
        for bits in [0o660, 0o640, 0o600] {
            mode(bits);
            house.works(&["partner", "list"]);
        }
    }
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let house = House::founded(Backend::Sqlite);
    let hash = house.propose("ann", &suspend("late")).expect("proposed");
    let (ann, ben, draft) = (house.path("ann.key"), house.path("ben.key"), house.path("draft.toml"));
    let cases: [(&str, &[&str]); 4] = [
        ("ann.key", &["propose", &draft, "--as", "ann", "--key", &ann]),
        ("operator.key", &["approve", &hash, "--as", "ben", "--key", &ben]),
        ("server-ca.key", &["tls", "renew"]),
        ("server.key", &["serve"]),
    ];
    for (name, arguments) in cases {
        let path = house.path(name);
        let mode = |bits| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).expect("set");
        assert_eq!(
            std::fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o600,
            "{name} is written for its owner"
        );
        for bits in [0o644, 0o640, 0o604, 0o660] {
            mode(bits);
            let said = house.fails(arguments);
            assert!(
                said.contains(&format!("{name} is open to others (its mode is {bits:04o})")),
                "{said}"
            );
            assert!(said.contains("chmod 600"), "{said}");
        }
        mode(0o400);
        if name != "server.key" {
            house.works(arguments);
        }
        mode(0o600);
    }
}
