//! Small requests: what they cost in requests and bytes to the store.

use super::{app, world::PART};
use crate::support::{
    s3::{Op, Strict},
    sound::noise,
    tus,
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_client_of_small_requests_costs_one_store_request_each() {
    // UP-2, UP-3, UP-18: at most 1.15 requests per PATCH and 2.0 times the bytes.
    let store = Strict::start();
    let app = app(store.settings(), &[]).await;
    let bytes = noise(64 * MIB, 3);
    // What the store can do is asked once, with the first bytes.
    tus::whole(&app, "first.bin", b"first").await;
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let (before, parts) = (store.log().len(), store.log().count(Op::UploadPart));
    for (n, piece) in bytes.chunks(MIB).enumerate() {
        let answer = tus::patch(&app, &upload, (n * MIB) as u64, piece).await;
        assert_eq!(answer.status(), 204);
        assert_eq!(tus::number(answer.headers(), "upload-offset"), ((n + 1) * MIB) as u64);
    }
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    // Deletions of what was replaced come in batches, later, and carry no bytes.
    let told: Vec<_> = store.log().since(before);
    let asked = told.iter().filter(|e| !matches!(e.op, Op::DeleteObject | Op::DeleteObjects)).count();
    let sent: u64 = told.iter().map(|e| e.bytes).sum();
    assert!(
        asked as f64 <= 64.0 * 1.15,
        "{asked} requests for 64: {:?}",
        told.iter().map(|e| e.op).collect::<Vec<_>>()
    );
    assert!(sent as f64 <= 2.0 * bytes.len() as f64, "{sent} bytes sent for {}", bytes.len());
    assert_eq!(store.log().count(Op::UploadPart) - parts, 7, "six whole parts and the rest");
    let keys = store.keys("tracks/");
    let key = keys.iter().find(|key| store.object_bytes(key) == Some(bytes.len() as u64)).unwrap();
    assert!(store.object(key).unwrap() == bytes, "the object is the file");
    assert!(app.files("").is_empty(), "payload on the disk: {:?}", app.files(""));
}

#[tokio::test]
async fn a_hundred_tails_of_one_part_become_few() {
    let store = Strict::start();
    let mut app = app(store.settings(), &[]).await;
    let bytes = noise(100 * 1000, 4);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    for (n, piece) in bytes[..99_000].chunks(1000).enumerate() {
        assert_eq!(tus::patch(&app, &upload, n as u64 * 1000, piece).await.status(), 204);
    }
    assert!(app.ask("SELECT count(*) FROM upload_tails").await < 64);
    app.kill_and_boot().await;
    assert_eq!(tus::offset(&app, &upload).await, 99_000, "tail_regression: an offset never falls");
    assert_eq!(tus::patch(&app, &upload, 99_000, &bytes[99_000..]).await.status(), 204);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

#[tokio::test]
async fn tails_that_fill_a_part_become_it_before_anything_follows() {
    // A writer that lacked memory for a part's tails left the rest of it as one more tail, and died before the part.
    let store = Strict::start();
    let app = app(store.settings(), &[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(PART + 2 * MIB, 91);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let kept = PART - 1000;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..kept]).await.status(), 204);
    let (site, rest) = (store.site(), &bytes[kept..PART]);
    let key = "tails/of-a-dead-writer";
    site.client().put_object().bucket(&site.bucket).key(key).body(rest.to_vec().into()).send().await.unwrap();
    let crc64 = pipeline::digest::crc64(&[rest.to_vec().into()]);
    let mut db = app.daemon().connect().await;
    let row = "WITH its AS (UPDATE uploads SET committed = $1 RETURNING id, epoch)
               INSERT INTO upload_tails (upload_id, off, len, object_key, crc64, epoch) SELECT id, $2, $3, $4, $5, epoch FROM its";
    let row = sqlx::query(row).bind(PART as i64).bind(kept as i64).bind(rest.len() as i64);
    row.bind(key).bind(crc64.cast_signed()).execute(&mut db).await.unwrap();

    assert_eq!(tus::offset(&app, &upload).await, PART as u64);
    assert_eq!(tus::patch(&app, &upload, PART as u64, &bytes[PART..]).await.status(), 204);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    let [object] = store.keys("tracks/").try_into().expect("one object");
    assert!(store.object(&object).is_some_and(|found| found == bytes));
    app.until_clean().await;
}
