//! The end of a file first, on a store that gives back nothing of an unfinished upload: the end is read where it waits in
//! memory, the middle as it passes.

use std::io::Write;

use super::nodes::nodes;
use crate::{
    journeys::index_first::{begin, end, rungs},
    support::{chunks, garage::Garage, index_last::File, tus},
};

#[tokio::test]
async fn it_plays_before_its_middle_has_come_and_on_another_node_when_it_is_stored() {
    let store = Garage::start().await;
    let apps = nodes(&store.settings(), 2, &[("HLS_LADDER", "aac:64k,flac")]).await;
    let file = File::m4a(65);
    let (upload, mut socket) = begin(&apps[0], &file).await;
    assert!(upload.count > 2, "{} chunks have no middle", upload.count);
    apps[1].track_when(&upload.track, "playable", |t| t["state"] == "playable").await;
    assert_eq!(chunks::progress(&apps[1], &upload).await["offset"], 0);
    let first = upload.piece(&file.bytes, 0);
    socket.write_all(&first[first.len() - 1000..]).unwrap();
    assert_eq!(tus::answer(&mut socket).0, 204);
    let track = end(&apps[0], &upload, &file, 1).await;
    assert_eq!((&track["state"], &track["samples"]), (&"ready".into(), &(65 * 44_100).into()), "{track}");

    // The end of this one is in another node's memory.
    let late = chunks::create(&apps[0], file.name, &file.bytes).await;
    for n in file.index / late.chunk_bytes..late.count {
        chunks::put_of(&apps[1], &late, &file.bytes, n).await;
    }
    let track = end(&apps[0], &late, &file, 0).await;
    assert_eq!(track["state"], "ready", "{track}");
    assert!(rungs(&apps[1], &upload.track).await == rungs(&apps[1], &late.track).await, "as by ranges");
    assert_eq!(apps[1].ask("SELECT count(*) FROM runs WHERE run > 1").await, 0, "nothing was made twice");
    for app in &apps {
        assert!(app.files("").is_empty(), "payload on the disk: {:?}", app.files(""));
    }
}
