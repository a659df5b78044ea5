//! `/api/v1/tracks/{id}/events`

use std::time::Duration;

use ::api::tracks::Beat;
use http::Method;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::*;
use crate::api::{App, User};

const PATIENCE: Duration = Duration::from_secs(10);

fn quick() -> Beat {
    Beat {
        poll: Duration::from_millis(20),
        heartbeat: Duration::from_millis(300),
        recheck: Duration::from_millis(500),
        grace: Duration::from_millis(200),
    }
}

/// An open stream of events.
struct Events {
    answer: reqwest::Response,
    unread: String,
}

impl Events {
    async fn of(user: &User<'_>, id: Id<Track>) -> Self {
        let answer = user.ask(Method::GET, &format!("/api/v1/tracks/{id}/events")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, unread: String::new() }
    }

    /// The next block: an event or a sign of life. `None`: the stream has ended.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let block = block.to_owned();
                self.unread = rest.to_owned();
                return Some(block);
            }
            let chunk = timeout(PATIENCE, self.answer.chunk()).await.expect("something or the end").unwrap()?;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next track.
    async fn track(&mut self) -> Option<Value> {
        loop {
            let block = self.next().await?;
            if let Some(data) = block.strip_prefix("event: track\ndata: ") {
                return Some(serde_json::from_str(data).unwrap());
            }
        }
    }
}

#[tokio::test]
async fn a_track_is_followed_to_its_end() {
    let app = App::with(quick()).await;
    let ada = app.user("Ada").await;
    let id = ingesting(&app.db, ada.account, "T").await;
    let mut events = Events::of(&ada, id).await;
    assert_eq!(events.track().await.unwrap()["state"], "ingesting");
    assert_eq!(events.next().await.unwrap(), ": ", "a sign of life while nothing changes");
    play(&app.db, id, 2).await;
    let playable = events.track().await.unwrap();
    assert_eq!((&playable["state"], playable["segments_ready"].as_i64()), (&"playable".into(), Some(2)));
    store(&app.db, id).await;
    assert_eq!(events.track().await.unwrap()["stored"], true);
    finish(&app.db, id, 5).await;
    assert_eq!(events.track().await.unwrap()["state"], "ready");
    assert!(events.track().await.is_none(), "nothing more can come");
}

#[tokio::test]
async fn a_revoked_token_ends_the_stream_at_the_next_look() {
    let app = App::with(quick()).await;
    let ada = app.user("Ada").await;
    let id = ingesting(&app.db, ada.account, "T").await;
    let (mut events, began) = (Events::of(&ada, id).await, Instant::now());
    events.track().await.unwrap();
    let still = events.next().await;
    assert!(still.is_some() && began.elapsed() < PATIENCE);
    let mut alive = Duration::ZERO;
    while alive < 2 * quick().recheck {
        assert!(events.next().await.is_some(), "a valid token keeps it open");
        alive = began.elapsed();
    }
    sqlx::query("UPDATE api_tokens SET revoked_at = now()").execute(&app.db).await.unwrap();
    let end = async { while events.next().await.is_some() {} };
    timeout(quick().recheck + Duration::from_secs(2), end).await.expect("the end");
}

#[tokio::test]
async fn listeners_are_bounded_and_a_place_comes_back_when_one_leaves() {
    let app = App::with(quick()).await;
    let ada = app.user("Ada").await;
    let id = ingesting(&app.db, ada.account, "T").await;
    let one = Events::of(&ada, id).await;
    let _two = Events::of(&ada, id).await;
    let path = format!("/api/v1/tracks/{id}/events");
    assert_eq!(ada.get(&path).await.0, 503);
    drop(one);
    let free = async {
        while ada.ask(Method::GET, &path).send().await.unwrap().status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, free).await.expect("the place of the one that left");
}

#[tokio::test]
async fn a_drain_ends_the_stream() {
    let app = App::with(quick()).await;
    let ada = app.user("Ada").await;
    let mut events = Events::of(&ada, ingesting(&app.db, ada.account, "T").await).await;
    events.track().await.unwrap();
    app.stop.drain.cancel();
    assert!(events.track().await.is_none());
}
