//! The laws of the rows hold against Rust, psql, races and random walks.

mod begun;
mod leases;
mod walks;

use schema::{
    Id,
    caller::Account,
    machine::{Edge, Machine, Refused, State, take},
    track::Track,
    upload::{self, Upload},
};
use sqlx::{Connection, PgConnection, PgPool};

use crate::postgres::daemon::{Daemon, finish, folder, millrace};

/// A migrated database of one's own.
struct Laws {
    db: PgPool,
    daemon: Daemon,
    _dir: tempfile::TempDir,
}

impl Laws {
    async fn new() -> Self {
        let dir = folder();
        let daemon = Daemon::start(&dir.path().join("data")).unwrap();
        let options = sqlx::postgres::PgPoolOptions::new().max_connections(16);
        let db = options.connect(&daemon.database_url()).await.unwrap();
        Self { db, daemon, _dir: dir }
    }

    async fn account(&self) -> Id<Account> {
        let id = Id::in_order();
        let sql = "INSERT INTO accounts (id, name, role) VALUES ($1, 'Ada', 'creator')";
        sqlx::query(sql).bind(id.uuid()).execute(&self.db).await.unwrap();
        id
    }

    /// An upload of `length` bytes, all of them committed.
    async fn upload(&self, length: i64) -> Id<Upload> {
        let id: Id<Upload> = Id::in_order();
        sqlx::query(
            "INSERT INTO uploads (id, owner, track_id, door, state, length, committed, part_bytes, key, expires_at)
             VALUES ($1, $2, gen_random_uuid(), 'tus', 'opened', $3, $3, 10, $4, now() + interval '1 day')",
        )
        .bind(id.uuid())
        .bind(self.account().await.uuid())
        .bind(length)
        .bind(id.to_string())
        .execute(&self.db)
        .await
        .unwrap();
        id
    }

    /// A track whose bytes are stored.
    async fn track(&self) -> Id<Track> {
        let id: Id<Track> = Id::in_order();
        sqlx::query(
            "INSERT INTO tracks (id, owner, state, title, storage_backend, file_path, sha256, stored_at)
             VALUES ($1, $2, 'ingesting', 'Song', 'local', 'a/b', decode(repeat('00', 32), 'hex'), now())",
        )
        .bind(id.uuid())
        .bind(self.account().await.uuid())
        .execute(&self.db)
        .await
        .unwrap();
        id
    }

    /// The audit of one row: each step's (from, to).
    async fn history(&self, id: uuid::Uuid) -> Vec<(String, String)> {
        let sql = "SELECT from_state, to_state FROM transition WHERE row_id = $1 ORDER BY id";
        sqlx::query_as(sql).bind(id).fetch_all(&self.db).await.unwrap()
    }
}

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(|e| e.code()).map(|c| c.into_owned()).unwrap_or_else(|| error.to_string())
}

#[tokio::test]
async fn rust_and_sql_know_the_same_edges() {
    let laws = Laws::new().await;
    let sql = "SELECT machine, from_state, to_state, name FROM edge ORDER BY 1, 2, 3";
    let there: Vec<(String, String, String, String)> = sqlx::query_as(sql).fetch_all(&laws.db).await.unwrap();
    let ours = |table: &str, edges: &[(&str, &str, &str)]| {
        let row =
            |(from, to, name): &(&str, &str, &str)| (table.to_owned(), (*from).into(), (*to).into(), (*name).into());
        edges.iter().map(row).collect::<Vec<_>>()
    };
    let mut here = [ours(Upload::TABLE, Upload::EDGES), ours(Track::TABLE, Track::EDGES)].concat();
    here.sort();
    assert_eq!(here, there);
}

#[tokio::test]
async fn psql_cant_jump() {
    let laws = Laws::new().await;
    let id = laws.upload(0).await;
    let jump = format!("UPDATE uploads SET state = 'expired' WHERE id = '{}'", id.uuid());
    let back = format!("UPDATE uploads SET state = 'opened' WHERE id = '{}'", id.uuid());
    let psql = |sql: &str| {
        let mut command = millrace(&laws.daemon.data);
        command.args(["db", "psql", "--", "-v", "VERBOSITY=verbose", "-c", sql]);
        finish(command)
    };
    let (status, _, errors) = psql(&jump);
    assert!(status.success(), "a legal edge is open to psql too: {errors}");
    let (status, _, errors) = psql(&back);
    assert!(!status.success() && errors.contains("23514"), "{errors}");
    let born = "INSERT INTO uploads (id, owner, track_id, door, state, part_bytes, key, expires_at)
                SELECT gen_random_uuid(), owner, gen_random_uuid(), 'tus', 'sealing', 1, 'other', now() FROM uploads";
    let (_, _, errors) = psql(born);
    assert!(errors.contains("23514"), "a row was born in the middle of its life: {errors}");
    assert_eq!(laws.history(id.uuid()).await.len(), 2);
}

