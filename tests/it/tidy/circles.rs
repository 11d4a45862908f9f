//! No files of a crate import each other in a loop: each can be read with what it stands on already known.
//!
//! Read are `use` and paths in the code, without tests; a name that a module only passes on is its owner's. `mod x;` and `pub use` import nothing by themselves.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use super::ROOT;

/// A module's place in its crate: empty for the root.
type Place = Vec<String>;

fn below(place: &[String], name: &str) -> Place {
    [place, &[name.to_owned()]].concat()
}

/// One file of a crate.
struct File {
    path: PathBuf,
    imports: Vec<Import>,
    /// The paths in its code, outside `use`.
    paths: Vec<Place>,
}

/// A name that a `use` brings in.
struct Import {
    name: String,
    path: Place,
    /// Passed on by `pub use`, and not used here.
    only_passed_on: bool,
}

/// For each file, the files that it imports, each with a name that ties it.
type Ties = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

/// The words of a source, without comments and literals.
fn words(mut rest: &str) -> Vec<&str> {
    let mut words = vec![];
    while let Some(first) = rest.chars().next() {
        let upto = |end: &str| rest.find(end).map_or(rest.len(), |at| at + end.len());
        let (length, is_word) = if rest.starts_with("//") {
            (upto("\n"), false)
        } else if rest.starts_with("/*") {
            (upto("*/"), false)
        } else if let Some(length) = raw_text(rest) {
            (length, false)
        } else if first == '"' {
            (closed_by(rest, '"'), false)
        } else if first == '\'' && (rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'')) {
            (closed_by(rest, '\''), false)
        } else if first.is_alphanumeric() || first == '_' {
            (rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()), true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (first.len_utf8(), !first.is_whitespace())
        };
        let (word, after) = rest.split_at(length);
        if is_word {
            words.push(word);
        }
        rest = after;
    }
    words
}

/// The length of a raw string at the start of a text.
fn raw_text(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('b').unwrap_or(text).strip_prefix('r')?;
    let (hashes, _) = inner.split_once('"').filter(|(hashes, _)| hashes.bytes().all(|b| b == b'#'))?;
    let start = text.len() - inner.len() + hashes.len() + 1;
    let end = format!("\"{hashes}");
    text[start..].find(&end).map(|at| start + at + end.len())
}

/// The length of a text or character at the start of a text, with both its quotes.
fn closed_by(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// How many words an item has: up to its semicolon or the end of its block.
fn item(words: &[&str]) -> usize {
    let (mut depth, mut is_use) = (0, false);
    for (at, word) in words.iter().enumerate() {
        match *word {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            "use" if depth == 0 => is_use = true,
            _ => {}
        }
        if depth == 0 && (*word == ";" || *word == "}" && !is_use) {
            return at + 1;
        }
    }
    words.len()
}

/// Reads the tree of a `use` after a prefix; returns what comes after it.
fn read_tree<'a, 'b>(mut words: &'b [&'a str], prefix: &[&'a str], found: &mut Vec<(&'a str, Vec<&'a str>)>) -> &'b [&'a str] {
    let mut path = prefix.to_vec();
    loop {
        match words {
            ["{", rest @ ..] => {
                words = rest;
                while words[0] != "}" {
                    words = read_tree(words, &path, found);
                    words = words.strip_prefix(&[","]).unwrap_or(words);
                }
                return &words[1..];
            }
            ["::", rest @ ..] => words = rest,
            ["as", name, rest @ ..] => {
                found.push((name, path));
                return rest;
            }
            ["," | "}" | ";", ..] => {
                found.push((path[path.len() - 1], path.clone()));
                return words;
            }
            ["self", rest @ ..] if !path.is_empty() => words = rest,
            [word, rest @ ..] => {
                path.push(word);
                words = rest;
            }
            [] => return words,
        }
    }
}

/// The paths in code: names joined by `::`.
fn paths<'a>(code: &[&'a str]) -> Vec<Vec<&'a str>> {
    let is_name = |word: &str| word.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let (mut paths, mut rest): (Vec<Vec<&str>>, _) = (vec![], code);
    let mut goes_on = false;
    while let [word, after @ ..] = rest {
        match paths.last_mut() {
            Some(path) if goes_on => path.push(word),
            _ => paths.push(vec![word]),
        }
        goes_on = is_name(word) && matches!(after, ["::", next, ..] if is_name(next));
        rest = if goes_on { &after[1..] } else { after };
    }
    paths.retain(|path| path.len() > 1);
    paths
}

