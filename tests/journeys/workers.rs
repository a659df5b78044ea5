//! Media workers that die: each costs its own track a try, and nobody else anything.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use pipeline::limits::ENCODE_ATTEMPTS;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use rustix::process::Signal;

use super::crash::{Published, assert_kept, published};
use crate::{
    postgres::daemon::kill,
    support::{
        app::{App, PATIENCE},
        player, sound,
        tus::{self, Upload},
    },
};

/// Children of the daemon that are media workers already.
pub(super) fn workers_of(daemon: i32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_worker = |pid: &i32| {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let parent = read("stat").rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parent == Some(daemon) && read("cmdline").contains(pipeline::media::worker::ARGUMENT)
    };
    processes.filter(is_worker).collect()
}

/// A worker of the daemon, once there is one.
pub(super) async fn first_worker_of(daemon: i32) -> i32 {
    let begun = Instant::now();
    loop {
        if let Some(&worker) = workers_of(daemon).first() {
            return worker;
        }
        assert!(begun.elapsed() < PATIENCE, "nobody encodes");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// When a process began, in ticks: with its id it names one process.
fn birth(pid: i32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned()
}

#[tokio::test]
async fn who_loses_all_tries_fails_with_a_reason_and_may_be_tried_again() {
    let app = App::start().await;
    let wav = sound::wav(20 * 44_100, 44_100);
    let upload = tus::whole(&app, "a.wav", &wav).await;
    app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    for _ in 0..ENCODE_ATTEMPTS {
        let worker = first_worker_of(app.daemon().pid()).await;
        kill(worker, Signal::KILL);
        while workers_of(app.daemon().pid()).contains(&worker) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["error"]["code"]), (&"failed".into(), &"worker_crashed".into()), "{track}");
    assert!(workers_of(app.daemon().pid()).is_empty(), "no try after the last");
    let answer = app.post(&format!("/api/v1/tracks/{}/retry", upload.track)).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&wav).into()), "{track}");
    app.until_clean().await;
}

/// So many that a hundred crashes can't fail all of them: each fails by [`ENCODE_ATTEMPTS`].
const TRACKS: usize = 40;
/// Tries that end by a worker's death.
const CRASHES: i64 = 100;
const _: () = assert!(CRASHES / (ENCODE_ATTEMPTS as i64) < TRACKS as i64 - 5);

/// Kills workers at random, but for one, until enough tries have ended so; returns how many it killed.
async fn killer(app: &App, beside: &mut Beside, dice: &mut StdRng) -> usize {
    let mut db = app.daemon().connect().await;
    let begun = Instant::now();
    let mut killed = 0;
    while sqlx::query_scalar::<_, i64>(DEATHS).fetch_one(&mut db).await.unwrap() < CRASHES {
        assert!(begun.elapsed() < PATIENCE, "{killed} kills weren't enough");
        tokio::time::sleep(Duration::from_millis(dice.random_range(10..90))).await;
        beside.trickle();
        let mut workers = workers_of(app.daemon().pid());
        workers.retain(|worker| *worker != beside.worker);
        if let Some(&worker) = workers.choose(dice) {
            kill(worker, Signal::KILL);
            killed += 1;
        }
    }
    killed
}

/// The last failure buries the job instead of being counted for another try.
const DEATHS: &str = "SELECT coalesce(sum(failures + (dead_at IS NOT NULL)::int), 0) FROM jobs";

#[tokio::test]
async fn a_killer_of_workers_costs_only_the_tracks_that_it_meets() {
    let app = App::start().await;
    let (pid, born) = (app.daemon().pid(), birth(app.daemon().pid()));
    let mut beside = Beside::start(&app).await;
    let wavs: Vec<_> = (0..TRACKS).map(|n| sound::wav(44_100 + 1000 * n as u32, 44_100)).collect();
    let uploads = futures_util::future::join_all(wavs.iter().map(|wav| tus::whole(&app, "short.wav", wav)));
    let mut dice = StdRng::seed_from_u64(0x776f_726b);
    let (uploads, killed) = tokio::join!(uploads, killer(&app, &mut beside, &mut dice));

    let mut ready = 0;
    for (upload, wav) in uploads.iter().zip(&wavs) {
        let track = app.settled(&upload.track).await;
        assert_eq!(track["stored"], true, "a dead worker doesn't touch the upload: {track}");
        assert_eq!(track["sha256"], tus::sha256(wav));
        if track["state"] == "ready" {
            ready += 1;
            let rungs = player::rungs(&app, &player::stream(&app, &upload.track).await).await;
            assert!(rungs.len() == 4 && rungs.iter().all(player::List::is_ended));
        } else {
            assert_eq!(track["error"]["code"], "worker_crashed", "{track}");
        }
    }
    assert!(ready > 0);
    beside.assert_untouched(&app).await;
    assert_tries(&app, killed).await;
    assert_eq!((app.daemon().pid(), birth(pid)), (pid, born), "the daemon never restarted");
    app.until_clean().await;
}

