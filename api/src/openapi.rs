//! The document of every route (OpenAPI 3.1), and a page that lists them without any script.
//!
//! The document of another crate's routes is merged in as it comes; who may call an operation is told by its route's
//! policy. A test walks all routes and finds each in the document, and the other way round.

mod policies;

use std::{fmt::Write, sync::Arc};

use axum::{Json, extract::State, response::Html};
use front::{Cache, Policy, Route, Who};
use http::Method;
use utoipa::{
    OpenApi as _,
    openapi::{OpenApi, PathItem, path::Operation},
};

use crate::{accounts, health, pages, policy::read, tracks};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Millrace",
        description = "Resumable uploads that play before they have ended, and what belongs to them.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        accounts::http::login,
        accounts::http::logout,
        accounts::http::me,
        accounts::http::sign_in,
        tracks::http::list,
        tracks::http::one,
        tracks::http::change,
        tracks::http::stream,
        tracks::http::download,
        tracks::http::release,
        tracks::http::waveform,
        tracks::artwork::artwork,
        tracks::http::listen,
        tracks::http::retry,
        pages::http::home,
        pages::http::sign_in,
        pages::assets::asset,
        health::alive,
        health::ready,
        health::deep,
        told,
        listed,
    ),
    components(schemas(policies::Problem))
)]
struct Ours;

/// The document of our routes and of those that other crates serve; `routes` are all of them, and say who may call.
pub fn document(others: Vec<OpenApi>, routes: &[Route]) -> OpenApi {
    let mut document = Ours::openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    others.into_iter().for_each(|other| document.merge(other));
    policies::tell(&mut document, routes);
    document
}

pub(crate) fn routes(document: OpenApi) -> Vec<Route> {
    const KEPT: Policy = Policy { cache: Cache::NoStore, ..read(Who::Anyone) };
    let page: Arc<str> = page(&document).into();
    vec![
        Route::on(Method::GET, "/openapi.json", KEPT, Arc::new(document), told),
        Route::on(Method::GET, "/docs", KEPT, page, listed),
    ]
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "documents", responses((status = 200, content_type = "application/json")))]
pub(crate) async fn told(State(document): State<Arc<OpenApi>>) -> Json<Arc<OpenApi>> {
    Json(document)
}

/// The same for reading.
#[utoipa::path(get, path = "/docs", tag = "documents", responses((status = 200, content_type = "text/html")))]
pub(crate) async fn listed(State(page): State<Arc<str>>) -> Html<String> {
    Html(page.to_string())
}

fn page(document: &OpenApi) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Millrace API</title><main><h1>Millrace API</h1>\
         <p>The whole as <a href=\"/openapi.json\">OpenAPI 3.1</a>.</p>",
    );
    for (path, item) in &document.paths.paths {
        for (method, operation) in operations(item) {
            describe(&mut page, method, path, operation);
        }
    }
    page.push_str("</main></html>\n");
    page
}

fn describe(page: &mut String, method: &str, path: &str, operation: &Operation) {
    let said = operation.summary.as_deref().unwrap_or_default();
    // Writing into a String can't fail.
    let _ = write!(page, "<section><h2><code>{method} {}</code></h2><p>{}</p><dl>", escaped(path), escaped(said));
    for (status, response) in &operation.responses.responses {
        if let utoipa::openapi::RefOr::T(response) = response {
            let _ = write!(page, "<dt>{}</dt><dd>{}</dd>", escaped(status), escaped(&response.description));
        }
    }
    page.push_str("</dl></section>");
}

/// A path's operations by method.
pub fn operations(item: &PathItem) -> Vec<(&'static str, &Operation)> {
    let all = [
        ("GET", &item.get),
        ("HEAD", &item.head),
        ("OPTIONS", &item.options),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?))).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
