//! What an operator sees of one upload: log lines that name it, metrics that count it, and a health that is asked for.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    app::{App, PATIENCE},
    sound, tus,
};

/// Every line of the daemon's log, which is one JSON object each.
fn lines(app: &App) -> Vec<Value> {
    let said = app.daemon().said();
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// The one line that says this.
fn line<'a>(lines: &'a [Value], message: &str) -> &'a Value {
    let found: Vec<_> = lines.iter().filter(|line| line["message"] == message).collect();
    assert_eq!(found.len(), 1, "{message}: {found:?}");
    found[0]
}

#[tokio::test]
async fn every_line_of_the_log_is_json_and_names_upload_and_track() {
    let app = App::with(&[("MILLRACE_LOG_FORMAT", "json")]).await;
    let upload = tus::whole(&app, "a.wav", &sound::wav(2 * 44_100, 44_100)).await;
    assert_eq!(app.settled(&upload.track).await["state"], "ready");
    let id = upload.path.rsplit('/').next().unwrap();
    let lines = lines(&app);
    for message in ["upload created", "upload stored"] {
        let line = line(&lines, message);
        assert_eq!((&line["upload.id"], &line["track.id"]), (&id.into(), &(*upload.track).into()), "{line}");
    }
    for message in ["track playable", "track ready"] {
        assert_eq!(line(&lines, message)["track.id"], *upload.track);
    }
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(), "{line}");
        assert!(!matches!(line["level"].as_str(), Some("WARN" | "ERROR")), "nothing went wrong: {line}");
    }
}

/// Samples by name and labels, as Prometheus reads the text.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
            assert!(types.insert(name, kind).is_none(), "a type is told once: {line}");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
        assert!(!series.contains('{') || series.ends_with('}'), "{line}");
        let family = ["", "_sum", "_count", "_bucket"].iter().find_map(|end| types.get(name.strip_suffix(end)?));
        assert!(family.is_some(), "its type comes before it: {line}");
        assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "told twice: {line}");
    }
    samples
}

/// What the admin listener tells.
pub(super) async fn metrics(app: &App) -> BTreeMap<String, f64> {
    let admin = line(&lines(app), "ready")["admin"].as_str().expect("it says where").to_owned();
    let answer = app.http.get(format!("{admin}/metrics")).send().await.unwrap();
    parsed(&answer.text().await.unwrap())
}

#[tokio::test]
async fn the_admin_listener_counts_uploads_and_tracks_and_the_public_one_tells_nothing() {
    let app = App::start().await;
    let wav = sound::wav(2 * 44_100, 44_100);
    let good = tus::whole(&app, "a.wav", &wav).await;
    assert_eq!(app.settled(&good.track).await["state"], "ready");
    let bad = tus::whole(&app, "a.flac", b"only words").await;
    assert_eq!(app.settled(&bad.track).await["error"]["code"], "unsupported_media");

    let admin = line(&lines(&app), "ready")["admin"].as_str().expect("it says where").to_owned();
    let answer = app.http.get(format!("{admin}/metrics")).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
    let samples = parsed(&answer.text().await.unwrap());
    let stored = (wav.len() + b"only words".len()) as f64;
    for (series, value) in [
        ("millrace_uploads_created_total", 2.0),
        ("millrace_uploads_stored_total", 2.0),
        ("millrace_upload_bytes_stored_total", stored),
        ("millrace_tracks_ready_total", 1.0),
        (r#"millrace_tracks_failed_total{reason="unsupported_media"}"#, 1.0),
        (r#"http_requests_total{method="POST",route="/files",status="201"}"#, 2.0),
        (r#"http_requests_total{method="PATCH",route="/files/{id}",status="204"}"#, 2.0),
        ("millrace_store_trash", 0.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series} in {samples:#?}");
    }
    assert!(samples["http_connections_open"] >= 1.0);
    assert_eq!(app.get("/metrics").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn bytes_that_nobody_names_are_told_until_they_are_gone() {
    let app = App::start().await;
    let admin = line(&lines(&app), "ready")["admin"].as_str().expect("it says where").to_owned();
    let told = async |bytes: f64| {
        let begun = Instant::now();
        loop {
            let answer = app.http.get(format!("{admin}/metrics")).send().await.unwrap();
            let samples = parsed(&answer.text().await.unwrap());
            if samples.get("millrace_orphan_bytes") == Some(&bytes) {
                return samples["millrace_store_trash"];
            }
            assert!(begun.elapsed() < PATIENCE, "never {bytes}: {samples:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut db = app.daemon().connect().await;
    // As the sweep writes down what it found, for a later deletion; and what it knows by name isn't an orphan.
    let found = "INSERT INTO store_trash (key, orphan, bytes, not_before)
                 VALUES ('nobodys', true, 12345, now() + interval '1 hour'), ('named', false, 7, now() + interval '1 hour')";
    sqlx::query(found).execute(&mut db).await.unwrap();
    assert_eq!(told(12345.0).await, 2.0);
    sqlx::query("UPDATE store_trash SET not_before = now()").execute(&mut db).await.unwrap();
    assert_eq!(told(0.0).await, 0.0);
}

#[tokio::test]
async fn the_deep_health_says_that_tracks_can_be_encoded() {
    // UP-20
    let app = App::start().await;
    let answer = app.http.get(app.url("/health/deep")).send().await.unwrap();
    let (status, told) = (answer.status(), answer.json::<Value>().await.unwrap());
    assert_eq!((status.as_u16(), &told["status"]), (200, &"ok".into()), "{told}");
    let state = |name: &str| told["dependencies"][name]["state"].as_str().unwrap().to_owned();
    for (name, wanted) in
        [("media_worker", "ok"), ("db", "ok"), ("store", "ok"), ("s3", "disabled"), ("redis", "disabled")]
    {
        assert_eq!(state(name), wanted, "{name}: {told}");
    }
    assert!(told["dependencies"]["media_worker"]["ms"].as_f64().unwrap() > 0.0, "{told}");
}
