//! Several daemons that share Postgres and the store, and nothing else.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use reqwest::Method;
use rustix::process::Signal;

use super::joined;
use crate::support::{
    app::App,
    garage::Garage,
    player,
    s3::{Settings, Strict},
    sound::{noise, wav},
    tus::{self, begin_patch},
};

const MIB: usize = 1 << 20;
/// The encode's job, by what it carries.
const JOB_OF_S3: &str = "SELECT count(*) FROM jobs j JOIN tracks t ON t.id = j.subject
    WHERE j.kind = 'encode' AND j.payload ->> 'storage_key' = t.storage_key AND NOT j.payload ? 'file_path'";

const STORED_ON_S3: &str =
    "SELECT count(*) FROM tracks WHERE storage_backend = 's3' AND storage_key <> '' AND file_path IS NULL";
const WAITS_FOR_TRANSITION: &str =
    "SELECT count(*) FROM pg_locks WHERE relation = 'transition'::regclass AND NOT granted";
const SECRET: &str = "only-for-tests-only-for-tests-32b";

/// The last brings the database, so that it ends last; the others join it.
pub(super) async fn nodes(settings: &Settings, n: usize, more: &[(&str, &str)]) -> Vec<App> {
    let mut common = more.to_vec();
    common.push(("MILLRACE_SECRET", SECRET));
    common.push(("UPLOAD_PART_BYTES", "5MiB"));
    let mut apps = vec![App::with(&joined(settings, &common)).await];
    let url = apps[0].daemon().database_url();
    common.push(("DATABASE_URL", &url));
    for _ in 1..n {
        let mut app = App::with(&joined(settings, &common)).await;
        app.token.clone_from(&apps[0].token);
        apps.push(app);
    }
    apps.rotate_left(1);
    apps
}

#[tokio::test]
async fn three_nodes_round_robin_always_answer() {
    // tusd #1267: no stickiness; each request goes to the next node.
    let store = Strict::start();
    let apps = nodes(&store.settings(), 3, &[]).await;
    let bytes = noise(12 * MIB, 21);
    let upload = tus::create(&apps[0], "x.bin", &bytes).await;
    for (n, piece) in bytes.chunks(MIB).enumerate() {
        let app = &apps[n % 3];
        assert_eq!(tus::offset(&apps[(n + 1) % 3], &upload).await, (n * MIB) as u64);
        assert_eq!(tus::patch(app, &upload, (n * MIB) as u64, piece).await.status(), 204);
    }
    for app in &apps {
        let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
        assert_eq!(track["sha256"], tus::sha256(&bytes));
    }
}

