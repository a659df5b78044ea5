//! tus-js-client 4.3.1 under Node, in the modes that uploaders on the web use.

use serde_json::json;

use super::{
    ground::{Fault, Ground, Mode, Store},
    run::{Client, MIB, Sample, assert_never_back, assert_stored, run},
};
use crate::support::{
    app::App,
    parts,
    tus::{self, Upload},
};

/// Uploads a file that is no multiple of anything, and compares; how many POSTs and PATCHes that took.
async fn uploaded(len: usize, asked: &serde_json::Value) -> (usize, usize) {
    let app = App::start().await;
    let sample = Sample::noise(len, 21);
    let told = run(Client::TusJs, &app, &sample, asked);
    assert_eq!(told.ended, "success");
    assert_eq!(told.offsets().last(), Some(&(len as u64)));
    assert_never_back(&[&told]);
    assert_stored(&app, &told.track, &told.url, &sample);
    app.until_clean().await;
    (told.count("POST"), told.count("PATCH"))
}

#[tokio::test]
async fn a_whole_file_in_one_patch() {
    assert_eq!(uploaded(23 * MIB + 17, &json!({})).await, (1, 1));
}

#[tokio::test]
async fn chunks_of_one_mib() {
    assert_eq!(uploaded(12 * MIB + 17, &json!({ "chunkSize": MIB })).await, (1, 13));
}

#[tokio::test]
async fn chunks_of_five_mib() {
    assert_eq!(uploaded(23 * MIB + 17, &json!({ "chunkSize": 5 * MIB })).await, (1, 5));
}

#[tokio::test]
async fn a_small_file_with_its_creation() {
    assert_eq!(uploaded(3 * MIB + 17, &json!({ "inCreation": true })).await, (1, 0));
}

#[tokio::test]
async fn the_first_chunk_with_the_creation_and_the_rest_by_patch() {
    let asked = json!({ "inCreation": true, "chunkSize": 5 * MIB });
    assert_eq!(uploaded(12 * MIB + 17, &asked).await, (1, 2));
}

#[tokio::test]
async fn an_empty_file() {
    assert_eq!(uploaded(0, &json!({})).await, (1, 0));
}

#[tokio::test]
async fn after_abort_in_mid_patch_another_process_goes_on_from_the_stored_url() {
    let app = App::start().await;
    let sample = Sample::noise(48 * MIB + 17, 22);
    let first = run(Client::TusJs, &app, &sample, &json!({ "stopAt": 24 * MIB }));
    assert_eq!((first.ended.as_str(), first.count("PATCH")), ("stopped", 0));
    let second = run(Client::TusJs, &app, &sample, &json!({ "url": app.url(path(&first.url)) }));
    assert_eq!((second.ended.as_str(), second.count("POST")), ("success", 0));
    assert_never_back(&[&first, &second]);
    assert_stored(&app, &first.track, &first.url, &sample);
    app.until_clean().await;
}

#[tokio::test]
async fn after_abort_between_chunks_nothing_acknowledged_is_sent_again() {
    let app = App::start().await;
    let sample = Sample::noise(23 * MIB + 17, 23);
    let first = run(Client::TusJs, &app, &sample, &json!({ "chunkSize": MIB, "stopAt": 11 * MIB + MIB / 2 }));
    assert_eq!(first.ended, "stopped");
    let second = run(Client::TusJs, &app, &sample, &json!({ "chunkSize": MIB, "url": app.url(path(&first.url)) }));
    assert_eq!(second.ended, "success");
    assert!(second.offsets()[0] >= 11 * MIB as u64, "HEAD: {:?}", second.answers[0]);
    assert_never_back(&[&first, &second]);
    assert_stored(&app, &first.track, &first.url, &sample);
    app.until_clean().await;
}

