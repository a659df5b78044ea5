//! Grants that don't hold: each is a 403, and none says more than it must.

use std::time::Instant;

use super::Shelf;
use crate::support::{app::PATIENCE, player, sound, tus};

/// What every path of the track answers with this grant in it.
async fn assert_refused(shelf: &Shelf, grant: &str, code: &str) {
    for path in [&shelf.entry, &shelf.list.path, &shelf.list.init(), &shelf.segment()] {
        assert_eq!(shelf.refusal(&path.replace(shelf.grant(), grant)).await, code, "{grant}");
    }
}

#[tokio::test]
async fn every_tampered_character_is_refused() {
    let shelf = Shelf::start().await;
    let grant = shelf.grant().to_owned();
    assert_eq!(shelf.status(&shelf.entry).await, 200);
    for at in 0..grant.len() {
        let mut other = grant.clone().into_bytes();
        // The last character holds fewer bits than the others: the one beside it differs in one that counts or isn't one of ours.
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        for path in [&shelf.entry, &shelf.segment()] {
            assert_eq!(shelf.refusal(&path.replace(&grant, &other)).await, "link_not_valid", "character {at}");
        }
    }
    let (cut, longer) = (&grant[1..], format!("{grant}A"));
    for other in [cut, &longer, &grant.to_uppercase(), &"A".repeat(grant.len()), "x"] {
        assert_refused(&shelf, other, "link_not_valid").await;
    }
}

#[tokio::test]
async fn it_opens_its_own_track_alone() {
    let shelf = Shelf::start().await;
    let upload = tus::whole(&shelf.app, "b.wav", &sound::wav(44_100, 44_100)).await;
    assert_eq!(shelf.app.settled(&upload.track).await["state"], "ready");
    let foreign = player::stream(&shelf.app, &upload.track).await;
    assert_eq!(shelf.status(&foreign).await, 200);
    assert_refused(&shelf, foreign.split('/').nth(2).unwrap(), "link_not_valid").await;
    let absent = shelf.entry.replace(&shelf.track, &"0".repeat(shelf.track.len()));
    assert_eq!(shelf.refusal(&absent).await, "link_not_valid", "absent and foreign are told alike");
}

#[tokio::test]
async fn the_way_in_expires_and_what_was_opened_plays_on() {
    // Long enough to be fetched once, short enough to wait for.
    let shelf = Shelf::with(&[("STREAM_URL_TTL", "3s")]).await;
    let begun = Instant::now();
    while shelf.status(&shelf.entry).await == 200 {
        assert!(begun.elapsed() < PATIENCE, "it never expires");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(shelf.refusal(&shelf.entry).await, "link_expired");
    assert_eq!(shelf.refusal(&shelf.entry.replace("index", "live")).await, "link_expired");
    for path in [vec![shelf.list.path.clone(), shelf.list.init()], shelf.list.segments()].concat() {
        assert_eq!(shelf.status(&path).await, 200, "{path}");
    }
    let anew = player::stream(&shelf.app, &shelf.track).await;
    assert_ne!(anew, shelf.entry);
    assert_eq!(shelf.status(&anew).await, 200);
}

#[tokio::test]
async fn another_generation_takes_all_grants_back() {
    let shelf = Shelf::start().await;
    let mut db = shelf.app.daemon().connect().await;
    sqlx::query("UPDATE tracks SET generation = generation + 1").execute(&mut db).await.unwrap();
    assert_refused(&shelf, shelf.grant(), "link_not_valid").await;
    assert_eq!(shelf.status(&player::stream(&shelf.app, &shelf.track).await).await, 200);
}
