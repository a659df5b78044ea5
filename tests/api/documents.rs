//! `/openapi.json` and `/docs` tell what there is, and nothing else.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use ::api::openapi::{document, operations};
use ::front::Route;
use http::Method;
use pipeline::{Encoding, Engine, limits::Limits, media::ladder::Ladder, store::Local};
use serde_json::Value;
use stream_server::media::Media;
use uuid::Uuid;

use super::{App, composed};
use crate::support::app::App as Daemon;

#[tokio::test]
async fn every_route_is_in_the_document_and_everything_in_it_is_a_route() {
    // Of all crates: what is served is what the daemon composes.
    let app = App::start().await;
    let folder = tempfile::tempdir().unwrap();
    let beside = streamed(&app, folder.path());
    let mut api = composed(&app.db, app.engine.clone(), Default::default());
    (api.documents, api.beside) = (vec![stream_server::document()], beside.clone());
    let routes = [beside, ::api::routes(api)].concat();
    let document = document(vec![stream_server::document()], &routes);
    let served: BTreeSet<_> = routes.iter().map(|route| (route.method().to_string(), route.path())).collect();
    let told: BTreeSet<_> = document
        .paths
        .paths
        .iter()
        .flat_map(|(path, item)| {
            operations(item).into_iter().map(move |(method, _)| (method.to_owned(), path.as_str()))
        })
        .collect();
    assert_eq!(served, told);
}

/// The routes of uploads and media, over an engine that nobody asks anything.
fn streamed(app: &App, folder: &Path) -> Vec<Route> {
    let store = Arc::new(Local::open(folder).unwrap());
    let ladder = Ladder::parse("aac:64k").unwrap();
    let encoding = Encoding { ladder, segment_seconds: 6, exe: "/proc/self/exe".into() };
    let engine = Engine::new(app.db.clone(), store, Limits::default(), encoding, None, Uuid::now_v7());
    let media = Media::new(Arc::clone(&engine), app.grants.clone());
    [
        stream_server::uploads::routes(&engine),
        stream_server::chunks::routes(&engine),
        stream_server::media::routes(&media),
    ]
    .concat()
}

#[tokio::test]
async fn the_document_tells_who_may_call_and_the_daemon_agrees() {
    let app = Daemon::start().await;
    let told: Value = app.http.get(app.url("/openapi.json")).send().await.unwrap().json().await.unwrap();
    let mut asked = 0;
    for (path, item) in told["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(verb) = method.to_uppercase().parse::<Method>() else { continue };
            let url = app.url(&path.replace(['{', '}'], ""));
            let request = app.http.request(verb, url).header("Tus-Resumable", "1.0.0");
            let status = request.send().await.unwrap().status().as_u16();
            // Who isn't asked who they are may be refused for other reasons.
            let is_open = operation["security"].is_null();
            assert_eq!(status == 401, !is_open, "{method} {path}: {status}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let is_error = status.starts_with('4') || status.starts_with('5');
                assert!(!is_error || response["content"].is_object(), "{method} {path}: {status} has a shape");
            }
            asked += 1;
        }
    }
    assert!(asked > 30, "{asked}");
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_its_page_loads_nothing() {
    let app = App::start().await;
    let told: serde_json::Value = app.http.get(app.url("/openapi.json")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&told["openapi"], &told["info"]["title"]), (&"3.1.0".into(), &"Millrace".into()));
    let page = app.http.get(app.url("/docs")).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let page = page.text().await.unwrap();
    assert!(page.contains("<code>GET /api/v1/tracks/{id}/stream</code>"));
    assert!(!page.contains("<script") && !page.contains("style=") && !page.contains("://"), "nothing from elsewhere");
}
