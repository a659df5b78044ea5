//! `kill -9` of the server, of the daemon, of both: up again within 15 s, with every committed row.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::daemon::{Daemon, folder, kill};

/// The promise.
const UP_AGAIN: Duration = Duration::from_secs(15);
const ROWS: i64 = 10_000;
const ROUNDS: i64 = 3;

async fn fill(daemon: &Daemon) {
    let mut db = daemon.connect().await;
    sqlx::query("CREATE TABLE IF NOT EXISTS kept (n bigint)").execute(&mut db).await.unwrap();
    sqlx::query("INSERT INTO kept SELECT generate_series(1, $1)").bind(ROWS).execute(&mut db).await.unwrap();
}

async fn count(daemon: &Daemon) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&mut daemon.connect().await).await.unwrap()
}

#[tokio::test]
async fn the_server_killed_is_up_again_with_its_rows() {
    let dir = folder();
    let daemon = Daemon::start(&dir.path().join("data")).unwrap();
    for round in 1..=ROUNDS {
        fill(&daemon).await;
        let victim = daemon.postmaster();
        kill(victim, Signal::KILL);
        let start = Instant::now();
        // Ready again means: under another server. The old one's pid file stays until the new one writes its own.
        while std::fs::read_to_string(daemon.data.join("postgres/postmaster.pid"))
            .is_ok_and(|text| text.starts_with(&format!("{victim}\n")))
        {
            assert!(start.elapsed() < UP_AGAIN);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        daemon.until_ready(UP_AGAIN).await;
        println!("server killed: ready after {} ms", start.elapsed().as_millis());
        assert_eq!(count(&daemon).await, ROWS * round);
    }
}

/// As does one that ends by itself with status 0: somebody's SIGINT, or the death signal gone astray.
#[tokio::test]
async fn a_server_that_ends_politely_unasked_is_started_again() {
    let dir = folder();
    let daemon = Daemon::start(&dir.path().join("data")).unwrap();
    let before = daemon.postmaster();
    kill(before, Signal::INT);
    let start = Instant::now();
    while std::fs::read_to_string(daemon.data.join("postgres/postmaster.pid"))
        .map_or(true, |text| text.starts_with(&format!("{before}\n")))
    {
        assert!(start.elapsed() < UP_AGAIN);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    daemon.until_ready(UP_AGAIN).await;
}

#[tokio::test]
async fn the_daemon_killed_takes_the_server_along_and_both_come_back() {
    let dir = folder();
    let data = dir.path().join("data");
    let mut daemon = Daemon::start(&data).unwrap();
    for round in 1..=ROUNDS {
        fill(&daemon).await;
        let orphan = daemon.postmaster();
        daemon.signal(Signal::KILL);
        daemon.wait();
        let start = Instant::now();
        daemon = Daemon::start(&data).unwrap();
        daemon.until_ready(UP_AGAIN).await;
        println!("daemon killed: ready after {} ms", start.elapsed().as_millis());
        assert!(start.elapsed() < UP_AGAIN);
        assert_ne!(daemon.postmaster(), orphan);
        assert_eq!(count(&daemon).await, ROWS * round);
    }
}

#[tokio::test]
async fn both_killed_come_back_with_their_rows() {
    let dir = folder();
    let data = dir.path().join("data");
    let mut daemon = Daemon::start(&data).unwrap();
    for round in 1..=ROUNDS {
        fill(&daemon).await;
        let server = daemon.postmaster();
        daemon.signal(Signal::STOP);
        kill(server, Signal::KILL);
        daemon.signal(Signal::KILL);
        daemon.wait();
        let start = Instant::now();
        daemon = Daemon::start(&data).unwrap();
        daemon.until_ready(UP_AGAIN).await;
        println!("both killed: ready after {} ms", start.elapsed().as_millis());
        assert!(start.elapsed() < UP_AGAIN);
        assert_eq!(count(&daemon).await, ROWS * round);
    }
}
