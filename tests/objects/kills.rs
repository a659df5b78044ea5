//! `kill -9` of real daemons before a real Garage, at bytes that the dice choose; then the same node again, or another.
//!
//! Two daemons share database and bucket. A client writes to one of them; when so many bytes have passed on their way to the
//! store, not one more does, and that daemon is dead.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    client::{self, Client, Door},
    proof::{Case, Proof},
    world::{PART, World},
};
use crate::support::{garage::Garage, s3::Toxic, sound::noise};

/// Cases of one Garage: what it keeps lies on the disk until it ends.
const ROUND: usize = 40;
/// Kills of one upload, at most.
const KILLS_MAX: u32 = 3;

/// What becomes of one kill.
struct Killed {
    switched: u64,
    back: u64,
}

/// One upload through its kills to its end. The client goes on by itself, whoever dies.
async fn through_kills(world: &mut World, toxic: &Toxic, seed: u64) -> (Client, Killed) {
    let mut dice = StdRng::seed_from_u64(seed);
    let size = client::size(&mut dice, PART);
    let mut active = dice.random_range(0..world.nodes.len());
    let door = Door::of(&world.nodes[active]);
    let pieces = client::pieces(&mut dice);
    let mut client = Client::create(&door.speaking(client::speaks(&mut dice)), noise(size, seed), pieces).await;
    let mut uploading = tokio::spawn(async move {
        client.finish().await;
        client
    });
    let mut killed = Killed { switched: 0, back: 0 };
    for _ in 0..dice.random_range(1..=KILLS_MAX) {
        let mark = toxic.meter().passed() + dice.random_range(0..=size as u64);
        toxic.meter().stop_at(mark);
        let stored = tokio::select! {
            done = &mut uploading => Some(done.unwrap()),
            () = toxic.meter().until_passed(mark) => None,
        };
        world.nodes[active].kill();
        toxic.meter().go_on();
        if dice.random_bool(0.4) {
            let dead = active;
            active = 1 - active;
            door.moves_to(&world.nodes[active]);
            world.nodes[dead].boot().await;
            killed.switched += 1;
        } else {
            world.nodes[active].boot().await;
            door.moves_to(&world.nodes[active]);
            killed.back += 1;
        }
        if let Some(client) = stored {
            return (client, killed);
        }
    }
    (uploading.await.unwrap(), killed)
}

async fn round(proof: &mut Proof, cases: Vec<Case>) {
    let garage = Garage::start().await;
    let toxic = Toxic::aws_rules(&garage.site());
    let mut world = World::new(&toxic.settings(), 2, &[]).await;
    for case in cases {
        let (client, killed) = through_kills(&mut world, &toxic, case.seed).await;
        world.verify(&garage.site(), &client).await;
        proof.add("kills", killed.switched + killed.back);
        proof.add(format!("uploads by {:?}", client.speaks()), 1);
        proof.add("resumed on the other node", killed.switched);
        proof.ended(&case, Ok(()));
    }
    let orphans = world.swept(&garage.site()).await;
    proof.add("begun uploads for the sweep", orphans.multiparts);
    proof.add("tails for the sweep", orphans.tails);
}

#[tokio::test]
async fn no_kill_costs_an_acknowledged_byte() {
    // U1, U11: as many cases as it takes for so many kills.
    let mut proof = Proof::of("kills", 10, 500);
    loop {
        let cases = proof.some(ROUND);
        if cases.is_empty() {
            break;
        }
        round(&mut proof, cases).await;
    }
    proof.finish();
}
