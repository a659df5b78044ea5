//! Faults out of a seed on everything that an upload asks of the store; then the store is well, and the upload must end.
//!
//! Each upload has faults of its own: a case is the same whoever runs beside it. Judged from outside: the client's log of
//! what it was told, and the object as the store has it.

use std::sync::Arc;

use rand::{SeedableRng, rngs::StdRng};

use super::{
    client::{self, Client, Door},
    proof::{Case, Proof},
    world::{Orphans, PART, World},
};
use crate::support::{
    s3::{Armed, Strict},
    sound::noise,
};

/// Uploads of one daemon and store. Their objects stay in memory until its end.
const ROUND: usize = 60;
/// Uploads at once.
const AT_ONCE: usize = 8;
/// Requests in which a client meets the faults; most rules end by themselves before.
const STEPS_IN_FAULTS: u32 = 12;

/// One upload through its faults to its end; what struck it.
async fn through_faults(store: Arc<Strict>, door: Door, seed: u64) -> (Client, Vec<Armed>) {
    let mut dice = StdRng::seed_from_u64(seed);
    let bytes = noise(client::size(&mut dice, PART), seed);
    let pieces = client::pieces(&mut dice);
    let door = door.speaking(client::speaks(&mut dice));
    let mut client = Client::create(&door, bytes, pieces).await;
    let rules = store.faults().seed_for(seed, client.id());
    let mut is_stored = false;
    for _ in 0..STEPS_IN_FAULTS {
        is_stored = is_stored || client.step().await;
    }
    store.faults().drop_rules(&rules);
    if !is_stored {
        client.finish().await;
    }
    (client, rules)
}

/// Some cases on servers of their own.
async fn round(proof: &mut Proof, cases: Vec<Case>) {
    let store = Arc::new(Strict::start());
    let world = World::impatient(&store).await;
    let door = Door::of(world.app());
    let mut running = tokio::task::JoinSet::new();
    let mut names = std::collections::HashMap::new();
    let mut waiting = cases.into_iter();
    let mut clients = Vec::new();
    loop {
        while running.len() < AT_ONCE {
            let Some(case) = waiting.next() else { break };
            let task = running.spawn(through_faults(Arc::clone(&store), door.clone(), case.seed));
            names.insert(task.id(), case);
        }
        let Some(ended) = running.join_next_with_id().await else { break };
        let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, _)| *id);
        if let Some((client, rules)) = proof.ended(&names[&id], ended.map(|(_, value)| value)) {
            rules.iter().for_each(|armed| proof.add(armed.rule().name(), armed.hits()));
            proof.add("faults", rules.iter().map(Armed::hits).sum());
            proof.add("bytes", client.bytes.len() as u64);
            proof.add(format!("uploads by {:?}", client.speaks()), 1);
            clients.push(client);
        }
    }
    judge(proof, &world, &store, &clients).await;
}

async fn judge(proof: &mut Proof, world: &World, store: &Strict, clients: &[Client]) {
    for client in clients {
        world.verify(&store.site(), client).await;
    }
    let Orphans { multiparts, tails } = world.swept(&store.site()).await;
    proof.add("begun uploads for the sweep", multiparts);
    proof.add("tails for the sweep", tails);
}

#[tokio::test]
async fn no_fault_of_the_store_costs_a_byte() {
    // U3 to U6.
    let mut proof = Proof::of("faults", 60, 2000);
    loop {
        let cases = proof.some(ROUND);
        if cases.is_empty() {
            break;
        }
        round(&mut proof, cases).await;
    }
    assert!(proof.is_alone() || proof.figure("faults") >= 60, "hardly a fault was injected");
    proof.finish();
}
