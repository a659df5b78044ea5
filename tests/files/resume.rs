//! Broken requests, second clients, ends of the process: the offset tells where to go on.

use std::net::Shutdown;

use rustix::process::Signal;

use crate::support::{
    app::App,
    sound::noise,
    tus::{self, begin_patch},
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn what_came_before_a_broken_connection_is_kept() {
    // U11
    let app = App::start().await;
    let bytes = noise(12 * MIB, 7);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let socket = begin_patch(&app, &upload, 0, bytes.len(), &bytes[..11 * MIB]);
    socket.shutdown(Shutdown::Both).unwrap();
    let kept = crate::support::app::PATIENCE;
    let begun = std::time::Instant::now();
    let mut offset = 0;
    while offset < 10 * MIB as u64 {
        offset = tus::offset(&app, &upload).await;
        assert!(begun.elapsed() < kept, "only {offset} kept");
    }
    // A takeover waits for the old request's end, so that the offset stands still from here.
    let offset = loop {
        let offset = tus::offset(&app, &upload).await as usize;
        let answer = tus::patch(&app, &upload, offset as u64, &bytes[offset..]).await;
        if answer.status() != 409 {
            assert_eq!(answer.status(), 204);
            break offset;
        }
    };
    assert!(offset <= 11 * MIB);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

#[tokio::test]
async fn a_newer_request_takes_over_from_a_stalled_one() {
    // U17: one writer, and the newcomer's offset stays valid.
    let app = App::start().await;
    let bytes = noise(3 * MIB, 8);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let mut stalled = begin_patch(&app, &upload, 0, bytes.len(), &bytes[..MIB]);
    assert_eq!(tus::offset(&app, &upload).await, 0);
    assert_eq!(tus::patch(&app, &upload, 0, &bytes).await.status(), 204);
    let (status, _) = tus::answer(&mut stalled);
    assert_eq!(status, 423);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

#[tokio::test]
async fn sixteen_clients_on_one_upload_end_in_one_file() {
    // U17: whoever wins, the bytes are the file's.
    let app = App::start().await;
    let bytes = noise(2 * MIB, 9);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let client = |n: usize| {
        let (app, upload, bytes) = (&app, &upload, &bytes);
        async move {
            loop {
                let head = tus::head(app, upload).await;
                let offset = tus::number(head.headers(), "upload-offset") as usize;
                if offset == bytes.len() {
                    return;
                }
                let end = (offset + 100_000 + n * 7919).min(bytes.len());
                let status = tus::patch(app, upload, offset as u64, &bytes[offset..end]).await.status();
                assert!(matches!(status.as_u16(), 204 | 409 | 423), "{status}");
            }
        }
    };
    futures_util::future::join_all((0..16).map(client)).await;
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    app.until_clean().await;
}

#[tokio::test]
async fn sigterm_makes_durable_what_came_and_exits_clean() {
    // X1, MS-9: drained well within 25 s, exit 0, and the bytes of the running request are kept.
    let mut app = App::start().await;
    let bytes = noise(4 * MIB, 10);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes[..MIB]).await.status(), 204);
    let mut running = begin_patch(&app, &upload, MIB as u64, 3 * MIB, &bytes[MIB..2 * MIB]);
    let begun = std::time::Instant::now();
    let status = app.ended_by(Signal::TERM);
    assert!(status.success(), "{status}");
    assert!(begun.elapsed().as_secs() < 10, "a writer that came late is told too");
    let (told, _) = tus::answer(&mut running);
    assert!(matches!(told, 0 | 503), "told to come back, or cut: {told}");
    app.boot().await;
    let offset = tus::offset(&app, &upload).await as usize;
    assert!((MIB..=2 * MIB).contains(&offset));
    assert_eq!(tus::patch(&app, &upload, offset as u64, &bytes[offset..]).await.status(), 204);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

#[tokio::test]
async fn stalled_uploads_give_back_the_memory_that_others_wait_for() {
    // Twelve clients that send some and stop hold more than the budget; another one still gets through.
    let app =
        App::with(&[("UPLOAD_MEMORY_BYTES", "16MiB"), ("UPLOAD_PART_BYTES", "8MiB"), ("UPLOAD_PARTS_IN_FLIGHT", "1")])
            .await;
    let bytes = noise(6 * MIB, 11);
    let mut stalled = Vec::new();
    for _ in 0..12 {
        let upload = tus::create(&app, "x.bin", &bytes).await;
        stalled.push((begin_patch(&app, &upload, 0, bytes.len(), &bytes[..2 * MIB]), upload));
    }
    let upload = tus::whole(&app, "x.bin", &bytes).await;
    app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    for (mut socket, upload) in stalled {
        std::io::Write::write_all(&mut socket, &bytes[2 * MIB..]).unwrap();
        assert_eq!(tus::answer(&mut socket).0, 204);
        assert_eq!(tus::offset(&app, &upload).await, bytes.len() as u64);
    }
}