/// A file and the names of its child modules.
fn read(path: PathBuf) -> (File, Vec<String>) {
    let text = std::fs::read_to_string(&path).expect("readable");
    let words = words(&text);
    let (mut rest, mut code, mut uses, mut children) = (words.as_slice(), vec![], vec![], vec![]);
    while let [word, after @ ..] = rest {
        rest = match rest {
            ["#", "[", "cfg", "(", "test", ")", "]", tested @ ..] => &tested[item(tested)..],
            ["mod", name, ";", after @ ..] => {
                children.push((*name).to_owned());
                after
            }
            ["use", tree @ ..] => {
                let public = matches!(code.as_slice(), [.., "pub"] | [.., "pub", "(", _, ")"]);
                let mut found = vec![];
                let after = read_tree(tree, &[], &mut found);
                uses.extend(found.into_iter().map(|(name, path)| (public, name, path)));
                after
            }
            _ => {
                code.push(word);
                after
            }
        };
    }
    let owned = |path: &[&str]| path.iter().map(|word| (*word).to_owned()).collect::<Place>();
    // What has the name of the other crate that it comes from would lead to itself.
    let ours = |name: &str, path: &[&str]| path[0] != name || children.iter().any(|child| child == name);
    let ours = uses.iter().filter(|(_, name, path)| ours(name, path));
    let imports = ours.map(|(public, name, path)| Import {
        name: (*name).to_owned(),
        path: owned(path),
        only_passed_on: *public && !code.contains(name),
    });
    let imports = imports.collect();
    let paths = paths(&code).iter().map(|path| owned(path)).collect();
    (File { path, imports, paths }, children)
}

/// The modules of a crate, from its root on.
struct Crate(BTreeMap<Place, File>);

impl Crate {
    fn read(folder: &Path) -> Self {
        let root = ["lib.rs", "main.rs"]
            .map(|name| folder.join(name))
            .into_iter()
            .find(|root| root.is_file());
        let mut modules = BTreeMap::new();
        let mut open = vec![(Place::new(), root.expect("a root"))];
        while let Some((place, path)) = open.pop() {
            let (file, children) = read(path);
            for child in children {
                let place = below(&place, &child);
                let stem = folder.join(place.iter().collect::<PathBuf>());
                let path = Some(stem.with_extension("rs")).filter(|path| path.is_file());
                open.push((place, path.unwrap_or_else(|| stem.join("mod.rs"))));
            }
            modules.insert(place, file);
        }
        Self(modules)
    }

    /// The module that owns what a path in a module leads to, and its name there; `None` for what is the file's own, another crate's or a whole module.
    fn owner(&self, place: &[String], path: &[String]) -> Option<(&File, String)> {
        match path.split_first()? {
            (first, rest) if first == "crate" => self.lookup(&[], rest),
            (first, rest) if first == "self" => self.lookup(place, rest),
            (first, rest) if first == "super" => {
                let up = &place[..place.len() - 1];
                match rest.first().is_some_and(|next| next == "super") {
                    true => self.owner(up, rest),
                    false => self.lookup(up, rest),
                }
            }
            (first, _) if self.0.contains_key(&below(place, first)) || self.import(place, first).is_some() => self.lookup(place, path),
            _ => None,
        }
    }

    fn import(&self, place: &[String], name: &str) -> Option<&Import> {
        self.0[place].imports.iter().find(|import| import.name == name)
    }

    fn lookup(&self, place: &[String], path: &[String]) -> Option<(&File, String)> {
        let (first, rest) = path.split_first()?;
        let child = below(place, first);
        match self.import(place, first) {
            _ if !rest.is_empty() && self.0.contains_key(&child) => self.lookup(&child, rest),
            Some(import) => self.owner(place, &[import.path.as_slice(), rest].concat()),
            None if self.0.contains_key(&child) => None,
            None => Some((&self.0[place], first.clone())),
        }
    }

    fn ties(&self) -> Ties {
        let mut ties = Ties::new();
        for (place, file) in &self.0 {
            let imported = file
                .imports
                .iter()
                .filter(|import| !import.only_passed_on)
                .map(|import| &import.path);
            for (owner, name) in imported.chain(&file.paths).filter_map(|path| self.owner(place, path)) {
                if owner.path != file.path {
                    ties.entry(file.path.clone()).or_default().entry(owner.path.clone()).or_insert(name);
                }
            }
        }
        ties
    }
}

