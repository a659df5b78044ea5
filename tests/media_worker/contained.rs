//! A worker that goes wrong on purpose costs its own track, the daemon says what happened, and no way out is open.

use pipeline::media::worker::fault::{Deed, ESCAPES, Fault};
use pipeline::media::{Code, Failure, WorkerLimits};

use super::support::*;

async fn failure(deed: Deed, in_encoder: bool) -> Failure {
    let mut order = order();
    order.fault = Some(Fault { deed, in_encoder });
    // Only one of the two clocks may be close, or the test would be of which comes first.
    order.limits = match deed {
        Deed::Toil => WorkerLimits { cpu_base_s: 1, wall_per_cpu: 1000, ..order.limits },
        Deed::Dawdle => WorkerLimits { cpu_base_s: 1, wall_per_cpu: 2, ..order.limits },
        _ => WorkerLimits { hang_s: 2, ..order.limits },
    };
    run(order, &song(1.5)).await.failed.expect("a failure")
}

async fn fails(deed: Deed, code: Code, word: &str) {
    for in_encoder in [false, true] {
        let failure = failure(deed, in_encoder).await;
        assert!(failure.code == code && failure.text.contains(word), "{deed:?}: {failure}");
        // What may pass by itself: the same bytes use up and say the same again.
        assert_eq!(failure.retryable, matches!(code, Code::WorkerCrashed | Code::WorkerHung), "{failure}");
    }
}

#[tokio::test]
async fn a_segfault() {
    fails(Deed::Segfault, Code::WorkerCrashed, "SIGSEGV").await;
}

#[tokio::test]
async fn an_abort() {
    fails(Deed::Abort, Code::WorkerCrashed, "SIGABRT").await;
}

#[tokio::test]
async fn a_stack_overflow() {
    fails(Deed::StackOverflow, Code::WorkerCrashed, "SIG").await;
}

#[tokio::test]
async fn a_panic() {
    fails(Deed::Panic, Code::WorkerCrashed, "panicked").await;
}

#[tokio::test]
async fn a_silent_exit() {
    fails(Deed::Silence, Code::WorkerCrashed, "without a word").await;
}

#[tokio::test]
async fn a_memory_bomb() {
    fails(Deed::Allocate, Code::WorkerMemory, "memory").await;
}

#[tokio::test]
async fn an_endless_loop_is_a_hang() {
    fails(Deed::Loop, Code::WorkerHung, "2 s").await;
}

#[tokio::test]
async fn an_endless_sleep_is_a_hang() {
    fails(Deed::Sleep, Code::WorkerHung, "2 s").await;
}

#[tokio::test]
async fn chatter_is_no_word() {
    fails(Deed::Chatter, Code::WorkerProtocol, "again").await;
}

#[tokio::test]
async fn work_without_an_end_uses_up_the_processor_time() {
    let failure = failure(Deed::Toil, true).await;
    assert!(failure.code == Code::WorkerCpu && failure.text.contains("processor"), "{failure}");
    assert!(!failure.retryable);
}

#[tokio::test]
async fn whoever_only_keeps_awake_is_ended_too() {
    let failure = failure(Deed::Dawdle, true).await;
    assert!(failure.code == Code::WorkerHung && failure.text.contains("hadn't ended"), "{failure}");
}

#[tokio::test]
async fn a_hundred_crashes_touch_no_other_track() {
    let deeds = [Deed::Segfault, Deed::Abort, Deed::Panic, Deed::StackOverflow, Deed::Silence];
    let alone = run(order(), &song(20.0)).await;
    // One track is encoded again and again while a hundred workers crash around it, two at a time.
    let crashing = async {
        for n in 0..50 {
            let two = [deeds[n % 5], deeds[(n + 2) % 5]];
            let ends = tokio::join!(failure(two[0], n % 2 == 0), failure(two[1], n % 2 == 1));
            assert_eq!((ends.0.code, ends.1.code), (Code::WorkerCrashed, Code::WorkerCrashed));
        }
    };
    let sound = song(20.0);
    let others = async {
        let mut whole = 0;
        loop {
            let beside = run(order(), &sound).await;
            assert_eq!(beside.failed, None);
            assert_eq!(
                (0..4).map(|r| beside.rung(r)).collect::<Vec<_>>(),
                (0..4).map(|r| alone.rung(r)).collect::<Vec<_>>()
            );
            whole += 1;
            if whole == 3 {
                return;
            }
        }
    };
    tokio::join!(crashing, others);
}

#[tokio::test]
async fn a_long_track_earns_its_processor_time() {
    // Once the kernel's limit was the base, to be raised on the way: where root may not, every long track died at 30 s.
    let mut order = order();
    order.limits = WorkerLimits { cpu_base_s: 1, ..order.limits };
    let outcome = run(order, &song(60.0)).await;
    assert_eq!(outcome.failed, None);
    assert_eq!(outcome.samples(), 60 * 44_100);
}

#[tokio::test]
async fn garbage_and_forgeries() {
    fails(Deed::GarbageFrame, Code::WorkerProtocol, "protocol").await;
    fails(Deed::ForgedSegment, Code::WorkerProtocol, "protocol").await;
    fails(Deed::ForgedProgress, Code::WorkerProtocol, "protocol").await;
}

#[tokio::test]
async fn nobody_else_is_harmed() {
    let mut order = order();
    order.fault = Some(Fault { deed: Deed::Segfault, in_encoder: true });
    let song = song(2.0);
    let (bad, good) = tokio::join!(run(order, &song), run(super::support::order(), &song));
    assert_eq!(bad.failed.unwrap().code, Code::WorkerCrashed);
    assert_eq!(good.samples(), 88_200);
}

async fn attempt(n: u8, in_encoder: bool) -> String {
    let mut order = order();
    order.fault = Some(Fault { deed: Deed::Escape(n), in_encoder });
    let failure = run(order, &song(0.2)).await.failed.expect("no attempt ends well");
    failure.text
}

async fn escapes(in_encoder: bool) {
    for n in 0..ESCAPES {
        let text = attempt(n, in_encoder).await;
        assert!(text.contains("SIGSYS") || text.starts_with("denied "), "attempt {n}: {text}");
    }
}

#[tokio::test]
async fn no_way_out_from_the_reader() {
    escapes(false).await;
}

#[tokio::test]
async fn no_way_out_from_an_encoder() {
    escapes(true).await;
}
