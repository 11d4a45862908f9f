//! The command line, as people and scripts meet it: what it prints where, what it refuses and how, what waits for whom.

use std::fs::File;
use std::path::Path;
use std::process::{Output, Stdio};

use tests::Backend;
use tests::child::command;
use tests::on_both;

use super::install::PROGRAM;

/// What would forge a line, move a terminal, or make a text look like another.
const TRICKS: [&str; 8] = [
    "a\nb",
    "a\rb",
    "a\u{0}b",
    "a\u{1b}[2Jb",
    "a\u{202e}b",
    "a\u{2066}b",
    "a\u{200b}b",
    "a\u{9b}2Jb",
];

/// The same as escapes of a TOML string.
fn toml(text: &str) -> String {
    text.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect()
}

/// The figure in what `network show` printed.
pub(super) fn stands(shown: &str) -> String {
    let line = shown.lines().find_map(|line| line.strip_prefix("# the network as it stands: "));
    line.expect("a figure").to_owned()
}

/// A clearinghouse in a folder, on either database, driven by the real command.
pub(super) struct House {
    folder: tempfile::TempDir,
    database: Option<String>,
}

impl House {
    pub(super) fn new(backend: Backend, sandbox: bool) -> Self {
        let database = (backend == Backend::Postgres).then(|| backend.database());
        let folder = tempfile::tempdir().expect("a folder");
        let house = Self { folder, database };
        let path = house.path("");
        match sandbox {
            true => house.works(&["init", &path, "--sandbox"]),
            false => house.works(&["init", &path]),
        };
        house
    }

    /// One with a network and three people: Ann, Ben and Cid.
    pub(super) fn founded(backend: Backend) -> Self {
        let house = Self::new(backend, false);
        let file = house.write("founding.toml", FOUNDING);
        house.works(&["network", "apply", &file]);
        house.found(&["ann", "ben", "cid"]).expect("founded");
        house
    }

    /// These people found the network.
    pub(super) fn found(&self, names: &[&str]) -> Result<String, String> {
        self.found_as_seen(names, &self.stands())
    }

    /// The network as it stands, in one figure.
    pub(super) fn stands(&self) -> String {
        stands(&self.works(&["network", "show"]))
    }

    /// These people found the network that they have seen.
    pub(super) fn found_as_seen(&self, names: &[&str], seen: &str) -> Result<String, String> {
        let person = |name: &&str| {
            if !Path::new(&self.path(&format!("{name}.key"))).exists() {
                self.key(name);
            }
            format!("--person={name}:{}-1:{}", name.to_lowercase(), self.path(&format!("{name}.key")))
        };
        let people: Vec<String> = names.iter().map(person).collect();
        let all: Vec<&str> = ["network", "found", "--network", seen]
            .into_iter()
            .chain(people.iter().map(String::as_str))
            .collect();
        let output = self.run(&all);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        match output.status.success() {
            true => Ok(text(output.stdout)),
            false => Err(text(output.stderr)),
        }
    }

    /// Makes a person's key; returns its public half.
    pub(super) fn key(&self, name: &str) -> String {
        let said = self.works(&["person", "key", &self.path(&format!("{name}.key"))]);
        said.lines()
            .find_map(|line| line.strip_prefix("public key: "))
            .expect("a key")
            .to_owned()
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    pub(super) fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.path(name), text).expect("written");
        self.path(name)
    }

    pub(super) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = command(PROGRAM, self.folder.path(), self.database.as_deref());
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    pub(super) fn works(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }

    pub(super) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?} worked");
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        said
    }

    /// The same in a person's name.
    fn as_person<'a>(&self, name: &'a str, arguments: &[&'a str]) -> Result<String, String> {
        let key = self.path(&format!("{name}.key"));
        let all = [arguments, &["--as", name, "--key", &key]].concat();
        let output = self.run(&all);
        let text = |bytes| String::from_utf8(bytes).expect("text");
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }

    /// Proposes a change; returns the document's hash.
    pub(super) fn propose(&self, name: &str, draft: &str) -> Result<String, String> {
        let file = self.write("draft.toml", draft);
        let said = self.as_person(name, &["propose", &file])?;
        let hash = said
            .lines()
            .find_map(|line| line.strip_prefix("now another person: clearing approve "));
        Ok(hash.expect("a hash").to_owned())
    }
}

