//! Answers that were lost, lie, or come late: the key decides, and the client hears the truth.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::{
    client::{Client, Door, Pieces},
    world::{PART, World},
};
use crate::support::{
    s3::{Action, Answer, Op, Rule, Strict},
    sound::noise,
    tus,
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn complete_answers() {
    // U6, and `double_complete_keeps_the_data`.
    let store = Strict::start();
    let world = World::impatient(&store).await;
    let door = Door::of(world.app());
    let answers = [
        Action::DropAnswer,
        Action::HangAnswer,
        Action::AnswerAfter(Answer::ERROR_IN_200),
        Action::AnswerAfter(Answer::NO_SUCH_UPLOAD),
        Action::AnswerAfter(Answer::INTERNAL_ERROR),
        Action::AnswerAfter(Answer::SLOW_DOWN),
        Action::AnswerAfter(Answer::INVALID_PART),
        Action::Answer(Answer::ERROR_IN_200),
        Action::Answer(Answer::INTERNAL_ERROR),
        Action::Drop,
        Action::Hang,
    ];
    for (seed, action) in (100..).zip(answers) {
        let mut client = Client::create(&door, noise(PART + MIB, seed), Pieces::Rest).await;
        let lie = store.faults().add(Rule::on(Op::Complete, action.clone()).key(client.id()).once());
        client.finish().await;
        assert_eq!(lie.hits(), 1, "{action:?}");
        world.verify(&store.site(), &client).await;
        let asked: Vec<_> = store.log().about(client.id()).into_iter().filter(|e| e.op == Op::Complete).collect();
        assert!(asked.len() <= 2 && asked.iter().filter(|e| e.succeeded()).count() == 1, "{action:?}: {asked:?}");
    }
    assert!(store.multiparts().is_empty());
    world.until_nothing_is_owed().await;
}

#[tokio::test]
async fn last_answer_lost() {
    // tus-node-server #207: the client is gone when the last answer comes. HEAD tells the end, until the upload expires.
    let store = Strict::start();
    let world = World::new(&store.settings(), 1, &[]).await;
    let app = world.app();
    let bytes = noise(PART + MIB, 1);
    let upload = tus::create(app, "x.bin", &bytes).await;
    let held = store.faults().add(Rule::on(Op::Complete, Action::HoldAnswer).once());
    let socket = tus::begin_patch(app, &upload, 0, bytes.len(), &bytes);
    held.until_hit(1).await;
    drop(socket);
    held.release();
    world.until("stored", "SELECT count(*) FROM uploads WHERE state = 'stored'").await;
    for _ in 0..3 {
        assert_eq!(tus::offset(app, &upload).await, bytes.len() as u64);
    }
    // A client that asks for the answer again gets it.
    assert_eq!(tus::patch(app, &upload, bytes.len() as u64, b"").await.status(), 204);
    world.until_nothing_is_owed().await;
}

#[tokio::test]
async fn late_part_completes_in_order() {
    // tusd #1315: the parts after it are in the store before it is.
    let store = Strict::start();
    let world = World::new(&store.settings(), 1, &[]).await;
    let mut client = Client::create(&Door::of(world.app()), noise(3 * PART + MIB, 2), Pieces::Rest).await;
    let id = client.id().to_owned();
    let late = store.faults().add(Rule::on(Op::UploadPart, Action::Hold).key(&id).part(1).once());
    let mut uploading = tokio::spawn(async move {
        client.finish().await;
        client
    });
    late.until_hit(1).await;
    let others = || store.log().about(&id).iter().filter(|e| e.op == Op::UploadPart && e.succeeded()).count();
    let begun = Instant::now();
    while others() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "parts wait for one another");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.count("SELECT max(committed) FROM uploads").await, 0, "not a byte beyond the hole");
    late.release();
    let client = (&mut uploading).await.unwrap();
    world.verify(&store.site(), &client).await;
    world.until_nothing_is_owed().await;
}

#[tokio::test]
async fn head_never_blocks() {
    // tusd #335, #1356: a writer is busy with a store that hangs, and HEAD answers as if nothing were.
    let store = Strict::start();
    let world = World::new(&store.settings(), 1, &[]).await;
    let app = world.app();
    let bytes = noise(4 * PART, 3);
    let upload = tus::create(app, "x.bin", &bytes).await;
    assert_eq!(tus::patch(app, &upload, 0, &bytes[..MIB]).await.status(), 204);
    let alone = heads(app, &upload).await;
    let stuck = store.faults().add(Rule::any(Action::Hang));
    let mut socket = tus::begin_patch(app, &upload, MIB as u64, bytes.len() - MIB, &[]);
    let sent = std::thread::spawn(move || {
        let _ = socket.write_all(&bytes[MIB..]);
        socket
    });
    stuck.until_hit(2).await;
    let beside = heads(app, &upload).await;
    eprintln!("99 of 100: {:?} alone, {:?} beside a writer that hangs", alone[98], beside[98]);
    // The medians: what else this machine does hits single requests of both.
    assert!(beside[49] < 5 * alone[49] + Duration::from_millis(20), "{:?} against {:?}", beside[49], alone[49]);
    assert!(beside[99] < Duration::from_secs(5), "{:?}", beside[99]);
    store.faults().heal();
    drop(sent.join().unwrap());
}

/// How long a hundred of them took, sorted. Each tells what is committed.
async fn heads(app: &crate::support::app::App, upload: &tus::Upload) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        assert_eq!(tus::offset(app, upload).await, MIB as u64);
        took.push(begun.elapsed());
    }
    took.sort();
    took
}
