//! aiotus 1.1.0, where it can't do what it promises. What it can is in the matrix.

use serde_json::json;

use super::run::{Client, MIB, Sample, run};
use crate::support::app::App;

/// RFC 3986 lets a server answer with a path, and tus 1.0 says so too. Should this fail one day, `aiotus-client.py` needs its
/// detour no longer.
#[tokio::test]
async fn its_one_call_upload_gives_up_at_a_relative_location() {
    let app = App::start().await;
    let sample = Sample::noise(MIB, 71);
    let told = run(Client::Aiotus, &app, &sample, &json!({ "whole": true }));
    assert_eq!((told.ended.as_str(), told.count("POST"), told.answers.len()), ("failed", 1, 1));
    assert_eq!(told.answers[0].status, 201);
    assert!(told.url.starts_with("/files/"), "{}", told.url);
}
