//! curl as a client of the IETF's resumable uploads: it sends the whole file, is cut, asks, and sends the rest.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

use tempfile::NamedTempFile;

use crate::support::{app::App, sound::noise, tus};

const MIB: usize = 1 << 20;

fn curl(app: &App, path: &str) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-H", &format!("Authorization: Bearer {}", app.token), &app.url(path)]).stdin(Stdio::null());
    curl
}

fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Reads what curl tells (`-v`) until every one of these fields was in a 104.
fn told_by_104(running: &mut Child, names: [&str; 2]) -> [String; 2] {
    let mut told = names.map(|_| String::new());
    let mut interim = false;
    for line in BufReader::new(running.stderr.take().unwrap()).lines() {
        let line = line.unwrap().to_lowercase();
        interim |= line.starts_with("< http/1.1 104");
        for (name, value) in names.iter().zip(&mut told) {
            if let Some(found) = line.strip_prefix(&format!("< {name}: ")).filter(|_| interim) {
                found.trim().clone_into(value);
            }
        }
        if told.iter().all(|value| !value.is_empty()) {
            return told;
        }
    }
    panic!("only {told:?}");
}

#[tokio::test]
async fn a_file_that_is_cut_goes_on_from_the_place_that_the_104_told() {
    let app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(24 * MIB + 17, 26);
    let whole = file(&bytes);
    let mut post = curl(&app, "/files");
    post.args(["-v", "-X", "POST", "-H", "Upload-Complete: ?1", "-H", "Upload-Draft-Interop-Version: 8"]);
    post.args(["--limit-rate", "6M", "-T"]).arg(whole.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = post.spawn().unwrap();
    let [path, track] = told_by_104(&mut running, ["location", "millrace-track"]);
    app.track_when(&track, "on its way", |t| t["upload"]["offset"].as_u64() >= Some(5 * MIB as u64)).await;
    running.kill().unwrap();
    running.wait().unwrap();

    let head = curl(&app, &path).arg("-I").output().unwrap();
    let head = String::from_utf8(head.stdout).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 204") && head.contains("upload-complete: ?0"), "{head}");
    let at = head.lines().find_map(|line| line.strip_prefix("upload-offset: ")).unwrap().trim();
    let from: usize = at.parse().unwrap();
    assert!((5 * MIB..bytes.len()).contains(&from), "{from}");

    let rest = file(&bytes[from..]);
    let mut patch = curl(&app, &path);
    patch.args(["-i", "-X", "PATCH", "-H", "Content-Type: application/partial-upload", "-H", "Upload-Complete: ?1"]);
    patch.args(["-H", &format!("Upload-Offset: {at}"), "--data-binary", &format!("@{}", rest.path().display())]);
    let patched = String::from_utf8(patch.output().unwrap().stdout).unwrap().to_lowercase();
    assert!(patched.contains("http/1.1 201") && patched.contains("upload-complete: ?1"), "{patched}");
    let stored = app.track_when(&track, "stored", |t| t["stored"] == true).await;
    assert_eq!(stored["sha256"], tus::sha256(&bytes));
    app.until_clean().await;
}

#[tokio::test]
async fn delete_ends_it() {
    let app = App::start().await;
    let mut post = curl(&app, "/files");
    let created = post.args(["-i", "-X", "POST", "-H", "Upload-Complete: ?0"]).output().unwrap();
    let created = String::from_utf8(created.stdout).unwrap().to_lowercase();
    let path = created.lines().find_map(|line| line.strip_prefix("location: ")).unwrap().trim().to_owned();
    let status = |method: &str| {
        let asked = curl(&app, &path).args(["-o", "/dev/null", "-w", "%{http_code}", "-X", method]).output().unwrap();
        String::from_utf8(asked.stdout).unwrap()
    };
    assert_eq!([status("DELETE"), status("DELETE"), status("GET")], ["204", "410", "410"]);
}
