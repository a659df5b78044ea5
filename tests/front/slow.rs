//! Clients that hold a connection without using it are cut; those that we ourselves make wait are not.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{body::Body, extract::State};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Method;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use super::*;
use ::front::{Route, accept::Limits};

const SECOND: Duration = Duration::from_secs(1);
const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_silent_socket_is_cut() {
    let server = Server::start(vec![hello()], quick()).await;
    assert_about(server.connect().await.time_to_end().await, SECOND);
}

#[tokio::test]
async fn half_a_preface_is_cut_like_silence() {
    let server = Server::start(vec![hello()], quick()).await;
    let mut client = server.connect().await;
    client.say("PRI * HTTP/2.0\r\n").await;
    assert_about(client.time_to_end().await, SECOND);
}

#[tokio::test]
async fn a_head_that_comes_in_drops_is_cut_counted_from_its_first_byte() {
    let server = Server::start(vec![hello()], quick()).await;
    let mut client = server.connect().await;
    let (mut from_server, mut to_server) = client.0.split();
    let drops = async {
        for byte in "GET /hello HTTP/1.1\r\nHost: ".bytes().cycle() {
            if to_server.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(SECOND / 5).await;
        }
    };
    let began = Instant::now();
    let mut end = [0; 1];
    tokio::select! {
        () = drops => {}
        read = timeout(PATIENCE, from_server.read(&mut end)) => assert_eq!(read.unwrap().unwrap_or(0), 0),
    }
    assert_about(began.elapsed(), SECOND);
}

