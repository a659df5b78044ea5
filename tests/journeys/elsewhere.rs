//! A track whose bytes are where this process can't read them says so, and isn't looked for anywhere else.

use crate::support::{app::App, sound, tus};

async fn retried(app: &App, track: &str) -> (String, String) {
    assert_eq!(app.post(&format!("/api/v1/tracks/{track}/retry")).send().await.unwrap().status(), 202);
    let error = app.settled(track).await["error"].clone();
    (error["code"].as_str().unwrap().to_owned(), error["detail"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_row_of_a_bucket_isnt_read_from_a_disk() {
    // HLS-2
    let app = App::start().await;
    let upload = tus::whole(&app, "notes.flac", b"no sound in here, only words, and not many of them either").await;
    assert_eq!(app.settled(&upload.track).await["error"]["code"], "unsupported_media");
    let mut db = app.daemon().connect().await;
    sqlx::query("UPDATE tracks SET storage_backend = 's3'").execute(&mut db).await.unwrap();
    let (code, detail) = retried(&app, &upload.track).await;
    assert_eq!(code, "source_elsewhere");
    assert!(detail.contains(&upload.track) && detail.contains("no S3 resolver is configured"), "{detail}");
    sqlx::query("UPDATE tracks SET storage_backend = 'local'").execute(&mut db).await.unwrap();
    assert_eq!(retried(&app, &upload.track).await.0, "unsupported_media", "it is read again");
}

#[tokio::test]
async fn a_job_carries_its_source_and_the_command_tells_it() {
    // HLS-1, HLS-9
    let app = App::start().await;
    let wav = sound::wav(4410, 44_100);
    let upload = tus::whole(&app, "a.wav", &wav).await;
    assert_eq!(app.settled(&upload.track).await["state"], "ready");
    let carried = "SELECT count(*) FROM jobs j JOIN tracks t ON t.id = j.subject
                    WHERE j.payload ->> 'file_path' = t.file_path AND NOT j.payload ? 'storage_key'";
    assert_eq!(app.ask(carried).await, 1);
    let (status, path, errors) = app.run(&["blobs", "link", &upload.track]);
    assert!(status.success(), "{errors}");
    assert_eq!(std::fs::read(path.trim()).unwrap(), wav);
    let (status, _, errors) = app.run(&["blobs", "link", "a/key"]);
    assert!(!status.success() && errors.contains("signs no URLs"), "{errors}");
    let (status, _, errors) = app.run(&["transcode", "HTTPS://example.org/a.wav", "--out", "/nowhere"]);
    assert!(!status.success() && errors.contains("is a URL"), "{errors}");
}
