//! How a server ends.

use std::sync::Arc;

use ::front::{
    Route,
    accept::{Draining, Limits},
};
use axum::{Extension, extract::State};
use http::Method;
use tokio::sync::Notify;

use super::*;

/// Answers when it is told to; tells when it was called.
fn waits(called: &Arc<Notify>, go: &Arc<Notify>) -> Route {
    type Both = (Arc<Notify>, Arc<Notify>);
    let state = (Arc::clone(called), Arc::clone(go));
    Route::on(Method::GET, "/waits", OPEN, state, async |State((called, go)): State<Both>| {
        called.notify_one();
        go.notified().await;
        "done"
    })
}

#[tokio::test]
async fn a_drain_finishes_what_was_begun_and_takes_nothing_new() {
    let (called, go) = (shared::<Notify>(), shared::<Notify>());
    let server = Server::start(vec![waits(&called, &go), hello()], quick()).await;
    let mut idle = server.connect().await;
    idle.say("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await;
    idle.hear().await;
    let mut busy = server.connect().await;
    busy.say("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").await;
    called.notified().await;

    server.stop.drain.cancel();
    assert!(idle.time_to_end().await < Duration::from_secs(1), "an idle connection ends at once");
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
    assert!(!server.done.is_finished());
    go.notify_one();
    let heard = busy.hear().await;
    assert!(heard.ends_with("done") && heard.to_ascii_lowercase().contains("connection: close"), "{heard}");
    timeout(PATIENCE, server.done).await.unwrap().unwrap();
}

#[tokio::test]
async fn over_http2_too() {
    let (called, go) = (shared::<Notify>(), shared::<Notify>());
    let server = Server::start(vec![waits(&called, &go)], quick()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let busy = tokio::spawn(client.get(server.url("/waits")).send());
    called.notified().await;
    server.stop.drain.cancel();
    go.notify_one();
    assert_eq!(busy.await.unwrap().unwrap().text().await.unwrap(), "done");
    timeout(PATIENCE, server.done).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_doesnt_end_in_time_is_cut_and_a_second_signal_doesnt_wait() {
    for second_signal in [false, true] {
        let (called, go) = (shared::<Notify>(), shared::<Notify>());
        let drain = Duration::from_secs(if second_signal { 60 } else { 1 });
        let server = Server::start(vec![waits(&called, &go)], Limits { drain, ..quick() }).await;
        let mut busy = server.connect().await;
        busy.say("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").await;
        called.notified().await;
        server.stop.drain.cancel();
        if second_signal {
            server.stop.cut.cancel();
        }
        let at_least = Duration::from_secs(u64::from(!second_signal));
        assert_about(busy.time_to_end().await, at_least);
        timeout(PATIENCE, server.done).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn an_endless_answer_hears_of_the_drain() {
    let called = shared::<Notify>();
    let listens = Route::on(Method::GET, "/listens", OPEN, Arc::clone(&called), {
        async |State(called): State<Arc<Notify>>, Extension(Draining(drain)): Extension<Draining>| {
            called.notify_one();
            drain.cancelled().await;
            "bye"
        }
    });
    let server = Server::start(vec![listens], quick()).await;
    let mut client = server.connect().await;
    client.say("GET /listens HTTP/1.1\r\nHost: a\r\n\r\n").await;
    called.notified().await;
    server.stop.drain.cancel();
    assert!(client.hear().await.ends_with("bye"));
}
