//! 104 (Upload Resumption Supported), as a client on a raw socket hears it.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use crate::support::{
    app::App,
    ietf::{self, PARTIAL, Raw},
    sound::noise,
    tus,
};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn who_names_a_version_that_is_spoken_hears_where_the_upload_is_before_it_sends() {
    let app = App::start().await;
    for version in ["3", "4", "5", "6", "7", "8", "9"] {
        let says = if version == "3" { "Upload-Incomplete: ?0" } else { "Upload-Complete: ?1" };
        let named = format!("Upload-Draft-Interop-Version: {version}");
        let mut socket = Raw::begin(&app, "POST /files", &[says, &named, "Content-Length: 5"]);
        let first = socket.hear();
        assert_eq!(first.status, 104, "{version}");
        assert_eq!(first.field("upload-draft-interop-version"), Some(version));
        assert!(first.field("upload-limit").unwrap().starts_with("max-size=2147483648, "));
        assert!(first.field("location").unwrap().starts_with("/files/"));
        let upload = tus::Upload { path: first.field("location").unwrap().to_owned(), track: String::new() };
        socket.say(b"hello");
        let (between, last) = socket.end();
        assert_eq!((last.status, last.field("location")), (201, first.field("location")));
        assert!(between.iter().all(|heard| heard.status == 100 && version >= "5" || heard.field("location").is_none()));
        assert_eq!(ietf::offset(&app, &upload).await, (5, true));
    }
}

#[tokio::test]
async fn nobody_else_hears_any() {
    let app = App::start().await;
    for fields in [&["Upload-Complete: ?1"][..], &["Upload-Complete: ?1", "Upload-Draft-Interop-Version: 10"]] {
        let fields = [fields, &["Content-Length: 5"]].concat();
        let mut socket = Raw::begin(&app, "POST /files", &fields);
        socket.say(b"hello");
        let (interim, last) = socket.end();
        assert_eq!((interim.len(), last.status), (0, 201), "{fields:?}");
    }
    let tus = ["Tus-Resumable: 1.0.0", "Upload-Draft-Interop-Version: 8", "Upload-Length: 5"];
    let (interim, last) = Raw::begin(&app, "POST /files", &tus).end();
    assert_eq!((interim.len(), last.status), (0, 201), "tus");
    let empty = ["Upload-Complete: ?0", "Upload-Draft-Interop-Version: 8", "Content-Length: 0"];
    let (interim, last) = Raw::begin(&app, "POST /files", &empty).end();
    assert_eq!((interim.len(), last.status), (0, 201), "there is nothing to wait for");
    let refused = ["Upload-Complete: ?1", "Upload-Draft-Interop-Version: 8", "Content-Length: 5", "Upload-Length: 6"];
    let (interim, last) = Raw::begin(&app, "POST /files", &refused).end();
    assert_eq!((interim.len(), last.status), (0, 400), "nothing was created");
}

#[tokio::test]
async fn who_expects_100_hears_both() {
    let app = App::start().await;
    let fields =
        ["Upload-Complete: ?1", "Upload-Draft-Interop-Version: 8", "Content-Length: 5", "Expect: 100-continue"];
    let mut socket = Raw::begin(&app, "POST /files", &fields);
    assert_eq!([socket.hear().status, socket.hear().status], [104, 100]);
    socket.say(b"hello");
    assert_eq!(socket.end().1.status, 201);
}

/// A file of 40 MiB in about 4 s, in parts of 5 MiB: so that parts become durable while it is sent.
fn sends_slowly(socket: &mut Raw, bytes: &[u8]) {
    let pause = Duration::from_secs(4) / (bytes.len() / MIB) as u32;
    for piece in bytes.chunks(MIB) {
        let begun = Instant::now();
        socket.say(piece);
        std::thread::sleep(pause.saturating_sub(begun.elapsed()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn since_interop_5_they_tell_how_much_is_durable_at_most_once_a_second() {
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(40 * MIB, 91);
    let typed = format!("Content-Type: {PARTIAL}");
    let announced = format!("Content-Length: {}", bytes.len());
    for (version, told) in [("4", false), ("5", true), ("9", true)] {
        let upload = ietf::create(&app, None).await;
        let named = format!("Upload-Draft-Interop-Version: {version}");
        let fields = [&*typed, &named, &announced, "Upload-Offset: 0", "Upload-Complete: ?1"];
        let mut socket = Raw::begin(&app, &format!("PATCH {}", upload.path), &fields);
        let begun = Instant::now();
        sends_slowly(&mut socket, &bytes);
        let (interim, last) = socket.end();
        assert_eq!(last.status, 201);
        let at: Vec<usize> = interim.iter().map(|h| h.field("upload-offset").unwrap().parse().unwrap()).collect();
        assert_eq!(!at.is_empty(), told, "{version}");
        assert!(at.is_sorted_by(|a, b| a < b) && at.iter().all(|at| at % (5 * MIB) == 0), "{at:?}");
        assert!(at.len() as f64 <= begun.elapsed().as_secs_f64() + 1.0, "{at:?} in {:?}", begun.elapsed());
        for heard in interim {
            assert_eq!((heard.status, heard.field("location")), (104, None));
            assert_eq!(heard.field("upload-draft-interop-version"), Some(version));
        }
    }
    app.until_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_104_told_survives_a_crash() {
    let mut app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(40 * MIB, 92);
    let upload = ietf::create(&app, None).await;
    let typed = format!("Content-Type: {PARTIAL}");
    let announced = format!("Content-Length: {}", bytes.len());
    let fields = [&*typed, "Upload-Draft-Interop-Version: 8", &announced, "Upload-Offset: 0", "Upload-Complete: ?1"];
    let mut socket = Raw::begin(&app, &format!("PATCH {}", upload.path), &fields);
    socket.0.set_nonblocking(false).unwrap();
    socket.0.write_all(&bytes[..22 * MIB]).unwrap();
    let told: u64 = socket.hear().field("upload-offset").unwrap().parse().unwrap();
    app.kill_and_boot().await;
    let (at, complete) = ietf::offset(&app, &upload).await;
    assert!(at >= told && told > 0 && !complete, "{at} after {told}");
    assert_eq!(ietf::append(&app, &upload, at, true, &bytes[at as usize..]).await.status(), 201);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}
