//! The friendly proofreader: rules that no compiler checks. Each complaint says what to write instead.
//!
//! A rule is a function from the tree to complaints, so that `planted.rs` can show each of them a fault.

mod layers;
mod planted;
mod tree;

use tree::{Tree, is_word_at};

/// Longest file, in lines.
const FILE_LINES_MAX: usize = 450;
/// Longest function, in lines: a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Longer ones that we live with. This list only shrinks.
const LONG: &[&str] = &[];
/// Largest file in the repository: larger ones belong where they are made.
const BLOB_BYTES_MAX: u64 = 1 << 20;
/// Where the compiler is told to trust us.
const UNSAFE: &[&str] = &[
    "src/postgres/child.rs",
    "pipeline/src/media/worker/av.rs",
    "pipeline/src/media/worker/escape.rs",
    "pipeline/src/media/worker/fault.rs",
    "pipeline/src/media/worker/lockdown.rs",
    "pipeline/src/media/worker/nursery.rs",
];
/// Folders and modules that would collect everything.
const BANNED_MODULES: &[&str] =
    &["common", "util", "utils", "helper", "helpers", "types", "manager", "managers", "misc", "shared"];
/// Endings that say nothing.
const BANNED_ENDINGS: &[&str] = &["Manager", "Service", "Helper", "Impl"];

type Rule = fn(&Tree) -> Vec<String>;

fn obey(rule: Rule) {
    let complaints = rule(&Tree::here());
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

macro_rules! rules {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn holds() {
                super::obey(super::$name);
            }
        }
    )+};
}
rules! {
    files_open_with_their_reason, files_are_short, functions_fit_a_screen, names_say_something,
    states_move_along_edges, the_environment_is_read_once, unsafe_is_named, scripts_are_numbered_once,
    nothing_is_bulky, promises_name_their_tests,
}
mod the_arrows_point_one_way {
    #[test]
    fn holds() {
        super::obey(super::layers::crates);
        super::obey(super::layers::rooms);
        super::obey(super::layers::domains);
    }
}

fn files_open_with_their_reason(tree: &Tree) -> Vec<String> {
    let silent = tree.rust().filter(|f| !f.text.starts_with("//!"));
    silent.map(|f| format!("{}: open it with `//!`: what it is, what it promises, what is absent", f.path)).collect()
}

fn files_are_short(tree: &Tree) -> Vec<String> {
    let long = tree.rust().filter(|f| f.text.lines().count() > FILE_LINES_MAX && !LONG.contains(&f.path.as_str()));
    long.map(|f| format!("{}: over {FILE_LINES_MAX} lines: split it where its reader would pause", f.path)).collect()
}

fn functions_fit_a_screen(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust() {
        let lines: Vec<&str> = file.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let Some(name) = function_name(line) else { continue };
            let indent = line.len() - line.trim_start().len();
            let close = format!("{}}}", " ".repeat(indent));
            let body =
                lines[start..].iter().take_while(|l| **l != close && !(l.ends_with(';') && is_bodiless(line, l)));
            let length = body.count() + 1;
            let known = LONG.contains(&format!("{}::{name}", file.path).as_str());
            if length > FUNCTION_LINES_MAX && !line.trim_end().ends_with('}') && !known {
                complaints.push(format!("{}: {name} has {length} lines: name its steps and call them", file.path));
            }
        }
    }
    complaints
}

/// The name of the function that starts on this line.
fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    loop {
        let (word, tail) = rest.split_once(' ')?;
        match word {
            "fn" => return tail.split(['(', '<']).next(),
            "pub" | "pub(crate)" | "pub(super)" | "async" | "const" | "unsafe" | "extern" | "\"C\"" => rest = tail,
            _ => return None,
        }
    }
}

/// A declaration without a body ends with a semicolon on a line that isn't deeper than its start.
fn is_bodiless(start: &str, line: &str) -> bool {
    let indent = |l: &str| l.len() - l.trim_start().len();
    line == start || (indent(line) == indent(start) && line.trim_start().starts_with(')'))
}

fn names_say_something(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust() {
        let parts = file.path.trim_end_matches(".rs").split('/');
        if let Some(part) = parts.into_iter().find(|part| BANNED_MODULES.contains(part)) {
            complaints.push(format!("{}: \"{part}\" collects everything: name what is in it", file.path));
        }
        for (n, line) in file.lines() {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            for pair in words.windows(2) {
                let banned = match pair[0] {
                    "struct" | "enum" | "trait" | "type" => BANNED_ENDINGS.iter().any(|end| pair[1].ends_with(end)),
                    "fn" => pair[1].starts_with("get_"),
                    "mod" => BANNED_MODULES.contains(&pair[1]),
                    _ => false,
                };
                if banned && !line.trim_start().starts_with("//") {
                    complaints.push(format!("{}:{n}: \"{}\" says nothing: use the domain's word", file.path, pair[1]));
                }
            }
        }
    }
    complaints
}

