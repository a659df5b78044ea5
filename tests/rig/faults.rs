//! Each fault happens as it is named, is counted, and strikes nothing else.

use std::time::Duration;

use tokio::time::timeout;

use super::mpu::{MIB, Mpu, bytes, code, put};
use crate::support::s3::{Action, Answer, Manners, Op, Options, Rule, Strict};

/// Long enough to see that nothing comes.
const SILENCE: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_rule_strikes_its_turns_and_no_others() {
    let s3 = Strict::start();
    let site = s3.site();
    let rule = Rule::on(Op::PutObject, Action::Answer(Answer::SLOW_DOWN)).key("tails/").skip(1).one_in(2).times(2);
    let armed = s3.faults().add(rule);
    let mut told = Vec::new();
    for n in 0..7 {
        assert!(put(&site, "other", b"x").await.is_ok());
        told.push(put(&site, &format!("tails/{n}"), b"x").await.err().unwrap_or_default());
    }
    assert_eq!(told, ["", "SlowDown", "", "SlowDown", "", "", ""]);
    assert_eq!(armed.hits(), 2);
    assert_eq!(s3.keys("tails/").len(), 5);
    let log = s3.log().about("tails/1");
    assert_eq!((log[0].told, log[0].done, log[0].bytes), (Some(503), None, 1));
}

