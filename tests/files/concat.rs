//! concatenation and concatenation-unfinished.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;

use crate::support::{
    app::{App, PATIENCE},
    parts::{self, failed, joined, named, opened, post, refusal, stored},
    sound::{noise, wav},
    tus::{self, OCTETS, Upload, request},
};

const MIB: usize = 1 << 20;

async fn sql(app: &App, text: &'static str) {
    let mut db = app.daemon().connect().await;
    sqlx::query(text).execute(&mut db).await.unwrap();
}

async fn delete(app: &App, upload: &Upload) -> u16 {
    request(app, Method::DELETE, &upload.path).send().await.unwrap().status().as_u16()
}

/// Waits until a number in the database is what it should be.
async fn until(app: &App, sql: &'static str, wanted: i64) {
    let begun = Instant::now();
    while app.ask(sql).await != wanted {
        assert!(begun.elapsed() < PATIENCE, "never {wanted}: {sql}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn partials_of_any_length_become_one_track() {
    let app = App::start().await;
    let bytes = noise(34 * MIB + 17, 61);
    let cuts = [0, 12 * MIB + 5, 12 * MIB + 6, 12 * MIB + 6, 30 * MIB, bytes.len()];
    let mut partials = Vec::new();
    for cut in cuts.windows(2) {
        partials.push(stored(&app, &bytes[cut[0]..cut[1]]).await);
    }
    assert_eq!(app.ask("SELECT count(*) FROM tracks").await, 0);
    let whole = joined(&app, &partials.iter().collect::<Vec<_>>(), &bytes).await;
    parts::assert_joined(&app, &whole, &bytes).await;
    let track = app.track(&whole.track).await;
    assert_eq!(track["title"], "joined");
    assert_eq!(app.ask("SELECT count(*) FROM tracks").await, 1);
    assert_eq!(app.ask("SELECT count(*) FROM upload_parts").await, 0);
    app.until_clean().await;
}

#[tokio::test]
async fn a_final_upload_may_come_before_its_bytes() {
    // concatenation-unfinished
    let app = App::start().await;
    let bytes = noise(3 * MIB, 62);
    let (one, two) = (opened(&app, MIB).await, opened(&app, 2 * MIB).await);
    let whole = joined(&app, &[&one, &two], &bytes).await;
    assert_eq!(tus::patch(&app, &two, 0, &bytes[MIB..]).await.status(), 204);
    let head = tus::head(&app, &whole).await;
    assert_eq!(head.status(), 200);
    assert!(!head.headers().contains_key("upload-offset"));
    assert!(!head.headers().contains_key("upload-defer-length"));
    assert_eq!(head.headers()["upload-concat"], *named(&[&one, &two]));
    assert_eq!(tus::number(head.headers(), "upload-length"), 3 * MIB as u64);
    assert!(head.headers().contains_key("upload-expires") && head.headers().contains_key("upload-metadata"));
    let patch = || tus::patch(&app, &whole, 0, b"x");
    assert_eq!(refusal(patch().await).await, (403, "final_upload".into()));
    assert_eq!(tus::patch(&app, &one, 0, &bytes[..MIB]).await.status(), 204);
    parts::assert_joined(&app, &whole, &bytes).await;
    assert_eq!(refusal(patch().await).await, (403, "final_upload".into()));
    let head = tus::head(&app, &one).await;
    assert_eq!(head.headers()["upload-concat"], "partial");
    assert_eq!(tus::number(head.headers(), "upload-offset"), MIB as u64);
    app.until_clean().await;
}

#[tokio::test]
async fn lengths_may_be_unknown_until_the_end() {
    let app = App::with(&[("UPLOAD_MAX_BYTES", "3MiB")]).await;
    let bytes = noise(3 * MIB, 63);
    for (more, code) in [(2 * MIB, None), (2 * MIB + 1, Some("too_long"))] {
        let one = stored(&app, &bytes[..MIB]).await;
        let later = post(&app, "partial").header("Upload-Defer-Length", "1").send().await.unwrap();
        let path = later.headers()["location"].to_str().unwrap().to_owned();
        let two = Upload { path, track: String::new() };
        let whole = joined(&app, &[&one, &two], &bytes).await;
        assert!(!tus::head(&app, &whole).await.headers().contains_key("upload-length"));
        let rest = request(&app, Method::PATCH, &two.path).header("Content-Type", OCTETS).header("Upload-Offset", "0");
        let rest = rest.header("Upload-Length", more).body(noise(more, 64));
        let said = bytes[MIB..].to_vec();
        let rest = if code.is_none() { rest.body(said) } else { rest };
        assert_eq!(rest.send().await.unwrap().status(), 204);
        match code {
            None => parts::assert_joined(&app, &whole, &bytes).await,
            Some(code) => assert_eq!(failed(&app, &whole).await, code),
        }
    }
    app.until_clean().await;
}

#[tokio::test]
async fn sound_in_pieces_becomes_a_track_to_play() {
    let app = App::start().await;
    let bytes = wav(44_100 * 4, 44_100);
    let third = bytes.len() / 3;
    let partials = [
        stored(&app, &bytes[..third]).await,
        stored(&app, &bytes[third..2 * third]).await,
        stored(&app, &bytes[2 * third..]).await,
    ];
    let whole = joined(&app, &partials.iter().collect::<Vec<_>>(), &bytes).await;
    let track = app.settled(&whole.track).await;
    assert_eq!((&track["state"], &track["sha256"]), (&"ready".into(), &tus::sha256(&bytes).into()), "{track}");
    app.until_clean().await;
}

#[tokio::test]
async fn partials_serve_many_in_any_order_and_more_than_once() {
    let app = App::start().await;
    let (a, b) = (noise(MIB + 1, 65), noise(11 * MIB, 66));
    let (one, two, none) = (stored(&app, &a).await, stored(&app, &b).await, stored(&app, b"").await);
    for (order, pieces) in [
        (vec![&one, &two], vec![&a, &b]),
        (vec![&two, &none, &one], vec![&b, &a]),
        (vec![&one, &one, &one], vec![&a, &a, &a]),
        (vec![&none], vec![]),
    ] {
        let bytes: Vec<u8> = pieces.into_iter().flatten().copied().collect();
        // Absolute and relative URLs, whatever the host is called.
        let urls: Vec<_> = order.iter().map(|p| format!("https://elsewhere.example/music{}", p.path)).collect();
        let concat = format!("final;{} {}", urls.join(" "), none.path.trim_start_matches('/'));
        let answer = post(&app, &concat).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        parts::assert_joined(&app, &tus::upload(&answer), &bytes).await;
    }
    app.until_clean().await;
}

#[tokio::test]
async fn what_cannot_be_joined_is_refused_and_leaves_no_row() {
    let app = App::with(&[("UPLOAD_MAX_BYTES", "2MiB")]).await;
    let one = stored(&app, b"hello").await;
    let big = opened(&app, 2 * MIB - 4).await;
    let plain = tus::whole(&app, "x.bin", b"hello").await;
    let (aborted, foreign, expired) = (opened(&app, 5).await, opened(&app, 5).await, opened(&app, 5).await);
    assert_eq!(delete(&app, &aborted).await, 204);
    let mut db = app.daemon().connect().await;
    let uuid = |upload: &Upload| upload.path.rsplit('/').next().unwrap().parse::<uuid::Uuid>().unwrap();
    let other = "WITH other AS (INSERT INTO accounts (id, name, role) VALUES (gen_random_uuid(), 'other', 'creator') RETURNING id)
                 UPDATE uploads SET owner = (SELECT id FROM other) WHERE id = $1";
    sqlx::query(other).bind(uuid(&foreign)).execute(&mut db).await.unwrap();
    let late = "UPDATE uploads SET expires_at = now() - interval '1 s' WHERE id = $1";
    sqlx::query(late).bind(uuid(&expired)).execute(&mut db).await.unwrap();
    let uploads = app.ask("SELECT count(*) FROM uploads").await;
    let unknown = Upload { path: format!("/files/{}", "0".repeat(32)), track: String::new() };
    let all = |other: &Upload| post(&app, &named(&[&one, other]));
    let cases = [
        (all(&unknown), 400, "bad_partial"),
        (all(&foreign), 400, "bad_partial"),
        (all(&plain), 400, "bad_partial"),
        (all(&aborted), 400, "bad_partial"),
        (all(&expired), 400, "bad_partial"),
        (all(&big), 413, "upload_too_large"),
        (all(&one).header("Upload-Length", "10"), 400, "bad_concat"),
        (all(&one).header("Upload-Defer-Length", "1"), 400, "bad_concat"),
        (all(&one).header("Content-Type", OCTETS).body("hello"), 400, "bad_concat"),
        (post(&app, "final"), 400, "bad_concat"),
        (post(&app, "final;"), 400, "bad_concat"),
        (post(&app, "final;/files/nonsense"), 400, "bad_concat"),
        (post(&app, &format!("final;/tracks/{}", uuid(&one))), 400, "bad_concat"),
        (post(&app, "whole").header("Upload-Length", "5"), 400, "bad_concat"),
        (post(&app, "partial"), 400, "length_required"),
    ];
    for (n, (case, status, code)) in cases.into_iter().enumerate() {
        assert_eq!(refusal(case.send().await.unwrap()).await, (status, code.to_owned()), "case {n}");
    }
    assert_eq!(app.ask("SELECT count(*) FROM uploads").await, uploads);
    assert_eq!(app.ask("SELECT count(*) FROM upload_joins").await, 0);
}

#[tokio::test]
async fn a_partial_that_ends_early_takes_its_finals_along() {
    let app = App::start().await;
    let one = stored(&app, b"hello").await;
    let (ended, late) = (opened(&app, 5).await, opened(&app, 5).await);
    let first = joined(&app, &[&one, &ended], b"hellohello").await;
    let second = joined(&app, &[&ended, &one], b"hellohello").await;
    let third = joined(&app, &[&one, &late], b"hellohello").await;
    assert_eq!(delete(&app, &ended).await, 204);
    for whole in [&first, &second] {
        assert_eq!(failed(&app, whole).await, "partial_lost");
    }
    assert_eq!(tus::head(&app, &third).await.status(), 200);
    sql(&app, "UPDATE uploads SET expires_at = now() WHERE kind = 'partial' AND state = 'opened'").await;
    assert_eq!(failed(&app, &third).await, "partial_lost");
    app.until_clean().await;
    let wrong = tus::metadata(&[("sha256", &"00".repeat(32))]);
    let lie = post(&app, "partial").header("Upload-Length", "5").header("Upload-Metadata", wrong).send().await.unwrap();
    let path = lie.headers()["location"].to_str().unwrap().to_owned();
    let lie = Upload { path, track: String::new() };
    let fourth = joined(&app, &[&lie], b"hello").await;
    assert_eq!(tus::patch(&app, &lie, 0, b"hello").await.status(), 422);
    assert_eq!(failed(&app, &fourth).await, "partial_lost");
}

#[tokio::test]
async fn a_wrong_promise_is_never_published() {
    let app = App::start().await;
    let one = stored(&app, b"hello").await;
    let whole = joined(&app, &[&one], b"Hello").await;
    assert_eq!(failed(&app, &whole).await, "digest_mismatch");
    assert!(app.files("objects/tracks").is_empty());
}

#[tokio::test]
async fn partials_go_when_they_have_expired_and_nobody_needs_them() {
    let app = App::start().await;
    let (needed, free) = (stored(&app, b"hello ").await, stored(&app, b"hello ").await);
    let open = opened(&app, 5).await;
    let whole = joined(&app, &[&needed, &open], b"hello world").await;
    let other = joined(&app, &[&free], b"hello ").await;
    parts::assert_joined(&app, &other, b"hello ").await;
    assert_eq!(delete(&app, &needed).await, 204, "its resource ends");
    sql(&app, "UPDATE uploads SET expires_at = now() WHERE kind = 'partial' AND state = 'stored'").await;
    until(&app, "SELECT count(*) FROM uploads WHERE kind = 'partial'", 2).await;
    assert_eq!(tus::head(&app, &free).await.status(), 404, "forgotten");
    assert_eq!(tus::head(&app, &needed).await.status(), 410, "and this one is still needed");
    assert_eq!(refusal(post(&app, &named(&[&needed])).send().await.unwrap()).await.1, "bad_partial");
    assert_eq!(tus::patch(&app, &open, 0, b"world").await.status(), 204);
    parts::assert_joined(&app, &whole, b"hello world").await;
    until(&app, "SELECT count(*) FROM uploads WHERE kind = 'partial'", 1).await;
    sql(&app, "UPDATE uploads SET expires_at = now() WHERE kind = 'partial'").await;
    until(&app, "SELECT count(*) FROM uploads WHERE kind = 'partial'", 0).await;
    app.until_clean().await;
    assert!(app.files("objects/partials").is_empty());
    assert_eq!(app.files("objects/tracks").len(), 2);
}

#[tokio::test]
async fn a_final_upload_lives_as_long_as_its_partials() {
    let app = App::with(&[("UPLOAD_EXPIRY", "6s")]).await;
    let slow = opened(&app, 8).await;
    let whole = joined(&app, &[&slow], b"12345678").await;
    // A byte now and then keeps the partial, and the partial keeps what is made of it.
    for at in 0..7 {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!(tus::patch(&app, &slow, at, &b"12345678"[at as usize..=at as usize]).await.status(), 204);
        assert_eq!(tus::head(&app, &whole).await.status(), 200, "after {at}");
    }
    let code = failed(&app, &whole).await;
    assert!(matches!(&*code, "partial_lost" | "The upload is expired."), "{code}");
}

#[tokio::test]
async fn kills_in_the_middle_lose_nothing() {
    let mut dice = StdRng::seed_from_u64(0x7061_7274);
    let mut app = App::with(&[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(90 * MIB + 17, 67);
    let (one, two) = (stored(&app, &bytes[..23 * MIB + 5]).await, stored(&app, &bytes[23 * MIB + 5..]).await);
    let whole = joined(&app, &[&one, &two], &bytes).await;
    let offset = "SELECT committed FROM uploads WHERE kind = 'final'";
    let (mut least, mut kills) = (0, 0);
    loop {
        let seen = app.ask(offset).await;
        assert!(seen >= least, "what was joined went back from {least} to {seen}");
        least = seen;
        if seen == bytes.len() as i64 {
            break;
        }
        if seen > 0 && dice.random_bool(0.5) && kills < 3 {
            app.kill_and_boot().await;
            kills += 1;
        }
    }
    println!("{kills} kills");
    assert!(kills > 0, "it was over too soon");
    parts::assert_joined(&app, &whole, &bytes).await;
    app.until_clean().await;
}
