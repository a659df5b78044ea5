//! Every refusal says what is wrong, in one form, and harms nobody else.

use ::front::{BodyLimit, Policy, Route};
use axum::{Json, body::Body};
use bytes::Bytes;
use http::Method;
use serde_json::Value;

use super::*;

async fn problem(answer: reqwest::Response) -> (u16, String) {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let status = answer.status().as_u16();
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told["request_id"], id);
    assert_eq!(told["status"], status);
    (status, told["code"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let small = Policy { body: BodyLimit::Bytes(1000), ..OPEN };
    let routes = vec![
        hello(),
        Route::on(Method::POST, "/json", small, (), async |Json(value): Json<Vec<u8>>| Json(value)),
        Route::on(Method::POST, "/bytes", small, (), async |bytes: Bytes| bytes.len().to_string()),
    ];
    let server = Server::start(routes, quick()).await;
    let client = reqwest::Client::new();
    let send = |method: Method, path: &str| client.request(method, server.url(path));
    let json = |request: reqwest::RequestBuilder| request.header("content-type", "application/json");

    let absent = send(Method::GET, "/nowhere").send().await.unwrap();
    assert_eq!(problem(absent).await, (404, "not_found".into()));
    let wrong_method = send(Method::POST, "/hello").send().await.unwrap();
    assert_eq!(wrong_method.headers()["allow"], "GET,HEAD");
    assert_eq!(problem(wrong_method).await, (405, "method_not_allowed".into()));
    let broken = json(send(Method::POST, "/json")).body("[1,").send().await.unwrap();
    assert_eq!(problem(broken).await, (400, "bad_request".into()));
    let unfit = json(send(Method::POST, "/json")).body(r#"{"a":1}"#).send().await.unwrap();
    assert_eq!(problem(unfit).await, (422, "unprocessable_content".into()));
    let untyped = send(Method::POST, "/json").body("[]").send().await.unwrap();
    assert_eq!(problem(untyped).await, (415, "unsupported_media_type".into()));
    let large = send(Method::POST, "/bytes").body(vec![0; 1001]).send().await.unwrap();
    assert_eq!(problem(large).await, (413, "content_too_large".into()));
    let unannounced = reqwest::Body::wrap_stream(futures_util::stream::iter([Ok::<_, std::io::Error>(vec![0; 1001])]));
    let unannounced = send(Method::POST, "/bytes").body(unannounced).send().await.unwrap();
    assert_eq!(problem(unannounced).await, (413, "content_too_large".into()));
    let long = send(Method::GET, &format!("/hello?{}", "a".repeat(8 * 1024))).send().await.unwrap();
    assert_eq!(long.status(), 414);
    let head = send(Method::HEAD, "/nowhere").send().await.unwrap();
    assert_eq!(head.status(), 404);
}

#[tokio::test]
async fn a_head_too_large_is_431_over_both_versions() {
    let server = Server::start(vec![hello()], quick()).await;
    let mut client = server.connect().await;
    client.say(&format!("GET /hello HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "a".repeat(17 * 1024))).await;
    assert!(client.hear().await.starts_with("HTTP/1.1 431"));
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let fits = client.get(server.url("/hello")).header("x-long", "a".repeat(15 * 1024)).send().await.unwrap();
    assert_eq!((fits.status().as_u16(), fits.version()), (200, http::Version::HTTP_2));
    let answer = client.get(server.url("/hello")).header("x-long", "a".repeat(17 * 1024)).send().await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431));
}

#[tokio::test]
async fn a_panic_costs_its_own_request_only() {
    let panics = Route::on(Method::GET, "/panics", OPEN, (), async || -> String { panic!("on purpose") });
    let server = Server::start(vec![hello(), panics], quick()).await;
    let mut client = server.connect().await;
    client.say("GET /panics HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let heard = client.hear().await;
    assert!(heard.starts_with("HTTP/1.1 500") && heard.contains(r#""code":"internal""#), "{heard}");
    assert!(!heard.contains("on purpose"));
    client.say("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.hear().await.ends_with("hello"), "even its connection lives on");
}

/// Without a lingering close the kernel resets the connection, and the answer is lost with it.
#[tokio::test]
async fn a_client_in_the_middle_of_a_body_hears_why_it_was_refused() {
    let refuses = Route::on(Method::POST, "/refuses", OPEN, (), async |_: Body| {
        ::front::Problem::conflict("wrong_offset", "Not here.")
    });
    let server = Server::start(vec![refuses], quick()).await;
    for _ in 0..20 {
        let mut client = server.connect().await;
        client.say("POST /refuses HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n").await;
        client.0.write_all(&vec![0; 8_000_000]).await.unwrap();
        let heard = client.hear().await;
        assert!(heard.contains("wrong_offset"), "{heard}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_call_what_is_open_and_only_that() {
    let open = Route::on(Method::PATCH, "/open/{id}", Policy { cors: true, ..OPEN }, (), async || "patched");
    let server = Server::start(vec![hello(), open], quick()).await;
    let client = reqwest::Client::new();
    let ask = |path: &str| {
        let ask = client.request(Method::OPTIONS, server.url(path)).header("origin", "https://other.example");
        ask.header("access-control-request-method", "PATCH").send()
    };
    let open = ask("/open/1").await.unwrap();
    assert_eq!((open.status().as_u16(), &open.headers()["access-control-allow-origin"]), (204, &"*".parse().unwrap()));
    assert!(!open.headers().contains_key("access-control-allow-credentials"));
    let closed = ask("/hello").await.unwrap();
    assert!(closed.status() == 405 && !closed.headers().contains_key("access-control-allow-origin"));
    let sent = client.patch(server.url("/open/1")).header("origin", "https://other.example").send().await.unwrap();
    let exposed = sent.headers()["access-control-expose-headers"].to_str().unwrap();
    assert!(["Location", "Upload-Offset", "ETag", "Content-Range"].iter().all(|name| exposed.contains(name)));
}