#[tokio::test]
async fn a_live_holder_on_another_node_lets_go() {
    let store = Strict::start();
    let apps = nodes(&store.settings(), 2, &[]).await;
    let bytes = noise(6 * MIB, 22);
    let upload = tus::create(&apps[0], "x.bin", &bytes).await;
    let mut stalled = begin_patch(&apps[0], &upload, 0, bytes.len(), &bytes[..MIB]);
    apps[1].until("held", "SELECT count(*) FROM uploads WHERE node IS NOT NULL").await;
    let begun = Instant::now();
    assert_eq!(tus::patch(&apps[1], &upload, 0, &bytes).await.status(), 204);
    assert!(begun.elapsed() < Duration::from_secs(15), "not by the lease's end: {:?}", begun.elapsed());
    assert_eq!(tus::answer(&mut stalled).0, 423);
    let track = apps[0].track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

#[tokio::test]
async fn who_takes_over_is_not_asked_to_leave_itself() {
    // Its own word to the holder comes back to it. And a client that comes late and slowly is the rule, not the exception.
    let store = Strict::start();
    let apps = nodes(&store.settings(), 2, &[]).await;
    let bytes = noise(6 * MIB, 25);
    let upload = tus::create(&apps[0], "x.bin", &bytes).await;
    let mut stalled = begin_patch(&apps[0], &upload, 0, bytes.len(), &bytes[..MIB]);
    apps[1].until("held", "SELECT count(*) FROM uploads WHERE node IS NOT NULL").await;
    let mut newcomer = begin_patch(&apps[1], &upload, 0, bytes.len(), &bytes[..MIB]);
    assert_eq!(tus::answer(&mut stalled).0, 423);
    apps[1].until("held again", "SELECT count(*) FROM uploads WHERE epoch = 2 AND node IS NOT NULL").await;
    // Beyond the grace that a writer has who is asked to leave, and with pauses in which it would.
    for piece in bytes[MIB..].chunks(MIB) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        newcomer.write_all(piece).unwrap();
    }
    assert_eq!(tus::answer(&mut newcomer).0, 204);
    let track = apps[0].track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

#[tokio::test]
async fn an_upload_that_is_ended_on_one_node_ends_its_client_on_another() {
    let store = Strict::start();
    let apps = nodes(&store.settings(), 2, &[]).await;
    let bytes = noise(6 * MIB, 26);
    let upload = tus::create(&apps[0], "x.bin", &bytes).await;
    let mut sending = begin_patch(&apps[0], &upload, 0, bytes.len(), &bytes[..MIB]);
    apps[1].until("held", "SELECT count(*) FROM uploads WHERE node IS NOT NULL").await;
    assert_eq!(tus::request(&apps[1], Method::DELETE, &upload.path).send().await.unwrap().status(), 204);
    // It sends nothing more, and hears all the same.
    assert_eq!(tus::answer(&mut sending).0, 423);
    assert_eq!(tus::head(&apps[0], &upload).await.status(), 410);
}

#[tokio::test]
async fn zombie_writer() {
    // U18: the holder sleeps beyond its lease; another node finishes; the holder wakes and changes nothing.
    let store = Strict::start();
    let apps = nodes(&store.settings(), 2, &[("UPLOAD_LEASE", "3s")]).await;
    let bytes = noise(11 * MIB, 23);
    let upload = tus::create(&apps[0], "x.bin", &bytes).await;
    let mut held = begin_patch(&apps[0], &upload, 0, bytes.len(), &bytes[..2 * MIB]);
    apps[1].until("held", "SELECT count(*) FROM uploads WHERE node IS NOT NULL").await;
    apps[0].daemon().signal(Signal::STOP);
    finished_elsewhere(&apps[1], &upload, &bytes).await;
    apps[0].daemon().signal(Signal::CONT);
    let (told, _) = tus::answer(&mut held);
    assert!(matches!(told, 0 | 423), "a fenced writer says nothing, or that another writes: {told}");
    let track = apps[1].track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    assert_eq!(tus::offset(&apps[0], &upload).await, bytes.len() as u64);
}

#[tokio::test]
async fn a_writer_asleep_in_a_transaction_keeps_nobody_out() {
    // It holds the row itself, not only the lease: nobody could even ask how long that is good for.
    let store = Strict::start();
    let apps = nodes(&store.settings(), 2, &[("UPLOAD_LEASE", "1s")]).await;
    let bytes = noise(6 * MIB, 24);
    let upload = tus::create(&apps[0], "x.bin", &bytes).await;
    // The first byte moves the upload to `receiving`, and that is written down here: the transaction waits in its middle.
    let mut gate = apps[1].daemon().connect().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE transition IN EXCLUSIVE MODE").execute(&mut gate).await.unwrap();
    let mut held = begin_patch(&apps[0], &upload, 0, bytes.len(), &bytes[..MIB]);
    apps[1].until("in its transaction", WAITS_FOR_TRANSITION).await;
    apps[0].daemon().signal(Signal::STOP);
    sqlx::raw_sql("COMMIT").execute(&mut gate).await.unwrap();
    finished_elsewhere(&apps[1], &upload, &bytes).await;
    apps[0].daemon().signal(Signal::CONT);
    let (told, _) = tus::answer(&mut held);
    assert!(matches!(told, 0 | 423 | 503), "it learns that its transaction is gone: {told}");
    let track = apps[0].track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

/// A client that comes back to `app` until its file is there, within two leases of the default length.
async fn finished_elsewhere(app: &App, upload: &tus::Upload, bytes: &[u8]) {
    let begun = Instant::now();
    let mut told = 0;
    loop {
        let offset = tus::offset(app, upload).await;
        assert!(offset >= told, "the offset went back from {told} to {offset}");
        told = offset;
        match tus::patch(app, upload, offset, &bytes[usize::try_from(offset).unwrap()..]).await.status().as_u16() {
            204 => return,
            423 => assert!(begun.elapsed() < Duration::from_secs(30), "still held"),
            status => panic!("{status} at {offset}"),
        }
    }
}

/// The rungs of the whole file, as this node gives them to a player.
async fn ready_at(app: &App, upload: &tus::Upload, bytes: &[u8]) -> Vec<player::List> {
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(bytes).into()), "{track}");
    let entry = player::stream(app, &upload.track).await;
    let rungs = player::rungs(app, &entry).await;
    assert_eq!(rungs.len(), 4);
    rungs
}