/// The shortest loop from a file back to itself, if there is one.
fn shortest(ties: &Ties, start: &Path) -> Option<Vec<PathBuf>> {
    let mut came_from = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while let Some(file) = open.pop_front() {
        for next in ties.get(file).into_iter().flatten().map(|(next, _)| next.as_path()) {
            if next == start {
                let back = std::iter::successors(Some(file), |file| came_from.get(file).copied());
                let mut files: Vec<_> = back.map(Path::to_owned).collect();
                files.reverse();
                return Some(files);
            }
            came_from.entry(next).or_insert_with(|| {
                open.push_back(next);
                file
            });
        }
    }
    None
}

/// The loops of a crate, file by file, each told from its first file on.
fn loops(folder: &Path) -> Vec<String> {
    let ties = Crate::read(folder).ties();
    let loops = ties
        .keys()
        .filter_map(|start| shortest(&ties, start).filter(|files| files.iter().min() == Some(start)));
    let told = |files: Vec<PathBuf>| {
        let name = |file: &Path| file.strip_prefix(folder).unwrap_or(file).display().to_string();
        let next = files.iter().cycle().skip(1);
        let steps = files
            .iter()
            .zip(next)
            .map(|(from, to)| format!("{} takes {} from {}", name(from), ties[from][to], name(to)));
        steps.collect::<Vec<_>>().join(", ")
    };
    loops.map(told).collect()
}

/// The folders of the crates at a place, and below.
fn crates(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable").map(|e| e.expect("an entry")) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            if path.join("Cargo.toml").is_file() {
                found.push(path.clone());
            }
            crates(&path, found);
        }
    }
}

#[test]
fn no_files_import_each_other_in_a_loop() {
    let (root, mut found) = (Path::new(ROOT), vec![]);
    crates(root, &mut found);
    assert!(found.len() > 5);
    let told = found.iter().flat_map(|folder| {
        let name = folder.strip_prefix(root).unwrap_or(folder).display().to_string();
        loops(&folder.join("src")).into_iter().map(move |told| format!("{name}: {told}"))
    });
    let told: Vec<_> = told.collect();
    assert!(told.is_empty(), "files that import each other in a loop:\n{}", told.join("\n"));
}

#[test]
fn a_loop_is_seen_and_nothing_else() {
    let told = |files: &[(&str, &str)]| {
        let home = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            let path = home.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, text).expect("written");
        }
        loops(home.path())
    };
    let lib = ("lib.rs", "mod a;\nmod b;\npub use b::B;\n");
    let takes_a = ("b/mod.rs", "pub(crate) mod c;\nuse crate::a::{self, Other as A};\npub struct B(A);");
    assert_eq!(
        told(&[lib, takes_a, ("b/c.rs", ""), ("a.rs", "use crate::B;\npub struct Other(Box<B>);")]),
        ["a.rs takes B from b/mod.rs, b/mod.rs takes Other from a.rs"],
        "a name that the root passes on is its owner's"
    );
    assert_eq!(
        told(&[
            lib,
            takes_a,
            ("b/c.rs", "use super::B;"),
            ("a.rs", "use crate::b;\nfn f(_: b::c::C) {}")
        ]),
        ["a.rs takes C from b/c.rs, b/c.rs takes B from b/mod.rs, b/mod.rs takes Other from a.rs"],
        "a path through a module"
    );
    assert_eq!(
        told(&[
            lib,
            takes_a,
            ("b/c.rs", ""),
            ("a.rs", "fn f() -> usize { crate::b::c::D + crate::b::E }")
        ]),
        ["a.rs takes E from b/mod.rs, b/mod.rs takes Other from a.rs"],
        "a path in the code"
    );
    assert_eq!(
        told(&[
            ("lib.rs", "mod a;\npub use a::A;\npub struct C(A);"),
            ("a.rs", "use super::C;\npub struct A;")
        ]),
        ["a.rs takes C from lib.rs, lib.rs takes A from a.rs"],
        "what is passed on and used"
    );
    let innocent = r##"
        // crate::b::B
        /* crate::b::B */
        const TEXTS: [&str; 3] = ["crate::b::B \" crate::b::B", r#"" crate::b::B"#, "\\"];
        const QUOTES: [char; 2] = ['"', '\''];
        fn f<'a>(_: &'a str) {}
        pub struct Other;
        #[cfg(test)]
        pub use crate::{b::B, b::c::{C}};
        #[cfg(test)]
        mod tests {
            use crate::B;
        }
    "##;
    assert!(told(&[lib, takes_a, ("b/c.rs", "use crate::a::Other;"), ("a.rs", innocent)]).is_empty());
}
