//! tuspy 1.1.0 under Python, as scripts use it.

use serde_json::json;

use super::run::{Client, MIB, Sample, assert_never_back, assert_stored, run};
use crate::support::app::App;

#[tokio::test]
async fn a_whole_file_as_one_chunk() {
    let app = App::start().await;
    let sample = Sample::noise(12 * MIB + 17, 31);
    let told = run(Client::Tuspy, &app, &sample, &json!({}));
    assert_eq!((told.ended.as_str(), told.count("PATCH")), ("success", 1));
    assert_stored(&app, &told.track, &told.url, &sample);
    app.until_clean().await;
}

#[tokio::test]
async fn chunks_of_two_mib() {
    let app = App::start().await;
    let sample = Sample::noise(23 * MIB + 17, 32);
    let told = run(Client::Tuspy, &app, &sample, &json!({ "chunkSize": 2 * MIB }));
    assert_eq!((told.ended.as_str(), told.count("PATCH")), ("success", 12));
    assert_never_back(&[&told]);
    assert_stored(&app, &told.track, &told.url, &sample);
    app.until_clean().await;
}

#[tokio::test]
async fn after_a_stop_another_process_goes_on_from_the_same_byte() {
    let app = App::start().await;
    let sample = Sample::noise(23 * MIB + 17, 33);
    let first = run(Client::Tuspy, &app, &sample, &json!({ "chunkSize": 3 * MIB, "stopAt": 10 * MIB }));
    assert_eq!((first.ended.as_str(), first.offsets().last()), ("stopped", Some(&(12 * MIB as u64))));
    let second = run(Client::Tuspy, &app, &sample, &json!({ "chunkSize": 3 * MIB, "url": first.url }));
    assert_eq!((second.ended.as_str(), second.offsets()[0]), ("success", 12 * MIB as u64));
    assert_never_back(&[&first, &second]);
    assert_stored(&app, &first.track, &first.url, &sample);
    app.until_clean().await;
}

#[tokio::test]
async fn every_chunk_with_its_checksum() {
    let app = App::start().await;
    let sample = Sample::noise(23 * MIB + 17, 34);
    let told = run(Client::Tuspy, &app, &sample, &json!({ "chunkSize": 7 * MIB, "checksum": true }));
    assert_eq!((told.ended.as_str(), told.count("PATCH")), ("success", 4));
    assert_never_back(&[&told]);
    assert_stored(&app, &told.track, &told.url, &sample);
    app.until_clean().await;
}
