//! RFC 9530: digests of a request, of the whole file, and wanted in return.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use sha2::{Digest, Sha256};

use crate::support::{
    app::App,
    ietf::{self, appending, chunked, problem, request, text},
    sound::{noise, wav},
    tus,
};

const MIB: usize = 1 << 20;

fn digest(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(bytes)))
}

#[tokio::test]
async fn a_request_whose_content_is_another_is_discarded_whole() {
    let app = App::start().await;
    let bytes = noise(23 * MIB, 95);
    let upload = ietf::create(&app, None).await;
    let sent = |at: usize, end: usize| appending(&app, &upload, at as u64, false).body(bytes[at..end].to_vec());
    assert_eq!(sent(0, 1000).header("Content-Digest", digest(&bytes[..1000])).send().await.unwrap().status(), 204);
    for end in [1001, 2000, 12 * MIB, bytes.len()] {
        let answer = sent(1000, end).header("Content-Digest", digest(b"another")).send().await.unwrap();
        assert_eq!(text(&answer, "upload-complete"), "?0");
        let (status, problem) = problem(answer).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("content_digest_mismatch")));
        assert_eq!(ietf::offset(&app, &upload).await, (1000, false), "to {end}");
    }
    let last = appending(&app, &upload, 1000, true).body(chunked(&bytes[1000..]));
    let answer = last.header("Content-Digest", digest(&bytes[1000..])).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), text(&answer, "upload-complete")), (201, "?1"));
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    app.until_clean().await;
}

#[tokio::test]
async fn of_a_creation_too() {
    let app = App::start().await;
    for complete in ["?1", "?0"] {
        let post = || request(&app, Method::POST, "/files").header("Upload-Complete", complete).body("hello");
        let (status, problem) = problem(post().header("Content-Digest", digest(b"jello")).send().await.unwrap()).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("content_digest_mismatch")), "{complete}");
        let answer = post().header("Content-Digest", digest(b"hello")).send().await.unwrap();
        assert_eq!(answer.status(), 201);
    }
    assert_eq!(app.ask("SELECT count(*) FROM uploads WHERE state = 'stored'").await, 1);
}

#[tokio::test]
async fn algorithms_that_arent_known_are_ignored() {
    let app = App::start().await;
    let upload = ietf::create(&app, None).await;
    for unknown in ["md5=:AAAA:", "unixsum=30637", "nonsense=:AAAA:, x=1", "not a dictionary;;"] {
        let (at, _) = ietf::offset(&app, &upload).await;
        let patch = appending(&app, &upload, at, false).header("Content-Digest", unknown).body("hello");
        assert_eq!(patch.send().await.unwrap().status(), 204, "{unknown}");
    }
}

#[tokio::test]
async fn the_longer_one_is_checked_too() {
    let app = App::start().await;
    let upload = ietf::create(&app, None).await;
    let sent = |sum: &[u8]| {
        let sum = format!("sha-512=:{}:", STANDARD.encode(sha2::Sha512::digest(sum)));
        appending(&app, &upload, 0, false).header("Content-Digest", sum).body("hello").send()
    };
    assert_eq!(problem(sent(b"jello").await.unwrap()).await.0, 400);
    assert_eq!(ietf::offset(&app, &upload).await, (0, false));
    assert_eq!(sent(b"hello").await.unwrap().status(), 204);
}

#[tokio::test]
async fn a_file_that_isnt_the_promised_one_is_never_published() {
    let app = App::start().await;
    let bytes = wav(44_100, 44_100);
    for whole in [true, false] {
        let post = request(&app, Method::POST, "/files").header("Repr-Digest", digest(b"another"));
        let (track, answer) = match whole {
            true => {
                let answer = post.header("Upload-Complete", "?1").body(bytes.clone()).send().await.unwrap();
                (text(&answer, "millrace-track").to_owned(), answer)
            }
            false => {
                let upload = tus::upload(&post.header("Upload-Complete", "?0").send().await.unwrap());
                let answer = ietf::append(&app, &upload, 0, true, &bytes).await;
                (upload.track, answer)
            }
        };
        assert_eq!(text(&answer, "upload-complete"), "?1", "the bytes are all there: to go on would help nothing");
        let (status, problem) = problem(answer).await;
        assert_eq!((status, problem["code"].as_str()), (422, Some("digest_mismatch")));
        assert_eq!(problem["found"], tus::sha256(&bytes));
        assert_eq!(app.settled(&track).await["error"]["code"], "digest_mismatch");
        assert!(app.files("objects/tracks").is_empty());
    }
}

#[tokio::test]
async fn the_promised_file_is_and_its_digest_is_told() {
    let app = App::start().await;
    let bytes = noise(200_000, 96);
    for (wanted, told) in [("sha-256=10", true), ("sha-512=3", true), ("sha-256=0, sha-512=1", false)] {
        let post = request(&app, Method::POST, "/files").header("Upload-Complete", "?1");
        let post = post.header("Repr-Digest", digest(&bytes)).header("Want-Repr-Digest", wanted);
        let answer = post.body(bytes.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(text(&answer, "repr-digest"), if told { digest(&bytes) } else { String::new() }, "{wanted}");
    }
}