#[tokio::test]
async fn terminate_in_mid_upload_leaves_nothing() {
    let app = App::start().await;
    let sample = Sample::noise(48 * MIB, 24);
    let told = run(Client::TusJs, &app, &sample, &json!({ "stopAt": 24 * MIB, "terminate": true }));
    assert_eq!(told.ended, "terminated");
    let last = told.answers.last().unwrap();
    assert_eq!((last.method.as_str(), last.status), ("DELETE", 204));
    let gone = Upload { path: path(&told.url).to_owned(), track: told.track };
    assert_eq!(tus::head(&app, &gone).await.status(), 410);
    app.until_clean().await;
    assert_eq!(app.files("objects"), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn the_ietf_draft_as_of_03_and_05() {
    for protocol in ["ietf-draft-03", "ietf-draft-05"] {
        let asked = |more: serde_json::Value| {
            let mut asked = more;
            asked["protocol"] = json!(protocol);
            asked
        };
        assert_eq!(uploaded(12 * MIB + 17, &asked(json!({}))).await, (1, 1), "{protocol}");
        assert_eq!(
            uploaded(12 * MIB + 17, &asked(json!({ "chunkSize": 5 * MIB, "fromMemory": true }))).await,
            (1, 3),
            "{protocol}"
        );
        assert_eq!(uploaded(3 * MIB + 17, &asked(json!({ "inCreation": true }))).await, (1, 0), "{protocol}");
    }
}

#[tokio::test]
async fn the_ietf_draft_cut_in_mid_patch_goes_on_from_the_stored_url() {
    for protocol in ["ietf-draft-03", "ietf-draft-05"] {
        let app = App::start().await;
        let sample = Sample::noise(48 * MIB + 17, 25);
        let first = run(Client::TusJs, &app, &sample, &json!({ "protocol": protocol, "stopAt": 24 * MIB }));
        assert_eq!((first.ended.as_str(), first.count("PATCH")), ("stopped", 0), "{protocol}");
        let rest = json!({ "protocol": protocol, "url": app.url(path(&first.url)), "fromMemory": true });
        let second = run(Client::TusJs, &app, &sample, &rest);
        assert_eq!((second.ended.as_str(), second.count("POST")), ("success", 0), "{protocol}");
        assert_never_back(&[&first, &second]);
        assert_stored(&app, &first.track, &first.url, &sample);
        app.until_clean().await;
    }
}

#[tokio::test]
async fn a_length_that_it_learns_at_the_end() {
    let asked = json!({ "deferred": true, "fromMemory": true, "chunkSize": 5 * MIB });
    assert_eq!(uploaded(23 * MIB + 17, &asked).await, (1, 5));
    // Here its last chunk is full, and it notices the end with nothing left to send.
    let (posts, patches) = uploaded(10 * MIB, &asked).await;
    assert!(posts == 1 && (2..=3).contains(&patches), "{patches}");
}

#[tokio::test]
async fn four_partial_uploads_at_once() {
    let app = App::start().await;
    let sample = Sample::noise(47 * MIB + 17, 25);
    let told = run(Client::TusJs, &app, &sample, &json!({ "parallel": 4 }));
    assert_eq!((told.ended.as_str(), told.count("POST"), told.count("PATCH")), ("success", 5, 4));
    let whole = Upload { path: path(&told.url).to_owned(), track: told.track.clone() };
    parts::assert_joined(&app, &whole, &sample.bytes).await;
    assert_stored(&app, &told.track, &told.url, &sample);
    assert_eq!(app.ask("SELECT count(*) FROM tracks").await, 1);
    let own = "SELECT count(*) FROM uploads WHERE kind = 'partial' AND metadata = 'piece b2Ygbm9pc2U='";
    assert_eq!(app.ask(own).await, 4);
    app.until_clean().await;
}

/// It never learns where the first one is, which expires.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_that_is_cut_among_its_bytes_is_made_again() {
    let mut ground = Ground::on(Store::Folder).await;
    let sample = Sample::noise(8 * MIB + 17, 27);
    let mode = Mode::of(Client::TusJs, json!({ "retry": [50], "inCreation": true }));
    let told = ground.upload(&mode, &sample, Fault::Cut).await;
    assert_eq!((told.ended.as_str(), told.count("POST"), told.count("PATCH")), ("success", 1, 0));
    ground.assert_stored(&told.track, &sample.bytes).await;
    assert_eq!(ground.world.count("SELECT count(*) FROM uploads").await, 2);
    assert_eq!(ground.world.count("SELECT count(*) FROM uploads WHERE state = 'receiving'").await, 1);
}

/// The path of a URL that the client kept, absolute or not.
fn path(url: &str) -> &str {
    &url[url.find("/files/").unwrap()..]
}
