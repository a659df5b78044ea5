//! A player for tests: it is given one signed URL, follows what the playlists say, and sends no credential.

use reqwest::{Method, Response};

use super::app::App;

/// A rung's playlist as it was fetched.
#[derive(Clone, Debug)]
pub struct List {
    /// Where it was.
    pub path: String,
    pub text: String,
}

impl List {
    /// Paths of its segments, in order.
    pub fn segments(&self) -> Vec<String> {
        uris(&self.text).map(|uri| beside(&self.path, uri)).collect()
    }

    /// Path of its init.
    pub fn init(&self) -> String {
        let map = self.text.lines().find_map(|l| l.strip_prefix("#EXT-X-MAP:URI=\"")?.strip_suffix('"'));
        beside(&self.path, map.expect("an EXT-X-MAP"))
    }

    /// Sum of its durations in microseconds.
    pub fn micros(&self) -> u64 {
        let told = self.text.lines().filter_map(|l| l.strip_prefix("#EXTINF:")?.strip_suffix(','));
        told.map(|d| d.replace('.', "").parse::<u64>().unwrap()).sum()
    }

    pub fn is_ended(&self) -> bool {
        self.text.lines().next_back() == Some("#EXT-X-ENDLIST")
    }
}

/// The path that the API gives the owner to play.
pub async fn stream(app: &App, track: &str) -> String {
    let answer = app.get(&format!("/api/v1/tracks/{track}/stream")).send().await.unwrap();
    let status = answer.status();
    let told: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(status, 200, "{told}");
    let url = told["url"].as_str().unwrap();
    url[url.find("/media/").expect("a media URL")..].to_owned()
}

pub async fn ask(app: &App, method: Method, path: &str) -> Response {
    app.http.request(method, app.url(path)).send().await.unwrap()
}

pub async fn get(app: &App, path: &str) -> Response {
    ask(app, Method::GET, path).await
}

pub async fn status(app: &App, path: &str) -> u16 {
    get(app, path).await.status().as_u16()
}

/// The bytes behind a path that must answer 200.
pub async fn bytes(app: &App, path: &str) -> Vec<u8> {
    let answer = get(app, path).await;
    assert_eq!(answer.status(), 200, "{path}");
    answer.bytes().await.unwrap().to_vec()
}

pub async fn list(app: &App, path: &str) -> List {
    let text = String::from_utf8(bytes(app, path).await).unwrap();
    assert!(text.starts_with("#EXTM3U\n"), "{text}");
    List { path: path.to_owned(), text }
}

/// The playlists of all rungs that the multivariant one at `entry` names.
pub async fn rungs(app: &App, entry: &str) -> Vec<List> {
    let master = list(app, entry).await;
    let mut lists = Vec::new();
    for path in master.segments() {
        lists.push(list(app, &path).await);
    }
    lists
}

/// A rung downloaded whole: init and segments, one after the other.
pub async fn download(app: &App, list: &List) -> Vec<u8> {
    let mut whole = bytes(app, &list.init()).await;
    for segment in list.segments() {
        whole.extend(bytes(app, &segment).await);
    }
    whole
}

fn uris(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'))
}

/// A relative URI as seen from the playlist at `path`.
fn beside(path: &str, uri: &str) -> String {
    assert!(!uri.contains(':') && !uri.starts_with('/') && !uri.contains(".."), "relative and downwards: {uri}");
    format!("{}/{uri}", path.rsplit_once('/').unwrap().0)
}
