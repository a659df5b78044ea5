//! `/api/v1/tracks` and what lies below, but the events.

use http::Method;
use pipeline::grant::{Ask, GrantError, Scope};
use schema::{Id, track::Track};
use serde_json::{Value, json};

use super::*;
use crate::api::{App, told};

#[tokio::test]
async fn a_list_is_walked_in_pages_newest_first_and_to_its_end() {
    let app = App::start().await;
    let (ada, bob) = (app.user("Ada").await, app.user("Bob").await);
    for n in 0..7 {
        let id = ingesting(&app.db, ada.account, &format!("T{n}")).await;
        if n == 3 {
            // Two of the same moment must neither hide nor repeat each other.
            let sql = "UPDATE tracks SET created_at = (SELECT created_at FROM tracks WHERE title = 'T2') WHERE id = $1";
            sqlx::query(sql).bind(id.uuid()).execute(&app.db).await.unwrap();
        }
    }
    ingesting(&app.db, bob.account, "Bob's").await;
    let (mut titles, mut path) = (vec![], "/api/v1/tracks?limit=3".to_owned());
    loop {
        let (status, page) = ada.get(&path).await;
        assert_eq!(status, 200);
        titles.extend(page["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        assert_eq!(bob.get(&format!("/api/v1/tracks?cursor={cursor}")).await.0, 400, "another's cursor");
        path = format!("/api/v1/tracks?limit=3&cursor={cursor}");
    }
    assert_eq!(titles, ["T6", "T5", "T4", "T2", "T3", "T1", "T0"]);
    let (status, problem) = ada.get("/api/v1/tracks?cursor=AAAA").await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_cursor")));
}

#[tokio::test]
async fn every_list_route_clamps_its_limit() {
    let app = App::start().await;
    let ada = app.user("Ada").await;
    for n in 0..101 {
        ingesting(&app.db, ada.account, &format!("T{n}")).await;
    }
    for (limit, items) in [("1000", 100), ("100", 100), ("0", 50), ("-3", 50), ("garbage", 50), ("2", 2)] {
        let (_, page) = ada.get(&format!("/api/v1/tracks?limit={limit}")).await;
        assert_eq!(page["items"].as_array().unwrap().len(), items, "{limit}");
    }
}

#[tokio::test]
async fn a_track_tells_where_it_stands() {
    let app = App::start().await;
    let ada = app.user("Ada").await;
    let id = ingesting(&app.db, ada.account, "Low tide").await;
    let path = format!("/api/v1/tracks/{id}");
    let sql = "INSERT INTO uploads (id, owner, track_id, door, state, length, committed, part_bytes, key, expires_at)
               VALUES (gen_random_uuid(), $1, $2, 'tus', 'opened', 10, 4, 5, 'k', now())";
    sqlx::query(sql).bind(ada.account.uuid()).bind(id.uuid()).execute(&app.db).await.unwrap();
    let (status, told) = ada.get(&path).await;
    let created = told["created_at"].as_str().unwrap().to_owned();
    let begun = json!({ "id": id.to_string(), "state": "ingesting", "title": "Low tide", "filename": "a.flac",
        "duration_ms": null, "samples": null, "rate": null, "start_pad": null, "segments_ready": 0, "size": null, "sha256": null,
        "loudness": null, "replaygain": null, "tags": null, "artwork": null, "duplicates": null, "error": null, "codec": null, "lossless": null, "stored": false,
        "upload": { "offset": 4, "length": 10, "state": "opened" }, "created_at": created });
    assert_eq!((status, told), (200, begun));

    play(&app.db, id, 3).await;
    let (_, told) = ada.get(&path).await;
    assert_eq!((&told["state"], &told["segments_ready"]), (&json!("playable"), &json!(3)), "what every rung has");
    store(&app.db, id).await;
    finish(&app.db, id, 90).await;
    let (_, told) = ada.get(&path).await;
    assert_eq!(
        (&told["state"], &told["duration_ms"], &told["stored"]),
        (&json!("ready"), &json!(90_000), &json!(true))
    );
    assert_eq!(told["sha256"], json!("ab".repeat(32)));
}

#[tokio::test]
async fn what_is_somebody_elses_isnt_there() {
    let app = App::start().await;
    let (ada, bob) = (app.user("Ada").await, app.user("Bob").await);
    let id = ingesting(&app.db, ada.account, "Ada's").await;
    play(&app.db, id, 1).await;
    store(&app.db, id).await;
    let absent: Id<Track> = Id::in_order();
    for named in [id.to_string(), absent.to_string(), "nonsense".into()] {
        for below in ["", "/stream", "/waveform", "/artwork", "/events"] {
            let (status, problem) = bob.get(&format!("/api/v1/tracks/{named}{below}")).await;
            assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{named}{below}");
        }
        assert_eq!(bob.post(&format!("/api/v1/tracks/{named}/retry")).await.0, 404);
        let change = bob.ask(Method::PATCH, &format!("/api/v1/tracks/{named}")).json(&json!({ "title": "Bob's" }));
        assert_eq!(told(change).await.0, 404);
    }
    assert_eq!(ada.get(&format!("/api/v1/tracks/{id}")).await.1["title"], "Ada's");
}

#[tokio::test]
async fn a_stream_is_a_grant_that_opens_for_its_time_and_lasts_for_twice_the_music() {
    let app = App::start().await;
    let ada = app.user("Ada").await;
    let id = ingesting(&app.db, ada.account, "T").await;
    let path = format!("/api/v1/tracks/{id}/stream");
    let (status, problem) = ada.get(&path).await;
    assert_eq!((status, &problem["code"]), (409, &json!("not_playable_yet")));

    play(&app.db, id, 1).await;
    let (status, growing) = ada.get(&path).await;
    assert_eq!(status, 200);
    let (grant, playlist) = opened(&growing, id);
    assert_eq!(playlist, "live.m3u8");
    let now: i64 =
        sqlx::query_scalar("SELECT floor(extract(epoch FROM now()))::bigint").fetch_one(&app.db).await.unwrap();
    let now = u64::try_from(now).unwrap();
    let verify = |grant: &str, now, ask, scope| app.grants.verify(grant, id, now, ask, scope);
    let unverified = verify(&grant, now, Ask::Open, Scope::PLAY.and(Scope::UNVERIFIED)).unwrap();
    let until = u64::from(unverified.open_until);
    assert!((now + 890..=now + 900).contains(&until), "{until} at {now}");
    let expires = time::OffsetDateTime::from_unix_timestamp(i64::from(unverified.open_until)).unwrap();
    let told = growing["expires_at"].as_str().unwrap();
    assert_eq!(told, expires.format(&time::format_description::well_known::Rfc3339).unwrap());
    assert_eq!(verify(&grant, until, Ask::Open, Scope::PLAY), Err(GrantError::Expired));

    store(&app.db, id).await;
    finish(&app.db, id, 2 * 3600).await;
    let (grant, playlist) = opened(&ada.get(&path).await.1, id);
    assert_eq!(playlist, "index.m3u8");
    let verified = verify(&grant, now, Ask::Use { rung: 3 }, Scope::PLAY).unwrap();
    assert!(!verified.scope.has(Scope::UNVERIFIED));
    assert!(u64::from(verified.use_until) >= now + 4 * 3600);
}

fn opened(stream: &Value, id: Id<Track>) -> (String, String) {
    let url: Vec<&str> = stream["url"].as_str().unwrap().split('/').collect();
    let ["", "media", grant, track, playlist] = url[..] else { panic!("{url:?}") };
    assert_eq!(track, id.to_string());
    (grant.to_owned(), playlist.to_owned())
}

#[tokio::test]
async fn a_failed_track_says_why_and_is_tried_again_once() {
    let app = App::start().await;
    let ada = app.user("Ada").await;
    let id = ingesting(&app.db, ada.account, "T").await;
    let path = format!("/api/v1/tracks/{id}");
    let retry = format!("{path}/retry");
    let (status, problem) = ada.post(&retry).await;
    assert_eq!((status, &problem["code"]), (409, &json!("not_retryable")));
    fail(&app.db, id).await;
    let why = json!({ "code": "unsupported_media", "detail": "This is no music." });
    assert_eq!(ada.get(&path).await.1["error"], why);
    let (status, problem) = ada.get(&format!("{path}/stream")).await;
    assert_eq!((status, &problem["code"], &problem["state"]), (409, &json!("not_playable"), &json!("failed")));
    let (status, again) = ada.post(&retry).await;
    assert_eq!((status, &again["state"], &again["error"]), (202, &json!("ingesting"), &Value::Null));
    assert_eq!(ada.post(&retry).await.0, 409);
}

#[tokio::test]
async fn a_title_is_changed_to_something_and_to_nothing_else() {
    let app = App::start().await;
    let ada = app.user("Ada").await;
    let id = ingesting(&app.db, ada.account, "T").await;
    let change = async |body: Value| told(ada.ask(Method::PATCH, &format!("/api/v1/tracks/{id}")).json(&body)).await;
    let (status, track) = change(json!({ "title": "  <b>Low\u{7} tide</b> " })).await;
    assert_eq!((status, &track["title"]), (200, &json!("<b>Low tide</b>")));
    for wrong in [json!({ "title": " " }), json!({ "title": "x".repeat(1001) })] {
        let (status, problem) = change(wrong).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_title")));
    }
    assert_eq!(change(json!({ "title": "T", "owner": "me" })).await.0, 422, "unknown fields are refused");
    assert_eq!(change(json!({ "title": "x".repeat(20_000) })).await.0, 413);
}

#[tokio::test]
async fn peaks_are_told_as_they_are_and_as_json() {
    let app = App::start().await;
    let ada = app.user("Ada").await;
    let id = ingesting(&app.db, ada.account, "T").await;
    let path = format!("/api/v1/tracks/{id}/waveform");
    let (status, problem) = ada.get(&path).await;
    assert_eq!((status, &problem["code"]), (409, &json!("no_peaks_yet")));
    sqlx::query("UPDATE tracks SET peaks_key = 'p'").execute(&app.db).await.unwrap();
    let head = [2_u32, 0, 48_000, 256, 1, 1].map(u32::to_le_bytes);
    let dat = [head.as_flattened(), &[0x00, 0x80, 0xff, 0x7f]].concat();
    *app.engine.peaks.lock().unwrap() = Some(dat.clone().into());
    let raw = ada.ask(Method::GET, &path).send().await.unwrap();
    assert_eq!(raw.headers()["content-type"], "application/octet-stream");
    assert_eq!(raw.bytes().await.unwrap(), dat);
    let json = json!({ "version": 2, "channels": 1, "sample_rate": 48000, "samples_per_pixel": 256, "bits": 16,
        "length": 1, "data": [-32768, 32767] });
    assert_eq!(ada.get(&format!("{path}?format=json")).await, (200, json.clone()));
    assert_eq!(told(ada.ask(Method::GET, &path).header("accept", "application/json")).await, (200, json));
}

#[tokio::test]
async fn peaks_come_as_coarse_as_they_are_wanted() {
    let app = App::start().await;
    let ada = app.user("Ada").await;
    let id = ingesting(&app.db, ada.account, "T").await;
    sqlx::query("UPDATE tracks SET peaks_key = 'p'").execute(&app.db).await.unwrap();
    let head = [2_u32, 1, 44_100, 512, 3, 1].map(u32::to_le_bytes);
    *app.engine.peaks.lock().unwrap() = Some([head.as_flattened(), &[0xff, 1, 0x80, 2, 0, 127]].concat().into());
    let path = format!("/api/v1/tracks/{id}/waveform?samples_per_pixel");
    let (status, json) = ada.get(&format!("{path}=1024&format=json")).await;
    assert_eq!((status, &json["samples_per_pixel"], &json["data"]), (200, &json!(1024), &json!([-128, 2, 0, 127])));
    let raw = ada.ask(Method::GET, &format!("{path}=1024")).send().await.unwrap().bytes().await.unwrap();
    assert_eq!((&raw[12..20], &raw[24..]), (&[0, 4, 0, 0, 2, 0, 0, 0][..], &[0x80, 2, 0, 127][..]));
    for bad in ["", "x", "0", "-512", "513", "2097152", "99999999999"] {
        let (status, problem) = ada.get(&format!("{path}={bad}")).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_zoom")), "{bad}");
    }
}