#[tokio::test]
async fn of_16_racers_one_took_it_and_the_others_are_told_that_it_is_there() {
    let laws = Laws::new().await;
    for _ in 0..10 {
        let id = laws.upload(0).await;
        let mut racers = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let db = laws.db.clone();
            racers.spawn(async move {
                let mut tx = schema::begin(&db).await.unwrap();
                let outcome = take(&mut tx, id, upload::Receive {}).await.map(drop);
                tx.commit().await.unwrap();
                outcome
            });
        }
        let outcomes = racers.join_all().await;
        assert_eq!(outcomes.iter().filter(|o| o.is_ok()).count(), 1, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|o| matches!(o, Err(Refused::AlreadyThere))).count(), 15, "{outcomes:?}");
        assert_eq!(laws.history(id.uuid()).await.len(), 2, "born, and moved once");
    }
}

#[tokio::test]
async fn a_row_that_isnt_there_is_missing() {
    let laws = Laws::new().await;
    let mut tx = schema::begin(&laws.db).await.unwrap();
    let outcome = take(&mut tx, Id::in_order(), upload::Receive {}).await.map(drop);
    assert!(matches!(outcome, Err(Refused::Missing)), "{outcome:?}");
}

#[tokio::test]
async fn a_rolled_back_edge_leaves_no_trace() {
    let laws = Laws::new().await;
    let id = laws.upload(0).await;
    let mut tx = schema::begin(&laws.db).await.unwrap();
    let took = take(&mut tx, id, upload::Receive {}).await.unwrap();
    assert_eq!(took.id(), id);
    tx.rollback().await.unwrap();
    assert_eq!(laws.history(id.uuid()).await, [(String::new(), "opened".to_owned())]);
}

#[tokio::test]
async fn the_audit_is_append_only() {
    let laws = Laws::new().await;
    laws.upload(0).await;
    for sql in ["UPDATE transition SET to_state = 'x'", "DELETE FROM transition"] {
        let error = sqlx::query(sql).execute(&laws.db).await.unwrap_err();
        assert_eq!(code(&error), "23514", "{sql}");
    }
}

#[tokio::test]
async fn what_was_committed_stays_and_the_map_is_fixed() {
    let laws = Laws::new().await;
    let id = laws.upload(100).await;
    for set in [
        "committed = 99",
        "part_bytes = 11",
        "key = 'elsewhere'",
        "length = 101",
        "length = NULL",
        "epoch = -1",
        "committed = 101",
    ] {
        let sql = format!("UPDATE uploads SET {set} WHERE id = $1");
        let error = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.uuid()).execute(&laws.db).await.unwrap_err();
        assert_eq!(code(&error), "23514", "{set}");
    }
}

#[tokio::test]
async fn a_state_without_its_facts_is_refused() {
    let laws = Laws::new().await;
    let id = laws.upload(0).await;
    let mut db = PgConnection::connect(&laws.daemon.database_url()).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let _sealed = take(&mut tx, id, upload::Seal {}).await.unwrap();
    let bare = sqlx::query("UPDATE uploads SET state = 'stored' WHERE id = $1").bind(id.uuid());
    assert_eq!(code(&bare.execute(&mut *tx).await.unwrap_err()), "23514");
}

/// What happened at one step, as a walk can expect it.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Took,
    AlreadyThere,
    Illegal(String),
}

/// Tries an edge in a transaction of its own; what happened, and what should have from `at`.
async fn attempt<E: Edge>(db: &PgPool, id: Id<E::Of>, at: &mut String, edge: E) -> (Outcome, Outcome) {
    let expected = match () {
        () if E::FROM.iter().any(|from| from.name() == at) => Outcome::Took,
        () if E::TO.name() == at => Outcome::AlreadyThere,
        () => Outcome::Illegal(at.clone()),
    };
    let mut tx = schema::begin(db).await.unwrap();
    let outcome = match take(&mut tx, id, edge).await {
        Ok(_took) => Outcome::Took,
        Err(Refused::AlreadyThere) => Outcome::AlreadyThere,
        Err(Refused::Illegal { found }) => Outcome::Illegal(found.name().to_owned()),
        Err(other) => panic!("{other:?}"),
    };
    tx.commit().await.unwrap();
    if outcome == Outcome::Took {
        E::TO.name().clone_into(at);
    }
    (outcome, expected)
}
