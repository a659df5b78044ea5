//! Every answer that a Complete can get, and what is true afterwards.

use std::time::{Duration, Instant};

use bytes::Bytes;
use pipeline::store::{Object, Part, S3, Store, StoreError, contract};

use super::{COMPLETE, one_part, store};
use crate::support::s3::{Action, Answer, Armed, Entry, Keep, Manners, Op, Options, Rule, Strict};

const KEY: &str = "tracks/1/source";

/// A store with one upload ready; the store is asked for its powers before any rule holds.
struct Ready {
    strict: Strict,
    store: S3,
    to: pipeline::store::Multipart,
    parts: Vec<Part>,
}

impl Ready {
    async fn new() -> Self {
        Self::at(Options::default()).await
    }

    async fn at(options: Options) -> Self {
        let strict = Strict::with(options);
        let store = store(&strict.site());
        let (to, parts) = one_part(&store, KEY, b"whole").await;
        Self { strict, store, to, parts }
    }

    fn on_complete(&self, action: Action) -> Armed {
        self.strict.faults().add(Rule::on(Op::Complete, action).once())
    }

    async fn complete(&self) -> Result<Object, StoreError> {
        self.store.complete(&self.to, &self.parts, 5).await
    }

    /// Completes of this key that the store has seen.
    fn completes(&self) -> Vec<Entry> {
        self.strict.log().about(KEY).into_iter().filter(|entry| entry.op == Op::Complete).collect()
    }

    #[track_caller]
    fn is_whole(&self, answer: Result<Object, StoreError>, completes: usize) {
        let object = answer.unwrap();
        assert_eq!((object.key.as_str(), object.size), (KEY, 5));
        assert_eq!(self.strict.object(KEY).unwrap(), b"whole");
        assert_eq!(self.completes().len(), completes, "{:?}", self.completes());
        self.nothing_was_aborted();
    }

    #[track_caller]
    fn nothing_was_aborted(&self) {
        assert!(self.strict.log().about(KEY).iter().all(|entry| entry.op != Op::Abort), "no abort after a Complete");
    }
}

#[tokio::test]
async fn it_worked_though_the_answer_says_otherwise() {
    let told = [
        Action::DropAnswer,
        Action::HangAnswer,
        Action::AnswerAfter(Answer::INTERNAL_ERROR),
        Action::AnswerAfter(Answer::SLOW_DOWN),
        Action::AnswerAfter(Answer::ERROR_IN_200),
        Action::AnswerAfter(Answer::NO_SUCH_UPLOAD),
        Action::AnswerAfter(Answer::INVALID_PART),
        Action::AnswerAfter(Answer { status: 502, code: "" }),
        Action::AnswerAfter(Answer { status: 404, code: "" }),
        Action::AnswerAfter(Answer { status: 409, code: "ConditionalRequestConflict" }),
        Action::AnswerAfter(Answer { status: 403, code: "AccessDenied" }),
    ];
    for action in told {
        let ready = Ready::new().await;
        let rule = ready.on_complete(action.clone());
        let answer = ready.complete().await;
        assert_eq!(rule.hits(), 1, "{action:?}");
        ready.is_whole(answer, 1);
    }
}

#[tokio::test]
async fn it_didnt_work_and_is_sent_once_more() {
    let ended = [
        Action::Answer(Answer::INTERNAL_ERROR),
        Action::Answer(Answer::SLOW_DOWN),
        Action::Answer(Answer::ERROR_IN_200),
        Action::Answer(Answer { status: 409, code: "OperationAborted" }),
    ];
    for action in ended {
        let ready = Ready::new().await;
        ready.on_complete(action);
        let answer = ready.complete().await;
        ready.is_whole(answer, 2);
    }
}

#[tokio::test]
async fn silence_is_waited_out_before_it_is_sent_again() {
    for action in [Action::Drop, Action::Hang, Action::Answer(Answer { status: 504, code: "" })] {
        let ready = Ready::new().await;
        ready.on_complete(action.clone());
        let began = Instant::now();
        let answer = ready.complete().await;
        assert!(began.elapsed() > COMPLETE, "{action:?}: the first may still have worked");
        ready.is_whole(answer, 2);
    }
}

#[tokio::test]
async fn a_late_first_one_is_seen_and_no_second_is_sent() {
    let ready = Ready::new().await;
    let held = ready.on_complete(Action::Hold);
    let (answer, ()) = tokio::join!(ready.complete(), async {
        held.until_hit(1).await;
        // Past the request's own time, and within what it may take to be surely over.
        tokio::time::sleep(COMPLETE + COMPLETE / 8).await;
        held.release();
    });
    ready.is_whole(answer, 1);
}

#[tokio::test]
async fn a_store_that_stays_broken_is_asked_twice_and_nothing_is_given_up() {
    let ready = Ready::new().await;
    ready.strict.faults().add(Rule::on(Op::Complete, Action::Answer(Answer::SLOW_DOWN)));
    let away = ready.complete().await;
    assert!(matches!(away, Err(StoreError::Away(_))), "{away:?}");
    assert_eq!((ready.completes().len(), ready.strict.multiparts().len()), (2, 1));
    ready.nothing_was_aborted();
    ready.strict.faults().heal();
    let answer = ready.complete().await;
    ready.is_whole(answer, 3);
}

