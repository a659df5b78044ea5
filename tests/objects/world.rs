//! Daemons on one database and one store, and what must hold of both once their uploads are done.

use std::time::{Duration, Instant};

use sqlx::PgPool;

use super::{client::Client, joined};
use crate::support::{
    app::{App, PATIENCE},
    postgres::Database,
    s3::{Settings, Site, Strict},
};

/// The smallest that S3 takes.
pub const PART: usize = 5 << 20;
/// A lease that tests can wait for.
pub const LEASE: Duration = Duration::from_secs(1);

const SECRET: &str = "only-for-tests-only-for-tests-32b";

/// Some daemons: they share a database, which outlives them, and a store.
pub struct World {
    pub db: PgPool,
    pub nodes: Vec<App>,
}

impl World {
    /// On the store that `settings` name.
    pub async fn new(store: &Settings, nodes: usize, more: &[(&str, &str)]) -> Self {
        let database = Database::new().await;
        Self::on(database.pool, &database.url, store, nodes, more).await
    }

    /// On that database, which the daemons reach at `url`.
    pub async fn on(db: PgPool, url: &str, store: &Settings, nodes: usize, more: &[(&str, &str)]) -> Self {
        let mut common = vec![
            ("DATABASE_URL", url),
            ("MILLRACE_SECRET", SECRET),
            ("UPLOAD_PART_BYTES", "5MiB"),
            ("UPLOAD_LEASE", "1s"),
            ("UPLOAD_ACCOUNT_OPEN", "1000000"),
            ("UPLOAD_CREATIONS_PER_MINUTE", "1000000"),
        ];
        common.extend_from_slice(more);
        let mut world = Self { db, nodes: Vec::new() };
        for _ in 0..nodes {
            let mut node = App::with(&joined(store, &common)).await;
            // Only the first found no owner, and has the token.
            if let Some(first) = world.nodes.first() {
                node.token.clone_from(&first.token);
            }
            world.nodes.push(node);
        }
        world
    }

    /// One daemon that gives the store up after half a second in which nothing moves.
    pub async fn impatient(store: &Strict) -> Self {
        Self::new(&store.settings(), 1, &[("S3_STALL", "500ms")]).await
    }

    /// The first daemon.
    pub fn app(&self) -> &App {
        &self.nodes[0]
    }

    /// A count from the database.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.db).await.unwrap()
    }

    /// Waits for a count above 0.
    pub async fn until(&self, what: &str, sql: &'static str) {
        let begun = Instant::now();
        while self.count(sql).await == 0 {
            assert!(begun.elapsed() < PATIENCE, "never {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until no row names anything in the store but stored objects: nothing open, no tail, nothing to delete. No
    /// daemon has payload on a disk.
    pub async fn until_nothing_is_owed(&self) {
        self.until_no_row_owes().await;
        for node in &self.nodes {
            assert!(node.files("").is_empty(), "payload on a disk of ours: {:?}", node.files(""));
        }
    }

    /// Waits until no row names anything in the store but stored objects.
    pub async fn until_no_row_owes(&self) {
        let owed = "SELECT (SELECT count(*) FROM store_trash) + (SELECT count(*) FROM upload_tails)
                         + (SELECT count(*) FROM upload_parts)
                         + (SELECT count(*) FROM uploads WHERE state = 'sealing' OR node IS NOT NULL)";
        let begun = Instant::now();
        while self.count(owed).await > 0 {
            assert!(begun.elapsed() < PATIENCE, "{} rows of work are left", self.count(owed).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The object of a stored upload is the file, read from the store itself; and there is one.
    pub async fn verify(&self, store: &Site, client: &Client) {
        let key = format!("tracks/{}/{}", client.upload.track, client.id());
        let (state, sha256): (String, Option<Vec<u8>>) =
            sqlx::query_as("SELECT state, sha256 FROM uploads WHERE key = $1")
                .bind(&key)
                .fetch_one(&self.db)
                .await
                .unwrap();
        assert_eq!(state, "stored");
        assert!(store.read(&key).await == client.bytes, "{key} isn't the file");
        assert_eq!(sha256.map(|sha| pipeline::publish::hex(&sha)), Some(crate::support::tus::sha256(&client.bytes)));
    }

    /// Nothing is left: of what a row knows at once, of what nobody heard of (the store obeyed, and a kill or a lost answer
    /// came between) after the sweep. How much that was.
    pub async fn swept(&self, store: &Site) -> Orphans {
        self.until_nothing_is_owed().await;
        let ended = "SELECT multipart_id FROM uploads WHERE multipart_id IS NOT NULL AND state <> 'receiving'";
        let ended: Vec<String> = sqlx::query_scalar(ended).fetch_all(&self.db).await.unwrap();
        let multiparts = store.multiparts().await;
        let left: Vec<_> = multiparts.iter().filter(|(_, id)| ended.contains(id)).collect();
        assert!(left.is_empty(), "begun and never ended: {left:?}");
        let found = Orphans { multiparts: multiparts.len() as u64, tails: store.objects("tails/").await.len() as u64 };
        let begun = Instant::now();
        while !(store.multiparts().await.is_empty() && store.objects("tails/").await.is_empty()) {
            let (status, told, errors) = self.app().run(&["blobs", "gc", "--older-than", "1s", "--force"]);
            assert!(status.success(), "{told}{errors}");
            self.until_nothing_is_owed().await;
            let left = (store.multiparts().await, store.objects("").await);
            assert!(begun.elapsed() < PATIENCE, "the sweep leaves things behind: {told}{left:?}");
        }
        found
    }
}

/// What the sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orphans {
    pub multiparts: u64,
    pub tails: u64,
}
