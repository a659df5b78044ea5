//! Two daemons over one Postgres and one S3: chunks of one upload on both at once, and one that dies or sleeps.

use std::{fs, time::Duration};

use futures_util::{StreamExt, stream};
use rustix::process::Signal;
use serde_json::json;

use crate::{
    postgres::daemon::folder,
    support::{
        app::App,
        chunks::{self, Upload},
        postgres::Database,
        s3::{Action, Answer, Op, Rule, Strict},
        sound::noise,
        tus::sha256,
    },
};

/// The shortest part that S3 takes.
const PART: usize = 5 << 20;

/// Two daemons that share what nodes share.
struct Nodes {
    s3: Strict,
    database: Database,
    apps: Vec<App>,
}

impl Nodes {
    async fn two(more: &[(&'static str, &str)]) -> Self {
        let (s3, database) = (Strict::start(), Database::new().await);
        let mut nodes = Self { s3, database, apps: Vec::new() };
        for n in 0..2 {
            let (folder, data) = nodes.desk(n);
            let app = App::at(folder, data, &nodes.settings(more).pairs()).await;
            nodes.apps.push(app);
        }
        nodes
    }

    /// The second knows the owner by the first's token.
    fn desk(&self, n: usize) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = folder();
        let data = folder.path().join("data");
        if n > 0 {
            fs::create_dir_all(&data).unwrap();
            fs::write(data.join("owner-token"), &self.apps[0].token).unwrap();
        }
        (folder, data)
    }

    fn settings(&self, more: &[(&'static str, &str)]) -> crate::support::s3::Settings {
        let settings = self.s3.settings().and("DATABASE_URL", &self.database.url).and("UPLOAD_PART_BYTES", "5MiB");
        more.iter().fold(settings, |settings, (name, value)| settings.and(name, value))
    }

    async fn ask(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.database.pool).await.unwrap()
    }

    async fn until(&self, sql: &'static str) {
        while self.ask(sql).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn object(&self, upload: &Upload) -> Vec<u8> {
        self.s3.object(&format!("tracks/{}/{}", upload.track, upload.id)).unwrap()
    }

    /// Whatever was on its way is deleted: nothing is left but objects.
    async fn until_clean(&self) {
        self.until("SELECT (count(*) = 0)::int::int8 FROM store_trash WHERE not_before <= now()").await;
        assert_eq!(self.s3.multiparts(), []);
        assert_eq!(self.s3.keys("tails/"), Vec::<String>::new());
    }
}

#[tokio::test]
async fn chunks_of_one_upload_go_to_both_nodes_at_once() {
    let nodes = Nodes::two(&[]).await;
    let bytes = noise(12 * PART + 3, 1);
    let upload = chunks::create(&nodes.apps[0], "x.bin", &bytes).await;
    let (a, b) = (&nodes.apps[0], &nodes.apps[1]);
    // The very first two race for the object's beginning.
    tokio::join!(chunks::put_of(a, &upload, &bytes, 1), chunks::put_of(b, &upload, &bytes, 0));
    stream::iter(2..upload.count)
        .for_each_concurrent(4, |n| chunks::put_of(&nodes.apps[n % 2], &upload, &bytes, n))
        .await;
    assert_eq!(chunks::progress(b, &upload).await["received"], json!([[0, bytes.len()]]));
    chunks::complete_as(b, &upload, &bytes).await;
    chunks::complete_as(a, &upload, &bytes).await;
    assert_eq!(sha256(&nodes.object(&upload)), sha256(&bytes));
    nodes.until_clean().await;
}

#[tokio::test]
async fn a_digest_begun_on_one_node_goes_on_on_the_other() {
    let nodes = Nodes::two(&[]).await;
    let bytes = noise(4 * PART, 2);
    let upload = chunks::create(&nodes.apps[0], "x.bin", &bytes).await;
    for n in 0..4 {
        chunks::put_of(&nodes.apps[n % 2], &upload, &bytes, n).await;
    }
    chunks::complete_as(&nodes.apps[1], &upload, &bytes).await;
    assert_eq!(nodes.ask("SELECT count(*) FROM uploads WHERE deferred").await, 0);
}

#[tokio::test]
async fn two_nodes_never_write_one_chunk() {
    let nodes = Nodes::two(&[]).await;
    let bytes = noise(2 * PART, 3);
    let upload = chunks::create(&nodes.apps[0], "x.bin", &bytes).await;
    let held = nodes.s3.faults().add(Rule::on(Op::UploadPart, Action::Hold).key(&upload.id).once());
    let first = chunks::request(&nodes.apps[0], &upload, 0).body(upload.piece(&bytes, 0).to_vec());
    let first = tokio::spawn(async move { first.send().await.unwrap().status() });
    nodes.until("SELECT count(*) FROM upload_claims").await;
    let second = chunks::put(&nodes.apps[1], &upload, 0, upload.piece(&bytes, 0)).await;
    assert_eq!(second.status(), 409);
    held.release();
    assert_eq!(first.await.unwrap(), 204);
    chunks::put_of(&nodes.apps[1], &upload, &bytes, 0).await;
    let sent = nodes.s3.log().about(&upload.id).iter().filter(|entry| entry.op == Op::UploadPart).count();
    assert_eq!(sent, 1, "a part that is there isn't sent again");
    chunks::put_of(&nodes.apps[1], &upload, &bytes, 1).await;
    chunks::complete_as(&nodes.apps[0], &upload, &bytes).await;
    nodes.until_clean().await;
}

#[tokio::test]
async fn what_a_sleeping_node_still_delivers_is_mended_from_the_copy() {
    let nodes = Nodes::two(&[("UPLOAD_LEASE", "4s")]).await;
    let bytes = noise(2 * PART, 4);
    // Nothing is promised: the sleeper brings other bytes, of a file that changed.
    let wanted = json!({ "filename": "x.bin", "size": bytes.len() });
    let upload = chunks::create_as(&nodes.apps[0], wanted).await;
    chunks::put_of(&nodes.apps[0], &upload, &bytes, 1).await;
    let late = nodes.s3.faults().add(Rule::on(Op::UploadPart, Action::Hold).key(&upload.id).once());
    let before = nodes.s3.meter().passed();
    let first = chunks::request(&nodes.apps[0], &upload, 0).body(noise(PART, 5));
    let first = tokio::spawn(async move { first.send().await });
    nodes.s3.meter().until_passed(before + PART as u64).await;
    assert_eq!(late.hits(), 1);
    nodes.apps[0].daemon().signal(Signal::STOP);
    // Its claim runs out, and the other node takes the part over.
    nodes.until("SELECT count(*) FROM upload_claims WHERE claim_until < now()").await;
    chunks::put_of(&nodes.apps[1], &upload, &bytes, 0).await;
    assert_eq!(nodes.s3.keys("tails/").len(), 1, "the part is kept twice");
    let done = nodes.s3.log().len();
    late.release();
    while nodes.s3.log().entries()[..done].iter().any(|entry| entry.op == Op::UploadPart && entry.done.is_none()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    nodes.apps[0].daemon().signal(Signal::CONT);
    let _ = first.await;
    chunks::complete_as(&nodes.apps[1], &upload, &bytes).await;
    assert_eq!(sha256(&nodes.object(&upload)), sha256(&bytes));
    nodes.until_clean().await;
}

#[tokio::test]
async fn a_node_that_died_keeps_nobody_from_its_chunk() {
    let mut nodes = Nodes::two(&[("UPLOAD_LEASE", "4s")]).await;
    let bytes = noise(2 * PART, 6);
    let upload = chunks::create(&nodes.apps[0], "x.bin", &bytes).await;
    let _half = chunks::begin_put(&nodes.apps[0], &upload, 0, PART, &bytes[..1000]);
    nodes.until("SELECT count(*) FROM upload_claims").await;
    nodes.apps[0].kill();
    nodes.until("SELECT count(*) FROM upload_claims WHERE claim_until < now()").await;
    for n in [1, 0] {
        chunks::put_of(&nodes.apps[1], &upload, &bytes, n).await;
    }
    chunks::complete_as(&nodes.apps[1], &upload, &bytes).await;
    assert_eq!(sha256(&nodes.object(&upload)), sha256(&bytes));
    nodes.until_clean().await;
}

#[tokio::test]
async fn a_store_that_fails_costs_the_chunk_and_nothing_else() {
    // UP-9, UP-16
    let nodes = Nodes::two(&[]).await;
    let app = &nodes.apps[0];
    let bytes = noise(3 * PART, 7);
    let upload = chunks::create(app, "x.bin", &bytes).await;
    chunks::put_of(app, &upload, &bytes, 0).await;
    let down =
        nodes.s3.faults().add(Rule::on(Op::UploadPart, Action::Answer(Answer::SLOW_DOWN)).key(&upload.id).part(2));
    let refused = chunks::put(app, &upload, 1, upload.piece(&bytes, 1)).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after") && down.hits() > 0);
    chunks::put_of(app, &upload, &bytes, 2).await;
    assert_eq!(chunks::progress(app, &upload).await["received"], json!([[0, PART], [2 * PART, 3 * PART]]));
    nodes.s3.faults().heal();
    chunks::put_of(app, &upload, &bytes, 1).await;
    nodes.s3.faults().add(Rule::on(Op::Complete, Action::DropAnswer).once());
    chunks::complete_as(app, &upload, &bytes).await;
    assert_eq!(sha256(&nodes.object(&upload)), sha256(&bytes));
    nodes.until_clean().await;
}

#[tokio::test]
async fn chunks_that_stall_while_memory_is_short_are_parked_in_the_store() {
    let more = [("UPLOAD_MEMORY_BYTES", "14MiB"), ("UPLOAD_PARTS_IN_FLIGHT", "2")];
    let nodes = Nodes::two(&more).await;
    let app = &nodes.apps[0];
    let bytes = noise(9 * PART, 8);
    let upload = chunks::create(app, "x.bin", &bytes).await;
    let mut stalled: Vec<_> =
        (1..9).map(|n| chunks::begin_put(app, &upload, n, PART, &upload.piece(&bytes, n)[..PART / 2])).collect();
    nodes.until("SELECT (count(*) = 8)::int::int8 FROM upload_claims").await;
    chunks::put_of(app, &upload, &bytes, 0).await;
    assert_ne!(nodes.s3.keys("tails/").len(), 0);
    for (socket, n) in stalled.iter_mut().zip(1..) {
        std::io::Write::write_all(socket, &upload.piece(&bytes, n)[PART / 2..]).unwrap();
    }
    for socket in &mut stalled {
        assert_eq!(crate::support::tus::answer(socket).0, 204);
    }
    chunks::complete_as(app, &upload, &bytes).await;
    assert_eq!(sha256(&nodes.object(&upload)), sha256(&bytes));
    nodes.until_clean().await;
}
