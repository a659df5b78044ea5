//! Requests that nobody should send, on every upload route: each is answered or cut in time, none costs the daemon anything.
//!
//! Sound requests of all doors are spoilt by dice: lines lost, doubled, changed; bytes flipped; lengths that lie; bodies cut.
//! Then the client says no more. Allowed is any answer but a failure of ours, and to be hung up on.

use std::{fs, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    proof::Proof,
    world::{PART, World},
};
use crate::support::{
    app::App,
    s3::Strict,
    sound::noise,
    tus::{self, OCTETS, Upload},
};

/// Nobody waits longer for an answer or the end.
const HANG: Duration = Duration::from_secs(5);
/// Requests of one upload, before some of them ended it.
const PER_UPLOAD: usize = 50;
/// At once.
const AT_ONCE: usize = 8;
/// Descriptors that come and go: pooled connections to the database and the store.
const DESCRIPTORS_SLACK: usize = 60;

/// What header values, paths and methods become.
const STRANGE: [&str; 26] = [
    "",
    " ",
    "0",
    "-1",
    "+1",
    "1",
    "00",
    "1e9",
    "0x10",
    "1, 2",
    "18446744073709551615",
    "18446744073709551616",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999999999",
    "NaN",
    "?1",
    "?0",
    "chunked",
    "identity",
    "gzip",
    "\u{fffd}",
    "\t\t",
    "a\0b",
    "\"",
    "💿",
];
const METHODS: [&str; 12] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "patch", "PRI", "X"];
const HEADERS: [&str; 24] = [
    "Tus-Resumable: 1.0.0",
    "Tus-Resumable: 0.2.2",
    "Upload-Length: 5",
    "Upload-Length: -5",
    "Upload-Offset: 3",
    "Upload-Defer-Length: 1",
    "Upload-Concat: partial",
    "Upload-Concat: final;/files/x /files/y",
    "Upload-Checksum: sha1 AAAA",
    "Upload-Checksum: crc32 !",
    "Upload-Complete: ?1",
    "Upload-Complete: ?0",
    "Upload-Complete: 1",
    "Upload-Incomplete: ?0",
    "Upload-Draft-Interop-Version: 6",
    "Upload-Draft-Interop-Version: 8",
    "Content-Type: application/partial-upload",
    "Content-Encoding: gzip",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Expect: 100-continue",
    "X-HTTP-Method-Override: PATCH",
    "Content-Digest: sha-256=:AAAA:",
    "Trailer: Upload-Checksum",
];

/// A request as it should be, on one of the doors: its lines, and its body.
fn sound(dice: &mut StdRng, app: &App, upload: &Upload) -> (Vec<String>, Vec<u8>) {
    let body = noise(dice.random_range(0..3000), dice.random());
    let tus = |line: &str| (format!("{line} HTTP/1.1"), vec!["Tus-Resumable: 1.0.0".to_owned()]);
    let octets = format!("Content-Type: {OCTETS}");
    let partial = "Content-Type: application/partial-upload".to_owned();
    let (line, more) = match dice.random_range(0..12) {
        0..=3 => {
            let (line, mut more) = tus(&format!("PATCH {}", upload.path));
            more.extend([octets, "Upload-Offset: 0".to_owned()]);
            (line, more)
        }
        4 | 5 => {
            let (line, mut more) = tus("POST /files");
            let said = tus::metadata(&[("filename", "x.bin"), ("title", "y")]);
            more.extend([format!("Upload-Length: {}", body.len()), format!("Upload-Metadata: {said}"), octets]);
            (line, more)
        }
        6 => tus(&format!("HEAD {}", upload.path)),
        7 => match dice.random_range(0..8) {
            0 => tus(&format!("DELETE {}", upload.path)),
            _ => tus("OPTIONS /files"),
        },
        8 => {
            let more =
                vec!["Upload-Draft-Interop-Version: 8".into(), "Upload-Complete: ?0".into(), "Upload-Offset: 0".into()];
            (format!("PATCH {} HTTP/1.1", upload.path), [more, vec![partial]].concat())
        }
        9 => {
            let more = vec!["Upload-Draft-Interop-Version: 8".into(), "Upload-Complete: ?1".into()];
            ("POST /files HTTP/1.1".to_owned(), more)
        }
        10 => ("POST /api/v1/uploads HTTP/1.1".to_owned(), vec!["Content-Type: application/json".to_owned()]),
        _ => {
            let id = upload.path.rsplit('/').next().unwrap();
            (format!("PUT /api/v1/uploads/{id}/chunks/{} HTTP/1.1", dice.random_range(0..3)), Vec::new())
        }
    };
    let mut lines = vec![line, format!("Host: {}", app.host()), format!("Authorization: Bearer {}", app.token)];
    lines.extend(more);
    lines.push(format!("Content-Length: {}", body.len()));
    (lines, body)
}

