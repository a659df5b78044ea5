//! checksum and checksum-trailer: all of a request's bytes, or none.

use std::{io::Write, net::TcpStream};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use sha1::Digest as _;

use crate::support::{
    app::{App, PATIENCE},
    sound::noise,
    tus::{self, OCTETS, Upload, answer, request},
};

const MIB: usize = 1 << 20;

fn sha1(bytes: &[u8]) -> String {
    format!("sha1 {}", STANDARD.encode(sha1::Sha1::digest(bytes)))
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256 {}", STANDARD.encode(sha2::Sha256::digest(bytes)))
}

fn md5(bytes: &[u8]) -> String {
    format!("md5 {}", STANDARD.encode(md5::Md5::digest(bytes)))
}

fn patch(app: &App, upload: &Upload, offset: usize, sum: &str) -> RequestBuilder {
    let patch = request(app, Method::PATCH, &upload.path).header("Content-Type", OCTETS);
    patch.header("Upload-Offset", offset).header("Upload-Checksum", sum)
}

async fn refusal(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}

async fn assert_stored(app: &App, upload: &Upload, bytes: &[u8]) {
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(bytes));
}

/// Rows that say what is durable of anything.
async fn pieces(app: &App) -> i64 {
    app.ask("SELECT (SELECT count(*) FROM upload_parts) + (SELECT count(*) FROM upload_tails)").await
}

/// A PATCH in chunks, with a head and an end of the test's own.
fn chunked(app: &App, upload: &Upload, offset: usize, head: &str, bytes: &[u8], end: &str) -> TcpStream {
    let mut socket = TcpStream::connect(app.host()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: {}\r\nTus-Resumable: 1.0.0\r\nAuthorization: Bearer {}\r\nContent-Type: {OCTETS}\r\n\
         Upload-Offset: {offset}\r\nTransfer-Encoding: chunked\r\n{head}\r\n",
        upload.path,
        app.host(),
        app.token
    );
    socket.write_all(head.as_bytes()).unwrap();
    for chunk in bytes.chunks(100_000) {
        socket.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        socket.write_all(chunk).unwrap();
        socket.write_all(b"\r\n").unwrap();
    }
    socket.write_all(end.as_bytes()).unwrap();
    socket
}

#[tokio::test]
async fn every_algorithm_that_is_offered_is_checked() {
    let app = App::start().await;
    let options = app.http.request(Method::OPTIONS, app.url("/files")).send().await.unwrap();
    assert_eq!(options.headers()["tus-checksum-algorithm"], "sha1,sha256,md5");
    for sum in [sha1, sha256, md5] {
        let upload = tus::create(&app, "x.bin", b"hello world").await;
        let right = patch(&app, &upload, 0, &sum(b"hello ")).body("hello ").send().await.unwrap();
        assert_eq!((right.status().as_u16(), tus::number(right.headers(), "upload-offset")), (204, 6));
        let wrong = patch(&app, &upload, 6, &sum(b"World")).body("world").send().await.unwrap();
        assert_eq!(refusal(wrong).await, (460, "checksum_mismatch".into()));
        assert_eq!(tus::offset(&app, &upload).await, 6);
        assert_eq!(patch(&app, &upload, 6, &sum(b"world")).body("world").send().await.unwrap().status(), 204);
        assert_stored(&app, &upload, b"hello world").await;
    }
    app.until_clean().await;
}

#[tokio::test]
async fn a_wrong_body_of_many_parts_leaves_nothing_and_the_right_one_goes_on() {
    let app = App::start().await;
    let bytes = noise(34 * MIB + 17, 51);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..3 * MIB]).await.status(), 204);
    let before = pieces(&app).await;
    // From within a part over three more; to within a part, and to the end.
    for end in [30 * MIB, bytes.len()] {
        let mut spoilt = bytes[3 * MIB..end].to_vec();
        spoilt[20 * MIB] ^= 1;
        let answer = patch(&app, &upload, 3 * MIB, &sha1(&bytes[3 * MIB..end])).body(spoilt).send().await.unwrap();
        assert_eq!(refusal(answer).await, (460, "checksum_mismatch".into()));
        assert_eq!((tus::offset(&app, &upload).await, pieces(&app).await), (3 * MIB as u64, before));
    }
    let middle = 30 * MIB;
    let right = patch(&app, &upload, 3 * MIB, &sha256(&bytes[3 * MIB..middle])).body(bytes[3 * MIB..middle].to_vec());
    assert_eq!(right.send().await.unwrap().status(), 204);
    let last = patch(&app, &upload, middle, &md5(&bytes[middle..])).body(bytes[middle..].to_vec());
    assert_eq!(last.send().await.unwrap().status(), 204);
    assert_stored(&app, &upload, &bytes).await;
    app.until_clean().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let app = App::start().await;
    let upload = tus::create(&app, "x.bin", b"hello").await;
    let good = sha1(b"hello");
    let short = good.replace('=', "");
    for sum in ["", "sha1", "sha1 ", "sha1 ???", "sha1 AAAA", &short, "crc32 AAAAAA==", &good.replace("sha1", "SHA1")] {
        let answer = patch(&app, &upload, 0, sum).body("hello").send().await.unwrap();
        assert_eq!(refusal(answer).await, (400, "bad_checksum".into()), "{sum}");
        assert_eq!(tus::offset(&app, &upload).await, 0, "{sum}");
    }
    let twice = patch(&app, &upload, 0, &good).header("Upload-Checksum", &good).body("hello").send().await.unwrap();
    assert_eq!(refusal(twice).await, (400, "bad_checksum".into()));
    let post =
        request(&app, Method::POST, "/files").header("Upload-Length", "5").header("Upload-Checksum", "sha9 AA==");
    let count = app.ask("SELECT count(*) FROM uploads").await;
    assert_eq!(post.header("Content-Type", OCTETS).body("hello").send().await.unwrap().status(), 400);
    assert_eq!(app.ask("SELECT count(*) FROM uploads").await, count, "nothing was created for it");
}

