//! An upload expires in the very moment in which its last bytes come: the sweep and the seal race, on two nodes, and one of
//! the two wins.
//!
//! In one process, so that thousands of races are cheap: two engines over one database and one store. What is judged is the
//! store's own log: nothing is aborted or deleted after it was put together (SeaweedFS #10663 loses the object then).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use pipeline::{
    Append, AppendError, BodyBroken, Encoding, Engine, Kind, Look, NewUpload,
    limits::Limits,
    media::ladder::Ladder,
    store::{S3, s3::Settings},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use schema::{Id, caller::Account, upload::State};
use sqlx::PgPool;
use uuid::Uuid;

use super::proof::Proof;
use crate::support::{
    postgres::Database,
    s3::{Op, Strict},
    tus::sha256,
};

/// Races at once.
const AT_ONCE: usize = 8;
const HALF: usize = 500;

fn engine(db: &PgPool, store: &Strict) -> Arc<Engine> {
    let site = store.site();
    let (id, secret) = (&site.access_key_id, &site.secret_access_key);
    let bucket = S3::open(Settings::new(&site.endpoint, &site.region, &site.bucket, id, secret));
    let encoding = Encoding { ladder: Ladder::parse("aac:64k").unwrap(), segment_seconds: 6, exe: "none".into() };
    let limits = Limits { account_open: 1_000_000, creations_per_minute: 1_000_000, workers: 0, ..Limits::default() };
    Engine::new(db.clone(), Arc::new(bucket), limits, encoding, None, Uuid::now_v7())
}

fn wanted(owner: Id<Account>) -> NewUpload {
    NewUpload {
        owner,
        door: "tus",
        length: Some(2 * HALF as u64),
        metadata: String::new(),
        filename: None,
        title: None,
        sha256: None,
        release: None,
        kind: Kind::Whole,
        concat: None,
        ends_at_length: true,
    }
}

async fn append(
    engine: &Arc<Engine>,
    owner: Id<Account>,
    look: &Look,
    at: usize,
    bytes: &[u8],
) -> Result<(), AppendError> {
    let body = stream::iter([Ok::<_, BodyBroken>(Bytes::copy_from_slice(bytes))]);
    engine.append(owner, look.id, Append::at(at as u64, Some(bytes.len() as u64)), body).await.map(drop)
}

/// One race; `true`: the bytes won.
async fn race(nodes: &[Arc<Engine>; 2], db: &PgPool, owner: Id<Account>, seed: u64) -> bool {
    let mut dice = StdRng::seed_from_u64(seed);
    let bytes: Vec<u8> = (0..2 * HALF).map(|_| dice.random()).collect();
    let look = nodes[0].create(wanted(owner)).await.unwrap();
    append(&nodes[0], owner, &look, 0, &bytes[..HALF]).await.unwrap();
    let left = format!("{} microseconds", dice.random_range(-1000..20_000));
    let overdue = "UPDATE uploads SET expires_at = now() + $2::interval WHERE id = $1";
    sqlx::query(overdue).bind(look.id.uuid()).bind(left).execute(db).await.unwrap();
    let wait = Duration::from_micros(dice.random_range(0..20_000));
    let sweep = async {
        tokio::time::sleep(wait).await;
        nodes[1].sweep_once().await.unwrap();
    };
    let (sent, ()) = tokio::join!(append(&nodes[0], owner, &look, HALF, &bytes[HALF..]), sweep);
    let seen = nodes[1].look(owner, look.id).await;
    match &seen {
        Ok(found) if found.state == State::Stored => {
            assert!(sent.is_ok(), "{sent:?}");
            assert_eq!(found.sha256.as_deref().map(pipeline::publish::hex), Some(sha256(&bytes)));
        }
        Ok(found) => assert!(sent.is_err() && found.offset == HALF as u64, "{found:?} after {sent:?}"),
        Err(gone) => assert!(sent.is_err(), "{gone} after {sent:?}"),
    }
    sent.is_ok()
}

/// Nothing that was put together was touched afterwards, and it is there.
fn judge(store: &Strict) {
    let entries = store.log().entries();
    for (n, whole) in entries.iter().enumerate().filter(|(_, e)| e.op == Op::Complete && e.succeeded()) {
        let ended = |op| matches!(op, Op::Abort | Op::DeleteObject);
        let after = entries[n..].iter().find(|e| e.key == whole.key && ended(e.op));
        assert!(after.is_none(), "{after:?} after it was whole");
        assert!(store.object(&whole.key).is_some(), "{} is gone", whole.key);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gc_versus_complete() {
    // U21.
    let mut proof = Proof::of("overdue", 300, 10_000);
    let (store, database) = (Strict::start(), Database::new().await);
    let owner = api::accounts::flow::create_user(&database.pool, "racer", "creator").await.unwrap();
    let nodes = [engine(&database.pool, &store), engine(&database.pool, &store)];
    loop {
        let cases = proof.some(AT_ONCE);
        if cases.is_empty() {
            break;
        }
        let races = cases.iter().map(|case| race(&nodes, &database.pool, owner, case.seed));
        for (case, has_won) in cases.iter().zip(futures_util::future::join_all(races).await) {
            proof.add(if has_won { "stored" } else { "expired, or sent again" }, 1);
            proof.ended(case, Ok(()));
        }
    }
    // What lost is deleted: the last sweep has nothing left to do but that.
    while nodes[1].sweep_once().await.unwrap().deleted > 0 {}
    judge(&store);
    assert!(proof.is_alone() || (proof.figure("stored") > 0 && proof.figure("expired, or sent again") > 0), "no race");
    proof.finish();
}
