//! A store that is away, hangs, or damages what it has; and a daemon that is gone for good.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{
    client::{Client, Door, Pieces},
    joined,
    world::{LEASE, PART, World},
};
use crate::{
    postgres::daemon::{self, Daemon},
    support::{
        app::{App, PATIENCE},
        s3::{Action, Op, Rule, Strict},
        sound::{noise, wav},
        tus,
    },
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn store_down_at_start() {
    // U8: the daemon starts, says that it isn't ready, and is once the store comes.
    let store = Strict::start();
    store.faults().add(Rule::any(Action::Drop));
    let folder = daemon::folder();
    let data = folder.path().join("data");
    let settings = store.settings();
    let mut command = daemon::millrace(&data);
    command.envs(joined(&settings, &[("UPLOAD_PART_BYTES", "5MiB")]));
    let daemon = Daemon::start_as(&data, command).unwrap();
    assert_eq!(daemon.status("/readyz").await, Some(503));
    assert_eq!(daemon.status("/healthz").await, Some(200), "it lives");
    let app = App::around(daemon, folder);
    let bytes = noise(PART + MIB, 4);
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let answer = tus::patch(&app, &upload, 0, &bytes).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(tus::offset(&app, &upload).await, 0);
    store.faults().heal();
    app.daemon().until_ready(PATIENCE).await;
    assert_eq!(tus::patch(&app, &upload, 0, &bytes).await.status(), 204);
    assert!(store.keys("tracks/").iter().any(|key| store.object(key).is_some_and(|object| object == bytes)));
}

#[tokio::test]
async fn upload_never_hangs_after_first_chunk() {
    // tus-node-server #127, #686; U4: the store swallows everything. Each request ends, none loses what was acknowledged.
    let store = Strict::start();
    let world = World::impatient(&store).await;
    let mut client = Client::create(&Door::of(world.app()), noise(2 * PART, 5), Pieces::UpTo(MIB)).await;
    assert!(!client.step().await);
    assert_eq!(client.head().await, Some(MIB as u64));
    let swallowed = store.faults().add(Rule::any(Action::Hang));
    for _ in 0..2 {
        let begun = Instant::now();
        assert!(!client.step().await);
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        assert_eq!(client.head().await, Some(MIB as u64));
    }
    assert!(swallowed.hits() >= 3);
    store.faults().heal();
    client.finish().await;
    world.verify(&store.site(), &client).await;
    world.until_nothing_is_owed().await;
}

#[tokio::test]
async fn a_dead_node_s_upload_is_writable_within_its_lease() {
    // tusd #437, #1372: nobody has to remove a lock.
    let store = Strict::start();
    let mut world = World::new(&store.settings(), 2, &[]).await;
    let bytes = noise(PART + MIB, 6);
    let upload = tus::create(&world.nodes[0], "x.bin", &bytes).await;
    let _cut = tus::begin_patch(&world.nodes[0], &upload, 0, bytes.len(), &bytes[..MIB]);
    world.until("held", "SELECT count(*) FROM uploads WHERE node IS NOT NULL").await;
    world.nodes[0].kill();
    let begun = Instant::now();
    let answer = tus::patch(&world.nodes[1], &upload, 0, &bytes).await;
    let took = begun.elapsed();
    assert_eq!(answer.status(), 204, "one request waits for the lease's end");
    assert!(took < LEASE + Duration::from_secs(10), "{took:?}");
    eprintln!("{took:?} with a lease of {LEASE:?}");
}

#[tokio::test]
async fn a_part_that_is_damaged_on_its_way_is_sent_again() {
    // U7: the store tells the digests of what it got.
    let store = Strict::start();
    let world = World::impatient(&store).await;
    let door = Door::of(world.app());
    for (seed, action) in (200..).zip([Action::FlipBit { at: 12_345 }, Action::Truncate { keep: 4_000_000 }]) {
        let mut client = Client::create(&door, noise(2 * PART, seed), Pieces::Rest).await;
        let damage = store.faults().add(Rule::on(Op::UploadPart, action).key(client.id()).part(1).once());
        client.finish().await;
        assert_eq!(damage.hits(), 1);
        world.verify(&store.site(), &client).await;
    }
    world.until_nothing_is_owed().await;
}

#[tokio::test]
async fn a_tail_that_rots_fails_the_upload() {
    // U7: acknowledged bytes that the store no longer has as they were. The client is told to send all of it again.
    let store = Strict::start();
    let mut world = World::impatient(&store).await;
    for rot in [true, false] {
        let bytes = wav(((PART + MIB) / 4) as u32, 44_100);
        let upload = tus::create(world.app(), "x.wav", &bytes).await;
        let id = upload.path.rsplit('/').next().unwrap().to_owned();
        let spoilt = store.faults().add(Rule::on(Op::PutObject, Action::Rot { at: 777 }).key(&id));
        assert_eq!(tus::patch(world.app(), &upload, 0, &bytes[..MIB]).await.status(), 204);
        assert_eq!(spoilt.hits(), 1);
        // What is still in memory needs no store.
        world.nodes[0].kill_and_boot().await;
        if !rot {
            for key in store.keys(&format!("tails/{id}")) {
                store.site().client().delete_object().bucket(store.site().bucket).key(key).send().await.unwrap();
            }
        }
        let answer = tus::patch(world.app(), &upload, MIB as u64, &bytes[MIB..]).await;
        assert_eq!(answer.status(), 410);
        let track = world.app().settled(&upload.track).await;
        assert_eq!(track["error"]["code"], "store_lost_upload", "{track}");
        assert_eq!(tus::head(world.app(), &upload).await.status(), 410);
        assert!(store.keys("tracks/").iter().all(|key| !key.contains(&id)), "published");
    }
}

#[tokio::test]
async fn a_drain_keeps_what_came() {
    // X1: SIGTERM in the midst of a request to the store; the next process goes on behind every byte that was sent.
    let store = Strict::start();
    let mut world = World::new(&store.settings(), 1, &[]).await;
    let bytes = noise(PART + MIB, 7);
    let upload = tus::create(world.app(), "x.bin", &bytes).await;
    let _open = tus::begin_patch(world.app(), &upload, 0, bytes.len(), &bytes[..PART + 1000]);
    world.until("a part", "SELECT count(*) FROM upload_parts").await;
    assert!(world.nodes[0].ended_by(Signal::TERM).success());
    world.nodes[0].boot().await;
    assert_eq!(tus::offset(world.app(), &upload).await, (PART + 1000) as u64);
    let rest = &bytes[PART + 1000..];
    assert_eq!(tus::patch(world.app(), &upload, (PART + 1000) as u64, rest).await.status(), 204);
    world.until_nothing_is_owed().await;
}
