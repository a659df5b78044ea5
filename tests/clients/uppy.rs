//! Uppy 6 with its tus plugin in Chromium, from a page of another origin, as people use it.

use serde_json::{Value, json};

use super::{
    ground::{Fault, Ground, Mode, Store},
    run::{Client, MIB, Sample, Told, assert_never_back},
};

const BYTES: usize = 9 * MIB + 17;

/// One file in chunks, with something that the person does in the middle.
async fn uploaded(doing: &str) -> Told {
    let mut ground = Ground::on(Store::Folder).await;
    let sample = Sample::noise(BYTES, 81);
    let mut asked = json!({ "chunkSize": MIB });
    asked[doing] = (4 * MIB).into();
    let told = ground.upload(&Mode::of(Client::Uppy, asked), &sample, Fault::Nothing).await;
    assert_eq!((told.ended.as_str(), told.count("POST")), ("success", 1), "{told:?}");
    assert_never_back(&[&told]);
    ground.assert_stored(&told.track, &sample.bytes).await;
    told
}

/// Where the upload stood when it was asked, after it had begun.
fn resumed_from(told: &Told) -> Option<u64> {
    told.answers.iter().find(|answer| answer.method == "HEAD").and_then(|answer| answer.offset)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_and_resumed() {
    let told = uploaded("pauseAt").await;
    assert_eq!((resumed_from(&told), told.count("PATCH")), (Some(4 * MIB as u64), 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_loaded_anew() {
    let told = uploaded("reloadAt").await;
    assert_eq!((resumed_from(&told), told.count("PATCH")), (Some(4 * MIB as u64), 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_files_at_once() {
    let mut ground = Ground::on(Store::S3).await;
    let samples: Vec<Sample> = (0..10).map(|n| Sample::noise(MIB + 17 * n, 90 + n as u64)).collect();
    let paths: Vec<Value> = samples.iter().map(|sample| json!(sample.path)).collect();
    let mode = Mode::of(Client::Uppy, json!({ "files": paths }));
    let told = ground.upload(&mode, &samples[0], Fault::Nothing).await;
    assert_eq!((told.ended.as_str(), told.stored.len(), told.tracks.len()), ("success", 10, 10), "{told:?}");
    for sample in &samples {
        let url = &told.stored[sample.path.file_name().unwrap().to_str().unwrap()];
        let path = &url[url.find("/files/").unwrap()..];
        ground.assert_stored(&told.tracks[path], &sample.bytes).await;
    }
    ground.until_nothing_is_left(Fault::Nothing).await;
}
