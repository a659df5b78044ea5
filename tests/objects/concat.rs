//! Final uploads on a store of objects: parts are copied there, and what interrupts a join is gone on from.

use std::time::Duration;

use reqwest::Method;

use super::{app, nodes::nodes};
use crate::support::{
    garage::Garage,
    parts::{assert_joined, failed, joined, named, opened, post, stored},
    s3::{Action, Answer, Op, Rule, Strict},
    sound::noise,
    tus::{self, request},
};

const MIB: usize = 1 << 20;
const SMALL_PARTS: (&str, &str) = ("UPLOAD_PART_BYTES", "5MiB");

/// Requests of that kind that are about the track's object.
fn about_tracks(store: &Strict, op: Op) -> Vec<u64> {
    let entries = store.log().entries();
    let mut parts: Vec<_> = entries
        .iter()
        .filter(|e| e.op == op && e.key.starts_with("tracks/") && e.succeeded())
        .map(|e| e.part.unwrap_or(0))
        .collect();
    parts.sort_unstable();
    parts
}

#[tokio::test]
async fn parts_within_one_partial_are_copied_and_the_others_sent() {
    let store = Strict::start();
    let app = app(store.settings(), &[SMALL_PARTS]).await;
    let bytes = noise(32 * MIB + 17, 71);
    // Parts of 5 MiB: 1, 2 in the first; 3 over three of them; 4 to 7 in the last.
    let partials = [
        stored(&app, &bytes[..11 * MIB]).await,
        stored(&app, &bytes[11 * MIB..12 * MIB]).await,
        stored(&app, &bytes[12 * MIB..]).await,
    ];
    let whole = joined(&app, &partials.iter().collect::<Vec<_>>(), &bytes).await;
    assert_joined(&app, &whole, &bytes).await;
    assert_eq!(about_tracks(&store, Op::UploadPartCopy), [1, 2, 4, 5, 6, 7]);
    assert_eq!(about_tracks(&store, Op::UploadPart), [3]);
    let key = format!("tracks/{}/{}", whole.track, whole.path.rsplit('/').next().unwrap());
    assert!(store.object(&key).is_some_and(|object| object == bytes), "the object is the file");
    assert!(store.multiparts().is_empty() && store.keys("tails/").is_empty());
    // Nothing touched the disk.
    assert!(app.files("").is_empty());
}

#[tokio::test]
async fn a_kill_in_the_middle_goes_on_from_the_committed_part() {
    let store = Strict::start();
    let mut app = app(store.settings(), &[SMALL_PARTS]).await;
    let bytes = noise(24 * MIB, 72);
    let partials = [stored(&app, &bytes[..13 * MIB]).await, stored(&app, &bytes[13 * MIB..]).await];
    let held = store.faults().add(Rule::on(Op::UploadPartCopy, Action::Hold).part(4).once());
    let whole = joined(&app, &partials.iter().collect::<Vec<_>>(), &bytes).await;
    held.until_hit(1).await;
    app.until("three parts long", "SELECT count(*) FROM uploads WHERE kind = 'final' AND committed = 15728640").await;
    app.kill_and_boot().await;
    held.release();
    assert_joined(&app, &whole, &bytes).await;
    assert_eq!(about_tracks(&store, Op::UploadPartCopy).iter().filter(|part| **part == 1).count(), 1);
    assert_eq!(about_tracks(&store, Op::UploadPart).iter().filter(|part| **part == 3).count(), 1);
    store.faults().heal();
    app.until_clean().await;
}

#[tokio::test]
async fn another_node_takes_over_from_a_dead_one() {
    let store = Strict::start();
    let mut apps = nodes(&store.settings(), 2, &[]).await;
    let bytes = noise(24 * MIB, 73);
    let partials = [stored(&apps[0], &bytes[..13 * MIB]).await, opened(&apps[1], 11 * MIB).await];
    let whole = joined(&apps[1], &partials.iter().collect::<Vec<_>>(), &bytes).await;
    let held = store.faults().add(Rule::on(Op::UploadPartCopy, Action::Hold).part(2).once());
    // Who stores the last of them begins at once.
    assert_eq!(tus::patch(&apps[0], &partials[1], 0, &bytes[13 * MIB..]).await.status(), 204);
    held.until_hit(1).await;
    apps[0].kill();
    held.release();
    assert_joined(&apps[1], &whole, &bytes).await;
}

#[tokio::test]
async fn a_store_that_is_away_is_waited_for() {
    let store = Strict::start();
    let app = app(store.settings(), &[SMALL_PARTS]).await;
    let bytes = noise(13 * MIB, 74);
    let one = stored(&app, &bytes[..6 * MIB]).await;
    let two = opened(&app, 7 * MIB).await;
    let whole = joined(&app, &[&one, &two], &bytes).await;
    let reads = store.faults().add(Rule::on(Op::GetObject, Action::Answer(Answer::SLOW_DOWN)).key("partials/"));
    let copies = store.faults().add(Rule::on(Op::UploadPartCopy, Action::Answer(Answer::INTERNAL_ERROR)));
    assert_eq!(tus::patch(&app, &two, 0, &bytes[6 * MIB..]).await.status(), 204);
    reads.until_hit(1).await;
    assert_eq!(tus::head(&app, &whole).await.status(), 200);
    store.faults().heal();
    assert_joined(&app, &whole, &bytes).await;
    assert!(copies.hits() == 0, "not a part was begun");
}

