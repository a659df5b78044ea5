//! `kill -9` of the daemon while a track is encoded: what was published stays as it was, and nothing is left over.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    net::TcpStream,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::header::ETAG;

use super::workers::first_worker_of;
use crate::support::{
    app::App,
    player, sound,
    tus::{self, Upload},
};

const SECONDS: u32 = 48;

/// What players could have fetched: `{run}/{rung}/{file}`, with its ETag.
pub(super) type Published = BTreeMap<String, String>;

/// Fetches all that the playlists name now. Each name answers 200, with bytes that are those of its ETag.
pub(super) async fn published(app: &App, track: &str) -> Published {
    let mut found = Published::new();
    let entry = player::stream(app, track).await;
    let prefix = entry.rsplit_once('/').unwrap().0;
    for list in player::rungs(app, &entry).await {
        for path in [vec![list.init()], list.segments()].concat() {
            let answer = player::get(app, &path).await;
            assert_eq!(answer.status(), 200, "{path} is named and isn't there");
            let etag = answer.headers()[ETAG].to_str().unwrap().trim_matches('"').to_owned();
            assert!(tus::sha256(&answer.bytes().await.unwrap()).starts_with(&etag), "{path}");
            found.insert(path[prefix.len() + 1..].to_owned(), etag);
        }
    }
    found
}

/// What was published before is there still, unless the run is another.
pub(super) fn assert_kept(before: &Published, now: &Published) {
    let runs: BTreeSet<&str> = now.keys().filter_map(|path| path.split('/').next()).collect();
    for (path, etag) in before.iter().filter(|(path, _)| runs.contains(path.split('/').next().unwrap())) {
        assert_eq!(now.get(path), Some(etag), "{path} was published with this ETag");
    }
}

/// One track on its way through kills.
struct Journey {
    app: App,
    upload: Upload,
    wav: Vec<u8>,
    seen: Published,
    dice: StdRng,
}

impl Journey {
    /// Goes on from the acknowledged offset, up to a share of the file.
    async fn send_to(&self, percent: usize) -> TcpStream {
        let offset = tus::offset(&self.app, &self.upload).await as usize;
        let to = offset.max(self.wav.len() * percent / 100);
        let left = self.wav.len() - offset;
        let mut socket = tus::begin_patch(&self.app, &self.upload, offset as u64, left, &[]);
        socket.write_all(&self.wav[offset..to]).unwrap();
        socket
    }

    async fn is_playable(&self) -> bool {
        self.app.track(&self.upload.track).await["state"] == "playable"
    }

    /// Kills the daemon at some moment while a worker is at it, and looks at what is left.
    async fn kill(&mut self) {
        first_worker_of(self.app.daemon().pid()).await;
        let moment = Duration::from_millis(self.dice.random_range(0..400));
        tokio::time::sleep(moment).await;
        if self.is_playable().await {
            let now = published(&self.app, &self.upload.track).await;
            assert_kept(&self.seen, &now);
            self.seen = now;
        }
        assert_ne!(self.app.track(&self.upload.track).await["state"], "ready", "killed too late: nothing was encoded");
        self.app.kill_and_boot().await;
        if self.is_playable().await {
            assert_kept(&self.seen, &published(&self.app, &self.upload.track).await);
        }
    }
}

#[tokio::test]
async fn six_kills_while_it_is_encoded_change_no_published_byte() {
    let app = App::start().await;
    let wav = sound::wav(SECONDS * 44_100, 44_100);
    let upload = tus::create(&app, "long.wav", &wav).await;
    let mut journey = Journey { app, upload, wav, seen: Published::new(), dice: StdRng::seed_from_u64(0x6b69_6c6c) };
    for percent in [10, 45, 80] {
        let _socket = journey.send_to(percent).await;
        if percent > 40 {
            let wanted = "playable";
            journey.app.track_when(&journey.upload.track, wanted, |t| t["state"] == wanted).await;
        }
        journey.kill().await;
    }
    assert!(!journey.seen.is_empty(), "something was published before the upload had ended");
    assert_eq!(tus::answer(&mut journey.send_to(100).await).0, 204);
    for _ in 0..3 {
        journey.kill().await;
    }
    let Journey { app, upload, wav, seen, .. } = journey;
    let track = app.settled(&upload.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&wav).into()), "{track}");
    assert_eq!(track["samples"], SECONDS * 44_100);
    assert_kept(&seen, &published(&app, &upload.track).await);
    app.until_clean().await;
    assert_exactly_its_rows(&app, &upload.track).await;
}

/// The store holds what the rows of the track's run name, and the jobs are done.
async fn assert_exactly_its_rows(app: &App, track: &str) {
    let mut db = app.daemon().connect().await;
    let sql = "SELECT key FROM segments UNION ALL SELECT init_key FROM rungs UNION ALL SELECT peaks_key FROM tracks";
    let keys: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut db).await.unwrap();
    let objects = app.data.join("store/objects");
    let named: BTreeSet<_> = keys.iter().map(|key| objects.join(key)).collect();
    let there: BTreeSet<_> = app.files(&format!("objects/hls/{track}")).into_iter().collect();
    assert_eq!((named.len(), &there), (keys.len(), &named));
    assert_eq!(app.ask("SELECT count(*) FROM runs").await, 1, "the run that players are given");
    assert_eq!(app.ask("SELECT count(*) FROM jobs WHERE done_at IS NULL").await, 0);
}
