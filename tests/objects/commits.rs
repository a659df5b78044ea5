//! Questions to the database, struck at random: at the n-th of an upload the connection ends, before it is asked or after it
//! was done. The daemon lives on, and so must the upload: nothing acknowledged is lost, nothing is counted twice, and no row
//! waits for ever.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    client::{Client, Door, Pieces, Speaks},
    proof::Proof,
    world::{PART, World},
};
use crate::support::{
    postgres::Database,
    s3::Strict,
    sound::noise,
    statements::{Loss, Statements},
};

const MIB: usize = 1 << 20;
/// A part and a bit, in requests that leave tails and fill parts; as chunks, two.
const SIZE: usize = PART + 3 * MIB;
const PIECES: Pieces = Pieces::UpTo(3 * MIB + MIB / 2);

/// One upload, from its creation until no row owes anything.
async fn through(world: &World, store: &Strict, door: &Door, seed: u64) {
    let mut client = Client::create(door, noise(SIZE, seed), PIECES).await;
    client.finish().await;
    world.until_no_row_owes().await;
    world.verify(&store.site(), &client).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lost_word_of_the_database_costs_a_byte() {
    let mut proof = Proof::of("commits", 24, 1000);
    let store = Strict::start();
    let database = Database::new().await;
    let before = Statements::before(&database.url);
    let world = World::on(database.pool, &before.url(), &store.settings(), 1, &[]).await;
    let doors = [Speaks::Tus, Speaks::Ietf, Speaks::Chunks].map(|speaks| Door::of(world.app()).speaking(speaks));
    let mut asked = Vec::new();
    for (door, seed) in doors.iter().zip(0..) {
        let begun = before.asked();
        through(&world, &store, door, seed).await;
        asked.push(before.asked() - begun);
    }
    assert!(asked.iter().all(|n| *n > 30), "an upload asks the database more often: {asked:?}");
    let mut said = BTreeSet::new();
    while let Some(case) = proof.next() {
        let mut dice = StdRng::seed_from_u64(case.seed);
        let n = dice.random_range(0..doors.len());
        let loss = [Loss::Question, Loss::Answer][dice.random_range(0..2)];
        before.strike(loss, dice.random_range(1..=asked[n]));
        through(&world, &store, &doors[n], case.seed).await;
        if let Some(question) = before.heal() {
            proof.add(format!("{loss:?} lost"), 1);
            said.insert(question);
        }
        proof.ended(&case, Ok(()));
    }
    proof.add("different questions", said.len() as u64);
    assert!(proof.is_alone() || said.len() > 5, "hardly a question was struck: {said:?}");
    world.swept(&store.site()).await;
    // A creation whose answer was lost leaves an upload that nobody knows of, empty, until it expires; nothing else is left.
    let wrong = "SELECT count(*) FROM uploads WHERE state <> 'stored' AND (state <> 'opened' OR committed > 0)";
    assert_eq!(world.count(wrong).await, 0);
    proof.finish();
}
