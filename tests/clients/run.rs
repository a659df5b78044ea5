//! Runs a client as a child process and reads what it tells.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{
    postgres::daemon,
    support::{app::App, sound::noise, tus},
};

pub(super) const MIB: usize = 1 << 20;

/// A program that uploads. Each has a script here that drives it, but for our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    TusJs,
    Uppy,
    Tuspy,
    Aiotus,
    Resumable,
    Curl,
    Millrace,
}

/// One answer that the client got.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) method: String,
    pub(super) status: u64,
    /// The address of the upload, as the client knows it; empty if it doesn't say.
    of: String,
    pub(super) offset: Option<u64>,
}

/// What one run of a client told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Of the upload that was named last.
    pub(super) url: String,
    pub(super) track: String,
    /// Tracks of all uploads, by address.
    pub(super) tracks: BTreeMap<String, String>,
    /// What it says is there: addresses by file name.
    pub(super) stored: BTreeMap<String, String>,
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
    pub(super) path: PathBuf,
    folder: TempDir,
}

impl Sample {
    pub(super) fn noise(len: usize, seed: u64) -> Self {
        let (bytes, folder) = (noise(len, seed), daemon::folder());
        let path = folder.path().join(format!("noise-{seed}.bin"));
        fs::write(&path, &bytes).unwrap();
        Self { bytes, path, folder }
    }
}

/// The client's process, before it starts. `server` is an address without a path.
pub(super) fn command(client: Client, server: &str, token: &str, sample: &Sample, asked: &Value) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let script = |program: &str, script: &str| {
        let mut command = Command::new(program);
        command.arg(scripts.join(script));
        command
    };
    let node = |name: &str| {
        installed("node_modules/tus-js-client");
        script("node", name)
    };
    let python = |name: &str| script(installed("venv/bin/python").to_str().unwrap(), name);
    let endpoint = format!("{server}/files");
    let mut command = match client {
        Client::TusJs => node("tus-js.mjs"),
        Client::Uppy => node("uppy.mjs"),
        Client::Tuspy => python("tuspy.py"),
        Client::Aiotus => python("aiotus-client.py"),
        Client::Resumable => python("resumable.py"),
        Client::Curl => {
            let mut command = script("bash", "curl.sh");
            command.args([&endpoint, token]).arg(&sample.path).arg(asked["retries"].to_string());
            return quiet(command);
        }
        Client::Millrace => return quiet(millrace(server, token, sample, asked)),
    };
    let mut all = Map::from_iter([
        ("endpoint".to_owned(), json!(endpoint)),
        ("token".to_owned(), json!(token)),
        ("file".to_owned(), json!(sample.path)),
        ("files".to_owned(), json!([sample.path])),
    ]);
    all.extend(asked.as_object().unwrap().clone());
    command.arg(Value::Object(all).to_string());
    quiet(command)
}

/// Our own. What it remembers of the upload is beside the file.
fn millrace(server: &str, token: &str, sample: &Sample, asked: &Value) -> Command {
    let token_file = sample.folder.path().join("token");
    fs::write(&token_file, token).unwrap();
    let mut command = daemon::millrace(&sample.folder.path().join("data"));
    // Noise becomes no track, so there is nothing to wait for.
    command.arg("upload").arg(&sample.path).args(["--json", "--no-wait", "--server", server]);
    command.args(["--parallel", &asked["parallel"].to_string(), "--token-file"]).arg(token_file);
    command
}

fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null());
    command
}

/// `node_modules` or `venv` beside the clients' lists.
fn installed(what: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(what);
    assert!(path.exists(), "{} isn't there: run `make clients` once", path.display());
    path
}

/// Straight to the app, to the end.
pub(super) fn run(client: Client, app: &App, sample: &Sample, asked: &Value) -> Told {
    let output = command(client, &app.url(""), &app.token, sample, asked).output().unwrap();
    told(client, output)
}

/// What it told, if it says that it did its work.
pub(super) fn told(client: Client, output: Output) -> Told {
    let (lines, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{client:?}: {errors}\n{lines}");
    read(&lines)
}

fn read(lines: &str) -> Told {
    let mut told = Told::default();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        match (line["method"].as_str(), line["track_id"].as_str(), line["stored"].as_str(), line["ended"].as_str()) {
            (Some(method), ..) => told.answers.push(Answer {
                method: method.to_owned(),
                status: line["status"].as_u64().unwrap(),
                of: text("of"),
                offset: line["offset"].as_u64(),
            }),
            // Of our own command, which has no more to say of a file.
            (_, Some(track), ..) => (told.track, told.ended) = (track.to_owned(), "success".to_owned()),
            (_, _, Some(name), _) => drop(told.stored.insert(name.to_owned(), text("url"))),
            (_, _, _, Some(ended)) => ended.clone_into(&mut told.ended),
            _ => {
                told.url = text("url");
                if let Some(track) = line["track"].as_str() {
                    track.clone_into(&mut told.track);
                    told.tracks.insert(told.url.clone(), told.track.clone());
                }
            }
        }
    }
    told
}

/// No offset of an upload, over all runs on it, is less than one told before.
pub(super) fn assert_never_back(runs: &[&Told]) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for answer in runs.iter().flat_map(|told| &told.answers) {
        let Some(offset) = answer.offset else { continue };
        let id = answer.of.rsplit('/').next().unwrap();
        let before = last.insert(id, offset).unwrap_or_default();
        assert!(before <= offset, "an offset went back from {before}: {answer:?}");
    }
}

/// The object in the store is the file, by `sha256` of both.
pub(super) fn assert_stored(app: &App, track: &str, url: &str, sample: &Sample) {
    let id = url.rsplit('/').next().unwrap();
    let object = fs::read(app.data.join("store/objects/tracks").join(track).join(id)).unwrap();
    assert_eq!(tus::sha256(&object), tus::sha256(&sample.bytes));
}
