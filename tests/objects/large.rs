//! Large files through every door: eight connections that send chunks in no order, one request of tus, one of the IETF's.
//! Some parts each in every test run, gigabytes in a long one.

use std::{collections::VecDeque, sync::Mutex, time::Instant};

use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    app,
    client::{Client, Door, Pieces, Speaks},
    proof::Proof,
};
use crate::support::{
    app::App,
    chunks::{self, Upload},
    s3::Strict,
    sound::noise,
    tus,
};

const MIB: usize = 1 << 20;
const CONNECTIONS: usize = 8;
/// Of a long run: the largest that the issue names.
const CHUNKED_BYTES: usize = 1024 * MIB;
const WHOLE_BYTES: usize = 2048 * MIB;
const ROUTINE_BYTES: usize = 75 * MIB + 1;

/// All chunks, over that many connections; each takes the next that nobody has taken.
async fn scattered(app: &App, upload: &Upload, bytes: &Bytes, seed: u64) {
    let mut order: Vec<usize> = (0..upload.count).collect();
    order.shuffle(&mut StdRng::seed_from_u64(seed));
    let waiting = Mutex::new(VecDeque::from(order));
    let next = || waiting.lock().unwrap().pop_front();
    let connection = async || {
        while let Some(n) = next() {
            let from = n * upload.chunk_bytes;
            let piece = bytes.slice(from..bytes.len().min(from + upload.chunk_bytes));
            let answer = chunks::request(app, upload, n).body(piece).send().await.unwrap();
            assert_eq!(answer.status(), 204, "chunk {n}: {:?}", answer.text().await);
        }
    };
    futures_util::future::join_all((0..CONNECTIONS).map(|_| connection())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_files_arrive_whole_through_every_door() {
    // UP-2, UP-17, UP-18: in any order, over as many connections as a client likes; 2 GiB are nothing special.
    let mut proof = Proof::of("large", 3, 3);
    let (chunked, whole) = if proof.is_soak() { (CHUNKED_BYTES, WHOLE_BYTES) } else { (ROUTINE_BYTES, ROUTINE_BYTES) };
    for door in [Speaks::Chunks, Speaks::Tus, Speaks::Ietf] {
        let Some(case) = proof.next() else { break };
        let store = Strict::start();
        let app = app(store.settings(), &[]).await;
        let bytes = Bytes::from(noise(if door == Speaks::Chunks { chunked } else { whole }, case.seed));
        let begun = Instant::now();
        let track = if door == Speaks::Chunks {
            let upload = chunks::create(&app, "large.bin", &bytes).await;
            scattered(&app, &upload, &bytes, case.seed).await;
            let sent = Instant::now();
            chunks::complete_as(&app, &upload, &bytes).await;
            proof.add("Chunks: ms from the last chunk to the stored file", sent.elapsed().as_millis() as u64);
            upload.track
        } else {
            let mut client = Client::create(&Door::of(&app).speaking(door), bytes.to_vec(), Pieces::Rest).await;
            client.finish().await;
            client.upload.track
        };
        proof.add(format!("{door:?}: ms in all"), begun.elapsed().as_millis() as u64);
        proof.add(format!("{door:?}: bytes"), bytes.len() as u64);
        let told = app.track_when(&track, "stored", |t| t["stored"] == true).await;
        assert_eq!((&told["sha256"], &told["size"]), (&tus::sha256(&bytes).into(), &bytes.len().into()));
        let [key] = store.keys("tracks/").try_into().expect("one object");
        assert!(store.object(&key).is_some_and(|found| found == bytes), "{door:?}: the object isn't the file");
        proof.ended(&case, Ok(()));
    }
    proof.finish();
}
