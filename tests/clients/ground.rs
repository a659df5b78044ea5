//! A daemon behind a line, and what a client may meet on its way there.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::run::{self, Client, MIB, Sample, Told, assert_never_back};
use crate::{
    objects::world::{Orphans, World},
    support::{
        app::{App, PATIENCE},
        line::Line,
        s3::{Settings, Strict},
        tus::{self, Upload},
    },
};

/// No multiple of anything.
const USUAL_BYTES: usize = 17 * MIB + 17;

/// What happens to an upload in the middle of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Nothing,
    /// All connections are reset.
    Cut,
    /// The daemon is killed, and comes back on its data folder.
    Killed,
}

/// Where the daemon keeps objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    Folder,
    S3,
}

/// How a client is asked to upload.
pub(super) struct Mode {
    pub(super) client: Client,
    pub(super) asked: Value,
    pub(super) bytes: usize,
    /// How many uploads that makes: to begin anew isn't to resume.
    pub(super) uploads: i64,
}

impl Mode {
    pub(super) fn of(client: Client, asked: Value) -> Self {
        Self { client, asked, bytes: USUAL_BYTES, uploads: 1 }
    }

    /// In four pieces that the server joins.
    pub(super) fn in_four(self) -> Self {
        Self { uploads: 5, ..self }
    }

    /// The whole way of one file: the client says that it is there, and it is.
    pub(super) async fn goes_through(self, fault: Fault, store: Store) {
        let mut ground = Ground::on(store).await;
        let sample = Sample::noise(self.bytes, 61);
        let told = ground.upload(&self, &sample, fault).await;
        assert_eq!(told.ended, "success");
        assert_never_back(&[&told]);
        let track = ground.track_of(&told).await;
        ground.assert_stored(&track, &sample.bytes).await;
        assert_eq!(ground.world.count("SELECT count(*) FROM uploads").await, self.uploads, "{told:?}");
        ground.until_nothing_is_left(fault).await;
    }
}

pub(super) struct Ground {
    pub(super) world: World,
    line: Line,
    s3: Option<Strict>,
}

impl Ground {
    pub(super) async fn on(store: Store) -> Self {
        let s3 = (store == Store::S3).then(Strict::start);
        let settings = s3.as_ref().map_or_else(|| Settings(Vec::new()), |s3| s3.settings());
        let world = World::new(&settings, 1, &[]).await;
        let line = Line::to(&world.app().host()).await;
        Self { world, line, s3 }
    }

    pub(super) fn app(&self) -> &App {
        self.world.app()
    }

    /// Runs the client to its end, and strikes once so many bytes are on their way.
    pub(super) async fn upload(&mut self, mode: &Mode, sample: &Sample, fault: Fault) -> Told {
        // Of four pieces at once no three have so many bytes: each is known to the client by then.
        let mark = sample.bytes.len() as u64 / 8 * 7 + 4321;
        if fault != Fault::Nothing {
            self.line.stop_at(mark);
        }
        let token = self.app().token.clone();
        let command = run::command(mode.client, &self.line.url(""), &token, sample, &mode.asked);
        let mut running = tokio::process::Command::from(command);
        let mut running = tokio::spawn(running.kill_on_drop(true).output());
        if fault != Fault::Nothing {
            tokio::select! {
                early = &mut running => panic!("it ended before the fault: {:?}", run::told(mode.client, early.unwrap().unwrap())),
                () = self.line.until_passed(mark) => {}
            }
        }
        self.strike(fault).await;
        run::told(mode.client, running.await.unwrap().unwrap())
    }

    async fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Nothing => {}
            Fault::Cut => self.line.cut().await,
            Fault::Killed => {
                self.line.leads_nowhere();
                let daemon = &mut self.world.nodes[0];
                daemon.kill();
                self.line.cut().await;
                daemon.boot().await;
                self.line.leads_to(&daemon.host());
            }
        }
    }

    /// As the client was told, or as the server says where the client shows no headers.
    async fn track_of(&self, told: &Told) -> String {
        if !told.track.is_empty() {
            return told.track.clone();
        }
        let path = told.url[told.url.find("/files/").unwrap()..].to_owned();
        let head = tus::head(self.app(), &Upload { path, track: String::new() }).await;
        head.headers()["millrace-track"].to_str().unwrap().to_owned()
    }

    /// The only object of that track is the file.
    pub(super) async fn assert_stored(&self, track: &str, bytes: &[u8]) {
        let expected = tus::sha256(bytes);
        let shown = self.app().track_when(track, "stored", |t| t["stored"] == true).await;
        assert_eq!((&shown["sha256"], &shown["size"]), (&expected.as_str().into(), &bytes.len().into()));
        let objects: Vec<Vec<u8>> = match &self.s3 {
            Some(s3) => s3.keys(&format!("tracks/{track}/")).iter().filter_map(|key| s3.object(key)).collect(),
            None => {
                let files = self.app().files(&format!("objects/tracks/{track}"));
                files.iter().map(|file| std::fs::read(file).unwrap()).collect()
            }
        };
        assert_eq!(objects.iter().map(|object| tus::sha256(object)).collect::<Vec<_>>(), [expected]);
    }

    /// Nothing is left of what was on its way; only after a kill the store may hold what no row names, for the sweep.
    pub(super) async fn until_nothing_is_left(&self, fault: Fault) {
        if let Some(s3) = &self.s3 {
            let orphans = self.world.swept(&s3.site()).await;
            assert!(fault == Fault::Killed || orphans == Orphans { multiparts: 0, tails: 0 }, "{orphans:?}");
            return;
        }
        self.world.until_no_row_owes().await;
        let begun = Instant::now();
        let left = || [self.app().files("multipart"), self.app().files("tmp")].concat();
        while !left().is_empty() {
            assert!(begun.elapsed() < PATIENCE, "left over: {:?}", left());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