pub(super) const FOUNDING: &str = r#"
[calendar]
zone = "Asia/Hong_Kong"

[[partner]]
id = "pool"
name = "The pool"
net_debit_cap = { HKD = "500000" }
[[partner]]
id = "grocer"
name = "Grocer"

[[programme]]
code = "YUU"
issuer = "pool"
currency = "HKD"
expires_after = "12 months"
"#;

pub(super) fn suspend(reason: &str) -> String {
    format!("reason = \"{reason}\"\n[change.status]\npartner = \"grocer\"\nstatus = \"suspended\"\n")
}

on_both!(
    a_closed_pipe_and_a_full_device_are_no_panic,
    documents_say_what_they_are_about_and_wait_for_somebody,
    a_document_is_named_by_six_digits,
    a_decline_says_why,
    refusals_are_told_line_by_line,
    texts_from_outside_are_one_plain_line,
    names_are_told_apart_by_more_than_case,
    check_finds_what_apply_refuses,
    what_there_is_can_be_shown,
);

fn a_closed_pipe_and_a_full_device_are_no_panic(backend: Backend) {
    let house = House::founded(backend);
    house.propose("ann", &suspend("late")).expect("proposed");
    let hash = house.works(&["document", "list"]);
    let hash = hash.split_whitespace().next().expect("a hash");
    let commands: [&[&str]; 11] = [
        &["--help"],
        &["--version"],
        &["document", "list"],
        &["document", "show", hash],
        &["document", "inbox", "ben"],
        &["person", "list"],
        &["partner", "list"],
        &["network", "show"],
        &["events"],
        &["exchanges"],
        &["check"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let closed = house.command(arguments).stdout(writer).output().expect("it runs");
        assert_eq!(closed.status.code(), Some(141), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&closed.stderr), "", "{arguments:?}");
        let device = File::options().write(true).open("/dev/full").expect("a full device");
        let full = house.command(arguments).stdout(device).output().expect("it runs");
        let said = String::from_utf8_lossy(&full.stderr);
        assert_eq!(full.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(
            said.contains("cannot write the output: No space left on device"),
            "{arguments:?}: {said}"
        );
    }
    // What is done is done, whoever reads about it; and an error that can't be told is no panic either.
    let (key, device) = (house.path("ben.key"), || {
        File::options().write(true).open("/dev/full").expect("a full device")
    });
    let approve = ["approve", hash, "--as", "ben", "--key", &key];
    let full = house.command(&approve).stdout(device()).output().expect("it runs");
    let said = String::from_utf8_lossy(&full.stderr);
    assert!(!full.status.success() && said.contains("what was asked for is done"), "{said}");
    assert!(house.works(&["document", "list"]).contains("in_force"));
    let mute = house.command(&approve).stdout(device()).stderr(device()).status().expect("it runs");
    assert_eq!(mute.code(), Some(1));
}

fn documents_say_what_they_are_about_and_wait_for_somebody(backend: Backend) {
    let house = House::founded(backend);
    let first = house.propose("ann", &suspend("late")).expect("proposed");
    let cap = "reason = \"grows\"\n[change.cap]\npartner = \"grocer\"\ncurrency = \"HKD\"\namount = \"750\"\n";
    let second = house.propose("ben", cap).expect("proposed");
    let listed = house.works(&["document", "list"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(
        lines[0].starts_with(&second[..16]) && lines[1].starts_with(&first[..16]),
        "newest first: {listed}"
    );
    assert!(
        lines[0].contains("proposed  since 20")
            && lines[0].contains("by ben")
            && lines[0].contains("cap amount=750 currency=HKD partner=grocer"),
        "{listed}"
    );
    assert!(lines[1].contains("status partner=grocer status=suspended"), "{listed}");
    let one = house.works(&["document", "list", "--limit", "1"]);
    assert!(
        one.starts_with(&second[..16]) && one.contains("and 2 older ones: --limit 3"),
        "{one}"
    );
    let inbox = |name| house.works(&["document", "inbox", name]);
    assert!(
        inbox("ann").contains(&second[..16]) && !inbox("ann").contains(&first[..16]),
        "not one's own"
    );
    assert!(inbox("ben").contains(&first[..16]) && !inbox("ben").contains(&second[..16]));
    house.as_person("ben", &["approve", &first]).expect("approved");
    assert!(inbox("ben").contains("nothing waits for ben"));
    assert!(inbox("grocer").contains("nothing waits for grocer"));
    assert!(house.fails(&["document", "inbox", "zoe"]).contains("clearing person list"));
}

fn a_document_is_named_by_six_digits(backend: Backend) {
    let house = House::founded(backend);
    let hash = house.propose("ann", &suspend("late")).expect("proposed");
    let show = |hash: &str| house.fails(&["document", "show", hash]);
    assert!(
        show(&hash[..4]).contains("at least the first 6 digits") && show(&hash[..4]).contains("this has 4"),
        "{}",
        show(&hash[..4])
    );
    assert!(show("../etc").contains("hexadecimal"));
    assert!(show(&format!("{hash}0")).contains("hexadecimal"));
    let other = if hash.starts_with("000000") { "111111" } else { "000000" };
    assert!(show(other).contains("there is no document 000000") || show(other).contains("there is no document 111111"));
    for known in [&hash[..6], &hash[..6].to_uppercase(), &hash] {
        assert!(house.works(&["document", "show", known]).contains(&hash), "{known}");
    }
    let why = house.as_person("ben", &["approve", &hash[..4]]).expect_err("too short");
    assert!(why.contains("at least the first 6 digits"), "{why}");
}

fn a_decline_says_why(backend: Backend) {
    let house = House::founded(backend);
    let hash = house.propose("ann", &suspend("late")).expect("proposed");
    let why = house.as_person("ben", &["decline", &hash]).expect_err("without a reason");
    assert!(why.contains("--why"), "{why}");
    for empty in ["", " ", "a\nb", "a\u{1b}[2Jb"] {
        let why = house.as_person("ben", &["decline", &hash, "--why", empty]).expect_err("no reason");
        assert!(why.contains("must be 1 to 500 characters"), "{why}");
        assert!(!why.contains('\u{1b}'), "{why:?}");
    }
    house
        .as_person("ben", &["decline", &hash, "--why", "it has paid since"])
        .expect("declined");
    let shown = house.works(&["document", "show", &hash]);
    assert!(
        shown.contains("decline by ben at 20") && shown.contains(": it has paid since"),
        "{shown}"
    );
    let events = house.works(&["events"]);
    let line = events.lines().find(|line| line.contains("change.declined")).expect("an event");
    assert!(line.contains("by=ben reason=\"it has paid since\""), "{line}");
}

fn refusals_are_told_line_by_line(backend: Backend) {
    let house = House::founded(backend);
    let hash = house.propose("ann", &suspend("late")).expect("proposed");
    let said = house.as_person("ann", &["approve", &hash]).expect_err("four eyes");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "clearing: refused: four_eyes", "{said}");
    assert!(
        lines[1].starts_with("  detail: ") && lines[2].starts_with("  what to do: "),
        "{said}"
    );
    let nobody = "reason = \"late\"\n[change.status]\npartner = \"nobody\"\nstatus = \"suspended\"\n";
    let said = house.propose("ann", nobody).expect_err("nobody");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "clearing: refused: bad_terms", "{said}");
    assert!(
        lines[1].starts_with("  detail: there is no partner nobody")
            && lines[2] == "  field: partner"
            && lines[3].starts_with("  what to do: "),
        "{said}"
    );
}

fn texts_from_outside_are_one_plain_line(backend: Backend) {
    let house = House::founded(backend);
    for trick in TRICKS {
        let refused = house.propose("ann", &suspend(&toml(trick))).expect_err("a reason");
        assert!(refused.contains("must be 1 to 500 characters on one line"), "{refused}");
        assert!(!refused.contains(trick), "{refused:?}");
        let admit = format!("reason = \"new\"\n[change.admit]\npartner = \"cafe\"\nname = \"{}\"\n", toml(trick));
        assert!(
            house.propose("ann", &admit).expect_err("a name").contains("a name must be"),
            "{trick:?}"
        );
        let network = house.write("bad.toml", &FOUNDING.replace("\"Grocer\"", &format!("\"{}\"", toml(trick))));
        let said = house.fails(&["network", "check", &network]);
        assert!(said.contains("a name must be"), "{said}");
        assert!(!said.contains(trick), "{said:?}");
    }
    for empty in ["", "  "] {
        let refused = house.propose("ann", &suspend(empty)).expect_err("no reason");
        assert!(refused.contains("must be 1 to 500 characters"), "{refused}");
    }
    // Whatever stands in the database all the same is shown as an escape.
    let mut conn = migrations::Conn::open(&migrations::Url::new(match &house.database {
        Some(url) => url.clone(),
        None => house.path("clearing.db"),
    }))
    .expect("the database");
    {
        use diesel::prelude::*;
        let forged = "x\n9  2026-01-01T00:00:00Z  change.approved  00\u{1b}[2J\u{202e}";
        let query = diesel::update(migrations::schema::partner::table.find("grocer"));
        migrations::each_backend!(&mut conn, |c| query.set(migrations::schema::partner::name.eq(forged)).execute(c)).expect("written");
    }
    let said = house.works(&["partner", "list"]);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains(r"x\n9  2026") && said.contains(r"\u{1b}[2J\u{202e}"), "{said}");
    assert!(!house.works(&["network", "show"]).contains(['\u{1b}', '\u{202e}']));
}

