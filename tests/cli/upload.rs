//! `millrace upload` against a server that cuts, refuses, loses answers and lies.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use super::tus::{Fault, Server, hex};
use crate::postgres::daemon::{finish, folder, kill, millrace};

pub struct Desk {
    pub dir: tempfile::TempDir,
    pub server: Server,
}

impl Desk {
    pub fn new() -> Self {
        Self { dir: folder(), server: Server::start() }
    }

    /// A file with bytes that no two places share.
    pub fn file(&self, name: &str, size: usize) -> (PathBuf, Vec<u8>) {
        let path = self.dir.path().join(name);
        let mut state = size as u64 + 1;
        let bytes: Vec<u8> = (0..size)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &bytes).unwrap();
        (path, bytes)
    }

    pub fn upload(&self, path: &Path) -> Command {
        let mut command = millrace(&self.dir.path().join("data"));
        command.arg("upload").arg(path).args(["--json", "--server", &self.server.url]);
        command
    }

    /// Runs it: exit code, and the line of each file.
    fn run(&self, path: &Path) -> (i32, Vec<Value>) {
        run(self.upload(path))
    }

    pub fn stored(&self, upload: &str) -> Vec<u8> {
        self.server.with(|seen| seen.uploads[upload].bytes.clone())
    }
}

pub fn run(command: Command) -> (i32, Vec<Value>) {
    let (status, out, errors) = finish(command);
    assert!(!errors.contains("panicked"), "{errors}");
    (status.code().unwrap(), out.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn a_file_arrives_and_its_line_says_so() {
    let desk = Desk::new();
    let (path, bytes) = desk.file("Söng, 1.flac", 300_000);
    let (code, lines) = desk.run(&path);
    assert_eq!((code, lines.len()), (0, 1), "{lines:?}");
    let line = &lines[0];
    assert_eq!(line["path"], path.to_str().unwrap());
    assert_eq!((&line["track_id"], &line["state"], &line["size"]), (&"t1".into(), &"ready".into(), &300_000.into()));
    assert_eq!(line["sha256"], hex(&bytes));
    assert_eq!(line["url"], format!("{}/api/v1/tracks/t1", desk.server.url));
    assert_eq!(desk.stored("/files/1"), bytes);
    desk.server.with(|seen| {
        let upload = &seen.uploads["/files/1"];
        assert_eq!(upload.length, bytes.len());
        let metadata = &upload.metadata;
        assert_eq!((metadata["filename"].as_str(), metadata["filetype"].as_str()), ("Söng, 1.flac", "audio/flac"));
        assert_eq!(metadata["sha256"], hex(&bytes));
    });
}

#[test]
fn cuts_refusals_and_lost_answers_cost_no_byte_twice() {
    let desk = Desk::new();
    let (path, bytes) = desk.file("a.wav", 5_000_000);
    desk.server.with(|seen| {
        seen.refuse_creations = ["503 Service Unavailable", "500 Internal Server Error"].into();
        seen.faults = [
            Fault::Cut(1),
            Fault::Answer("503 Service Unavailable"),
            Fault::Cut(1_234_567),
            Fault::Answer("423 Locked"),
            Fault::Answer("409 Conflict"),
            Fault::Cut(0),
            Fault::Answer("507 Insufficient Storage"),
            Fault::LoseAnswer,
        ]
        .into();
    });
    let (code, lines) = desk.run(&path);
    assert_eq!((code, &lines[0]["state"]), (0, &"ready".into()), "{lines:?}");
    // The server takes bytes at its own offset only, so equal means: none lost, none twice.
    assert_eq!(desk.stored("/files/1"), bytes);
    assert_eq!(desk.server.count("POST"), 3);
    assert_eq!(desk.server.with(|seen| seen.faults.len()), 0);
}

#[test]
fn after_ctrl_c_the_next_command_goes_on() {
    let desk = Desk::new();
    let (path, bytes) = desk.file("a.wav", 4_000_000);
    desk.server.with(|seen| seen.faults = [Fault::Stall(1_500_000)].into());
    for signal in [Signal::INT, Signal::KILL] {
        let mut child = desk.upload(&path).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let start = Instant::now();
        while desk.server.with(|seen| seen.uploads.get("/files/1").map_or(0, |u| u.bytes.len()) < 1_500_000) {
            assert!(start.elapsed() < Duration::from_secs(20), "it never got there");
            std::thread::sleep(Duration::from_millis(5));
        }
        kill(i32::try_from(child.id()).unwrap(), signal);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), if signal == Signal::INT { Some(1) } else { None });
        desk.server.with(|seen| seen.faults = [Fault::Stall(0)].into());
    }
    desk.server.with(|seen| seen.faults.clear());
    let (code, lines) = desk.run(&path);
    assert_eq!((code, &lines[0]["state"]), (0, &"ready".into()), "{lines:?}");
    assert_eq!(desk.stored("/files/1"), bytes);
    assert_eq!(desk.server.count("POST"), 1, "it began anew");
}

