//! The document of every route (OpenAPI 3.1), and a page that lists them without any script.
//!
//! The document of another crate's routes is merged in as it comes; a test walks the router and finds each route in the
//! document, and the other way round.

use std::{fmt::Write, sync::Arc};

use axum::{Json, extract::State, response::Html};
use front::{Cache, Policy, Route, Who};
use http::Method;
use utoipa::{
    Modify, OpenApi as _,
    openapi::{
        OpenApi, PathItem,
        path::Operation,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use crate::{accounts, health, pages, policy::read, tracks};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Millrace", description = "Resumable uploads that play before they have ended, and what belongs to them.",
         license(name = "Apache-2.0", identifier = "Apache-2.0")),
    paths(
        accounts::http::login, accounts::http::logout, accounts::http::me, accounts::http::sign_in,
        tracks::http::list, tracks::http::one, tracks::http::change, tracks::http::stream, tracks::http::waveform,
        tracks::http::listen, tracks::http::retry,
        pages::http::home, pages::http::sign_in, pages::assets::asset,
        health::alive, health::ready, health::deep,
        told, listed,
    ),
    modifiers(&Credentials),
)]
struct Ours;

/// How callers say who they are; each operation but the open ones takes either.
struct Credentials;

/// Operations that ask nobody who they are.
const OPEN: [&str; 9] = [
    "/",
    "/assets/{name}",
    "/healthz",
    "/readyz",
    "/health/deep",
    "/openapi.json",
    "/docs",
    "/sign-in",
    "/api/v1/auth/login",
];

impl Modify for Credentials {
    fn modify(&self, document: &mut OpenApi) {
        let schemes = document.components.get_or_insert_default();
        schemes.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let cookie = ApiKeyValue::with_description("millrace_session", "With X-CSRF-Token on writes.");
        schemes.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        let either = ["token", "session"].map(|name| SecurityRequirement::new(name, Vec::<String>::new()));
        for (path, item) in &mut document.paths.paths {
            if !OPEN.contains(&path.as_str()) {
                let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
                operations.into_iter().flatten().for_each(|operation| operation.security = Some(either.to_vec()));
            }
        }
    }
}

/// The document of our routes and of those that other crates serve.
pub fn document(others: Vec<OpenApi>) -> OpenApi {
    let mut document = Ours::openapi();
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    others.into_iter().for_each(|other| document.merge(other));
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
