//! What one upload may have holds on every door, however its length is told, and in the map of its parts.

use reqwest::Method;
use serde_json::json;

use crate::support::{
    app::App,
    chunks, ietf,
    s3::Strict,
    sound::noise,
    tus::{self, OCTETS, request},
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn limit_on_every_door() {
    // UP-17, tusd #1386: 413 by declared length, by body, and where the length is told late or never.
    let app = App::with(&[("UPLOAD_MAX_BYTES", "1MiB")]).await;
    let over = noise(MIB + 1, 1);
    let declared = request(&app, Method::POST, "/files").header("Upload-Length", over.len());
    assert_eq!(declared.send().await.unwrap().status(), 413);
    let open = request(&app, Method::POST, "/files").header("Upload-Defer-Length", "1").send().await.unwrap();
    let open = tus::upload(&open);
    assert_eq!(tus::patch(&app, &open, 0, &over).await.status(), 413);
    let late =
        request(&app, Method::PATCH, &open.path).header("Upload-Length", over.len()).header("Upload-Offset", "0");
    assert_eq!(late.header("Content-Type", OCTETS).send().await.unwrap().status(), 413);
    assert!(tus::offset(&app, &open).await <= MIB as u64);

    for complete in ["?0", "?1"] {
        let post = || ietf::request(&app, Method::POST, "/files").header("Upload-Complete", complete);
        assert_eq!(post().body(over.clone()).send().await.unwrap().status(), 413, "{complete}");
        // Without a length, bytes are counted.
        assert_eq!(post().body(ietf::chunked(&over)).send().await.unwrap().status(), 413, "{complete}");
    }
    let open = ietf::create(&app, None).await;
    assert_eq!(ietf::append(&app, &open, 0, true, &over).await.status(), 413);

    let wanted = json!({ "filename": "x.bin", "size": over.len() });
    assert_eq!(chunks::answer(app.post("/api/v1/uploads").json(&wanted)).await.0, 413);
    // Exactly the limit is fine.
    let whole = tus::whole(&app, "x.bin", &over[..MIB]).await;
    assert_eq!(tus::offset(&app, &whole).await, MIB as u64);
}

#[tokio::test]
async fn part_10001() {
    // U20, tusd #1247: 60 GiB are cut into parts that S3 can count, also where the length isn't known yet. Who asks for more
    // of them is told at the start.
    let store = Strict::start();
    let settings = store.settings();
    let mut all = settings.pairs();
    all.push(("UPLOAD_MAX_BYTES", "60GiB"));
    let mut app = App::with(&all).await;
    for length in [("Upload-Length", (60u64 << 30).to_string()), ("Upload-Defer-Length", "1".to_owned())] {
        let created = request(&app, Method::POST, "/files").header(length.0, &length.1).send().await.unwrap();
        assert_eq!(created.status(), 201, "{length:?}");
    }
    let parts = "SELECT (60::bigint << 30) / min(part_bytes) FROM uploads";
    assert!(app.ask(parts).await < 10_000, "{} parts", app.ask(parts).await);
    app.set("UPLOAD_PART_BYTES", "5MiB");
    let (status, _, said) = app.run(&["config", "check"]);
    assert!(!status.success() && said.contains("UPLOAD_MAX_BYTES") && said.contains("10000 parts"), "{said}");
}
