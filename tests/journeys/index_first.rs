//! A file whose index is at its end, sent by that end first: it plays while the rest arrives, as it does later.

use std::{io::Write, net::TcpStream};

use serde_json::Value;

use super::crash::{assert_kept, published};
use crate::support::{
    app::App,
    chunks::{self, Upload},
    index_last::File,
    player, tus,
};

const SETTINGS: [(&str, &str); 2] = [("UPLOAD_PART_BYTES", "5MiB"), ("HLS_LADDER", "aac:64k,flac")];

/// Sends the chunks that hold the index, and of the first all but its end.
pub async fn begin(app: &App, file: &File) -> (Upload, TcpStream) {
    let upload = chunks::create(app, file.name, &file.bytes).await;
    for n in file.index / upload.chunk_bytes..upload.count {
        chunks::put_of(app, &upload, &file.bytes, n).await;
    }
    let first = upload.piece(&file.bytes, 0);
    let socket = chunks::begin_put(app, &upload, 0, first.len(), &first[..first.len() - 1000]);
    (upload, socket)
}

/// Sends all that is missing, and waits for the track's end.
pub async fn end(app: &App, upload: &Upload, file: &File, from: usize) -> Value {
    for n in from..file.index / upload.chunk_bytes {
        chunks::put_of(app, upload, &file.bytes, n).await;
    }
    chunks::complete_as(app, upload, &file.bytes).await;
    app.settled(&upload.track).await
}

pub async fn rungs(app: &App, track: &str) -> Vec<Vec<u8>> {
    let entry = player::stream(app, track).await;
    let mut whole = Vec::new();
    for rung in player::rungs(app, &entry).await {
        assert!(rung.is_ended());
        whole.push(player::download(app, &rung).await);
    }
    whole
}

#[tokio::test]
async fn it_plays_before_its_middle_has_come_and_is_what_it_is_by_tus() {
    let app = App::with(&SETTINGS).await;
    for (file, seconds, chunks) in [(File::m4a(65), 65, 3), (File::caf(33), 33, 2), (File::aiff(33), 33, 2)] {
        let (upload, mut socket) = begin(&app, &file).await;
        assert_eq!(upload.count, chunks, "the index is in the last");
        app.track_when(&upload.track, "playable", |t| t["state"] == "playable").await;
        let there = chunks::progress(&app, &upload).await;
        let tail = file.index / upload.chunk_bytes * upload.chunk_bytes;
        assert_eq!((&there["offset"], &there["received"]), (&0.into(), &serde_json::json!([[tail, file.bytes.len()]])));
        let first = upload.piece(&file.bytes, 0);
        socket.write_all(&first[first.len() - 1000..]).unwrap();
        assert_eq!(tus::answer(&mut socket).0, 204);
        let track = end(&app, &upload, &file, 1).await;
        assert_eq!((&track["state"], &track["samples"]), (&"ready".into(), &(seconds * 44_100).into()), "{track}");

        if seconds > 60 {
            let late = tus::whole(&app, file.name, &file.bytes).await;
            assert_eq!(app.settled(&late.track).await["state"], "ready");
            assert!(rungs(&app, &upload.track).await == rungs(&app, &late.track).await, "as by ranges");
        }
    }
    assert_eq!(app.ask("SELECT count(*) FROM runs WHERE run > 1").await, 0, "nothing was made twice");
    app.until_clean().await;
}

#[tokio::test]
async fn a_kill_in_its_middle_changes_no_published_byte() {
    let mut app = App::with(&SETTINGS).await;
    let file = File::m4a(33);
    let (upload, _socket) = begin(&app, &file).await;
    app.track_when(&upload.track, "playable", |t| t["state"] == "playable").await;
    let early = published(&app, &upload.track).await;
    app.kill_and_boot().await;
    let track = end(&app, &upload, &file, 0).await;
    assert_eq!((&track["state"], &track["samples"]), (&"ready".into(), &(33 * 44_100).into()), "{track}");
    assert_kept(&early, &published(&app, &upload.track).await);
    assert_eq!(app.ask("SELECT count(*) FROM runs").await, 1);
    app.until_clean().await;
}

#[tokio::test]
async fn an_index_that_lies_costs_its_own_track_and_is_judged_as_by_tus() {
    let app = App::with(&SETTINGS).await;
    let mut file = File::m4a(33);
    // Where the sound is, it says, is beyond the file.
    let at = file.index + file.bytes[file.index..].windows(4).position(|w| w == b"stco").unwrap() + 12;
    file.bytes[at..at + 4].copy_from_slice(&0x7fff_0000_u32.to_be_bytes());
    let (upload, mut socket) = begin(&app, &file).await;
    // Nor is it another one later.
    let last = upload.count - 1;
    let other = vec![0; upload.piece(&file.bytes, last).len()];
    assert_eq!(chunks::put(&app, &upload, last, &other).await.status(), 409);
    let first = upload.piece(&file.bytes, 0);
    socket.write_all(&first[first.len() - 1000..]).unwrap();
    assert_eq!(tus::answer(&mut socket).0, 204);
    let track = end(&app, &upload, &file, 1).await;
    let late = tus::whole(&app, file.name, &file.bytes).await;
    let late = app.settled(&late.track).await;
    assert_eq!((&track["state"], &track["error"]), (&late["state"], &late["error"]), "{track}");
    app.until_clean().await;
}

#[tokio::test]
async fn those_whose_middle_never_comes_keep_no_worker_from_others() {
    let app = App::with(&SETTINGS).await;
    let file = File::m4a(33);
    let workers = std::thread::available_parallelism().unwrap().get();
    let mut silent = Vec::new();
    for _ in 0..workers {
        silent.push(begin(&app, &file).await);
    }
    let other = tus::whole(&app, file.name, &file.bytes).await;
    assert_eq!(app.settled(&other.track).await["state"], "ready");
    for (upload, _socket) in &silent {
        assert_ne!(app.track(&upload.track).await["state"], "failed");
        let gone = app.http.delete(app.url(&upload.path())).bearer_auth(&app.token).send().await.unwrap();
        assert_eq!(gone.status(), 204);
        assert_eq!(app.settled(&upload.track).await["error"]["code"], "upload_aborted");
    }
    app.until_clean().await;
}
