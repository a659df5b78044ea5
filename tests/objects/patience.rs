//! Nobody waits for ever: not for a store that refuses what it has taken, not for clients that send nothing, not for a node
//! that is gone.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use reqwest::Method;

use super::world::{PART, World};
use crate::support::{
    chunks, ietf,
    s3::{Action, Answer, Entry, Op, Rule, Strict},
    sound::{noise, wav},
    tus,
};

const MIB: usize = 1 << 20;
/// The least that a process takes.
const BUDGET: (&str, &str) = ("UPLOAD_MEMORY_BYTES", "24MiB");

#[tokio::test]
async fn parts_that_the_store_refuses_for_ever_fail_the_upload() {
    // It lists every part as it was acknowledged, and won't put them together: no try helps any more.
    let store = Strict::start();
    let world = World::impatient(&store).await;
    let bytes = wav(((PART + MIB) / 4) as u32, 44_100);
    let upload = tus::create(world.app(), "x.wav", &bytes).await;
    let refused = store.faults().add(Rule::on(Op::Complete, Action::Answer(Answer::INVALID_PART)).key("tracks/"));
    assert_eq!(tus::patch(world.app(), &upload, 0, &bytes).await.status(), 410);
    assert!(refused.hits() >= 1);
    let track = world.app().settled(&upload.track).await;
    assert_eq!((&track["state"], &track["error"]["code"]), (&"failed".into(), &"part_overwritten".into()), "{track}");
    assert_eq!(world.count("SELECT count(*) FROM uploads WHERE state = 'sealing'").await, 0);
}

/// Besides those with which the store's powers are tried.
fn completes(store: &Strict) -> usize {
    store.log().about("tracks/").iter().filter(|e| e.op == Op::Complete).count()
}

#[tokio::test]
async fn one_complete_at_a_time_also_across_a_kill() {
    // Two at once have cost whole objects on some stores. The dead process's one is still on its way to the store.
    let store = Strict::start();
    let mut world = World::new(&store.settings(), 1, &[("S3_STALL", "2s")]).await;
    let bytes = noise(PART + MIB, 1);
    let upload = tus::create(world.app(), "x.bin", &bytes).await;
    let held = store.faults().add(Rule::on(Op::Complete, Action::Hold).key("tracks/").once());
    let _socket = tus::begin_patch(world.app(), &upload, 0, bytes.len(), &bytes);
    held.until_hit(1).await;
    let before = store.log().len();
    world.nodes[0].kill_and_boot().await;
    let looks = |e: &&Entry| e.op == Op::HeadObject && e.key.starts_with("tracks/");
    let looked = || store.log().since(before).iter().filter(looks).count();
    let begun = Instant::now();
    while looked() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody goes on with it");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    held.release();
    world.until("stored", "SELECT count(*) FROM uploads WHERE state = 'stored'").await;
    assert_eq!(completes(&store), 1);
    let track = world.app().track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    world.until_nothing_is_owed().await;
}

#[tokio::test]
async fn a_complete_that_died_with_its_process_is_sent_again() {
    let store = Strict::start();
    let mut world = World::new(&store.settings(), 1, &[("S3_STALL", "500ms")]).await;
    let bytes = noise(PART + MIB, 2);
    let upload = tus::create(world.app(), "x.bin", &bytes).await;
    let lost = store.faults().add(Rule::on(Op::Complete, Action::Hang).key("tracks/").once());
    let _socket = tus::begin_patch(world.app(), &upload, 0, bytes.len(), &bytes);
    lost.until_hit(1).await;
    world.nodes[0].kill_and_boot().await;
    let track = world.app().track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    assert_eq!(completes(&store), 2);
    world.until_nothing_is_owed().await;
}

#[tokio::test]
async fn chunks_that_are_repeated_slowly_keep_nobody_from_the_memory() {
    let store = Strict::start();
    let world = World::new(&store.settings(), 1, &[BUDGET]).await;
    let bytes = noise(2 * PART, 3);
    let chunked = chunks::create(world.app(), "x.bin", &bytes).await;
    chunks::put_of(world.app(), &chunked, &bytes, 0).await;
    // More than the memory has frames.
    let stalled: Vec<_> = (0..60).map(|_| chunks::begin_put(world.app(), &chunked, 0, PART, &bytes[..1000])).collect();
    let file = noise(2 * PART, 4);
    let upload = tus::whole(world.app(), "y.bin", &file).await;
    let track = world.app().track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&file));
    drop(stalled);
}

#[tokio::test]
async fn who_sends_nothing_takes_few_turns_from_who_sends() {
    // Each wait that is too long costs the fast one a tail: they tell how often it had to wait for the silent.
    let store = Strict::start();
    let world = World::new(&store.settings(), 1, &[BUDGET]).await;
    let part = noise(MIB, 5);
    let mut silent = Vec::new();
    for _ in 0..200 {
        let upload = tus::create(world.app(), "x.bin", &noise(2 * MIB, 6)).await;
        silent.push(tus::begin_patch(world.app(), &upload, 0, 2 * MIB, &part[..700_000]));
    }
    let file = noise(60 * MIB, 7);
    let upload = tus::create(world.app(), "y.bin", &file).await;
    let id = upload.path.rsplit('/').next().unwrap().to_owned();
    let begun = Instant::now();
    assert_eq!(tus::patch(world.app(), &upload, 0, &file).await.status(), 204);
    let tails = store.log().about(&format!("tails/{id}")).iter().filter(|e| e.op == Op::PutObject).count();
    eprintln!("60 MiB beside 200 silent clients in {:?}, {tails} tails", begun.elapsed());
    assert!(tails <= 30, "{tails} tails: it waits for each of them again and again");
    drop(silent);
}

