//! The right to do a job: one holder at a time, kept by beating, and nothing left of it once somebody else has it.
//!
//! Against a real PostgreSQL, since `SKIP LOCKED` and `now()` are what is proven. Time passes by moving a lease into the past.

use std::{collections::HashSet, time::Duration};

use futures_util::future::join_all;
use schema::job::{self, Job};
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::postgres::Database;

const KIND: &str = "sing";
const LEASE: Duration = Duration::from_secs(60);

/// Jobs in a database of their own.
struct Jobs {
    db: PgPool,
}

impl Jobs {
    /// As many as wanted, all due.
    async fn of(n: usize) -> Self {
        let jobs = Self { db: Database::new().await.pool };
        for _ in 0..n {
            jobs.enqueue(Uuid::new_v4(), 1, true).await;
        }
        jobs
    }

    async fn enqueue(&self, subject: Uuid, version: i32, due: bool) {
        let mut tx = schema::begin(&self.db).await.unwrap();
        job::enqueue(&mut tx, KIND, subject, version, serde_json::json!({ "key": "C" }), due).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn claim(&self) -> Option<Job> {
        job::claim(&self.db, KIND, Uuid::new_v4(), LEASE).await.unwrap()
    }

    /// The holder says nothing for so long that its lease ends.
    async fn lapse(&self, job: &Job) {
        let sql = "UPDATE jobs SET lease_until = now() - interval '1 second' WHERE id = $1";
        assert_eq!(sqlx::query(sql).bind(job.id).execute(&self.db).await.unwrap().rows_affected(), 1);
    }

    /// The whole row, to see whether anything of it changed.
    async fn row(&self, job: &Job) -> String {
        let sql = "SELECT jobs::text FROM jobs WHERE id = $1";
        sqlx::query_scalar(sql).bind(job.id).fetch_one(&self.db).await.unwrap()
    }

    /// What each verb of a holder answers; what it did is kept only where it was allowed.
    async fn verb(&self, verb: &str, job: &Job) -> bool {
        if verb == "beat" {
            return job::beat(&self.db, job, LEASE).await.unwrap();
        }
        let mut tx = schema::begin(&self.db).await.unwrap();
        let done = match verb {
            "still_mine" => job::still_mine(&mut tx, job).await,
            "finish" => job::finish(&mut tx, job).await,
            "give_back" => job::give_back(&mut tx, job).await,
            "retry" => job::retry(&mut tx, job, LEASE, "out of tune").await,
            _ => job::bury(&mut tx, job, "no voice left").await,
        };
        // Committed also when refused: a refusal must have left nothing to roll back.
        tx.commit().await.unwrap();
        done.unwrap()
    }
}

const VERBS: [&str; 6] = ["beat", "still_mine", "finish", "give_back", "retry", "bury"];

#[tokio::test]
async fn many_claimers_get_each_job_once() {
    let jobs = Jobs::of(20).await;
    let claims = join_all((0..8).map(|_| async {
        let mut mine = Vec::new();
        while let Some(job) = jobs.claim().await {
            mine.push(job);
        }
        mine
    }));
    let claimed: Vec<Job> = claims.await.into_iter().flatten().collect();
    let ids: HashSet<Uuid> = claimed.iter().map(|job| job.id).collect();
    assert_eq!((claimed.len(), ids.len()), (20, 20));
    assert!(claimed.iter().all(|job| job.token == 1 && job.failures == 0 && job.payload["key"] == "C"));
}

#[tokio::test]
async fn a_claimer_steps_over_a_row_that_another_one_is_just_taking() {
    let jobs = Jobs::of(2).await;
    let mut tx = schema::begin(&jobs.db).await.unwrap();
    let oldest = "SELECT id FROM jobs ORDER BY run_after, created_at LIMIT 1 FOR UPDATE";
    let taken: Uuid = sqlx::query_scalar(oldest).fetch_one(&mut *tx).await.unwrap();
    // Were it to wait, it would wait for ever: this transaction ends after it.
    let other = tokio::time::timeout(LEASE, jobs.claim()).await.expect("it doesn't wait").unwrap();
    assert_ne!(other.id, taken);
    assert!(jobs.claim().await.is_none());
    tx.rollback().await.unwrap();
    assert_eq!(jobs.claim().await.unwrap().id, taken);
}

#[tokio::test]
async fn who_beats_keeps_a_job_and_who_doesnt_loses_it() {
    let jobs = Jobs::of(2).await;
    let short = Duration::from_millis(50);
    let claim = || job::claim(&jobs.db, KIND, Uuid::new_v4(), short);
    let (kept, lost) = (claim().await.unwrap().unwrap(), claim().await.unwrap().unwrap());
    assert!(job::beat(&jobs.db, &kept, LEASE).await.unwrap());
    // Both leases end at about the same time, but for the beat.
    let again = loop {
        if let Some(job) = jobs.claim().await {
            break job;
        }
    };
    assert_eq!((again.id, again.token), (lost.id, 2));
    assert_eq!(again.failures, 0, "a holder that died says nothing about the work");
    assert!(jobs.claim().await.is_none(), "the other one is held");
    assert!(jobs.verb("finish", &kept).await);
}

#[tokio::test]
async fn after_a_takeover_every_verb_of_the_old_holder_is_refused_and_changes_nothing() {
    let jobs = Jobs::of(1).await;
    let old = jobs.claim().await.unwrap();
    jobs.lapse(&old).await;
    assert!(jobs.verb("still_mine", &old).await, "nobody has taken it yet");
    let new = jobs.claim().await.unwrap();
    assert_eq!((new.id, new.token), (old.id, old.token + 1));
    let before = jobs.row(&new).await;
    for verb in VERBS {
        assert!(!jobs.verb(verb, &old).await, "{verb} of a holder that lost it");
        assert_eq!(jobs.row(&new).await, before, "{verb}");
    }
    assert!(jobs.verb("beat", &new).await && jobs.verb("finish", &new).await);
    let done = jobs.row(&new).await;
    for verb in VERBS {
        assert!(!jobs.verb(verb, &new).await, "{verb} of what is done");
        assert_eq!(jobs.row(&new).await, done, "{verb}");
    }
    assert!(jobs.claim().await.is_none(), "what is done isn't done again");
}

#[tokio::test]
async fn a_failure_is_counted_and_a_buried_job_stays_buried_until_it_is_opened_again() {
    let jobs = Jobs::of(1).await;
    let first = jobs.claim().await.unwrap();
    assert!(jobs.verb("retry", &first).await);
    assert!(jobs.claim().await.is_none(), "not before its wait is over");
    let mut tx = schema::begin(&jobs.db).await.unwrap();
    job::make_due(&mut tx, KIND, first.subject, Uuid::new_v4(), serde_json::json!({})).await.unwrap();
    tx.commit().await.unwrap();
    let second = jobs.claim().await.unwrap();
    assert_eq!((second.failures, second.token), (1, 2));
    assert!(jobs.verb("bury", &second).await);
    jobs.enqueue(second.subject, 1, true).await;
    assert!(jobs.claim().await.is_none(), "a second enqueue of the same work is nothing (HLS-10)");

    let mut tx = schema::begin(&jobs.db).await.unwrap();
    job::reopen(&mut tx, KIND, second.subject).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!jobs.verb("beat", &second).await, "opening it again fences off whoever had it");
    let third = jobs.claim().await.unwrap();
    assert_eq!((third.id, third.failures), (first.id, 0));
}

