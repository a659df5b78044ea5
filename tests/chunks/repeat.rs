//! The same chunk again, other bytes for it, and two requests for one.

use std::io::Write;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::{
    app::App,
    chunks::{self, Upload},
    sound::noise,
    tus,
};

/// The shortest part that the settings let through.
const PART: usize = 5 << 20;

async fn small() -> (App, Vec<u8>, Upload) {
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(2 * PART + 9, 1);
    let upload = chunks::create(&app, "x.bin", &bytes).await;
    (app, bytes, upload)
}

async fn refused(app: &App, upload: &Upload, n: usize, chunk: &[u8]) -> (u16, Value) {
    let (status, told) = chunks::answer(chunks::request(app, upload, n).body(chunk.to_vec())).await;
    (status, told["code"].clone())
}

#[tokio::test]
async fn a_repeat_is_accepted_and_other_bytes_are_not() {
    let (app, bytes, upload) = small().await;
    for n in [1, 1, 2, 2] {
        chunks::put_of(&app, &upload, &bytes, n).await;
    }
    let mut other = upload.piece(&bytes, 1).to_vec();
    other[77] ^= 1;
    assert_eq!(refused(&app, &upload, 1, &other).await, (409, json!("chunk_differs")));
    assert_eq!(refused(&app, &upload, 1, &other[..9]).await, (400, json!("chunk_too_short")));
    chunks::put_of(&app, &upload, &bytes, 0).await;
    chunks::complete_as(&app, &upload, &bytes).await;
    assert_eq!(refused(&app, &upload, 1, upload.piece(&bytes, 1)).await, (409, json!("upload_complete")));
    assert!(chunks::stored(&app, &upload) == bytes);
}

#[tokio::test]
async fn two_at_once_for_one_chunk_are_one_chunk() {
    let (app, bytes, upload) = small().await;
    let chunk = upload.piece(&bytes, 0);
    let mut first = chunks::begin_put(&app, &upload, 0, PART, &chunk[..PART - 1]);
    claimed(&app).await;
    // The second waits for the first as long as that seems to make sense.
    assert_eq!(refused(&app, &upload, 0, chunk).await, (409, json!("chunk_busy")));
    let second = tokio::spawn({
        let request = chunks::request(&app, &upload, 0).body(chunk.to_vec());
        async move {
            loop {
                let status = request.try_clone().unwrap().send().await.unwrap().status();
                if status != 409 {
                    return status;
                }
            }
        }
    });
    first.write_all(&chunk[PART - 1..]).unwrap();
    assert_eq!(tus::answer(&mut first).0, 204);
    assert_eq!(second.await.unwrap(), 204);
    assert_eq!(app.ask("SELECT count(*) FROM upload_parts").await, 1);
    // And one whose client goes leaves the way free.
    drop(chunks::begin_put(&app, &upload, 1, PART, &chunk[..1000]));
    chunks::put_of(&app, &upload, &bytes, 1).await;
    chunks::put_of(&app, &upload, &bytes, 2).await;
    chunks::complete_as(&app, &upload, &bytes).await;
}

async fn claimed(app: &App) {
    while app.ask("SELECT count(*) FROM upload_claims").await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_checksum_is_checked_and_its_chunk_kept_only_if_it_holds() {
    let (app, bytes, upload) = small().await;
    let chunk = upload.piece(&bytes, 0);
    let right = format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(chunk)));
    let wrong = format!("sha-256=:{}:", STANDARD.encode([7; 32]));
    for field in ["Content-Digest", "Repr-Digest"] {
        for (value, code) in
            [(wrong.as_str(), "checksum_mismatch"), ("sha-256=:AAAA:", "bad_digest"), ("x", "bad_digest")]
        {
            let sent = chunks::request(&app, &upload, 0).header(field, value).body(chunk.to_vec());
            let (status, told) = chunks::answer(sent).await;
            assert_eq!((status, &told["code"]), (400, &json!(code)), "{field}: {value}");
            assert_eq!(chunks::progress(&app, &upload).await["received"], json!([]));
        }
        let sent = chunks::request(&app, &upload, 0).header(field, format!("md5=:AAAA:, {right}")).body(chunk.to_vec());
        assert_eq!(chunks::answer(sent).await.0, 204, "also when it is there already");
        let sent = chunks::request(&app, &upload, 0).header(field, &wrong).body(chunk.to_vec());
        assert_eq!(chunks::answer(sent).await.0, 400);
        // The next field meets another chunk 0.
        tidy(&app).await;
    }
    for n in [0, 1, 2] {
        chunks::put_of(&app, &upload, &bytes, n).await;
    }
    chunks::complete_as(&app, &upload, &bytes).await;
}

/// Takes back what is committed, as no program of ours does.
async fn tidy(app: &App) {
    let mut db = app.daemon().connect().await;
    sqlx::query("ALTER TABLE uploads DISABLE TRIGGER uploads_only_grow").execute(&mut db).await.unwrap();
    sqlx::query("DELETE FROM upload_parts").execute(&mut db).await.unwrap();
    sqlx::query("UPDATE uploads SET committed = 0").execute(&mut db).await.unwrap();
    sqlx::query("ALTER TABLE uploads ENABLE TRIGGER uploads_only_grow").execute(&mut db).await.unwrap();
}

#[tokio::test]
async fn bytes_other_than_promised_are_never_published() {
    let (app, mut bytes, upload) = small().await;
    bytes[PART] ^= 1;
    for n in [2, 0, 1] {
        chunks::put_of(&app, &upload, &bytes, n).await;
    }
    for _ in 0..2 {
        let (status, told) = chunks::complete(&app, &upload).await;
        assert_eq!((status, &told["code"]), (422, &json!("digest_mismatch")), "{told}");
    }
    let told = chunks::progress(&app, &upload).await;
    assert_eq!((&told["state"], &told["error"]["code"]), (&json!("failed"), &json!("digest_mismatch")), "{told}");
    assert_eq!(app.track(&upload.track).await["state"], "failed");
    assert!(app.files("objects").is_empty());
    assert_eq!(refused(&app, &upload, 1, upload.piece(&bytes, 1)).await, (410, json!("upload_gone")));
}
