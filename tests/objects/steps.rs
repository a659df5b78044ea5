//! Every step of one upload in turn: at its n-th request to the store the daemon is killed, for n = 1, 2, 3 … until the
//! upload passes without being hit. Then pairs: a second kill at a request of the recovery.
//!
//! Three deaths of a request: it never reached the store; it did, and nobody heard; it reaches it later, when the next process
//! is at work.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    client::{Client, Door, Pieces},
    proof::Proof,
    world::{PART, World},
};
use crate::support::{
    s3::{Action, Armed, Faults, Rule, Strict},
    sound::noise,
};

const MIB: usize = 1 << 20;
/// Two parts and a bit, in requests that leave tails in each.
const SIZE: usize = 2 * PART + MIB;
const PIECES: Pieces = Pieces::UpTo(3 * MIB + MIB / 2);
/// More requests than one upload ever needs: beyond it the loop doesn't end.
const STEPS_MAX: u64 = 60;

/// How a request dies with its daemon.
const DEATHS: [Action; 3] = [Action::Hang, Action::HangAnswer, Action::Hold];

/// What ran of one upload.
struct Ran {
    kills: u64,
    /// A request was struck for each kill that was wanted.
    was_hit: bool,
}

fn strike(faults: &Faults, upload: &str, death: &Action, nth: u64) -> Armed {
    faults.add(Rule::any(death.clone()).key(upload).skip(nth - 1).once())
}

/// One upload, killed at each of these requests: the first counted from its begin, the next from the restart.
async fn through(world: &mut World, store: &Strict, seed: u64, death: &Action, at: &[u64]) -> Ran {
    let door = Door::of(world.app());
    let mut client = Client::create(&door, noise(SIZE, seed), PIECES).await;
    let id = client.id().to_owned();
    let mut uploading = tokio::spawn(async move {
        client.finish().await;
        client
    });
    let mut ran = Ran { kills: 0, was_hit: true };
    let mut held = Vec::new();
    for nth in at {
        let struck = strike(store.faults(), &id, death, *nth);
        held.push(struck.clone());
        // Until all that the upload asks of the store is asked, its deletions included.
        let done = async {
            while !uploading.is_finished() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            world.until_nothing_is_owed().await;
        };
        let was_hit = tokio::select! {
            () = struck.until_hit(1) => true,
            () = done => struck.hits() > 0,
        };
        if !was_hit {
            ran.was_hit = false;
            break;
        }
        world.nodes[0].kill();
        ran.kills += 1;
        world.nodes[0].boot().await;
        door.moves_to(world.app());
    }
    // What was held arrives in the midst of the recovery, or after it.
    held.iter().for_each(Armed::release);
    let client = (&mut uploading).await.unwrap();
    store.faults().drop_rules(&held);
    world.verify(&store.site(), &client).await;
    ran
}

/// A daemon that has asked its store already what it can do.
async fn warm(store: &Strict) -> World {
    let world = World::new(&store.settings(), 1, &[]).await;
    Client::create(&Door::of(world.app()), noise(MIB, 0), Pieces::Rest).await.finish().await;
    world.until_nothing_is_owed().await;
    world
}

async fn every_step(death: &Action, stride: usize) {
    // U2.
    let store = Strict::start();
    let mut world = warm(&store).await;
    let mut kills = 0;
    for nth in (1..).step_by(stride) {
        assert!(nth < STEPS_MAX, "the loop doesn't end");
        let ran = through(&mut world, &store, nth, death, &[nth]).await;
        kills += ran.kills;
        if !ran.was_hit {
            break;
        }
    }
    eprintln!("{death:?}: {kills} kills");
    assert!(kills as usize * stride > 8, "an upload of parts and tails asks the store more often");
    world.swept(&store.site()).await;
}

#[tokio::test]
async fn a_kill_at_each_request_whose_answer_nobody_heard() {
    every_step(&Action::HangAnswer, 1).await;
}

#[tokio::test]
async fn a_kill_at_each_request_that_never_arrived() {
    every_step(&Action::Hang, stride()).await;
}

#[tokio::test]
async fn a_kill_at_each_request_that_arrives_late() {
    every_step(&Action::Hold, stride()).await;
}

/// Of these two, a test run takes some.
fn stride() -> usize {
    if Proof::of("steps", 0, 0).is_soak() { 1 } else { 4 }
}

#[tokio::test]
async fn a_second_kill_during_the_recovery() {
    let mut proof = Proof::of("steps", 4, 300);
    let store = Strict::start();
    let mut world = warm(&store).await;
    while let Some(case) = proof.next() {
        let mut dice = StdRng::seed_from_u64(case.seed);
        let death = &DEATHS[dice.random_range(0..DEATHS.len())];
        let at = [dice.random_range(1..10), dice.random_range(1..5)];
        let ran = through(&mut world, &store, case.seed, death, &at).await;
        proof.add("kills", ran.kills);
        proof.add("pairs", u64::from(ran.was_hit));
        proof.ended(&case, Ok(()));
    }
    assert!(proof.is_alone() || proof.figure("pairs") > 0, "never a second kill");
    world.swept(&store.site()).await;
    proof.finish();
}