#[tokio::test]
async fn never_two_at_once_even_from_two_calls() {
    let ready = Ready::new().await;
    let held = ready.on_complete(Action::Hold);
    let looks = ready.strict.faults().add(Rule::on(Op::HeadObject, Action::Answer(Answer::SLOW_DOWN)).skip(1));
    let first = ready.complete().await;
    assert!(matches!(first, Err(StoreError::Away(_))), "nobody could look: {first:?}");
    assert!(looks.hits() > 0);
    ready.strict.faults().heal();
    held.release();
    let answer = ready.complete().await;
    ready.is_whole(answer, 1);
}

#[tokio::test]
async fn an_upload_that_the_store_forgot_is_not_done() {
    // tus-node-server #877
    let ready = Ready::new().await;
    ready.strict.lose_uploads(KEY);
    let lost = ready.complete().await;
    assert!(matches!(lost, Err(StoreError::Missing(_))), "{lost:?}");
    assert_eq!(ready.strict.object(KEY), None);
    assert!(matches!(ready.store.listed(&ready.to).await, Err(StoreError::Missing(_))));
    let bytes = vec![Bytes::from_static(b"whole")];
    let part = ready.store.put_part(&ready.to, &ready.parts[0], &[], 0, bytes).await;
    assert!(matches!(part, Err(StoreError::Missing(_))), "{part:?}");
}

#[tokio::test]
async fn other_parts_are_told_as_such() {
    let ready = Ready::new().await;
    ready.on_complete(Action::Answer(Answer::INVALID_PART));
    let parts = ready.complete().await;
    assert!(matches!(parts, Err(StoreError::Parts { .. })), "{parts:?}");
    assert_eq!(ready.strict.multiparts().len(), 1);
    ready.nothing_was_aborted();

    // A first part below 5 MiB: Garage would take it.
    let ready = Ready::new().await;
    let mut two = contract::part(2, 5, b"more");
    two.etag = ready.store.put_part(&ready.to, &two, &[], 5, vec![Bytes::from_static(b"more")]).await.unwrap();
    let small = ready.store.complete(&ready.to, &[ready.parts[0].clone(), two], 9).await;
    assert!(matches!(&small, Err(StoreError::Parts { what, .. }) if what.contains("EntityTooSmall")), "{small:?}");
}

#[tokio::test]
async fn another_object_under_the_key_is_neither_overwritten_nor_taken_for_ours() {
    for manners in [Manners::Aws, Manners::Garage] {
        let ready = Ready::at(Options { manners, keep: Keep::Bytes }).await;
        let site = ready.strict.site();
        let put = async |bytes: &'static [u8]| {
            let put = site.client().put_object().bucket(&site.bucket).key(KEY).body(Bytes::from_static(bytes).into());
            put.send().await.unwrap();
        };
        for others in [&b"other"[..], b"longer"] {
            put(others).await;
            let wrong = ready.complete().await;
            assert!(matches!(wrong, Err(StoreError::Wrong { .. })), "{manners:?}: {wrong:?}");
            assert_eq!(ready.strict.object(KEY).unwrap(), others);
        }
        assert!(ready.completes().is_empty(), "the key is looked at first");
    }
}

#[tokio::test]
async fn a_key_taken_between_look_and_complete_is_412_and_judged() {
    let ready = Ready::new().await;
    let site = ready.strict.site();
    // The look before misses it.
    ready.strict.faults().add(Rule::on(Op::HeadObject, Action::Answer(Answer { status: 404, code: "" })).once());
    site.client().put_object().bucket(&site.bucket).key(KEY).body(Bytes::from("other").into()).send().await.unwrap();
    let wrong = ready.complete().await;
    assert!(matches!(wrong, Err(StoreError::Wrong { .. })), "{wrong:?}");
    assert_eq!((ready.completes()[0].done, ready.strict.object(KEY).unwrap()), (Some(412), b"other".to_vec()));
}

#[tokio::test]
async fn completed_again_it_still_is_and_no_second_is_sent() {
    // minio #17858: two quick Completes lost the data.
    for manners in [Manners::Aws, Manners::Garage, Manners::Minio] {
        let ready = Ready::at(Options { manners, keep: Keep::Bytes }).await;
        for _ in 0..3 {
            let answer = ready.complete().await;
            ready.is_whole(answer, 1);
        }
    }
}

#[tokio::test]
async fn bytes_that_rotted_in_the_store_are_found() {
    let ready = Ready::new().await;
    ready.strict.faults().add(Rule::on(Op::UploadPart, Action::Rot { at: 2 }).once());
    let (to, parts) = one_part(&ready.store, "tracks/2/source", b"whole").await;
    let answer = ready.store.complete(&to, &parts, 5).await;
    // The store told the right digests of what it didn't keep: only a read tells, unless it compares at Complete.
    match answer {
        Err(StoreError::Wrong { .. } | StoreError::Parts { .. } | StoreError::Away(_)) => {}
        Ok(_) => assert_ne!(ready.store.read("tracks/2/source", 0, 5).await.unwrap(), "whole"),
        other => panic!("{other:?}"),
    }
    assert!(Duration::ZERO < COMPLETE);
}
