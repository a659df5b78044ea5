//! Several daemons that share Postgres and the store, and nothing else.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::joined;
use crate::support::{
    app::App,
    s3::Strict,
    sound::noise,
    tus::{self, begin_patch},
};

const MIB: usize = 1 << 20;
const SECRET: &str = "only-for-tests-only-for-tests-32b";

/// The last brings the database, so that it ends last; the others join it.
async fn nodes(store: &Strict, n: usize, more: &[(&str, &str)]) -> Vec<App> {
    let settings = store.settings();
    let mut common = more.to_vec();
    common.push(("MILLRACE_SECRET", SECRET));
    common.push(("UPLOAD_PART_BYTES", "5MiB"));
    let mut apps = vec![App::with(&joined(&settings, &common)).await];
    let url = apps[0].daemon().database_url();
    common.push(("DATABASE_URL", &url));
    for _ in 1..n {
        let mut app = App::with(&joined(&settings, &common)).await;
        app.token.clone_from(&apps[0].token);
        apps.push(app);
    }
    apps.rotate_left(1);
    apps
}

#[tokio::test]
async fn three_nodes_round_robin_always_answer() {
    // tusd #1267: no stickiness; each request goes to the next node.
    let store = Strict::start();
    let apps = nodes(&store, 3, &[]).await;
    let bytes = noise(12 * MIB, 21);
    let upload = tus::create(&apps[0], "x.bin", &bytes).await;
    for (n, piece) in bytes.chunks(MIB).enumerate() {
        let app = &apps[n % 3];
        assert_eq!(tus::offset(&apps[(n + 1) % 3], &upload).await, (n * MIB) as u64);
        assert_eq!(tus::patch(app, &upload, (n * MIB) as u64, piece).await.status(), 204);
    }
    for app in &apps {
        let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
        assert_eq!(track["sha256"], tus::sha256(&bytes));
    }
}

#[tokio::test]
async fn a_live_holder_on_another_node_lets_go() {
    let store = Strict::start();
    let apps = nodes(&store, 2, &[]).await;
    let bytes = noise(6 * MIB, 22);
    let upload = tus::create(&apps[0], "x.bin", &bytes).await;
    let mut stalled = begin_patch(&apps[0], &upload, 0, bytes.len(), &bytes[..MIB]);
    apps[1].until("held", "SELECT count(*) FROM uploads WHERE node IS NOT NULL").await;
    let begun = Instant::now();
    assert_eq!(tus::patch(&apps[1], &upload, 0, &bytes).await.status(), 204);
    assert!(begun.elapsed() < Duration::from_secs(15), "not by the lease's end: {:?}", begun.elapsed());
    assert_eq!(tus::answer(&mut stalled).0, 423);
    let track = apps[0].track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}

#[tokio::test]
async fn zombie_writer() {
    // U18: the holder sleeps beyond its lease; another node finishes; the holder wakes and changes nothing.
    let store = Strict::start();
    let apps = nodes(&store, 2, &[("UPLOAD_LEASE", "1s")]).await;
    let bytes = noise(11 * MIB, 23);
    let upload = tus::create(&apps[0], "x.bin", &bytes).await;
    let mut held = begin_patch(&apps[0], &upload, 0, bytes.len(), &bytes[..2 * MIB]);
    apps[1].until("held", "SELECT count(*) FROM uploads WHERE node IS NOT NULL").await;
    apps[0].daemon().signal(Signal::STOP);
    let begun = Instant::now();
    let status = loop {
        let status = tus::patch(&apps[1], &upload, 0, &bytes).await.status();
        if status != 423 {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(30));
    };
    assert_eq!(status, 204);
    apps[0].daemon().signal(Signal::CONT);
    let (told, _) = tus::answer(&mut held);
    assert!(matches!(told, 0 | 423), "a fenced writer says nothing, or that another writes: {told}");
    let track = apps[1].track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
    assert_eq!(tus::offset(&apps[0], &upload).await, bytes.len() as u64);
}
