//! Every playlist that is served, read by four parsers that share no code with its writer, and every rung's boxes by a
//! fifth: they agree with each other and with the track.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use m3u8_rs::{MasterPlaylist, MediaPlaylist, MediaPlaylistType, Playlist};
use serde_json::{Value, json};

use crate::support::{
    app::App,
    player::{self, List},
    sound, tus,
};

const RATE: u32 = 44_100;
/// No whole number of packets, blocks or microseconds.
const SAMPLES: u32 = 9 * RATE + 777;

#[tokio::test]
async fn four_parsers_and_a_box_reader_agree() {
    let app = App::start().await;
    let wav = sound::wav(SAMPLES, RATE);
    let upload = tus::create(&app, "a.wav", &wav).await;
    let sent = wav.len() - 200_000;
    let mut socket = tus::begin_patch(&app, &upload, 0, wav.len(), &wav[..sent]);
    app.track_when(&upload.track, "two segments long", |t| t["segments_ready"].as_i64() >= Some(2)).await;
    let entry = player::stream(&app, &upload.track).await;
    let mut lists = all_of(&app, &entry).await;
    assert!(lists[1..].iter().all(|list| !list.is_ended()));
    socket.write_all(&wav[sent..]).unwrap();
    assert_eq!(tus::answer(&mut socket).0, 204);
    let track = app.settled(&upload.track).await;

    lists.extend(all_of(&app, &entry).await);
    let whole = player::stream(&app, &upload.track).await;
    assert!(whole.ends_with("/index.m3u8"));
    let finished = all_of(&app, &whole).await;
    let mut rungs = Vec::new();
    for list in &finished[1..] {
        assert!(list.is_ended());
        rungs.push(BASE64_STANDARD.encode(player::download(&app, list).await));
    }
    lists.extend(finished);

    let texts: Vec<&str> = lists.iter().map(|list| list.text.as_str()).collect();
    let asked = json!({ "texts": texts, "rungs": rungs });
    let ours: Vec<Value> = texts.iter().map(|text| by_m3u8_rs(text)).collect();
    let node = told("node", "playlists.mjs", "node_modules/hls-parser", &asked);
    let python = told("venv/bin/python", "playlists.py", "venv/bin/python", &asked);
    for (i, text) in texts.iter().enumerate() {
        for (parser, read) in
            [("hls-parser", &node["hls-parser"]), ("m3u8-parser", &node["m3u8-parser"]), ("m3u8", &python)]
        {
            assert_eq!(read[i], ours[i], "{parser}: {text}");
        }
    }
    assert!(ours.iter().all(|list| list["version"] == 7 && list["independent"] == true), "{ours:?}");
    for list in ours.iter().filter(|list| list["ended"] == true) {
        assert_eq!((&list["target"], &list["init"]), (&6.into(), &"init.mp4".into()));
        let lasts: u64 = list["segments"].as_array().unwrap().iter().map(|s| s[1].as_u64().unwrap()).sum();
        assert_eq!(lasts, (u64::from(SAMPLES) * 1_000_000 + u64::from(RATE) / 2) / u64::from(RATE));
        assert_eq!(list["segments"].as_array().unwrap().len(), 3);
    }
    // The last multivariant playlist names the rungs in the order in which they were downloaded.
    let variants = ours.iter().rev().find_map(|list| list["variants"].as_array()).unwrap();
    assert_eq!(variants.len(), rungs.len());
    for (variant, boxes) in variants.iter().zip(node["mp4box"].as_array().unwrap()) {
        let priming = if variant[3] == "fLaC" { 0 } else { track["start_pad"].as_u64().unwrap() };
        let expected = json!({ "codec": variant[3], "rate": RATE, "channels": 2, "from": priming,
            "until": u64::from(SAMPLES) + priming, "isWithoutGaps": true });
        assert_eq!(boxes, &expected);
    }
    app.until_clean().await;
}

/// The multivariant playlist at `entry`, and those that it names.
async fn all_of(app: &App, entry: &str) -> Vec<List> {
    let mut all = vec![player::list(app, entry).await];
    all.extend(player::rungs(app, entry).await);
    assert_eq!(all.len(), 5);
    all
}

fn by_m3u8_rs(text: &str) -> Value {
    match m3u8_rs::parse_playlist_res(text.as_bytes()).unwrap() {
        Playlist::MasterPlaylist(MasterPlaylist { version, independent_segments, variants, .. }) => {
            let variants: Vec<_> =
                variants.iter().map(|v| json!([v.uri, v.bandwidth, v.average_bandwidth, v.codecs])).collect();
            json!({ "version": version, "independent": independent_segments, "variants": variants })
        }
        Playlist::MediaPlaylist(MediaPlaylist {
            version,
            independent_segments,
            target_duration,
            segments,
            end_list,
            playlist_type,
            ..
        }) => {
            let kind = match playlist_type {
                Some(MediaPlaylistType::Event) => "EVENT",
                Some(MediaPlaylistType::Vod) => "VOD",
                other => panic!("{other:?}"),
            };
            let micros = |duration: f32| (f64::from(duration) * 1e6).round() as u64;
            let told: Vec<_> = segments.iter().map(|s| json!([s.uri, micros(s.duration)])).collect();
            json!({ "version": version, "independent": independent_segments, "target": target_duration, "type": kind,
                "ended": end_list, "init": segments[0].map.as_ref().map(|map| &map.uri), "segments": told })
        }
    }
}

/// What a script among the clients makes of `asked`.
fn told(program: &str, script: &str, needs: &str, asked: &Value) -> Value {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    assert!(clients.join(needs).exists(), "{needs} is missing: make clients");
    let program = if program.contains('/') { clients.join(program) } else { program.into() };
    let mut child =
        Command::new(program).arg(clients.join(script)).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{script}");
    serde_json::from_slice(&out.stdout).unwrap()
}