#[test]
fn a_file_that_changed_starts_anew_and_the_old_upload_is_ended() {
    let desk = Desk::new();
    let (path, _) = desk.file("a.wav", 2_000_000);
    desk.server.with(|seen| seen.faults = [Fault::Stall(500_000)].into());
    let mut child = desk.upload(&path).stdout(Stdio::null()).spawn().unwrap();
    while desk.server.with(|seen| seen.uploads.get("/files/1").map_or(0, |u| u.bytes.len()) < 500_000) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (_, bytes) = desk.file("a.wav", 1_900_000);
    let (code, lines) = desk.run(&path);
    assert_eq!(code, 0, "{lines:?}");
    assert_eq!(desk.stored("/files/2"), bytes);
    assert!(desk.server.with(|seen| !seen.uploads.contains_key("/files/1")), "the old upload was left open");
}

#[test]
fn a_file_that_changes_while_it_is_sent_is_not_called_sent() {
    let desk = Desk::new();
    let (path, _) = desk.file("a.wav", 2_000_000);
    desk.server.with(|seen| seen.faults = [Fault::Stall(1_000_000)].into());
    let child = desk.upload(&path).stdout(Stdio::piped()).spawn().unwrap();
    while desk.server.with(|seen| seen.uploads.get("/files/1").map_or(0, |u| u.bytes.len()) < 1_000_000) {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(&path, b"short").unwrap();
    desk.server.with(|seen| seen.released = true);
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let line: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(line["error"].as_str().unwrap().contains("changed while it was sent"), "{line}");
}

#[test]
fn a_folder_goes_in_parallel_and_a_second_time_not_at_all() {
    let desk = Desk::new();
    let mut files: Vec<_> = (1..=6).map(|n| desk.file(&format!("album/{n}.flac"), 10_000 * n)).collect();
    files.push(desk.file("album/bonus/7.MP3", 5_000));
    desk.file("album/cover.jpg", 100);
    let album = desk.dir.path().join("album");
    let mut command = desk.upload(&album);
    command.args(["--parallel", "4"]);
    let (code, lines) = run(command);
    assert_eq!((code, lines.len()), (0, 7), "{lines:?}");
    for (path, bytes) in &files {
        let line = lines.iter().find(|line| line["path"] == path.to_str().unwrap()).unwrap();
        assert_eq!(line["sha256"], hex(bytes));
    }
    let (code, again) = desk.run(&album);
    assert_eq!((code, again.len()), (0, 7));
    assert_eq!(desk.server.count("POST"), 7, "something was sent again");
    let ids = |lines: &[Value]| {
        let mut ids: Vec<_> = lines.iter().map(|line| line["track_id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&again), ids(&lines));
}

#[test]
fn a_failed_track_is_a_failure_with_its_reason() {
    let desk = Desk::new();
    let (path, _) = desk.file("notes.flac", 1_000);
    desk.server.with(|seen| seen.fate = Some("failed"));
    let (code, lines) = desk.run(&path);
    assert_eq!((code, &lines[0]["state"]), (1, &"failed".into()));
    let error = lines[0]["error"].as_str().unwrap();
    assert!(error.contains("it isn't audio") && error.contains("unsupported_media"), "{error}");
}

#[test]
fn other_bytes_on_the_server_are_a_failure() {
    let desk = Desk::new();
    let (path, _) = desk.file("a.flac", 1_000);
    desk.server.with(|seen| seen.sha256 = Some("00".repeat(32)));
    let (code, lines) = desk.run(&path);
    assert_eq!(code, 1);
    assert!(lines[0]["error"].as_str().unwrap().contains("other bytes"), "{lines:?}");
}

#[test]
fn a_proxys_limit_on_bodies_is_found_and_kept() {
    let desk = Desk::new();
    let (path, bytes) = desk.file("a.wav", 9_000_000);
    desk.server.with(|seen| seen.body_max = Some(3_000_000));
    let (code, lines) = desk.run(&path);
    assert_eq!(code, 0, "{lines:?}");
    assert_eq!(desk.stored("/files/1"), bytes);
}

#[test]
fn an_upload_that_the_server_forgot_begins_anew() {
    let desk = Desk::new();
    let (path, bytes) = desk.file("a.wav", 400_000);
    desk.server.with(|seen| seen.faults = [Fault::Cut(1_000), Fault::Answer("404 Not Found")].into());
    let (code, lines) = desk.run(&path);
    assert_eq!((code, &lines[0]["track_id"]), (0, &"t2".into()), "{lines:?}");
    assert_eq!(desk.stored("/files/2"), bytes);
}

#[test]
fn the_owners_token_is_found_and_a_refusal_says_the_cure() {
    let desk = Desk::new();
    let (path, _) = desk.file("a.flac", 1_000);
    desk.server.with(|seen| seen.token = Some("s3cret".into()));
    let (code, lines) = desk.run(&path);
    assert_eq!(code, 1);
    assert!(lines[0]["error"].as_str().unwrap().contains("--token-file"), "{lines:?}");

    let data = desk.dir.path().join("data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("owner-token"), "s3cret\n").unwrap();
    assert_eq!(desk.run(&path).0, 0);

    fs::write(data.join("owner-token"), "old").unwrap();
    fs::write(desk.dir.path().join("token"), "s3cret").unwrap();
    let (other, _) = desk.file("b.flac", 1_000);
    let mut command = desk.upload(&other);
    command.arg("--token-file").arg(desk.dir.path().join("token"));
    assert_eq!(run(command).0, 0);
    let (third, _) = desk.file("c.flac", 1_000);
    let mut command = desk.upload(&third);
    command.env("MILLRACE_TOKEN_FILE", desk.dir.path().join("token"));
    assert_eq!(run(command).0, 0);
}

#[test]
fn without_waiting_it_ends_with_the_last_byte() {
    let desk = Desk::new();
    let (path, bytes) = desk.file("a.flac", 100_000);
    let mut command = desk.upload(&path);
    command.arg("--no-wait");
    let (code, lines) = run(command);
    assert_eq!((code, &lines[0]["sha256"]), (0, &hex(&bytes).into()));
    assert_eq!(desk.server.count("GET"), 0);
}

#[test]
fn no_server_is_said_soon() {
    let desk = Desk::new();
    let (path, _) = desk.file("a.flac", 1_000);
    let mut command = millrace(&desk.dir.path().join("data"));
    command.arg("upload").arg(&path).args(["--json", "--server", "http://127.0.0.1:9"]);
    let start = Instant::now();
    let (code, lines) = run(command);
    assert_eq!(code, 1);
    assert!(lines[0]["error"].as_str().unwrap().contains("refused"), "{lines:?}");
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn for_people_there_is_a_line_per_file() {
    let desk = Desk::new();
    let (good, _) = desk.file("good.flac", 1_000);
    let mut command = millrace(&desk.dir.path().join("data"));
    command.arg("upload").arg(&good).args(["--server", &desk.server.url]);
    let (status, out, errors) = finish(command);
    assert!(status.success(), "{errors}");
    assert!(out.starts_with(good.to_str().unwrap()) && out.contains("ready"), "{out}");
    assert_eq!(errors, "", "no bars where there is no terminal");
}