#[tokio::test]
async fn accounts_take_turns_each_oldest_first() {
    let jobs = Jobs::of(0).await;
    let (album, single) = (Uuid::new_v4(), Uuid::new_v4());
    let arrives = |account: Uuid| {
        let (jobs, subject) = (&jobs, Uuid::new_v4());
        async move {
            jobs.enqueue(subject, 1, false).await;
            let mut tx = schema::begin(&jobs.db).await.unwrap();
            job::make_due(&mut tx, KIND, subject, account, serde_json::json!({})).await.unwrap();
            tx.commit().await.unwrap();
            subject
        }
    };
    let mut tracks = Vec::new();
    for _ in 0..10 {
        tracks.push(arrives(album).await);
    }
    let next = || async { jobs.claim().await.unwrap() };
    let (first, second) = (next().await, next().await);
    assert_eq!([first.subject, second.subject], [tracks[0], tracks[1]]);
    let late = [arrives(single).await, arrives(single).await];
    // Said again, as after a crash: its place is the same.
    let mut tx = schema::begin(&jobs.db).await.unwrap();
    job::make_due(&mut tx, KIND, late[1], single, serde_json::json!({})).await.unwrap();
    tx.commit().await.unwrap();
    assert!(jobs.verb("finish", &first).await && jobs.verb("give_back", &second).await);
    let mut order = Vec::new();
    while let Some(job) = jobs.claim().await {
        order.push(job.subject);
    }
    let wanted = [&tracks[1..3], &late[..1], &tracks[3..4], &late[1..], &tracks[4..]].concat();
    assert_eq!(order, wanted);

    // What is opened again stands where it stood.
    let mut tx = schema::begin(&jobs.db).await.unwrap();
    job::reopen(&mut tx, KIND, tracks[9]).await.unwrap();
    job::reopen(&mut tx, KIND, tracks[0]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!([next().await.subject, next().await.subject], [tracks[0], tracks[9]]);
}

#[tokio::test]
async fn work_that_isnt_due_waits_for_who_asks_for_it_by_name() {
    let jobs = Jobs::of(0).await;
    let subject = Uuid::new_v4();
    jobs.enqueue(subject, 1, false).await;
    assert!(jobs.claim().await.is_none());
    let named = || job::claim_for(&jobs.db, KIND, subject, Uuid::new_v4(), LEASE);
    let held = named().await.unwrap().unwrap();
    assert!(named().await.unwrap().is_none(), "somebody holds it");
    assert!(jobs.verb("give_back", &held).await);
    assert!(jobs.claim().await.is_none(), "given back as it was");
    jobs.lapse(&named().await.unwrap().unwrap()).await;
    assert!(named().await.unwrap().is_some(), "a lapsed lease keeps nobody out");
}
