//! Random walks: whatever edges are tried in whatever order, the row, the answer and the audit agree with the table.

use proptest::{collection::vec, prelude::*, test_runner::TestRunner};
use schema::{Id, machine::Machine, track, upload};
use time::OffsetDateTime;

use super::{Laws, Outcome, attempt};

const WALKS: u32 = 48;
const STEPS_MAX: usize = 14;

/// Walks `WALKS` times: `walk` makes a row, tries the edges, and returns the row's id and its expected history.
fn wander<F>(edges: usize, walk: F)
where
    F: AsyncFn(&Laws, &[usize]) -> Result<(uuid::Uuid, Vec<String>), TestCaseError>,
{
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let laws = runtime.block_on(Laws::new());
    let mut config = ProptestConfig::with_cases(WALKS);
    config.failure_persistence = None;
    TestRunner::new(config)
        .run(&vec(0..edges, 1..STEPS_MAX), |tries| {
            runtime.block_on(async {
                let (id, states) = walk(&laws, &tries).await?;
                let history = laws.history(id).await;
                let reached: Vec<String> = history.iter().map(|(_, to)| to.clone()).collect();
                prop_assert_eq!(reached, states);
                prop_assert!(history.windows(2).all(|pair| pair[0].1 == pair[1].0), "the audit has a gap");
                Ok(())
            })
        })
        .unwrap();
    drop(runtime.block_on(async { laws }));
}

fn note(states: &mut Vec<String>, at: &str, step: (Outcome, Outcome)) -> Result<(), TestCaseError> {
    if step.0 == Outcome::Took {
        states.push(at.to_owned());
    }
    prop_assert_eq!(step.0, step.1);
    Ok(())
}

#[test]
fn uploads_wander_only_along_edges() {
    assert_eq!(upload::Upload::EDGES.len(), 12, "a new edge: let it be tried below");
    wander(6, async |laws, tries| {
        let id: Id<upload::Upload> = laws.upload(0).await;
        let (mut at, mut states) = ("opened".to_owned(), vec!["opened".to_owned()]);
        for edge in tries {
            let (db, at_now) = (&laws.db, &mut at);
            let step = match edge {
                0 => attempt(db, id, at_now, upload::Receive {}).await,
                1 => attempt(db, id, at_now, upload::Seal {}).await,
                2 => {
                    let store = upload::Store { sha256: vec![0; 32], stored_at: OffsetDateTime::now_utc() };
                    attempt(db, id, at_now, store).await
                }
                3 => attempt(db, id, at_now, upload::Abort {}).await,
                4 => attempt(db, id, at_now, upload::Expire {}).await,
                _ => attempt(db, id, at_now, upload::Fail { reason: "digest_mismatch".into() }).await,
            };
            note(&mut states, &at, step)?;
        }
        Ok((id.uuid(), states))
    });
}

#[test]
fn tracks_wander_only_along_edges() {
    assert_eq!(track::Track::EDGES.len(), 11, "a new edge: let it be tried below");
    wander(5, async |laws, tries| {
        let id: Id<track::Track> = laws.track().await;
        let (mut at, mut states) = ("ingesting".to_owned(), vec!["ingesting".to_owned()]);
        for edge in tries {
            let (db, at_now) = (&laws.db, &mut at);
            let step = match edge {
                0 => attempt(db, id, at_now, track::Play { run: 1 }).await,
                1 => attempt(db, id, at_now, track::Finish { run: 1, samples: 4096 }).await,
                2 => {
                    let fail = track::Fail { reason: "unsupported_media".into(), detail: "it isn't audio".into() };
                    attempt(db, id, at_now, fail).await
                }
                3 => attempt(db, id, at_now, track::Retry { run: None, reason: None, detail: None }).await,
                _ => attempt(db, id, at_now, track::TakeDown {}).await,
            };
            note(&mut states, &at, step)?;
        }
        Ok((id.uuid(), states))
    });
}
