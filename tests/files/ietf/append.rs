//! `PATCH /files/{id}` with `application/partial-upload`.

use reqwest::Method;

use crate::support::{
    app::{App, PATIENCE},
    ietf::{self, PARTIAL, Raw, TYPES, problem, request, text},
    sound::{noise, wav},
    tus,
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn in_many_pieces_it_is_the_same_file() {
    let app = App::start().await;
    let bytes = noise(21 * MIB + 17, 41);
    let upload = ietf::create(&app, None).await;
    let mut at = 0;
    for piece in [1, 0, 999_999, 3 * MIB, 10 * MIB, 1, MIB, 7 * MIB] {
        let end = (at + piece).min(bytes.len());
        let complete = end == bytes.len();
        let answer = ietf::append(&app, &upload, at as u64, complete, &bytes[at..end]).await;
        assert_eq!(answer.status(), if complete { 201 } else { 204 });
        assert_eq!(text(&answer, "upload-complete"), if complete { "?1" } else { "?0" });
        assert_eq!(text(&answer, "upload-offset"), end.to_string());
        assert!(text(&answer, "upload-limit").contains("max-age="));
        assert_eq!(text(&answer, "millrace-track"), upload.track);
        at = end;
    }
    assert_eq!(at, bytes.len());
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    app.until_clean().await;
}

#[tokio::test]
async fn refusals_say_why_and_write_nothing() {
    let app = App::start().await;
    let bytes = noise(1000, 42);
    let upload = ietf::create(&app, Some(bytes.len())).await;
    assert_eq!(ietf::append(&app, &upload, 0, false, &bytes[..100]).await.status(), 204);
    let patch = || request(&app, Method::PATCH, &upload.path).body(bytes[100..200].to_vec());
    let typed = || patch().header("Content-Type", PARTIAL);
    let more = || typed().header("Upload-Complete", "?0");
    let cases = [
        (more(), 400, "offset_required"),
        (more().header("Upload-Offset", "abc"), 400, "offset_required"),
        (more().header("Upload-Offset", "-1"), 400, "offset_required"),
        (more().header("Upload-Offset", "\"100\""), 400, "offset_required"),
        (typed().header("Upload-Offset", "100"), 400, "complete_required"),
        (typed().header("Upload-Offset", "100").header("Upload-Complete", "0"), 400, "complete_required"),
        (patch().header("Upload-Offset", "100").header("Upload-Complete", "?0"), 415, "unsupported_media_type"),
        (
            patch().header("Content-Type", "text/plain").header("Upload-Offset", "100").header("Upload-Complete", "?0"),
            415,
            "unsupported_media_type",
        ),
        (more().header("Upload-Offset", "99"), 409, "wrong_offset"),
        (more().header("Upload-Offset", "101"), 409, "wrong_offset"),
        (more().header("Upload-Offset", "100").header("Upload-Length", "999"), 400, "inconsistent_upload_length"),
        (
            typed().header("Upload-Offset", "100").header("Upload-Complete", "?1"),
            400,
            "inconsistent_upload_length", // 100 + 100 isn't 1000
        ),
    ];
    for (n, (case, status, code)) in cases.into_iter().enumerate() {
        let answer = case.send().await.unwrap();
        assert_eq!(text(&answer, "upload-complete"), "?0", "case {n}");
        let (told, problem) = problem(answer).await;
        assert_eq!((told, problem["code"].as_str()), (status, Some(code)), "case {n}: {problem}");
        assert_eq!(ietf::offset(&app, &upload).await, (100, false), "case {n}");
    }
    assert_eq!(ietf::append(&app, &upload, 100, true, &bytes[100..]).await.status(), 201, "and the upload goes on");
}

#[tokio::test]
async fn another_offset_is_told_the_true_one() {
    let app = App::start().await;
    let upload = ietf::create(&app, None).await;
    assert_eq!(ietf::append(&app, &upload, 0, false, &noise(32, 43)).await.status(), 204);
    let answer = ietf::append(&app, &upload, 5, false, b"x").await;
    assert_eq!(text(&answer, "upload-offset"), "32");
    let (status, problem) = problem(answer).await;
    assert_eq!(status, 409);
    assert_eq!(problem["type"], format!("{TYPES}mismatching-upload-offset"));
    assert_eq!((&problem["expected-offset"], &problem["provided-offset"]), (&32.into(), &5.into()));
}

#[tokio::test]
async fn reaching_the_length_isnt_the_end_and_an_empty_last_append_is() {
    let app = App::start().await;
    let bytes = wav(44_100, 44_100);
    let upload = ietf::create(&app, Some(bytes.len())).await;
    let answer = ietf::append(&app, &upload, 0, false, &bytes).await;
    assert_eq!((answer.status().as_u16(), text(&answer, "upload-complete")), (204, "?0"));
    assert_eq!(ietf::offset(&app, &upload).await, (bytes.len() as u64, false));
    assert!(app.files("objects/tracks").is_empty());
    let answer = ietf::append(&app, &upload, bytes.len() as u64, true, b"").await;
    assert_eq!((answer.status().as_u16(), text(&answer, "upload-complete")), (201, "?1"));
    assert_eq!(ietf::offset(&app, &upload).await, (bytes.len() as u64, true));
    assert_eq!(app.settled(&upload.track).await["state"], "ready");
    app.until_clean().await;
}

#[tokio::test]
async fn nothing_is_appended_to_what_is_complete() {
    let app = App::start().await;
    let bytes = noise(1000, 44);
    let upload = ietf::create(&app, None).await;
    assert_eq!(ietf::append(&app, &upload, 0, true, &bytes).await.status(), 201);
    for (offset, complete, more, kind) in [
        (1000, true, &b""[..], "completed-upload"),
        (1000, false, b"", "completed-upload"),
        (1000, true, b"!", "inconsistent-upload-length"),
        (1000, false, b"!", "inconsistent-upload-length"),
    ] {
        let (status, problem) = problem(ietf::append(&app, &upload, offset, complete, more).await).await;
        assert_eq!((status, problem["type"].as_str()), (400, Some(&*format!("{TYPES}{kind}"))));
        assert_eq!(ietf::offset(&app, &upload).await, (1000, true));
    }
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

#[tokio::test]
async fn a_newer_append_takes_over_from_a_stalled_one() {
    let app = App::start().await;
    let bytes = noise(2 * MIB, 45);
    let upload = ietf::create(&app, None).await;
    let mut stalled = begin(&app, &upload, bytes.len());
    stalled.say(&bytes[..MIB]);
    loop {
        let answer = ietf::append(&app, &upload, 0, true, &bytes).await;
        // Some of the stalled one's bytes may have been committed by then; otherwise the newcomer's offset stays valid.
        if answer.status() == 201 {
            break;
        }
        let at = tus::number(answer.headers(), "upload-offset");
        assert_eq!(answer.status(), 409);
        if ietf::append(&app, &upload, at, true, &bytes[at as usize..]).await.status() == 201 {
            break;
        }
    }
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

#[tokio::test]
async fn a_broken_last_append_keeps_what_came_and_is_never_complete() {
    let app = App::start().await;
    let bytes = noise(2 * MIB, 46);
    let upload = ietf::create(&app, None).await;
    let mut broken = begin(&app, &upload, bytes.len());
    broken.say(&bytes[..MIB]);
    drop(broken);
    let begun = std::time::Instant::now();
    let at = loop {
        let (at, complete) = ietf::offset(&app, &upload).await;
        assert!(!complete && begun.elapsed() < PATIENCE);
        if at > 0 {
            break at;
        }
        let broken = &mut begin(&app, &upload, bytes.len());
        broken.say(&bytes[..MIB]);
    };
    assert_eq!(ietf::append(&app, &upload, at, true, &bytes[at as usize..]).await.status(), 201);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

/// A last append of so many bytes at 0, of which none is sent yet.
fn begin(app: &App, upload: &tus::Upload, announced: usize) -> Raw {
    let typed = format!("Content-Type: {PARTIAL}");
    let announced = format!("Content-Length: {announced}");
    Raw::begin(app, &format!("PATCH {}", upload.path), &[&typed, &announced, "Upload-Offset: 0", "Upload-Complete: ?1"])
}
