//! Whose request it is, and under which id it goes into the log.

use ::front::{ClientAddress, RequestId, Route};
use axum::Extension;
use http::Method;

use super::*;

fn tells() -> Route {
    let tells = async |Extension(client): Extension<ClientAddress>, Extension(id): Extension<RequestId>| {
        format!("{} {}", client.0, id.0)
    };
    Route::on(Method::GET, "/tells", OPEN, (), tells)
}

async fn ask(server: &Server) -> String {
    let ask = reqwest::Client::new().get(server.url("/tells"));
    let ask = ask.header("x-forwarded-for", "203.0.113.9").header("x-request-id", "from-outside");
    ask.send().await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_forged_forwarded_for_changes_nothing() {
    let told = ask(&Server::start(vec![tells()], quick()).await).await;
    assert!(told.starts_with("127.0.0.1 ") && !told.contains("from-outside"), "{told}");
}

#[tokio::test]
async fn a_trusted_proxys_word_counts() {
    let server = Server::behind(vec![tells()], quick(), "127.0.0.0/8".parse().unwrap()).await;
    assert_eq!(ask(&server).await, "203.0.113.9 from-outside");
}
