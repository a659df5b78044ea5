//! What is refused, before it costs anything; and memory, which nobody can lock the others out of.

use std::{io::Write, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    app::App,
    chunks::{self, Upload},
    sound::noise,
    tus,
};

/// The shortest part that the settings let through.
const PART: usize = 5 << 20;

async fn code(request: reqwest::RequestBuilder) -> (u16, Value) {
    let (status, told) = chunks::answer(request).await;
    (status, told["code"].clone())
}

#[tokio::test]
async fn bad_wishes_are_named() {
    let app = App::with(&[("UPLOAD_MAX_BYTES", "40MiB"), ("UPLOAD_PART_BYTES", "5MiB")]).await;
    let post = |wanted: Value| code(app.post("/api/v1/uploads").json(&wanted));
    assert_eq!(post(json!({ "filename": "a.wav", "size": 8 * PART + 1 })).await, (413, json!("upload_too_large")));
    assert_eq!(post(json!({ "filename": "a.wav", "size": 1, "sha256": "12" })).await, (400, json!("bad_upload")));
    assert_eq!(post(json!({ "filename": "", "size": 1 })).await, (400, json!("bad_upload")));
    for bad in [json!({ "filename": "a.wav" }), json!({ "filename": "a.wav", "size": -1 }), json!([])] {
        assert_eq!(post(bad.clone()).await.0, 422, "{bad}");
    }
    let anonymous = app.http.post(app.url("/api/v1/uploads")).json(&json!({ "filename": "a.wav", "size": 1 }));
    assert_eq!(code(anonymous).await.0, 401);
    let upload = chunks::create(&app, "a.wav", &noise(8 * PART, 1)).await;
    assert_eq!(upload.count, 8, "exactly the limit is accepted");
}

#[tokio::test]
async fn bad_chunks_are_named_and_not_kept() {
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(PART + 10, 1);
    let upload = chunks::create(&app, "x.bin", &bytes).await;
    let put = |n: usize, len: usize| code(chunks::request(&app, &upload, n).body(vec![0; len]));
    assert_eq!(put(0, PART + 1).await, (413, json!("chunk_too_long")));
    assert_eq!(put(0, PART - 1).await, (400, json!("chunk_too_short")));
    assert_eq!(put(1, 11).await, (413, json!("chunk_too_long")), "past the end");
    assert_eq!(put(2, 1).await, (404, json!("no_such_chunk")));
    for (n, len, status) in [(0, PART + 1, 413), (0, PART - 1, 400), (1, 11, 413)] {
        // Without a length said before, it is counted.
        let body = futures_util::stream::iter(vec![Ok::<_, std::io::Error>(vec![0; len])]);
        let sent = chunks::request(&app, &upload, n).body(reqwest::Body::wrap_stream(body));
        assert_eq!(code(sent).await.0, status, "{n}: {len}");
    }
    for path in ["/chunks/-1", "/chunks/x", "/chunks/+1", "/chunks/99999999999999999999"] {
        let url = app.url(&format!("{}{path}", upload.path()));
        assert_eq!(code(app.http.put(url).bearer_auth(&app.token).body("x")).await.0, 404, "{path}");
    }
    let foreign = Upload { id: "a".repeat(32), ..upload.clone() };
    assert_eq!(code(chunks::request(&app, &foreign, 0).body("x")).await.0, 404);
    assert_eq!(chunks::progress(&app, &upload).await["received"], json!([]));
    for n in [1, 0] {
        chunks::put_of(&app, &upload, &bytes, n).await;
    }
    chunks::complete_as(&app, &upload, &bytes).await;
}

