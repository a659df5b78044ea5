//! Hundreds of uploads at once, most of them slow or silent: memory stays below its bound, and not a byte of them is written
//! to a disk.

use std::{fs, sync::OnceLock, time::Duration};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::Instant};

use super::{
    client::{Client, Door, Pieces},
    proof::Proof,
    world::World,
};
use crate::support::{
    app::App,
    s3::{Keep, Options, Strict},
    tus::{self, OCTETS},
};

const MIB: usize = 1 << 20;
/// The daemon's default.
const BUDGET_MIB: usize = 128;
/// A connection's buffers.
const PER_CONNECTION: usize = 64 << 10;
/// The program, its pools and its runtime, before the first upload; and what an allocator keeps back.
const PROGRAM: usize = 64 * MIB;
/// Logs go to a pipe, and nothing else has a reason to write. A page here and there is not payload.
const WRITTEN_MAX: u64 = 1 << 20;
/// How long they are watched, at most; in a long run, at least.
const WINDOW: Duration = Duration::from_secs(90);
/// A long run waits so long for the fast ones: a thousand share one small machine.
const LONG_WINDOW: Duration = Duration::from_secs(600);
/// Bytes of one upload.
const SIZE: usize = 6 * MIB;

/// A request that is begun, and then comes as slowly as it is told: some bytes, and again.
async fn dawdle(app: &App, upload: tus::Upload, bytes: Bytes, at_once: usize, every: Duration) {
    let mut socket = TcpStream::connect(app.host()).await.unwrap();
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nAuthorization: Bearer {}\r\nContent-Type: {OCTETS}\r\n\
         Upload-Offset: 0\r\nContent-Length: {}\r\n\r\n",
        upload.path,
        app.token,
        bytes.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    for piece in bytes.chunks(at_once) {
        if socket.write_all(piece).await.is_err() {
            return;
        }
        tokio::time::sleep(every).await;
    }
}

/// All of them at once, until each is stored.
async fn hurry(clients: &mut [Client]) {
    let each = clients.iter_mut().map(async |client| {
        while !client.step().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    futures_util::future::join_all(each).await;
}

/// A figure of `/proc/PID/FILE`, as it stands there.
fn figure(pid: i32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn peak_bytes(pid: i32) -> usize {
    usize::try_from(figure(pid, "status", "VmHWM:")).unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_uploads_stay_within_memory_and_off_the_disk() {
    let mut proof = Proof::of("memory", 200, 1000);
    let store = Strict::with(Options { keep: Keep::Lengths, ..Options::default() });
    let budget = format!("{BUDGET_MIB}MiB");
    let world = World::new(&store.settings(), 1, &[("UPLOAD_MEMORY_BYTES", &budget)]).await;
    let app = world.app();
    let (pid, door) = (app.daemon().pid(), Door::of(app));
    let file = Bytes::from(vec![7; SIZE]);
    Client::create(&door, file.to_vec(), Pieces::Rest).await.finish().await;
    let (before, written) = (peak_bytes(pid), figure(pid, "io", "write_bytes:"));
    let cases = proof.some(usize::MAX);
    let (mut slow, mut fast) = (Vec::new(), Vec::new());
    for case in &cases {
        let mut dice = StdRng::seed_from_u64(case.seed);
        let (at_once, every) = match dice.random_range(0..10) {
            // Fast: as soon as the others hang.
            0..=2 => {
                fast.push(Client::create(&door, file.to_vec(), Pieces::Rest).await);
                continue;
            }
            // Stalled: a megabyte and a half, then nothing.
            3..=5 => (3 * MIB / 2, Duration::from_secs(1000)),
            // Slow: some kilobytes, again and again.
            _ => (dice.random_range(2_000..200_000), Duration::from_millis(100)),
        };
        let upload = tus::create(app, "x.bin", &file).await;
        slow.push(dawdle(app, upload, file.clone(), at_once, every));
    }
    let (dawdlers, quick) = (slow.len(), fast.len());
    let begun = Instant::now();
    let slow = futures_util::future::join_all(slow);
    let fast_took = OnceLock::new();
    let fast = async {
        hurry(&mut fast).await;
        fast_took.get_or_init(|| begun.elapsed());
    };
    let (least, most) = if proof.is_soak() { (WINDOW, LONG_WINDOW) } else { (Duration::ZERO, WINDOW) };
    tokio::select! {
        _ = async { tokio::join!(fast, tokio::time::sleep(least)) } => {}
        () = async { slow.await; std::future::pending().await } => {}
        () = tokio::time::sleep(most) => {}
    }
    let took = begun.elapsed();
    let stored = world.count("SELECT count(*) FROM uploads WHERE state = 'stored'").await;
    assert!(stored > quick as i64, "{stored} of {quick} fast ones passed the others by");
    let (peak, written) = (peak_bytes(pid), figure(pid, "io", "write_bytes:") - written);
    let bound = BUDGET_MIB * MIB + cases.len() * PER_CONNECTION + PROGRAM;
    eprintln!(
        "{dawdlers} slow or stalled, {quick} fast in {took:?}: peak {} MiB of {} (before them {}), {written} bytes written",
        peak / MIB,
        bound / MIB,
        before / MIB
    );
    assert!(peak <= bound, "{} MiB of {}", peak / MIB, bound / MIB);
    assert!(written <= WRITTEN_MAX, "{written} bytes were written");
    assert!(app.files("").is_empty(), "payload on the disk: {:?}", app.files(""));
    proof.add("slow or stalled", dawdlers as u64);
    proof.add("fast", quick as u64);
    proof.add("fast ones done after, s", fast_took.get().unwrap_or(&took).as_secs());
    proof.add("fast, and stored in time", stored.unsigned_abs() - 1);
    proof.add("peak KiB", peak as u64 / 1024);
    proof.add("bound KiB", bound as u64 / 1024);
    proof.add("written bytes", written);
    for case in &cases {
        proof.ended(case, Ok(()));
    }
    proof.finish();
}