#[tokio::test]
async fn an_idle_connection_outlives_the_head_limit_is_reused_and_ends_at_its_own() {
    let server = Server::start(vec![hello()], quick()).await;
    let mut client = server.connect().await;
    for pause in [Duration::ZERO, 2 * SECOND] {
        sleep(pause).await;
        client.say("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(client.hear().await.ends_with("hello"));
    }
    assert_about(client.time_to_end().await, 3 * SECOND);
}

#[tokio::test]
async fn the_second_head_on_a_connection_has_the_head_limit_too() {
    let server = Server::start(vec![hello()], quick()).await;
    let mut client = server.connect().await;
    client.say("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.hear().await;
    client.say("GET /he").await;
    assert_about(client.time_to_end().await, SECOND);
}

/// Reads the whole body and tells its length, or what broke it.
fn reads() -> Route {
    Route::on(Method::POST, "/reads", OPEN, (), async |body: Body| match body.collect().await {
        Ok(whole) => format!("{} bytes", whole.to_bytes().len()),
        Err(error) => format!("broken: {error}"),
    })
}

#[tokio::test]
async fn a_body_that_stalls_is_cut_and_its_handler_told() {
    let server = Server::start(vec![reads()], quick()).await;
    let mut client = server.connect().await;
    let began = Instant::now();
    client.say("POST /reads HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nten bytes.").await;
    let heard = client.hear().await;
    assert!(heard.ends_with("broken: the body stalled"), "{heard}");
    assert_about(began.elapsed(), SECOND);
    assert!(client.time_to_end().await < SECOND, "the connection ends with the answer");
}

#[tokio::test]
async fn a_body_below_the_minimum_rate_is_cut_though_it_never_stalls() {
    let server = Server::start(vec![reads()], quick()).await;
    let mut client = server.connect().await;
    client.say("POST /reads HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
    let began = Instant::now();
    let (mut from_server, mut to_server) = client.0.split();
    let drops = async {
        while to_server.write_all(&[7]).await.is_ok() {
            sleep(SECOND / 10).await;
        }
    };
    let mut heard = vec![0; 4096];
    let n = tokio::select! {
        () = drops => unreachable!("the server answers before it closes"),
        n = from_server.read(&mut heard) => n.unwrap(),
    };
    assert!(String::from_utf8_lossy(&heard[..n]).ends_with("broken: the body was too slow"));
    assert_about(began.elapsed(), SECOND);
}

#[tokio::test]
async fn an_extractor_whose_body_was_cut_answers_408() {
    let route = Route::on(Method::POST, "/whole", OPEN, (), async |body: Bytes| body.len().to_string());
    let server = Server::start(vec![route], quick()).await;
    let mut client = server.connect().await;
    client.say("POST /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nten bytes.").await;
    let heard = client.hear().await;
    assert!(heard.starts_with("HTTP/1.1 408") && heard.contains(r#""code":"request_timeout""#), "{heard}");
}

/// Looks once for a frame, then is busy for three times the limit, then reads on.
#[tokio::test]
async fn a_handler_that_doesnt_read_never_costs_its_client_the_connection() {
    let busy = Route::on(Method::POST, "/busy", OPEN, (), async |mut body: Body| {
        let first = timeout(Duration::from_millis(100), body.frame()).await;
        sleep(3 * SECOND).await;
        let rest = body.collect().await.map(|whole| whole.to_bytes().len());
        let first = first.map_or(0, |frame| frame.unwrap().unwrap().into_data().unwrap().len());
        rest.map_or_else(|error| format!("broken: {error}"), |rest| format!("{} bytes", first + rest))
    });
    let server = Server::start(vec![busy], quick()).await;
    for http2 in [false, true] {
        let client = reqwest::Client::builder();
        let client = if http2 { client.http2_prior_knowledge() } else { client.http1_only() };
        let sent = client.build().unwrap().post(server.url("/busy")).body(vec![1; 16 * MIB]).send();
        assert_eq!(sent.await.unwrap().text().await.unwrap(), format!("{} bytes", 16 * MIB), "http2: {http2}");
    }
}

#[tokio::test]
async fn bytes_that_wait_for_a_handler_that_asked_and_went_away_stop_the_clock() {
    let route = Route::on(Method::POST, "/away", OPEN, (), async |mut body: Body| {
        assert!(timeout(Duration::from_millis(200), body.frame()).await.is_err(), "nothing was sent yet");
        sleep(2 * SECOND).await;
        match body.collect().await {
            Ok(whole) => format!("{} bytes", whole.to_bytes().len()),
            Err(error) => format!("broken: {error}"),
        }
    });
    let server = Server::start(vec![route], quick()).await;
    let mut client = server.connect().await;
    client.say("POST /away HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n").await;
    sleep(SECOND / 2).await;
    client.say("ten bytes.").await;
    sleep(2 * SECOND).await;
    client.say("ten bytes.").await;
    let heard = client.hear().await;
    assert!(heard.ends_with("20 bytes"), "{heard}");
}

type Ended = Arc<Mutex<Option<oneshot::Sender<()>>>>;

/// An endless answer that tells when it is dropped.
fn endless(ended: &Ended) -> Route {
    Route::on(Method::GET, "/endless", OPEN, Arc::clone(ended), async |State(ended): State<Ended>| {
        let ended = ended.lock().unwrap().take();
        Body::from_stream(stream::repeat_with(move || {
            let _alive = &ended;
            Ok::<_, std::io::Error>(Bytes::from_static(&[0; 16 * 1024]))
        }))
    })
}

#[tokio::test]
async fn a_reader_that_stops_is_cut() {
    for http2 in [false, true] {
        let (tell, told) = oneshot::channel();
        let server = Server::start(vec![endless(&Arc::new(Mutex::new(Some(tell))))], quick()).await;
        let client = reqwest::Client::builder();
        let client = if http2 { client.http2_prior_knowledge() } else { client.http1_only() };
        let answer = client.build().unwrap().get(server.url("/endless")).send().await.unwrap();
        let began = Instant::now();
        assert!(timeout(PATIENCE, told).await.expect("the answer is dropped").is_err());
        assert_about(began.elapsed(), SECOND);
        drop(answer);
    }
}

/// The kernel moves in steps, ours and the client's: between two of them it mustn't look like a reader who stopped.
#[tokio::test]
async fn a_slow_reader_above_the_minimum_rate_is_served_on() {
    let (tell, told) = oneshot::channel::<()>();
    let told = tokio::spawn(told);
    // Buffers don't shrink with the test's times: a second would be too short for one of their steps.
    let limits = Limits { stalled: 4 * SECOND, rate_window: 4 * SECOND, ..quick() };
    let server = Server::start(vec![endless(&Arc::new(Mutex::new(Some(tell))))], limits).await;
    let mut client = server.connect().await;
    client.say("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (began, mut read, mut some) = (Instant::now(), 0, vec![0; 16 * 1024]);
    while began.elapsed() < 10 * SECOND {
        let n = timeout(PATIENCE, client.0.read(&mut some)).await.unwrap().expect("no cut");
        assert!(n > 0, "cut after {read} bytes");
        read += n;
        sleep(SECOND / 20).await;
    }
    // What the kernel had taken before a cut could still be read: only the end of it all would tell.
    assert!(!told.is_finished(), "cut after {read} bytes");
}

#[tokio::test]
async fn a_slow_reader_of_a_stream_is_served_on_too() {
    let server = Server::start(vec![endless(&shared())], quick()).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().http2_initial_stream_window_size(64 * 1024);
    let answer = client.build().unwrap().get(server.url("/endless")).send().await.unwrap();
    let (began, mut body) = (Instant::now(), answer.bytes_stream());
    while began.elapsed() < 4 * SECOND {
        body.next().await.expect("more").expect("no cut");
        sleep(SECOND / 20).await;
    }
}