fn one<'a>(dice: &mut StdRng, of: &[&'a str]) -> &'a str {
    of[dice.random_range(0..of.len())]
}

/// Spoils lines one to three times.
fn spoilt(dice: &mut StdRng, lines: &mut Vec<String>) {
    for _ in 0..dice.random_range(1..=3) {
        let at = dice.random_range(0..lines.len());
        match dice.random_range(0..10) {
            0 if lines.len() > 1 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            2..=4 if at > 0 => {
                let name = lines[at].split(':').next().unwrap().to_owned();
                lines[at] = format!("{name}: {}", one(dice, &STRANGE));
            }
            5 | 6 => lines.push(one(dice, &HEADERS).to_owned()),
            7 => {
                let rest = lines[0].split_once(' ').map_or_else(String::new, |(_, rest)| rest.to_owned());
                lines[0] = format!("{} {rest}", one(dice, &METHODS));
            }
            8 => lines[0] = lines[0].replacen("/files", &format!("/files/{}", one(dice, &STRANGE)), 1),
            _ => lines.push(format!("X: {}", "x".repeat(dice.random_range(1..20_000)))),
        }
    }
}

/// The bytes that go out.
fn request(dice: &mut StdRng, app: &App, upload: &Upload) -> Vec<u8> {
    let (mut lines, body) = sound(dice, app, upload);
    if !dice.random_bool(0.1) {
        spoilt(dice, &mut lines);
    }
    let ending = if dice.random_bool(0.03) { "\n" } else { "\r\n" };
    let mut bytes = (lines.join(ending) + ending + ending).into_bytes();
    match dice.random_range(0..8) {
        0 => {
            let at = dice.random_range(0..bytes.len());
            bytes[at] ^= 1 << dice.random_range(0..8);
        }
        1 => bytes.truncate(dice.random_range(0..=bytes.len())),
        _ => {}
    }
    let cut = if dice.random_bool(0.3) { dice.random_range(0..=body.len()) } else { body.len() };
    if dice.random_bool(0.2) {
        bytes.extend(format!("{:x}\r\n", body.len()).bytes());
        bytes.extend_from_slice(&body[..cut]);
        bytes.extend_from_slice(
            one(dice, &["\r\n0\r\n\r\n", "\r\n", "\r\n0\r\nUpload-Checksum: sha1 AAAA\r\n\r\n", "zz"]).as_bytes(),
        );
    } else {
        bytes.extend_from_slice(&body[..cut]);
    }
    bytes
}

/// The statuses of what was answered before the end; none when it was hung up on in silence.
async fn told(app: &App, bytes: &[u8]) -> Vec<u16> {
    let mut socket = TcpStream::connect(app.host()).await.unwrap();
    // Both may fail: the daemon may have heard enough.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut text = Vec::new();
    let heard = timeout(HANG, socket.read_to_end(&mut text)).await;
    assert!(heard.is_ok(), "no end within {HANG:?} after {:?}", String::from_utf8_lossy(bytes));
    let text = String::from_utf8_lossy(&text);
    text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[tokio::test]
async fn malformed_requests_are_refused_and_cost_nothing() {
    // P4.
    let mut proof = Proof::of("malformed", 3000, 50_000);
    let store = Strict::start();
    let world = World::new(&store.settings(), 1, &[]).await;
    let app = world.app();
    tus::whole(app, "warm.bin", b"warm").await;
    let before = descriptors(app.daemon().pid());
    loop {
        let cases = proof.some(PER_UPLOAD);
        if cases.is_empty() {
            break;
        }
        let upload = tus::create(app, "x.bin", &noise(PART, 1)).await;
        for some in cases.chunks(AT_ONCE) {
            let asked = some.iter().map(async |case| {
                let mut dice = StdRng::seed_from_u64(case.seed);
                let bytes = request(&mut dice, app, &upload);
                let statuses = told(app, &bytes).await;
                let bad = statuses.iter().any(|status| *status >= 500);
                assert!(!bad, "{case}: {statuses:?} to {:?}", String::from_utf8_lossy(&bytes));
                statuses
            });
            for (case, statuses) in some.iter().zip(futures_util::future::join_all(asked).await) {
                let first =
                    statuses.first().map_or_else(|| "hung up on".to_owned(), |status| format!("{}xx", status / 100));
                proof.add(first, 1);
                proof.ended(case, Ok(()));
            }
        }
    }
    let said = app.daemon().said();
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(app.daemon().status("/healthz").await, Some(200));
    let after = descriptors(app.daemon().pid());
    assert!(after <= before + DESCRIPTORS_SLACK, "{before} descriptors became {after}");
    assert!(proof.is_alone() || (proof.figure("4xx") > 500 && proof.figure("2xx") > 50), "the dice reach nothing");
    proof.finish();
}
