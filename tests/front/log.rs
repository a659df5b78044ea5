//! What the log tells of a request, and what it never does.

use std::{
    io,
    sync::{Arc, Mutex},
};

use ::front::Route;
use http::Method;
use serde_json::Value;
use tracing_subscriber::{Layer, filter::filter_fn, layer::SubscriberExt};

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn of(&self, target: &str) -> Vec<Value> {
        let all = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["target"] == target).collect()
    }
}

#[tokio::test]
async fn one_line_for_each_request_and_no_secret_in_any() {
    let lines = Lines::default();
    let writer = lines.clone();
    let json = tracing_subscriber::fmt::layer().json().with_writer(move || writer.clone());
    // Of the test's own client nothing is kept; of all that serves, everything is.
    let served = filter_fn(|meta| !meta.target().starts_with("reqwest") && !meta.target().contains("client"));
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(json.with_filter(served)));
    let media = Route::on(Method::GET, "/media/{grant}/{track}/{*rest}", OPEN, (), async || "segment");
    let server = Server::start(vec![media], quick()).await;
    let (fields, mac) = ("F".repeat(32), "CANARY-mac-CANARY-mac-");
    let ask = reqwest::Client::new().get(server.url(&format!("/media/{fields}{mac}/t1/0.m4s?key=CANARY-query")));
    let ask = ask.bearer_auth("CANARY-token").header("cookie", "millrace_session=CANARY-cookie");
    let answer = ask.header("x-csrf-token", "CANARY-csrf").send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(answer.text().await.unwrap(), "segment");
    timeout(PATIENCE, async {
        while lines.of("access").is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the line");

    let access = lines.of("access");
    assert_eq!(access.len(), 1);
    let told = &access[0]["fields"];
    assert_eq!((&told["method"], &told["status"], &told["bytes"]), (&"GET".into(), &200.into(), &7.into()));
    assert_eq!((&told["request.id"], &told["client"]), (&id.into(), &"127.0.0.1".into()));
    assert_eq!(told["route"], "/media/{grant}/{track}/{*rest}");
    assert_eq!(told["path"], format!("/media/{fields}~/t1/0.m4s"));
    assert!(told["duration_ms"].as_f64().unwrap() >= 0.0);
    let all = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!all.contains("CANARY"), "{all}");
}
