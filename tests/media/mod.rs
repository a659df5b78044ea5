//! `/media/{grant}/{track}/…`: who gets in, and what HTTP says about what they get.

mod download;
mod grants;
mod headers;
mod paths;
mod playlists;
mod range;
mod releases;
mod renditions;

use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::support::{app::App, player, sound, tus};

/// A ready track behind its grant.
pub(crate) struct Shelf {
    pub(crate) app: App,
    pub(crate) track: String,
    /// `/media/{grant}/{track}/index.m3u8`.
    pub(crate) entry: String,
    /// The first rung's.
    pub(crate) list: player::List,
}

impl Shelf {
    /// Seven seconds, so more than one segment.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let app = App::with(settings).await;
        let upload = tus::whole(&app, "a.wav", &sound::wav(7 * 44_100, 44_100)).await;
        let track = app.settled(&upload.track).await;
        assert_eq!(track["state"], "ready", "{track}");
        let entry = player::stream(&app, &upload.track).await;
        let list = player::rungs(&app, &entry).await.swap_remove(0);
        Self { app, track: upload.track, entry, list }
    }

    pub(crate) fn grant(&self) -> &str {
        self.entry.split('/').nth(2).unwrap()
    }

    /// The first segment's path.
    pub(crate) fn segment(&self) -> String {
        self.list.segments().swap_remove(0)
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.app.http.request(method, self.app.url(path))
    }

    pub(crate) async fn status(&self, path: &str) -> u16 {
        player::status(&self.app, path).await
    }

    /// The code of a refusal that must be a 403.
    pub(crate) async fn refusal(&self, path: &str) -> String {
        let answer = player::get(&self.app, path).await;
        assert_eq!(answer.status(), 403, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        problem["code"].as_str().unwrap().to_owned()
    }
}