fn names_are_told_apart_by_more_than_case(backend: Backend) {
    let house = House::new(backend, false);
    let file = house.write("founding.toml", FOUNDING);
    house.works(&["network", "apply", &file]);
    let said = house.found(&["zoe", "Zoe", "yan"]).expect_err("namesakes");
    assert!(said.contains("refused: bad_terms") && said.contains("field: people"), "{said}");
    house.found(&["ann", "ben", "cid"]).expect("founded");
    let admit = "reason = \"new\"\n[change.admit]\npartner = \"cafe\"\nname = \"the  POOL\"\n";
    assert!(house.propose("ann", admit).expect_err("a namesake").contains("pool has this name"));
    let person = |name| {
        let public = house.key(&format!("key-{}", name == "ANN"));
        format!("reason = \"new\"\n[change.person]\nname = \"{name}\"\nkid = \"x-1\"\npublic_key = \"{public}\"\n")
    };
    assert!(
        house
            .propose("ann", &person("ANN"))
            .expect_err("a namesake")
            .contains("field: name")
    );
    house.propose("ann", &person("dora")).expect("another");
}

fn check_finds_what_apply_refuses(backend: Backend) {
    let house = House::new(backend, true);
    let bad = FOUNDING
        .replace("issuer = \"pool\"", "issuer = \"pol\"")
        .replace("\"500000\"", "\"999999999999999999\"")
        + "[[programme]]\ncode = \"OLD\"\nissuer = \"grocer\"\ncurrency = \"HKD\"\nexpires_after = \"36 hours\"\n\
           [[agreement]]\nkind = \"earn\"\npartner = \"nobody\"\nprogramme = \"YUU\"\nprice = \"0.0055\"\ncurrency = \"HKD\"\nvalid_from = \"2026-01-01T00:00:00Z\"\n";
    let bad = house.write("bad.toml", &bad);
    let all = [
        "partner pool: net_debit_cap",
        "`issuer` names no partner: pol",
        "must be days, weeks, months or years above zero",
        "names no partner: nobody",
    ];
    for command in ["check", "apply"] {
        let said = house.fails(&["network", command, &bad]);
        for fault in all {
            assert!(said.contains(fault), "{command}: {fault} is missing: {said}");
        }
        assert!(said.lines().count() > all.len(), "a line each: {said}");
    }
    assert_eq!(house.works(&["partner", "list"]), "", "nothing has changed");
    let good = house.write("good.toml", FOUNDING);
    let said = house.works(&["network", "check", &good]);
    assert!(said.starts_with("2 partners, 1 programme, 0 agreements, 0 rates: "), "{said}");
    assert_eq!(house.works(&["partner", "list"]), "", "a check changes nothing");
    house.works(&["network", "apply", &good]);
    // What is there already counts too.
    let other = house.write("other.toml", &FOUNDING.replace("12 months", "13 months"));
    for command in ["check", "apply"] {
        assert!(
            house
                .fails(&["network", command, &other])
                .contains("the rules of a programme in use can't change")
        );
    }
    let twice = [
        ("id = \"grocer\"", "id = \"pool\"", "partner id `pool` stands twice"),
        ("\"Grocer\"", "\"THE POOL\"", "partner grocer: another has the name"),
    ];
    for (one, other, why) in twice {
        let file = house.write("twice.toml", &FOUNDING.replace(one, other));
        for command in ["check", "apply"] {
            assert!(house.fails(&["network", command, &file]).contains(why), "{why}");
        }
    }
    let again = FOUNDING.split_once("[[programme]]").expect("programmes last").1;
    let file = house.write("twice.toml", &format!("{FOUNDING}\n[[programme]]{again}"));
    assert!(house.fails(&["network", "check", &file]).contains("programme `YUU` stands twice"));
    for span in ["36 hours", "1 day 1 hour", "-1 month", "0 days", "PT36H", "soon"] {
        let file = house.write("span.toml", &FOUNDING.replace("\"YUU\"", "\"NEW\"").replace("12 months", span));
        assert!(house.fails(&["network", "check", &file]).contains("such as `90 days`"), "{span}");
    }
    for span in ["90 days", "2 weeks", "1 year 6 months", "P1Y"] {
        let file = house.write("span.toml", &FOUNDING.replace("\"YUU\"", "\"NEW\"").replace("12 months", span));
        house.works(&["network", "check", &file]);
    }
    // Where there is no clearinghouse yet, the file is tried as in a new one.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let alone = |file: &str| {
        let mut command = std::process::Command::new(PROGRAM);
        command
            .args(["network", "check", file])
            .env_remove("CLEARING_CONFIG")
            .current_dir(elsewhere.path());
        command.stdin(Stdio::null()).output().expect("it runs")
    };
    assert!(alone(&good).status.success());
    let said = alone(&bad);
    assert!(!said.status.success() && all.iter().all(|fault| String::from_utf8_lossy(&said.stderr).contains(fault)));
}

fn what_there_is_can_be_shown(backend: Backend) {
    let house = House::new(backend, true);
    let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/networks/miles.toml");
    house.works(&["network", "apply", &network.to_string_lossy()]);
    let shown = house.works(&["network", "show"]);
    assert!(
        shown.contains("[calendar]") && shown.contains("[[agreement]]") && shown.contains(", in force from "),
        "{shown}"
    );
    // What it shows is a network file, and says what is there already.
    let file = house.write("shown.toml", &shown);
    house.works(&["network", "apply", &file]);
    assert_eq!(house.works(&["network", "show"]), shown);
    let other = House::new(backend, true);
    other.works(&["network", "apply", &file]);
    assert_eq!(other.works(&["network", "show"]), shown, "the same network elsewhere");
    let house = House::founded(backend);
    let listed = house.works(&["partner", "list"]);
    assert_eq!(
        listed,
        "grocer  active  Grocer  owes nothing, no cap\npool  active  \"The pool\"  HKD owes nothing, cap 500000.00\n"
    );
}
