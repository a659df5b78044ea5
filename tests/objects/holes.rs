//! A store that fails one part, for a while: no offset beyond what it has, no wrong byte at the end.
//!
//! Both reference servers report success over wrong bytes here: they add up what landed and renumber the hole.

use std::time::Duration;

use super::app;
use crate::support::{
    app::App,
    s3::{Action, Answer, Op, Rule, Strict},
    sound::{noise, wav},
    tus::{self, Upload},
};

const MIB: usize = 1 << 20;
/// With the smallest parts that S3 takes.
const PART: usize = 5 * MIB;

/// Sends from the offset that HEAD tells until all is there, as clients do. Every offset told is checked.
async fn resumed(app: &App, upload: &Upload, bytes: &[u8], mut least: u64) -> u64 {
    for _ in 0..100 {
        let answer = tus::head(app, upload).await;
        assert_eq!(answer.status(), 200);
        let offset = tus::number(answer.headers(), "upload-offset");
        assert!(offset >= least, "an acknowledged offset fell from {least} to {offset}");
        least = offset;
        if offset == bytes.len() as u64 {
            return offset;
        }
        let answer = tus::patch(app, upload, offset, &bytes[offset as usize..]).await;
        if answer.status() == 204 {
            least = tus::number(answer.headers(), "upload-offset");
        } else {
            assert!(matches!(answer.status().as_u16(), 409 | 423 | 503), "{}", answer.status());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    panic!("never whole");
}

async fn check(app: &App, store: &Strict, upload: &Upload, bytes: &[u8]) {
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(bytes));
    let keys = store.keys("tracks/");
    let whole = keys.iter().filter(|key| store.object(key).is_some_and(|object| object == bytes)).count();
    assert_eq!(whole, 1, "the object is the file");
}

#[tokio::test]
async fn hole_then_resume() {
    // U3, tusd and @tus: one part answers 503 until everybody gives up; then the store is well and the client resumes.
    let store = Strict::start();
    let app = app(store.settings(), &[("UPLOAD_PART_BYTES", "5MiB")]).await;
    for k in 1..=4 {
        let actions = [Action::Answer(Answer::SLOW_DOWN), Action::Drop, Action::DropAnswer];
        for (seed, action) in (10 * k..).zip(actions) {
            let bytes = noise(3 * PART + MIB, seed);
            let upload = tus::create(&app, "x.bin", &bytes).await;
            let broken = store.faults().add(Rule::on(Op::UploadPart, action).part(k));
            let answer = tus::patch(&app, &upload, 0, &bytes[..3 * PART + MIB / 2]).await;
            if k <= 3 {
                assert_eq!(answer.status(), 503);
                assert!(broken.hits() >= 3, "tried again, with the same bytes");
                assert_eq!(tus::offset(&app, &upload).await, (k - 1) * PART as u64, "not a byte beyond the hole");
            }
            store.faults().heal();
            resumed(&app, &upload, &bytes, 0).await;
            check(&app, &store, &upload, &bytes).await;
        }
    }
}

#[tokio::test]
async fn a_tail_that_the_store_refuses_is_not_acknowledged() {
    let store = Strict::start();
    let app = app(store.settings(), &[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(PART + 2 * MIB, 7);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..MIB]).await.status(), 204);
    let broken = store.faults().add(Rule::on(Op::PutObject, Action::Answer(Answer::INTERNAL_ERROR)).key("tails/"));
    assert_eq!(tus::patch(&app, &upload, MIB as u64, &bytes[MIB..2 * MIB]).await.status(), 503);
    assert!(broken.hits() > 0);
    assert_eq!(tus::offset(&app, &upload).await, MIB as u64);
    store.faults().heal();
    resumed(&app, &upload, &bytes, MIB as u64).await;
    check(&app, &store, &upload, &bytes).await;
}

#[tokio::test]
async fn lost_upload_is_not_done() {
    // tus-node-server #877: an upload that the store forgot is gone, never complete.
    let store = Strict::start();
    let app = app(store.settings(), &[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = wav(70 * 44_100, 44_100);
    let upload = tus::create(&app, "x.wav", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..PART]).await.status(), 204);
    store.lose_uploads("tracks/");
    let answer = tus::patch(&app, &upload, PART as u64, &bytes[PART..]).await;
    assert_eq!(answer.status(), 410);
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["error"]["code"]), (&"failed".into(), &"store_lost_upload".into()), "{track}");
    assert_eq!(tus::head(&app, &upload).await.status(), 410);
}

#[tokio::test]
async fn a_part_of_a_dead_holder_that_lands_late_is_mended() {
    // U18: a zombie's PUT arrives after the new holder has acknowledged that part.
    let store = Strict::start();
    let mut app = app(store.settings(), &[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(2 * PART + MIB, 9);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let late = store.faults().add(Rule::on(Op::UploadPart, Action::Hold).part(1).once());
    let wrong = noise(PART + MIB, 10);
    let _cut = tus::begin_patch(&app, &upload, 0, bytes.len(), &wrong);
    late.until_hit(1).await;
    store.meter().until_passed(PART as u64).await;
    app.kill_and_boot().await;
    assert_eq!(tus::offset(&app, &upload).await, 0);
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..PART + MIB]).await.status(), 204);
    // Now the dead holder's part overwrites the acknowledged one.
    let landed = store.log().count(Op::UploadPart);
    late.release();
    tokio::time::timeout(Duration::from_secs(20), async {
        while store.log().entries().iter().filter(|e| e.op == Op::UploadPart && e.done.is_some()).count() < landed {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    let offset = (PART + MIB) as u64;
    assert_eq!(tus::patch(&app, &upload, offset, &bytes[offset as usize..]).await.status(), 204);
    check(&app, &store, &upload, &bytes).await;
}