#[tokio::test]
async fn each_door_keeps_to_its_own_uploads() {
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(PART, 1);
    let ours = chunks::create(&app, "x.bin", &bytes).await;
    let path = tus::Upload { path: format!("/files/{}", ours.id), track: ours.track.clone() };
    assert_eq!(tus::patch(&app, &path, 0, &bytes).await.status(), 404);
    let theirs = tus::create(&app, "x.bin", &bytes).await;
    let theirs = Upload { id: theirs.path.rsplit('/').next().unwrap().to_owned(), ..ours.clone() };
    assert_eq!(code(chunks::request(&app, &theirs, 0).body(bytes.clone())).await, (409, json!("other_door")));
    let (status, told) = chunks::complete(&app, &theirs).await;
    assert_eq!((status, &told["code"]), (409, &json!("other_door")));
    assert_eq!(chunks::progress(&app, &theirs).await["received"], json!([]));
}

#[tokio::test]
async fn what_is_ended_takes_no_chunk_not_even_one_on_its_way() {
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(2 * PART, 1);
    let upload = chunks::create(&app, "x.bin", &bytes).await;
    chunks::put_of(&app, &upload, &bytes, 1).await;
    let mut running = chunks::begin_put(&app, &upload, 0, PART, &bytes[..PART / 2]);
    while app.ask("SELECT count(*) FROM upload_claims").await == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let delete = || code(app.http.request(Method::DELETE, app.url(&upload.path())).bearer_auth(&app.token));
    assert_eq!(delete().await.0, 204);
    let begun = std::time::Instant::now();
    let _ = running.write_all(&bytes[PART / 2..PART]);
    assert_eq!(tus::answer(&mut running).0, 410);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(app.ask("SELECT count(*) FROM upload_claims").await, 0);
    assert_eq!(app.ask("SELECT count(*) FROM upload_parts WHERE part_no = 1").await, 0);
    assert_eq!(delete().await, (410, json!("upload_gone")));
    assert_eq!(code(app.get(&upload.path())).await, (410, json!("upload_gone")));
    assert_eq!(code(chunks::request(&app, &upload, 0).body(bytes[..PART].to_vec())).await.0, 410);
    assert_eq!(chunks::complete(&app, &upload).await.0, 410);
    app.until_clean().await;
}

#[tokio::test]
async fn an_upload_that_nobody_goes_on_with_expires() {
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB"), ("UPLOAD_EXPIRY", "2s"), ("UPLOAD_LEASE", "3s")]).await;
    let bytes = noise(2 * PART, 1);
    let upload = chunks::create(&app, "x.bin", &bytes).await;
    chunks::put_of(&app, &upload, &bytes, 1).await;
    app.track_when(&upload.track, "expired", |t| t["state"] == "failed").await;
    assert_eq!(chunks::complete(&app, &upload).await.0, 410);
    app.until_clean().await;
}

#[tokio::test]
async fn sixteen_that_stall_in_the_room_for_two_lock_nobody_out() {
    let app =
        App::with(&[("UPLOAD_PART_BYTES", "5MiB"), ("UPLOAD_MEMORY_BYTES", "14MiB"), ("UPLOAD_PARTS_IN_FLIGHT", "2")])
            .await;
    let bytes = noise(17 * PART, 5);
    let upload = chunks::create(&app, "x.bin", &bytes).await;
    let half = PART / 2;
    let mut stalled: Vec<_> =
        (1..17).map(|n| chunks::begin_put(&app, &upload, n, PART, &upload.piece(&bytes, n)[..half])).collect();
    while app.ask("SELECT count(*) FROM upload_claims").await < 16 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Whoever sends gets through.
    chunks::put_of(&app, &upload, &bytes, 0).await;
    // And nobody was sent away: each goes on where it stalled.
    for (socket, n) in stalled.iter_mut().zip(1..) {
        socket.write_all(&upload.piece(&bytes, n)[half..]).unwrap();
    }
    for socket in &mut stalled {
        assert_eq!(tus::answer(socket).0, 204);
    }
    chunks::complete_as(&app, &upload, &bytes).await;
    assert!(chunks::stored(&app, &upload) == bytes);
}