/// Two tracks that are none of the killer's business: one ready, one on its way with a worker of its own.
struct Beside {
    ready: (Upload, Published),
    growing: (Upload, Published),
    wav: Vec<u8>,
    rest: TcpStream,
    sent: usize,
    worker: i32,
}

impl Beside {
    async fn start(app: &App) -> Self {
        let wav = sound::wav(20 * 44_100, 44_100);
        let ready = tus::whole(app, "ready.wav", &wav).await;
        assert_eq!(app.settled(&ready.track).await["state"], "ready");
        let growing = tus::create(app, "growing.wav", &wav).await;
        let sent = wav.len() / 3 * 2;
        let rest = tus::begin_patch(app, &growing, 0, wav.len(), &wav[..sent]);
        app.track_when(&growing.track, "playable", |t| t["state"] == "playable").await;
        let [worker] = workers_of(app.daemon().pid())[..] else { panic!("one worker") };
        let ready = (ready.clone(), published(app, &ready.track).await);
        let growing = (growing.clone(), published(app, &growing.track).await);
        Self { ready, growing, wav, rest, sent, worker }
    }

    /// A few more bytes: of a line on which nothing moves for half a minute the daemon would hang up.
    fn trickle(&mut self) {
        let to = (self.sent + 4096).min(self.wav.len() - 65_536);
        self.rest.write_all(&self.wav[self.sent..to]).unwrap();
        self.sent = to;
    }

    /// What was published is as it was, and the worker that was there ends what it began.
    async fn assert_untouched(mut self, app: &App) {
        assert!(workers_of(app.daemon().pid()).contains(&self.worker), "it waits for its bytes");
        self.rest.write_all(&self.wav[self.sent..]).unwrap();
        assert_eq!(tus::answer(&mut self.rest).0, 204);
        let mut db = app.daemon().connect().await;
        for (upload, before) in [self.ready, self.growing] {
            let track = app.settled(&upload.track).await;
            assert_eq!((&track["state"], &track["samples"]), (&"ready".into(), &(20 * 44_100).into()), "{track}");
            assert_eq!(track["sha256"], tus::sha256(&self.wav));
            assert!(!before.is_empty());
            assert_kept(&before, &published(app, &upload.track).await);
            let tries = "SELECT count(*) FROM jobs JOIN tracks t ON t.id = subject WHERE token = 1 AND failures = 0
                          AND replace(t.id::text, '-', '') = $1";
            let tries: i64 = sqlx::query_scalar(tries).bind(&upload.track).fetch_one(&mut db).await.unwrap();
            assert_eq!(tries, 1, "one try");
        }
    }
}

/// What the jobs say about the tries agrees with the tracks' states and the kills.
async fn assert_tries(app: &App, killed: usize) {
    let mut db = app.daemon().connect().await;
    let sql = "SELECT j.failures, t.state, j.done_at IS NOT NULL FROM jobs j JOIN tracks t ON t.id = j.subject";
    let jobs: Vec<(i32, String, bool)> = sqlx::query_as(sql).fetch_all(&mut db).await.unwrap();
    assert_eq!(jobs.len(), TRACKS + 2);
    let mut tries: BTreeMap<(String, i32), usize> = BTreeMap::new();
    let mut deaths = 0;
    for (failures, state, is_done) in jobs {
        let died = failures + i32::from(!is_done);
        deaths += died as usize;
        match state.as_str() {
            "ready" => assert!(is_done && died < ENCODE_ATTEMPTS),
            _ => assert!(!is_done && died == ENCODE_ATTEMPTS, "{state} after {died}"),
        }
        *tries.entry((state, died)).or_default() += 1;
    }
    // A worker that is killed when it has said everything died in vain, so there may be fewer.
    assert!(CRASHES as usize <= deaths && deaths <= killed, "{deaths} of {killed} kills: {tries:?}");
    println!("{killed} kills, {deaths} of them met a try: {tries:?}");
}