#[tokio::test]
async fn an_offset_that_may_still_move_is_not_told() {
    // IETF draft: an offset that HEAD tells must be accepted next. The store holds what would move it.
    let store = Strict::start();
    let world = World::new(&store.settings(), 1, &[]).await;
    let app = world.app();
    let bytes = noise(2 * MIB, 8);
    let upload = ietf::create(app, Some(bytes.len())).await;
    let held = store.faults().add(Rule::on(Op::PutObject, Action::HoldAnswer).key("tails/").once());
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {}\r\nUpload-Draft-Interop-Version: 8\r\n\
         Upload-Complete: ?1\r\nUpload-Offset: 0\r\nContent-Length: {}\r\n\r\n",
        upload.path,
        app.token,
        ietf::PARTIAL,
        bytes.len()
    );
    let mut socket = std::net::TcpStream::connect(app.host()).unwrap();
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(&bytes[..MIB]).unwrap();
    world.until("held", "SELECT count(*) FROM uploads WHERE node IS NOT NULL").await;
    let answer = ietf::request(app, Method::HEAD, &upload.path).send().await.unwrap();
    assert_eq!((held.hits(), answer.status().as_u16()), (1, 503));
    assert!(answer.headers().contains_key("retry-after") && !answer.headers().contains_key("upload-offset"));
    held.release();
    let begun = Instant::now();
    let told = loop {
        let answer = ietf::request(app, Method::HEAD, &upload.path).send().await.unwrap();
        if answer.status() == 204 {
            break tus::number(answer.headers(), "upload-offset");
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", answer.status());
    };
    assert_eq!(told, MIB as u64, "what came is kept");
    let rest = ietf::request(app, Method::PATCH, &upload.path)
        .header("Content-Type", ietf::PARTIAL)
        .header("Upload-Complete", "?1")
        .header("Upload-Offset", told);
    assert!(rest.body(bytes[MIB..].to_vec()).send().await.unwrap().status().is_success());
}

#[tokio::test]
async fn ten_that_wait_for_a_store_that_hangs_wait_once() {
    // What it can do is asked once for all of them, not by one after the other.
    let store = Strict::start();
    let world = World::impatient(&store).await;
    let stuck = store.faults().add(Rule::any(Action::Hang));
    let bytes = noise(MIB, 9);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let upload = tus::create(world.app(), "x.bin", &bytes).await;
        let request = world.app().http.patch(world.app().url(&upload.path)).bearer_auth(&world.app().token);
        let request = request.header("Tus-Resumable", "1.0.0").header("Content-Type", tus::OCTETS);
        let request = request.header("Upload-Offset", 0).body(bytes.clone());
        asked.spawn(async move { request.send().await.unwrap().status().as_u16() });
    }
    let statuses = asked.join_all().await;
    assert_eq!(statuses, [503; 10]);
    let probes = store.log().about("probe/").iter().filter(|e| e.op == Op::PutObject).count();
    assert!(probes <= 9, "{probes} requests: three tries, and again for who came later");
    assert!(stuck.hits() >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_boots_while_another_takes_its_chunks() {
    // Uploads before claims, as everybody locks them: else one of the two is told of a deadlock, and the node doesn't start.
    let store = Strict::start();
    let mut world = World::new(&store.settings(), 1, &[]).await;
    let bytes = noise(2 * PART, 10);
    let upload = chunks::create(world.app(), "x.bin", &bytes).await;
    let held = store.faults().add(Rule::on(Op::UploadPart, Action::Hold).key("tracks/").once());
    let request = chunks::request(world.app(), &upload, 0).body(upload.piece(&bytes, 0).to_vec());
    let sending = tokio::spawn(async move { request.send().await });
    held.until_hit(1).await;
    world.nodes[0].kill();
    let _cut = sending.await.unwrap();
    let mut other = schema::begin(&world.db).await.unwrap();
    sqlx::query("SELECT FROM uploads FOR NO KEY UPDATE").execute(&mut *other).await.unwrap();
    let database = world.db.clone();
    let claiming = tokio::spawn(async move {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&database).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sqlx::query("UPDATE upload_claims SET claim_until = now()").execute(&mut *other).await.unwrap();
        other.commit().await.unwrap();
    });
    world.nodes[0].boot().await;
    claiming.await.unwrap();
    held.release();
    chunks::put_of(world.app(), &upload, &bytes, 0).await;
    chunks::put_of(world.app(), &upload, &bytes, 1).await;
    chunks::complete_as(world.app(), &upload, &bytes).await;
}