#[tokio::test]
async fn a_creation_that_brings_bytes_is_checked_too() {
    let app = App::start().await;
    let post = |sum: String| {
        let post = request(&app, Method::POST, "/files").header("Upload-Length", "5").header("Content-Type", OCTETS);
        post.header("Upload-Checksum", sum).body("hello").send()
    };
    let right = post(sha1(b"hello")).await.unwrap();
    assert_eq!((right.status().as_u16(), tus::number(right.headers(), "upload-offset")), (201, 5));
    assert_stored(&app, &tus::upload(&right), b"hello").await;
    let wrong = post(sha1(b"Hello")).await.unwrap();
    let upload = Upload { path: wrong.headers()["location"].to_str().unwrap().to_owned(), track: String::new() };
    assert_eq!(refusal(wrong).await, (460, "checksum_mismatch".into()));
    assert_eq!(tus::offset(&app, &upload).await, 0, "it is there, and empty");
    assert_eq!(tus::patch(&app, &upload, 0, b"hello").await.status(), 204);
}

#[tokio::test]
async fn a_discarded_request_sets_no_length() {
    let app = App::start().await;
    let post = request(&app, Method::POST, "/files").header("Upload-Defer-Length", "1").send().await.unwrap();
    let upload = tus::upload(&post);
    let wrong =
        patch(&app, &upload, 0, &sha1(b"Hello")).header("Upload-Length", "5").body("hello").send().await.unwrap();
    assert_eq!(wrong.status().as_u16(), 460);
    assert!(!tus::head(&app, &upload).await.headers().contains_key("upload-length"));
    let right =
        patch(&app, &upload, 0, &sha1(b"hello!")).header("Upload-Length", "6").body("hello!").send().await.unwrap();
    assert_eq!(right.status(), 204);
    assert_stored(&app, &upload, b"hello!").await;
}

#[tokio::test]
async fn a_checked_request_that_breaks_off_is_discarded_whole() {
    let mut app = App::start().await;
    let bytes = noise(25 * MIB, 52);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    for killed in [false, true] {
        let head = format!("Upload-Checksum: {}\r\n", sha1(&bytes));
        // Two parts are in the store by then, and the end never comes.
        let socket = chunked(&app, &upload, 0, &head, &bytes[..23 * MIB], "");
        if killed {
            app.kill_and_boot().await;
        }
        drop(socket);
        app.daemon().until_ready(PATIENCE).await;
        let again = patch(&app, &upload, 0, &sha1(&bytes[..MIB])).body("x").send().await.unwrap();
        assert_eq!(again.status().as_u16(), 460, "the writer is gone");
        assert_eq!((tus::offset(&app, &upload).await, pieces(&app).await), (0, 0));
    }
    assert_eq!(patch(&app, &upload, 0, &sha1(&bytes)).body(bytes.clone()).send().await.unwrap().status(), 204);
    assert_stored(&app, &upload, &bytes).await;
    app.until_clean().await;
}

#[tokio::test]
async fn the_checksum_may_come_in_the_trailer() {
    let app = App::start().await;
    let announced = "Trailer: Upload-Checksum\r\n";
    for (len, sum) in [(5, sha1 as fn(&[u8]) -> String), (25 * MIB + 1, sha256), (MIB, md5)] {
        let bytes = noise(len, 53);
        let upload = tus::create(&app, "x.bin", &bytes).await;
        let wrong = format!("0\r\nUpload-Checksum: {}\r\n\r\n", sum(b"other"));
        assert_eq!(answer(&mut chunked(&app, &upload, 0, announced, &bytes, &wrong)).0, 460);
        assert_eq!((tus::offset(&app, &upload).await, pieces(&app).await), (0, 0));
        let right = format!("0\r\nupload-checksum: {}\r\n\r\n", sum(&bytes));
        let (status, head) =
            answer(&mut chunked(&app, &upload, 0, "Trailer: expires, upload-checksum\r\n", &bytes, &right));
        assert_eq!(status, 204, "{head}");
        assert!(head.contains(&format!("upload-offset: {len}\r\n")), "{head}");
        assert_stored(&app, &upload, &bytes).await;
    }
    app.until_clean().await;
}

#[tokio::test]
async fn a_trailer_that_was_announced_and_cannot_be_had_discards_the_request() {
    let app = App::start().await;
    let bytes = noise(11 * MIB, 54);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let announced = "Trailer: Upload-Checksum\r\n";
    let right = sha1(&bytes);
    let unknown = format!("0\r\nUpload-Checksum: {}\r\n\r\n", right.replace("sha1", "sha9"));
    let ends = ["0\r\n\r\n", "0\r\nUpload-Checksum: sha1 ???\r\n\r\n", "0\r\nExpires: 0\r\n\r\n", &unknown];
    for end in ends {
        assert_eq!(answer(&mut chunked(&app, &upload, 0, announced, &bytes, end)).0, 400, "{end}");
        assert_eq!((tus::offset(&app, &upload).await, pieces(&app).await), (0, 0), "{end}");
    }
    let both = format!("{announced}Upload-Checksum: {right}\r\n");
    assert_eq!(answer(&mut chunked(&app, &upload, 0, &both, b"", "0\r\n\r\n")).0, 400);
    let plain = patch(&app, &upload, 0, &right).body(bytes.clone());
    assert_eq!(plain.send().await.unwrap().status(), 204);
    assert_stored(&app, &upload, &bytes).await;
    app.until_clean().await;
}