#[tokio::test]
async fn one_node_encodes_and_another_serves() {
    // HLS-4, HLS-8, HLS-9, HLS-11, HLS-14, UP-2, UP-14, UP-21: they share Postgres and the store; nothing is on anybody's disk, also while the
    // upload is coming.
    let store = Garage::start().await;
    let apps = nodes(&store.settings(), 2, &[]).await;
    let bytes = wav(30 * 44_100, 44_100);
    let upload = tus::create(&apps[0], "x.wav", &bytes).await;
    let sent = bytes.len() * 3 / 4;
    let mut socket = begin_patch(&apps[0], &upload, 0, bytes.len(), &bytes[..sent]);
    apps[1].track_when(&upload.track, "one segment long", |t| t["segments_ready"].as_i64() >= Some(1)).await;
    let entry = player::stream(&apps[1], &upload.track).await;
    let growing = player::rungs(&apps[1], &entry).await;
    assert!(growing.iter().all(|rung| !rung.segments().is_empty() && !rung.is_ended()));
    let early = player::download(&apps[1], &growing[0]).await;

    socket.write_all(&bytes[sent..]).unwrap();
    assert_eq!(tus::answer(&mut socket).0, 204);
    let rungs = ready_at(&apps[1], &upload, &bytes).await;
    for rung in &rungs {
        assert!(rung.is_ended());
        let here = player::download(&apps[1], rung).await;
        // The same grants hold on both nodes.
        assert!(here == player::download(&apps[0], &player::list(&apps[0], &rung.path).await).await);
    }
    assert!(player::download(&apps[1], &rungs[0]).await.starts_with(&early), "what played early is what stays");
    assert_eq!(apps[1].ask(STORED_ON_S3).await, 1);
    assert_eq!(apps[1].ask(JOB_OF_S3).await, 1, "the job names the object and no path; no URL that could run out");
    let (status, url, errors) = apps[1].run(&["blobs", "link", &upload.track]);
    assert!(status.success() && url.contains("X-Amz-Expires=3600&"), "{url} {errors}");
    assert!(reqwest::get(url.trim()).await.unwrap().bytes().await.unwrap() == bytes, "HLS-1, URL-3");
    for app in &apps {
        assert!(app.files("").is_empty(), "payload on the disk: {:?}", app.files(""));
    }
    let keys = store.objects("tracks/").await;
    let mut whole = None;
    for key in &keys {
        let object = store.site().read(key).await;
        if object == bytes {
            whole = Some(key.clone());
        }
    }
    assert!(whole.is_some(), "the object is the file: {keys:?}");
}

#[tokio::test]
async fn a_single_request_plays_on_the_other_node() {
    // UP-24, HLS-8
    let store = Strict::start();
    let apps = nodes(&store.settings(), 2, &[]).await;
    let bytes = wav(2 * 44_100, 44_100);
    let post = tus::request(&apps[0], Method::POST, "/files").header("Upload-Length", bytes.len());
    let post = post.header("Content-Type", tus::OCTETS);
    let post = post.header("Upload-Metadata", tus::metadata(&[("filename", "x.wav")]));
    let answer = post.body(bytes.clone()).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let upload = tus::upload(&answer);
    let rungs = ready_at(&apps[1], &upload, &bytes).await;
    for rung in &rungs {
        assert!(rung.is_ended() && player::download(&apps[1], rung).await.len() > 10_000);
    }
    assert!(apps.iter().all(|app| app.files("").is_empty()), "payload on a disk");
}
