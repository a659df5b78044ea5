//! Which crate, room and domain may name which.

use super::tree::{File, Tree};

/// A crate's manifest, and the crates of ours that it may depend on.
const CRATES: &[(&str, &[&str])] = &[
    ("migrations/Cargo.toml", &[]),
    ("front/Cargo.toml", &["schema"]),
    ("pipeline/Cargo.toml", &["schema"]),
    ("fuzz/Cargo.toml", &["schema", "pipeline"]),
    ("stream-server/Cargo.toml", &["schema", "pipeline", "front"]),
    ("api/Cargo.toml", &["schema", "pipeline", "front"]),
    ("Cargo.toml", &["schema", "pipeline", "front", "stream-server", "api"]),
];
const OURS: &[&str] = &["schema", "pipeline", "front", "stream-server", "api", "millrace"];
/// The rooms of a domain, and the rooms that each mustn't name.
const ROOMS: &[(&str, &[&str])] = &[
    ("model.rs", &["flow", "sql", "http", "worker"]),
    ("sql.rs", &["flow", "http", "worker"]),
    ("flow.rs", &["http", "worker"]),
];

pub fn crates(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, may) in CRATES {
        let Some(manifest) = tree.file(path) else { continue };
        for name in dependencies(&manifest.text) {
            if OURS.contains(&name) && !may.contains(&name) {
                complaints
                    .push(format!("{path}: mustn't depend on {name}: meet in the database, the store, or a grant"));
            }
        }
    }
    let members = tree.files.iter().filter(|f| f.path.ends_with("Cargo.toml"));
    let strange = members.filter(|f| !CRATES.iter().any(|(path, _)| f.path == *path));
    complaints.extend(strange.map(|f| format!("{}: a new crate: place it in tests/tidy/layers.rs", f.path)));
    complaints
}

/// `http → flow → sql`, and `model` knows nobody.
pub fn rooms(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust().filter(|f| f.path.starts_with("api/src/")) {
        for (room, mustnt) in ROOMS.iter().filter(|(room, _)| file.path.ends_with(&format!("/{room}"))) {
            for other in mustnt.iter().filter(|other| names(file, &format!("super::{other}"))) {
                complaints.push(format!("{}: {room} mustn't name {other}: http → flow → sql", file.path));
            }
        }
    }
    complaints
}

/// A domain calls only another's `flow` or `model`, and only one listed earlier in `lib.rs`.
pub fn domains(tree: &Tree) -> Vec<String> {
    let Some(lib) = tree.file("api/src/lib.rs") else { return Vec::new() };
    let listed = lib.text.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    let order: Vec<&str> = listed.map(|name| name.trim_end_matches(';')).collect();
    let place = |name: &str| order.iter().position(|listed| *listed == name);
    let is_domain = |name: &str| tree.file(&format!("api/src/{name}/flow.rs")).is_some();
    let mut complaints = Vec::new();
    for file in tree.rust() {
        let Some(domain) = file.path.strip_prefix("api/src/").and_then(|path| path.split_once('/')).map(|p| p.0) else {
            continue;
        };
        for (n, line) in file.lines().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let mut words = used.split(|c: char| !c.is_alphanumeric() && c != '_');
                let (other, room) =
                    (words.next().unwrap_or_default(), words.find(|w| !w.is_empty()).unwrap_or_default());
                if other == domain || !is_domain(other) || !is_domain(domain) {
                    continue;
                }
                if !matches!(room, "flow" | "model") {
                    complaints.push(format!("{}:{n}: of {other} use only flow or model", file.path));
                } else if place(other) > place(domain) {
                    complaints.push(format!("{}:{n}: {other} comes later in lib.rs: turn the call around", file.path));
                }
            }
        }
    }
    complaints
}

fn names(file: &File, path: &str) -> bool {
    file.lines().any(|(_, line)| !line.trim_start().starts_with("//") && line.contains(path))
}

/// What a manifest's `[dependencies]` name.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = matches!(line.trim(), "[dependencies]" | "[dev-dependencies]" | "[build-dependencies]");
        } else if inside {
            found.extend(line.split(['.', ' ', '=']).next().filter(|name| !name.is_empty() && !name.starts_with('#')));
        }
    }
    found
}
