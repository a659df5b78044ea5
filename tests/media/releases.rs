//! `release/…`: an archive that every unpacker opens, with the files that the tracks are.

use std::process::Command;

use reqwest::{Method, header::CONTENT_LENGTH};
use serde_json::Value;

use crate::support::{app::App, player, sound, tus};

const RELEASE: &str = "0198f1c2a7b47c1e9d0f112233445566";

async fn uploaded(app: &App, title: &str, bytes: &[u8]) -> String {
    let words = [("filename", "a.wav"), ("title", title), ("release_id", RELEASE)];
    let request = tus::request(app, Method::POST, "/files")
        .header("Upload-Length", bytes.len().to_string())
        .header("Upload-Metadata", tus::metadata(&words))
        .header("Content-Type", "application/offset+octet-stream")
        .body(bytes.to_vec());
    tus::upload(&request.send().await.unwrap()).track
}

async fn link(app: &App, format: &str) -> (u16, Value) {
    let answer = app.get(&format!("/api/v1/releases/{RELEASE}/download?format={format}")).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Unpacked by two programs that share no code: names and bytes.
fn unpacked(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("a.zip");
    std::fs::write(&path, archive).unwrap();
    let tested = Command::new("unzip").arg("-t").arg(&path).output().unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
    let script = "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\nz.extractall(sys.argv[2])\n\
                  print('\\n'.join(z.namelist()))";
    let to = folder.path().join("out");
    let listed = Command::new("python3").args(["-c", script]).args([&path, &to]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    names.lines().map(|name| (name.to_owned(), std::fs::read(to.join(name)).unwrap())).collect()
}

#[tokio::test]
async fn a_release_is_one_archive_of_all_its_tracks() {
    let app = App::start().await;
    assert_eq!(link(&app, "original").await.0, 404);
    let songs: Vec<Vec<u8>> = [3, 2].map(|seconds| sound::wav(seconds * 44_100, 44_100)).into();
    let mut ids = vec![];
    for (title, song) in ["Über / allem", "../evil"].into_iter().zip(&songs) {
        ids.push(uploaded(&app, title, song).await);
    }
    for id in &ids {
        assert_eq!(app.settled(id).await["state"], "ready");
    }
    let (status, told) = link(&app, "original").await;
    assert_eq!((status, &told["filename"]), (200, &"release-0198f1c2-original.zip".into()), "{told}");
    let path = told["url"].as_str().unwrap();
    let answer = player::get(&app, path).await;
    let len = answer.headers()[CONTENT_LENGTH].to_str().unwrap().parse::<usize>().unwrap();
    let archive = answer.bytes().await.unwrap();
    assert_eq!(archive.len(), len);
    let names = ["01 Über - allem.wav", "02 -evil.wav"];
    let wanted: Vec<_> = names.into_iter().map(str::to_owned).zip(songs.clone()).collect();
    assert!(unpacked(&archive) == wanted);
    // Made on the way: without a length the first time, with one from then on.
    let (_, told) = link(&app, "opus").await;
    let made = told["url"].as_str().unwrap();
    let answer = player::get(&app, made).await;
    assert!(answer.headers().get(CONTENT_LENGTH).is_none());
    let first = answer.bytes().await.unwrap();
    let again = player::get(&app, made).await;
    assert_eq!(again.headers()[CONTENT_LENGTH], first.len().to_string());
    assert!(again.bytes().await.unwrap() == first);
    let files = unpacked(&first);
    assert_eq!(
        files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["01 Über - allem.opus", "02 -evil.opus"]
    );
    assert!(files.iter().all(|(_, bytes)| bytes.starts_with(b"OggS")));
    assert_eq!(player::status(&app, &path.replace(RELEASE, &ids[0])).await, 403);
    assert_eq!(player::status(&app, &path.replace("/release/", "/releases/")).await, 403);
    let mut db = app.daemon().connect().await;
    sqlx::query("UPDATE tracks SET generation = generation + 1 WHERE title LIKE '%evil'")
        .execute(&mut db)
        .await
        .unwrap();
    assert_eq!(player::status(&app, path).await, 403, "one of them is revoked");
    app.until_clean().await;
}