#[tokio::test]
async fn an_answer_is_lost_or_changed_after_the_deed() {
    let s3 = Strict::start();
    let site = s3.site();
    for (n, (action, told)) in [
        (Action::DropAnswer, "none"),
        (Action::AnswerAfter(Answer::INTERNAL_ERROR), "InternalError"),
        (Action::AnswerAfter(Answer::ERROR_IN_200), "InternalError"),
        (Action::AnswerAfter(Answer::NO_SUCH_UPLOAD), "NoSuchUpload"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("after/{n}");
        let mpu = Mpu::create(&site, &key, false).await;
        let etag = mpu.part(1, b"x").await.unwrap();
        let armed = s3.faults().add(Rule::on(Op::Complete, action).once());
        assert_eq!(mpu.complete(&[(1, &etag)], None).await.unwrap_err(), told);
        assert_eq!((armed.hits(), s3.object(&key).unwrap()), (1, b"x".to_vec()));
        assert_eq!(s3.log().about(&key).last().unwrap().done, Some(200));
    }
    for action in [Action::Drop, Action::Cut { after: 1000 }, Action::Answer(Answer::ERROR_IN_200)] {
        let armed = s3.faults().add(Rule::on(Op::PutObject, action).once());
        put(&site, "before", &bytes(1, MIB)).await.ok();
        assert_eq!((armed.hits(), s3.object("before")), (1, None));
    }
}

#[tokio::test]
async fn nothing_comes_from_what_hangs() {
    let s3 = Strict::start();
    let site = s3.site();
    let faults = s3.faults();
    faults.add(Rule::on(Op::PutObject, Action::Hang).key("before"));
    faults.add(Rule::on(Op::PutObject, Action::HangAnswer).key("after"));
    faults.add(Rule::on(Op::PutObject, Action::Slow { bytes_per_s: 1 }).key("slow"));
    for key in ["before", "after", "slow"] {
        assert!(timeout(SILENCE, put(&site, key, b"xyz")).await.is_err(), "{key}");
    }
    assert_eq!(s3.keys(""), ["after"]);
    let read = site.client().get_object().bucket(&site.bucket).key("after");
    faults.add(Rule::on(Op::GetObject, Action::Slow { bytes_per_s: 1 }));
    let mut body = read.send().await.unwrap().body;
    assert!(timeout(SILENCE, body.next()).await.is_err());
    assert_eq!(body.next().await.unwrap().unwrap().len(), 1);
}

#[tokio::test]
async fn damage_is_told_by_its_digests_and_rot_is_not() {
    let s3 = Strict::start();
    let site = s3.site();
    let clean = put(&site, "clean", b"0123456789").await.unwrap();
    let once = |action| s3.faults().add(Rule::any(action).once());
    once(Action::FlipBit { at: 2 });
    assert_ne!(put(&site, "flip", b"0123456789").await.unwrap(), clean);
    assert_eq!(s3.object("flip").unwrap(), b"0133456789");
    once(Action::Truncate { keep: 4 });
    assert_ne!(put(&site, "cut", b"0123456789").await.unwrap(), clean);
    assert_eq!(s3.object("cut").unwrap(), b"0123");
    once(Action::Rot { at: 9 });
    assert_eq!(put(&site, "rot", b"0123456789").await.unwrap(), clean);
    assert_eq!(s3.object("rot").unwrap(), b"0123456788");
    once(Action::FlipBit { at: 0 });
    assert_eq!(site.read("clean").await, b"1123456789");
    assert_eq!(site.read("clean").await, b"0123456789");
    // One byte of a part differs, the checksum sent with it doesn't reach the store: the answer's ETag tells.
    let mpu = Mpu::create(&site, "mpu", true).await;
    once(Action::FlipBit { at: 0 });
    let crc = super::mpu::crc64(b"part");
    let etag = mpu.part_claiming(1, b"part", Some(crc.clone())).await.unwrap();
    assert_eq!(mpu.complete(&[(1, &etag)], Some(crc)).await.unwrap_err(), "BadDigest");
}

#[tokio::test]
async fn what_is_held_arrives_after_its_sender_has_gone() {
    let s3 = Strict::start();
    let site = s3.site();
    let held = s3.faults().add(Rule::on(Op::PutObject, Action::Hold).once());
    assert!(timeout(SILENCE, put(&site, "k", b"late")).await.is_err());
    held.until_hit(1).await;
    put(&site, "k", b"newer").await.unwrap();
    assert_eq!(s3.object("k").unwrap(), b"newer");
    held.release();
    while s3.object("k").unwrap() != b"late" {
        tokio::task::yield_now().await;
    }
    let held = s3.faults().add(Rule::on(Op::PutObject, Action::HoldAnswer).once());
    let (put, ()) = tokio::join!(put(&site, "a", b"x"), async {
        held.until_hit(1).await;
        while s3.object("a").is_none() {
            tokio::task::yield_now().await;
        }
        s3.faults().heal();
    });
    put.unwrap();
}

#[tokio::test]
async fn bytes_stop_at_the_mark() {
    let s3 = Strict::start();
    let site = s3.site();
    put(&site, "first", &bytes(1, 1000)).await.unwrap();
    s3.meter().stop_at(1_500_000);
    let sent = bytes(2, 2 * MIB);
    let sending = put(&site, "second", &sent);
    tokio::pin!(sending);
    tokio::select! {
        _ = &mut sending => panic!("it went through"),
        () = s3.meter().until_passed(1_500_000) => {}
    }
    assert_eq!(s3.meter().passed(), 1_500_000);
    s3.meter().go_on();
    sending.await.unwrap();
    assert_eq!(s3.meter().passed(), 1000 + sent.len() as u64);
}

#[tokio::test]
async fn garage_hides_a_part_that_was_sent_again_in_vain() {
    let s3 = Strict::with(Options { manners: Manners::Garage, ..Options::default() });
    let mpu = Mpu::create(&s3.site(), "k", false).await;
    let etag = mpu.part(1, b"part").await.unwrap();
    s3.faults().add(Rule::on(Op::UploadPart, Action::Cut { after: 2 }).once());
    assert_eq!(mpu.part(1, b"part").await.unwrap_err(), "none");
    assert_eq!(mpu.complete(&[(1, &etag)], None).await.unwrap_err(), "InvalidPart");
}

#[tokio::test]
async fn a_seed_makes_the_same_faults_again() {
    let described = |seed| {
        let s3 = Strict::start();
        s3.faults().seed(seed);
        s3.faults().describe()
    };
    assert_eq!(described(7), described(7));
    let all: std::collections::BTreeSet<_> = (0..50).map(described).collect();
    assert!(all.len() > 45, "{}", all.len());
    let s3 = Strict::start();
    let get = s3.site().client().get_object().bucket("elsewhere").key("k").send().await;
    assert_eq!(get.map_err(code).unwrap_err(), "NoSuchBucket");
}
