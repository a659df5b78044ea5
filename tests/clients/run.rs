//! Runs a client as a child process and reads what it tells.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use crate::support::{app::App, sound::noise, tus};

pub(super) const MIB: usize = 1 << 20;

/// One answer that the client got.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) method: String,
    pub(super) status: u64,
    pub(super) offset: Option<u64>,
}

/// What one run of a client told.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) url: String,
    pub(super) track: String,
    pub(super) answers: Vec<Answer>,
    pub(super) ended: String,
}

impl Told {
    /// How many requests of that method were answered.
    pub(super) fn count(&self, method: &str) -> usize {
        self.answers.iter().filter(|a| a.method == method).count()
    }

    pub(super) fn offsets(&self) -> Vec<u64> {
        self.answers.iter().filter_map(|a| a.offset).collect()
    }
}

/// A file to upload, on disk for the client and in memory for the comparison.
pub(super) struct Sample {
    pub(super) bytes: Vec<u8>,
    file: NamedTempFile,
}

impl Sample {
    pub(super) fn noise(len: usize, seed: u64) -> Self {
        let bytes = noise(len, seed);
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        Self { bytes, file }
    }
}

/// `node_modules` or `venv` beside the clients' lists.
fn installed(what: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(what);
    assert!(path.exists(), "{} isn't there: run `make clients` once", path.display());
    path
}

pub(super) fn tus_js(app: &App, sample: &Sample, asked: &Value) -> Told {
    installed("node_modules/tus-js-client");
    run(Command::new("node"), "tus-js.mjs", app, sample, asked)
}

pub(super) fn tuspy(app: &App, sample: &Sample, asked: &Value) -> Told {
    run(Command::new(installed("venv/bin/python")), "tuspy.py", app, sample, asked)
}

fn run(mut client: Command, script: &str, app: &App, sample: &Sample, asked: &Value) -> Told {
    let mut all = Map::from_iter([
        ("endpoint".to_owned(), json!(app.url("/files"))),
        ("token".to_owned(), json!(app.token)),
        ("file".to_owned(), json!(sample.file.path())),
    ]);
    all.extend(asked.as_object().unwrap().clone());
    client.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script));
    let output = client.arg(Value::Object(all).to_string()).stdin(Stdio::null()).output().unwrap();
    let (lines, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {errors}\n{lines}");
    read(&lines)
}

fn read(lines: &str) -> Told {
    let mut told = Told::default();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(url) = line["url"].as_str() {
            url.clone_into(&mut told.url);
        }
        if let Some(track) = line["track"].as_str() {
            track.clone_into(&mut told.track);
        }
        if let Some(ended) = line["ended"].as_str() {
            ended.clone_into(&mut told.ended);
        }
        if let (Some(method), Some(status)) = (line["method"].as_str(), line["status"].as_u64()) {
            told.answers.push(Answer { method: method.to_owned(), status, offset: line["offset"].as_u64() });
        }
    }
    told
}

/// No offset, over all runs on one upload, is less than one told before.
pub(super) fn assert_never_back(runs: &[&Told]) {
    let offsets: Vec<u64> = runs.iter().flat_map(|t| t.offsets()).collect();
    assert!(offsets.is_sorted(), "offsets went back: {offsets:?}");
}

/// The object in the store is the file, by `sha256` of both.
pub(super) fn assert_stored(app: &App, track: &str, url: &str, sample: &Sample) {
    let id = url.rsplit('/').next().unwrap();
    let object = fs::read(app.data.join("store/objects/tracks").join(track).join(id)).unwrap();
    assert_eq!(tus::sha256(&object), tus::sha256(&sample.bytes));
}
