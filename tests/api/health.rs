//! `/healthz`, `/readyz`, `/health/deep`

use ::api::health::{Health, Probe};
use serde_json::{Value, json};

use super::{App, composed, told};
use crate::front::Server;

async fn server(probes: Vec<Probe>) -> Server {
    let db = sqlx::PgPool::connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();
    let app = App::start().await;
    let mut api = composed(&db, app.engine.clone(), Default::default());
    api.health = Health::new(probes);
    Server::start(::api::routes(api), Default::default()).await
}

async fn ask(server: &Server, path: &str) -> (u16, Value) {
    told(reqwest::Client::new().get(server.url(path))).await
}

#[tokio::test]
async fn each_dependency_is_told_with_state_and_milliseconds() {
    let app = App::start().await;
    let (status, report) = told(app.http.get(app.url("/health/deep"))).await;
    assert_eq!((status, &report["status"]), (200, &json!("ok")));
    let found = &report["dependencies"];
    assert_eq!(
        (&found["db"]["state"], &found["s3"], &found["redis"]),
        (&json!("ok"), &json!({ "state": "disabled" }), &json!({ "state": "disabled" }))
    );
    assert!(found["db"]["ms"].as_f64().unwrap() > 0.0);
    assert_eq!(told(app.http.get(app.url("/healthz"))).await.0, 200);
    assert_eq!(told(app.http.get(app.url("/readyz"))).await.0, 200);
}

#[tokio::test]
async fn something_needed_that_is_down_is_503_and_something_helpful_is_not() {
    let down = || async { Err("secret cause".to_owned()) };
    let s3 = server(vec![Probe::needed("s3", down)]).await;
    let (status, report) = ask(&s3, "/health/deep").await;
    assert_eq!((status, &report["dependencies"]["s3"]["state"]), (503, &json!("failed")));
    assert!(!report.to_string().contains("secret"));
    assert_eq!((ask(&s3, "/readyz").await.0, ask(&s3, "/healthz").await.0), (503, 200));
    let redis = server(vec![Probe::helpful("redis", down)]).await;
    let (status, report) = ask(&redis, "/health/deep").await;
    assert_eq!((status, &report["dependencies"]["redis"]["state"]), (200, &json!("failed")));
    assert_eq!(ask(&redis, "/readyz").await.0, 200);
}

#[tokio::test]
async fn what_doesnt_answer_is_down() {
    let hangs = server(vec![Probe::needed("db", std::future::pending::<Result<(), String>>)]).await;
    assert_eq!(ask(&hangs, "/readyz").await.0, 503);
}
