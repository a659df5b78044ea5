//! Types, caches and other origins.

use std::io::Write;

use reqwest::{
    Method,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap},
};

use super::Shelf;
use crate::support::{app::App, player, sound, tus};

const FOR_EVER: &str = "private, max-age=31536000, immutable";
const PLAYLIST: &str = "application/vnd.apple.mpegurl";

fn type_and_cache(headers: &HeaderMap) -> (&str, &str) {
    (headers[CONTENT_TYPE].to_str().unwrap(), headers[CACHE_CONTROL].to_str().unwrap())
}

#[tokio::test]
async fn what_never_changes_is_kept_for_ever_and_what_grows_never() {
    let shelf = Shelf::start().await;
    let whole = "private, max-age=300";
    let event = shelf.list.path.replace("vod", "live");
    let cases = [
        (shelf.segment(), "audio/mp4", FOR_EVER),
        (shelf.list.init(), "audio/mp4", FOR_EVER),
        (shelf.list.path.clone(), PLAYLIST, whole),
        (shelf.entry.clone(), PLAYLIST, whole),
        (event, PLAYLIST, "no-cache"),
        (shelf.entry.replace("index", "live"), PLAYLIST, "no-cache"),
    ];
    for (path, kind, cache) in cases {
        let answer = player::get(&shelf.app, &path).await;
        assert_eq!((answer.status().as_u16(), type_and_cache(answer.headers())), (200, (kind, cache)), "{path}");
    }
    for path in [shelf.entry.replace("index", "none"), shelf.entry.replace(shelf.grant(), "x")] {
        let answer = player::get(&shelf.app, &path).await;
        let cache = answer.headers().get(CACHE_CONTROL).map_or("", |v| v.to_str().unwrap());
        assert!(!cache.contains("max-age"), "nobody keeps a refusal: {cache}");
    }
}

#[tokio::test]
async fn while_it_grows_too() {
    let app = App::start().await;
    let wav = sound::wav(20 * 44_100, 44_100);
    let upload = tus::create(&app, "a.wav", &wav).await;
    let mut socket = tus::begin_patch(&app, &upload, 0, wav.len(), &wav[..wav.len() * 2 / 3]);
    app.track_when(&upload.track, "playable", |t| t["state"] == "playable").await;
    let entry = player::stream(&app, &upload.track).await;
    let list = player::rungs(&app, &entry).await.swap_remove(0);
    let cases = [(&entry, PLAYLIST, "no-cache"), (&list.path, PLAYLIST, "no-cache")];
    let segment = list.segments().swap_remove(0);
    for (path, kind, cache) in cases.into_iter().chain([(&segment, "audio/mp4", FOR_EVER)]) {
        let answer = player::get(&app, path).await;
        assert_eq!((answer.status().as_u16(), type_and_cache(answer.headers())), (200, (kind, cache)), "{path}");
    }
    assert_eq!(player::status(&app, &entry.replace("live", "index")).await, 404, "not before it is ready");
    socket.write_all(&wav[wav.len() * 2 / 3..]).unwrap();
    assert_eq!(tus::answer(&mut socket).0, 204);
    assert_eq!(app.settled(&upload.track).await["state"], "ready");
}

#[tokio::test]
async fn pages_of_other_origins_may_play() {
    let shelf = Shelf::start().await;
    let refused = shelf.entry.replace(shelf.grant(), "x");
    for (path, status) in [(&shelf.entry, 200), (&shelf.list.path, 200), (&shelf.segment(), 200), (&refused, 403)] {
        let answer = shelf.ask(Method::GET, path).header("Origin", "https://other.example").send().await.unwrap();
        assert_eq!(answer.status(), status);
        let told = answer.headers();
        assert_eq!(told["access-control-allow-origin"], "*", "{path}");
        assert!(!told.contains_key("access-control-allow-credentials"));
        let exposed = told["access-control-expose-headers"].to_str().unwrap();
        for name in ["Accept-Ranges", "Content-Length", "Content-Range", "ETag"] {
            assert!(exposed.contains(name), "{name}");
        }
    }
    let asked = shelf
        .ask(Method::OPTIONS, &shelf.segment())
        .header("Origin", "https://other.example")
        .header("Access-Control-Request-Method", "GET")
        .header("Access-Control-Request-Headers", "range");
    let preflight = asked.send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    let text = |name: &str| preflight.headers()[name].to_str().unwrap();
    assert_eq!(text("access-control-allow-origin"), "*");
    assert!(text("access-control-allow-methods").contains("GET"));
    assert!(text("access-control-allow-headers").contains("Range"));
    assert!(text("access-control-max-age").parse::<u32>().unwrap() > 0);
}