#[tokio::test]
async fn a_partial_whose_object_is_gone_is_lost() {
    let store = Strict::start();
    let app = app(store.settings(), &[SMALL_PARTS]).await;
    let one = stored(&app, &noise(6 * MIB, 75)).await;
    let two = opened(&app, 5).await;
    let whole = joined(&app, &[&one, &two], b"").await;
    let key = store.keys("partials/").pop().unwrap();
    let site = store.site();
    site.client().delete_object().bucket(&site.bucket).key(key).send().await.unwrap();
    assert_eq!(tus::patch(&app, &two, 0, b"hello").await.status(), 204);
    assert_eq!(failed(&app, &whole).await, "partial_lost");
}

#[tokio::test]
async fn a_final_upload_can_be_ended_while_it_is_joined() {
    let store = Strict::start();
    let app = app(store.settings(), &[SMALL_PARTS]).await;
    let bytes = noise(13 * MIB, 76);
    let one = stored(&app, &bytes).await;
    let held = store.faults().add(Rule::on(Op::GetObject, Action::Hold).key("partials/").skip(2).once());
    let whole = joined(&app, &[&one], &bytes).await;
    held.until_hit(1).await;
    let ended = request(&app, Method::DELETE, &whole.path).send().await.unwrap();
    assert_eq!(ended.status(), 204);
    held.release();
    assert_eq!(failed(&app, &whole).await, "The upload is aborted.");
    app.until_clean().await;
    assert!(store.multiparts().is_empty() && store.keys("tracks/").is_empty());
    assert_eq!(tus::offset(&app, &one).await, bytes.len() as u64, "the partial is still there");
    assert_joined(&app, &joined(&app, &[&one], &bytes).await, &bytes).await;
}

#[tokio::test]
async fn only_so_many_are_joined_at_once() {
    let store = Strict::start();
    let app = app(store.settings(), &[SMALL_PARTS]).await;
    let bytes = noise(MIB, 77);
    let one = stored(&app, &bytes).await;
    let held = store.faults().add(Rule::on(Op::GetObject, Action::Hold).key("partials/"));
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(joined(&app, &[&one], &bytes).await);
    }
    held.until_hit(2).await;
    // Longer than the rows are left alone.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(held.hits(), 2);
    store.faults().heal();
    held.release();
    for whole in &all {
        assert_joined(&app, whole, &bytes).await;
    }
}

#[tokio::test]
async fn a_real_store_copies_too() {
    let garage = Garage::start().await;
    let app = app(garage.settings(), &[SMALL_PARTS]).await;
    let bytes = noise(32 * MIB + 17, 78);
    let mut partials = Vec::new();
    for piece in [&bytes[..11 * MIB], &bytes[11 * MIB..12 * MIB], &bytes[12 * MIB..]] {
        partials.push(stored(&app, piece).await);
    }
    let whole = joined(&app, &partials.iter().collect::<Vec<_>>(), &bytes).await;
    assert_joined(&app, &whole, &bytes).await;
    let key = format!("tracks/{}/{}", whole.track, whole.path.rsplit('/').next().unwrap());
    assert!(garage.site().read(&key).await == bytes, "the object is the file");
    app.until_clean().await;
    assert!(garage.multiparts().await.is_empty() && garage.objects("tails/").await.is_empty());
}

#[tokio::test]
async fn a_partial_that_rotted_is_never_published() {
    // No digest was promised: what was stored is the promise.
    let store = Strict::start();
    let app = app(store.settings(), &[SMALL_PARTS]).await;
    let bytes = noise(12 * MIB, 79);
    let rot = store.faults().add(Rule::on(Op::UploadPart, Action::Rot { at: 1000 }).key("partials/").part(2).once());
    let one = stored(&app, &bytes).await;
    assert_eq!(rot.hits(), 1);
    let answer = post(&app, &named(&[&one])).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let whole = tus::upload(&answer);
    assert_eq!(failed(&app, &whole).await, "partial_lost");
    assert!(store.keys("tracks/").is_empty());
}

#[tokio::test]
async fn the_least_memory_is_enough_for_many() {
    let store = Strict::start();
    let least = [SMALL_PARTS, ("UPLOAD_MEMORY_BYTES", "8MiB"), ("UPLOAD_PARTS_IN_FLIGHT", "1")];
    let app = app(store.settings(), &least).await;
    let bytes = noise(17 * MIB, 80);
    let mut partials = Vec::new();
    for piece in bytes.chunks(4 * MIB) {
        partials.push(stored(&app, piece).await);
    }
    let all: Vec<_> = partials.iter().collect();
    let mut wholes = Vec::new();
    for _ in 0..4 {
        wholes.push(joined(&app, &all, &bytes).await);
    }
    // And a client that wants its share meanwhile.
    let beside = tus::whole(&app, "x.bin", &bytes).await;
    for whole in wholes.iter().chain([&beside]) {
        assert_joined(&app, whole, &bytes).await;
    }
    app.until_clean().await;
}