/// The only writer of a state is `take`. What sets one in a test is there to be refused.
fn states_move_along_edges(tree: &Tree) -> Vec<String> {
    let ours = |path: &str| !path.starts_with("tests/") && path != "migrations/src/machine.rs";
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|f| f.is("rs") || f.is("sql")).filter(|f| ours(&f.path)) {
        let text = file.text.to_ascii_lowercase();
        for (at, _) in text.match_indices("set").filter(|(at, _)| is_word_at(&text, *at, "set")) {
            let rest = &text[at + 3..];
            let ends = ["where", "from", "returning", "\"", ";"].iter().filter_map(|end| rest.find(end)).min();
            let set = &rest[..ends.unwrap_or(rest.len())];
            let state = set.match_indices("state").filter(|(at, _)| is_word_at(set, *at, "state"));
            if state.into_iter().any(|(at, _)| set[at + 5..].trim_start().starts_with('=')) {
                let line = text[..at].lines().count();
                complaints.push(format!("{}:{line}: sets a state: take an edge instead (schema::machine)", file.path));
            }
        }
    }
    complaints
}

fn the_environment_is_read_once(tree: &Tree) -> Vec<String> {
    let may = |path: &str| path == "src/config/source.rs" || path.ends_with("build.rs") || path.starts_with("tests/");
    let mut complaints = Vec::new();
    for file in tree.rust().filter(|f| !may(&f.path)) {
        for (n, _) in file.lines().filter(|(_, line)| line.contains("env::var")) {
            complaints.push(format!("{}:{n}: reads the environment: make it a setting (src/config/mod.rs)", file.path));
        }
    }
    complaints
}

fn unsafe_is_named(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust() {
        let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
        let uses = |line: &str| {
            let code = code(line);
            let at = code.match_indices("unsafe").find(|(at, _)| is_word_at(&code, *at, "unsafe"));
            at.is_some_and(|(at, _)| {
                matches!(code[at + 6..].trim_start().split([' ', '(']).next(), Some("{" | "impl" | "extern" | "fn"))
            })
        };
        let Some((n, _)) = file.lines().find(|(_, line)| uses(line)) else { continue };
        if !UNSAFE.contains(&file.path.as_str()) {
            let text = "find a safe way, or name the file in tests/tidy.rs and say why";
            complaints.push(format!("{}:{n}: unsafe code: {text}", file.path));
        } else if !file.text.contains("SAFETY:") {
            complaints.push(format!("{}:{n}: say under `// SAFETY:` why it holds", file.path));
        }
    }
    complaints
}

fn scripts_are_numbered_once(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut seen = std::collections::BTreeMap::new();
    for file in tree.files.iter().filter(|f| f.is("sql")) {
        let Some(name) = file.path.strip_prefix("migrations/") else { continue };
        let number = name.get(..4).filter(|n| n.bytes().all(|b| b.is_ascii_digit()) && name[4..].starts_with('_'));
        match number {
            None => complaints.push(format!("{}: call it NNNN_name.sql", file.path)),
            Some(number) => {
                if let Some(other) = seen.insert(number.to_owned(), file.path.clone()) {
                    complaints.push(format!("{}: takes the number of {other}: take the next free one", file.path));
                }
            }
        }
    }
    complaints
}

fn nothing_is_bulky(tree: &Tree) -> Vec<String> {
    let bulky = tree.files.iter().filter(|f| f.bytes > BLOB_BYTES_MAX);
    bulky.map(|f| format!("{}: over 1 MiB: make it where it is needed, or install it", f.path)).collect()
}

/// A test is named as `tests/file.rs::function`, or by its file alone.
fn promises_name_their_tests(tree: &Tree) -> Vec<String> {
    let Some(guide) = tree.file("ARCHITECTURE.md") else { return Vec::new() };
    let mut complaints = Vec::new();
    for name in guide.text.split('`').skip(1).step_by(2).filter(|code| code.contains(".rs") && code.contains("tests/"))
    {
        let (path, function) = name.split_once("::").map_or((name, None), |(path, function)| (path, Some(function)));
        let found = tree.file(path).is_some_and(|file| {
            function.is_none_or(|f| file.text.contains(&format!("fn {}(", f.rsplit("::").next().unwrap_or(f))))
        });
        if !found {
            complaints.push(format!("ARCHITECTURE.md names `{name}`, which isn't there"));
        }
    }
    complaints
}
