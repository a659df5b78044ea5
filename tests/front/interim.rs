//! 104 on HTTP/1.1, over raw sockets: where it stands among the answers, and where it never stands.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::LOCATION};
use http_body_util::BodyExt;
use tokio::sync::{Mutex, mpsc};

use super::*;
use ::front::{Interim, TooLate};

const MIB: usize = 1024 * 1024;
const STEP: HeaderName = HeaderName::from_static("step");

fn step(n: usize) -> HeaderMap {
    HeaderMap::from_iter([(STEP, HeaderValue::from(n))])
}

/// Names a place, then says a 104 for every frame of the body that comes.
fn upload() -> Route {
    Route::on(Method::POST, "/upload", OPEN, (), async |interim: Option<Extension<Interim>>, body: Body| {
        let place = HeaderMap::from_iter([(LOCATION, HeaderValue::from_static("/here"))]);
        let Some(Extension(interim)) = interim else { return (StatusCode::CREATED, "without").into_response() };
        interim.send(&place).await.unwrap();
        let mut frames = body.into_data_stream();
        let mut bytes = 0;
        while let Some(frame) = frames.next().await {
            bytes += frame.unwrap().len();
            interim.send(&step(bytes)).await.unwrap();
        }
        (StatusCode::CREATED, bytes.to_string()).into_response()
    })
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap()
}

#[tokio::test]
async fn a_client_hears_the_place_before_it_sends_and_every_step_before_the_end() {
    let server = Server::start(vec![upload()], quick()).await;
    let mut client = server.connect().await;
    client.say("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n").await;
    let first = client.hear().await;
    assert_eq!(first, "HTTP/1.1 104 Upload Resumption Supported\r\nlocation: /here\r\n\r\n");
    for n in 1..=3 {
        client.say("five!").await;
        assert_eq!(client.hear().await, format!("HTTP/1.1 104 Upload Resumption Supported\r\nstep: {}\r\n\r\n", 5 * n));
    }
    let last = client.hear().await;
    assert!(status(&last) == "201" && last.ends_with("15"), "{last}");
}

#[tokio::test]
async fn pipelined_requests_each_have_theirs_before_their_own_answer() {
    let server = Server::start(vec![upload(), hello()], quick()).await;
    let mut client = server.connect().await;
    client.say(&"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".repeat(20)).await;
    client.say("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").await;
    for n in 0..20 {
        assert_eq!(status(&client.hear().await), "104", "{n}");
        assert_eq!(status(&client.hear().await), "201", "{n}");
    }
    assert!(client.hear().await.ends_with("hello"));
}

#[tokio::test]
async fn continue_is_said_as_well() {
    let server = Server::start(vec![upload()], quick()).await;
    let mut client = server.connect().await;
    client.say("POST /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n").await;
    assert_eq!(status(&client.hear().await), "104");
    assert_eq!(status(&client.hear().await), "100");
    client.say("five!").await;
    assert_eq!(status(&client.hear().await), "104");
    assert_eq!(status(&client.hear().await), "201");
}

