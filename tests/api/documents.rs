//! `/openapi.json` and `/docs` tell what there is, and nothing else.

use std::collections::BTreeSet;

use ::api::openapi::{document, operations};
use ::front::Who;

use super::{App, composed};

#[tokio::test]
async fn every_route_is_in_the_document_and_everything_in_it_is_a_route() {
    let app = App::start().await;
    let routes = ::api::routes(composed(&app.db, app.engine.clone(), Default::default()));
    let document = document(vec![]);
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
    for route in &routes {
        let item = &document.paths.paths[route.path()];
        let all = operations(item);
        let (_, operation) = all.iter().find(|(method, _)| *method == route.method().as_str()).unwrap();
        let is_open = matches!(route.policy().who, Who::Anyone | Who::Visitor);
        assert_eq!(operation.security.is_none(), is_open, "{} tells who may call", route.path());
    }
}

#[tokio::test]
async fn other_crates_documents_are_told_too() {
    let mut other = document(vec![]);
    other.paths.paths = [("/files".to_owned(), other.paths.paths["/healthz"].clone())].into_iter().collect();
    assert!(document(vec![other]).paths.paths.contains_key("/files"));
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
