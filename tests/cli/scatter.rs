//! `millrace upload --parallel N` with one large file: several chunks at once, and never one twice.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{
    tus::{Fault, hex},
    upload::{Desk, run},
};
use crate::{
    postgres::daemon::{kill, millrace},
    support::app::App,
};

/// Large enough to be sent in chunks.
const LARGE: usize = (33 << 20) + 7;

fn chunky() -> Desk {
    let desk = Desk::new();
    desk.server.with(|seen| seen.chunk_bytes = Some(4 << 20));
    desk
}

fn in_parallel(desk: &Desk, path: &std::path::Path) -> std::process::Command {
    let mut command = desk.upload(path);
    command.args(["--parallel", "4"]);
    command
}

#[test]
fn a_large_file_goes_in_chunks_and_faults_cost_only_their_chunk() {
    let desk = chunky();
    let (path, bytes) = desk.file("a.wav", LARGE);
    desk.server.with(|seen| {
        seen.faults = [
            Fault::Cut(1000),
            Fault::Answer("503 Service Unavailable"),
            Fault::LoseAnswer,
            Fault::Answer("409 Conflict"),
            Fault::Cut(3 << 20),
        ]
        .into();
    });
    let (code, lines) = run(in_parallel(&desk, &path));
    assert_eq!((code, &lines[0]["state"]), (0, &"ready".into()), "{lines:?}");
    assert_eq!((&lines[0]["track_id"], &lines[0]["sha256"]), (&"t1".into(), &hex(&bytes).into()));
    assert!(desk.stored("/files/1") == bytes);
    assert_eq!(desk.server.count("PATCH"), 0);
    let most = desk.server.with(|seen| seen.under_way.1);
    assert!((2..=4).contains(&most), "{most} at once");
}

#[test]
fn a_small_file_and_a_single_way_stay_with_tus() {
    let desk = chunky();
    let (path, _) = desk.file("small.wav", 1 << 20);
    assert_eq!(run(in_parallel(&desk, &path)).0, 0);
    let (path, _) = desk.file("large.wav", LARGE);
    let mut command = desk.upload(&path);
    command.args(["--parallel", "1"]);
    assert_eq!(run(command).0, 0);
    assert_eq!(desk.server.count("PUT"), 0);
}

#[test]
fn without_the_door_and_behind_a_proxy_that_takes_no_chunk_it_goes_by_tus() {
    let desk = Desk::new();
    let (path, bytes) = desk.file("a.wav", LARGE);
    assert_eq!(run(in_parallel(&desk, &path)).0, 0);
    assert!(desk.stored("/files/1") == bytes);

    let desk = chunky();
    desk.server.with(|seen| seen.body_max = Some(3 << 20));
    let (path, bytes) = desk.file("a.wav", LARGE);
    let (code, lines) = run(in_parallel(&desk, &path));
    assert_eq!((code, &lines[0]["track_id"]), (0, &"t2".into()), "{lines:?}");
    assert!(desk.stored("/files/2") == bytes);
    assert!(desk.server.with(|seen| seen.chunks.is_empty()), "the upload of chunks was left open");
}

#[test]
fn after_ctrl_c_the_next_command_sends_what_is_missing() {
    let desk = chunky();
    let (path, bytes) = desk.file("a.wav", LARGE);
    let arrived = || desk.server.with(|seen| seen.chunks.get("1").map_or(0, |chunks| chunks.len()));
    for signal in [Signal::INT, Signal::KILL] {
        let before = arrived();
        desk.server.with(|seen| seen.pass = Some(2));
        let mut child = in_parallel(&desk, &path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while arrived() < before + 2 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never got there");
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(i32::try_from(child.id()).unwrap(), signal);
        let _ = child.wait();
        // Nothing of the dead one's arrives late.
        desk.server.with(|seen| seen.released = true);
        while desk.server.with(|seen| seen.under_way.0) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        desk.server.with(|seen| seen.released = false);
    }
    desk.server.with(|seen| seen.pass = None);
    let (code, lines) = run(in_parallel(&desk, &path));
    assert_eq!((code, &lines[0]["state"]), (0, &"ready".into()), "{lines:?}");
    assert!(desk.stored("/files/1") == bytes);
    assert_eq!(desk.server.with(|seen| seen.made), 1, "it began anew");
}

#[test]
fn an_index_at_the_end_goes_first_and_alone_also_after_a_fault() {
    let desk = chunky();
    // 11 MiB that begin as MP4 with its sound first; the index is in the last chunk and a bit before.
    let mut bytes = b"\0\0\0\x10ftypM4A \0\0\0\0".to_vec();
    let sound: u32 = (7 << 20) + 100;
    bytes.extend(sound.to_be_bytes());
    bytes.extend(b"mdat");
    bytes.resize(16 + sound as usize, 5);
    let index: u32 = (4 << 20) - 100;
    bytes.extend(index.to_be_bytes());
    bytes.extend(b"moov");
    bytes.resize((11 << 20) + 16, 6);
    let path = desk.dir.path().join("a.m4a");
    std::fs::write(&path, &bytes).unwrap();
    desk.server.with(|seen| seen.faults = [Fault::Answer("503 Service Unavailable")].into());
    let mut command = desk.upload(&path);
    command.args(["--parallel", "1"]);
    let (code, lines) = run(command);
    assert_eq!((code, &lines[0]["state"]), (0, &"ready".into()), "{lines:?}");
    assert!(desk.stored("/files/1") == bytes);
    let puts = desk.server.with(|seen| seen.requests.clone());
    let puts: Vec<_> = puts.iter().filter_map(|r| r.strip_prefix("PUT /api/v1/uploads/1/chunks/")).collect();
    assert_eq!(puts, ["1", "1", "2", "0"], "the first of them was refused once");
}

#[tokio::test]
async fn the_real_server_takes_the_rest_after_ctrl_c() {
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = crate::support::sound::noise(120 << 20, 11);
    let folder = crate::postgres::daemon::folder();
    let path = folder.path().join("a.wav");
    std::fs::write(&path, &bytes).unwrap();
    let command = || {
        let mut command = millrace(&folder.path().join("data"));
        command.arg("upload").arg(&path).args(["--json", "--no-wait", "--parallel", "4", "--server", &app.url("")]);
        command.arg("--token-file").arg(app.data.join("owner-token"));
        command
    };
    let mut child = command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while app.ask("SELECT count(*) FROM upload_parts").await < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    kill(i32::try_from(child.id()).unwrap(), Signal::INT);
    let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(1), "it was done before it could be stopped");
    let again = command();
    let (code, lines) = tokio::task::spawn_blocking(move || run(again)).await.unwrap();
    assert_eq!((code, &lines[0]["sha256"]), (0, &hex(&bytes).into()), "{lines:?}");
    assert_eq!(app.ask("SELECT count(*) FROM uploads WHERE door = 'chunks' AND state = 'stored'").await, 1);
    assert_eq!(app.ask("SELECT count(*) FROM uploads").await, 1);
}
