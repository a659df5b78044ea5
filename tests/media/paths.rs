//! One spelling for one thing: any other is refused, and what isn't there is a 404.

use std::{io::Write, net::TcpStream};

use reqwest::Method;

use super::Shelf;
use crate::support::{app::PATIENCE, player, tus};

/// Asks for a path exactly as it is spelled: HTTP clients tidy it up.
fn raw(shelf: &Shelf, path: &str) -> u16 {
    let mut socket = TcpStream::connect(shelf.app.host()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", shelf.app.host());
    socket.write_all(head.as_bytes()).unwrap();
    tus::answer(&mut socket).0
}

#[tokio::test]
async fn no_other_spelling_opens() {
    let shelf = Shelf::start().await;
    let (grant, track) = (shelf.grant(), shelf.track.as_str());
    let uuid = format!("{}-{}-{}-{}-{}", &track[..8], &track[8..12], &track[12..16], &track[16..20], &track[20..]);
    for path in [&shelf.entry, &shelf.list.path, &shelf.list.init(), &shelf.segment()] {
        assert_eq!(raw(&shelf, path), 200, "{path}");
        let (folder, file) = path.rsplit_once('/').unwrap();
        let dot = file.replace('.', "%2e");
        let first = format!("%{:02x}{}", grant.as_bytes()[0], &grant[1..]);
        let others = [
            path.replacen("/media/", "//media/", 1),
            path.replacen("/media/", "/media//", 1),
            format!("{folder}//{file}"),
            format!("{path}/"),
            format!("{path}?"),
            format!("{path}?a=b"),
            format!("{path}%3fa"),
            format!("{folder}/{dot}"),
            format!("{folder}/{}", dot.to_uppercase()),
            format!("{folder}/./{file}"),
            format!("{folder}/%2e/{file}"),
            format!("{folder}/../{}/{file}", folder.rsplit('/').next().unwrap()),
            format!("{folder}/%2e%2e/{file}"),
            format!("{folder}%2f{file}"),
            format!("{path}%00"),
            format!("{path}%20"),
            path.replace(grant, &first),
            path.replace(track, &track.to_uppercase()),
            path.replace(track, &uuid),
            path.replace("/media/", "/Media/"),
        ];
        for other in others.iter().filter(|other| *other != path) {
            let status = raw(&shelf, other);
            assert!([400, 403, 404].contains(&status), "{status} for {other}");
        }
    }
}

#[tokio::test]
async fn what_isnt_there_is_a_404() {
    let shelf = Shelf::start().await;
    let (folder, _) = shelf.list.path.rsplit_once('/').unwrap();
    let (run, rung) = folder.rsplit_once('/').unwrap();
    let root = run.rsplit_once('/').unwrap().0;
    let below = [
        format!("{folder}/{}.m4s", shelf.list.segments().len()),
        format!("{folder}/99999999999999999999.m4s"),
        format!("{folder}/-1.m4s"),
        format!("{folder}/+0.m4s"),
        format!("{folder}/00.m4s"),
        format!("{folder}/.m4s"),
        format!("{folder}/0.mp4"),
        format!("{folder}/0.M4S"),
        format!("{folder}/index.m3u8"),
        format!("{folder}/init.m4s"),
        format!("{run}/7/vod.m3u8"),
        format!("{run}/256/0.m4s"),
        format!("{run}/0{rung}/0.m4s"),
        format!("{run}/x/0.m4s"),
        format!("{root}/2/{rung}/0.m4s"),
        format!("{root}/0/{rung}/init.mp4"),
        format!("{root}/vod.m3u8"),
        format!("{root}/peaks.dat"),
        format!("{root}/{}", shelf.track),
    ];
    for path in below {
        assert_eq!(raw(&shelf, &path), 404, "{path}");
    }
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let shelf = Shelf::start().await;
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let answer = player::ask(&shelf.app, method.clone(), &shelf.segment()).await;
        assert_eq!(answer.status(), 405, "{method}");
    }
    assert_eq!(shelf.status(&shelf.segment()).await, 200);
}