#[tokio::test]
async fn an_older_and_a_newer_protocol_get_none() {
    let server = Server::start(vec![upload()], quick()).await;
    let mut client = server.connect().await;
    client.say("POST /upload HTTP/1.0\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    let answer = client.hear().await;
    assert!(status(&answer) == "201" && answer.ends_with("without"), "{answer}");
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let answer = http2.post(server.url("/upload")).body("five!").send().await.unwrap();
    assert_eq!((answer.status(), answer.text().await.unwrap()), (StatusCode::CREATED, "without".into()));
}

/// Answers at once, and hands the way to its client to the test.
fn leaky(tell: mpsc::Sender<Interim>) -> Route {
    let handler = async |State(tell): State<mpsc::Sender<Interim>>, Extension(interim): Extension<Interim>| {
        tell.send(interim).await.unwrap();
        "done"
    };
    Route::on(Method::GET, "/leaky", OPEN, tell, handler)
}

#[tokio::test]
async fn after_the_answer_it_is_too_late_also_while_the_next_request_runs() {
    let (tell, mut told) = mpsc::channel(1);
    let server = Server::start(vec![leaky(tell), upload()], quick()).await;
    let mut client = server.connect().await;
    client.say("GET /leaky HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let late = told.recv().await.unwrap();
    assert!(client.hear().await.ends_with("done"));
    assert_eq!(late.send(&step(1)).await, Err(TooLate));
    client.say("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
    assert!(client.hear().await.contains("location"));
    assert_eq!(late.send(&step(2)).await, Err(TooLate));
    late.offer(&step(3));
    client.say("five!").await;
    assert!(client.hear().await.contains("step: 5"));
    assert_eq!(status(&client.hear().await), "201");
}

#[tokio::test]
async fn another_task_may_send_while_the_request_waits() {
    type Shared = Arc<Mutex<Option<mpsc::Receiver<()>>>>;
    let (release, wait) = mpsc::channel::<()>(1);
    let (tell, mut told) = mpsc::channel(1);
    let state: (Shared, mpsc::Sender<Interim>) = (Arc::new(Mutex::new(Some(wait))), tell);
    let handler = async |State((wait, tell)): State<(Shared, mpsc::Sender<Interim>)>,
                         Extension(interim): Extension<Interim>| {
        tell.send(interim).await.unwrap();
        wait.lock().await.take().unwrap().recv().await;
        "done"
    };
    let server = Server::start(vec![Route::on(Method::GET, "/waits", OPEN, state, handler)], quick()).await;
    let mut client = server.connect().await;
    client.say("GET /waits HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let interim = told.recv().await.unwrap();
    interim.send(&step(1)).await.unwrap();
    assert!(client.hear().await.contains("step: 1"));
    drop(release);
    assert!(client.hear().await.ends_with("done"));
}

/// Large answers: what isn't read fills every buffer on the way.
fn large() -> Route {
    Route::on(Method::GET, "/large", OPEN, (), async |Extension(interim): Extension<Interim>| -> Response {
        interim.send(&step(0)).await.ok();
        Body::from(vec![b'x'; 8 * MIB]).into_response()
    })
}

#[tokio::test]
async fn behind_a_slow_reader_order_and_bytes_are_right() {
    let server = Server::start(vec![large()], Limits::default()).await;
    let mut client = small_buffered(&server).await;
    client.say(&"GET /large HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(status(&client.hear().await), "104");
        let answer = client.hear().await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(status(&answer) == "200" && body.len() == 8 * MIB && body.bytes().all(|b| b == b'x'));
    }
}

#[tokio::test]
async fn one_that_is_half_written_is_finished_before_the_answer() {
    let (tell, mut told) = mpsc::channel(1);
    let handler = async |State(tell): State<mpsc::Sender<_>>, Extension(interim): Extension<Interim>| {
        let long = HeaderValue::from_bytes(&vec![b'v'; 16 * MIB]).unwrap();
        tell.send(interim.send(&HeaderMap::from_iter([(STEP, long)])).await).await.unwrap();
        "done"
    };
    let server = Server::start(vec![Route::on(Method::GET, "/half", OPEN, tell, handler)], Limits::default()).await;
    let mut client = small_buffered(&server).await;
    client.say("GET /half HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(told.recv().await, Some(Err(TooLate)), "nobody reads");
    let mut heard = vec![0; b"HTTP/1.1 104 Upload Resumption Supported\r\nstep: ".len() + 16 * MIB + 4];
    timeout(PATIENCE, client.0.read_exact(&mut heard)).await.unwrap().unwrap();
    assert!(heard.ends_with(b"vvvv\r\n\r\n"));
    assert!(client.hear().await.ends_with("done"));
}

#[tokio::test]
async fn a_client_that_reads_nothing_while_it_sends_is_neither_cut_nor_waited_for() {
    let handler = async |Extension(interim): Extension<Interim>, body: Body| {
        let (mut frames, mut bytes) = (body.into_data_stream(), 0);
        while let Some(frame) = frames.next().await {
            bytes += frame.unwrap().len();
            let long = HeaderValue::from_bytes(&vec![b'v'; MIB / 8]).unwrap();
            interim.offer(&HeaderMap::from_iter([(STEP, long)]));
        }
        bytes.to_string()
    };
    // Not shorter: once the answer waits, a busy machine must not look like a reader who stopped.
    let limits = Limits { stalled: Duration::from_secs(3), ..quick() };
    let server = Server::start(vec![Route::on(Method::POST, "/offers", OPEN, (), handler)], limits).await;
    let mut client = small_buffered(&server).await;
    client.say("POST /offers HTTP/1.1\r\nHost: a\r\nContent-Length: 600000\r\n\r\n").await;
    // Twice as long as a reader may stall.
    for _ in 0..30 {
        client.say(&"b".repeat(20_000)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (mut last, mut interim) = (client.hear().await, 0);
    while status(&last) == "104" {
        (last, interim) = (client.hear().await, interim + 1);
    }
    assert!((1..30).contains(&interim), "what the socket didn't take was left out: {interim} came");
    assert!(status(&last) == "200" && last.ends_with("600000"), "{last}");
}

#[tokio::test]
async fn a_thousand_in_a_row_come_whole_and_before_the_answer() {
    let handler = async |Extension(interim): Extension<Interim>, body: Body| {
        for n in 0..1000 {
            interim.send(&step(n)).await.unwrap();
        }
        body.collect().await.unwrap();
        "done"
    };
    let server = Server::start(vec![Route::on(Method::POST, "/many", OPEN, (), handler)], quick()).await;
    let mut client = server.connect().await;
    client.say("POST /many HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1").await;
    for n in 0..1000 {
        assert!(client.hear().await.ends_with(&format!("step: {n}\r\n\r\n")));
    }
    assert!(client.hear().await.ends_with("done"));
}

/// A client whose kernel takes little before it is read.
async fn small_buffered(server: &Server) -> Client {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    Client(socket.connect(server.address).await.unwrap())
}
