//! A reader into an object: `happy`, `stream error`, `S3 upload error`, and nothing that hangs.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pipeline::store::{StoreError, StreamError, StreamFailed, upload_stream};
use tokio::io::{AsyncRead, ReadBuf};

use super::store;
use crate::support::{
    garage::Garage,
    s3::{Action, Answer, Op, Rule, Strict},
    sound::noise,
};

const KEY: &str = "tracks/1/moved";
const MIB: usize = 1 << 20;

/// Bytes, in odd pieces, then an error, silence, or the end.
struct Source {
    bytes: Vec<u8>,
    at: usize,
    then: Then,
}

enum Then {
    End,
    Fail,
    Hang,
}

fn source(bytes: &[u8], then: Then) -> Source {
    Source { bytes: bytes.to_vec(), at: 0, then }
}

impl AsyncRead for Source {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let piece = buf.remaining().min(70_001).min(self.bytes.len() - self.at);
        if piece == 0 {
            return match self.then {
                Then::End => Poll::Ready(Ok(())),
                Then::Fail => Poll::Ready(Err(io::Error::other("the disk of the source broke"))),
                Then::Hang => Poll::Pending,
            };
        }
        buf.put_slice(&self.bytes[self.at..self.at + piece]);
        self.at += piece;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn happy() {
    // UP-12, S3-1: from a reader that can't go back.
    let garage = Garage::start().await;
    let bytes = noise(25 * MIB + 17, 1);
    let object =
        upload_stream(&store(&garage.site()), KEY, source(&bytes, Then::End), bytes.len() as u64).await.unwrap();
    assert_eq!(object.size, bytes.len() as u64);
    assert!(garage.site().read(KEY).await == bytes);
    assert!(garage.multiparts().await.is_empty());
    upload_stream(&store(&garage.site()), "tracks/1/empty", &b""[..], 0).await.unwrap();
    assert!(garage.site().read("tracks/1/empty").await.is_empty());
}

#[tokio::test]
async fn stream_error() {
    // UP-12, UP-13: the caller hears the root, and nothing is left.
    let bytes = noise(25 * MIB, 2);
    let size = bytes.len() as u64;
    type Kind = fn(&StreamError) -> bool;
    let cases: [(Source, u64, Kind); 3] = [
        (
            source(&bytes, Then::Fail),
            size + 1,
            |e| matches!(e, StreamError::Read(e) if e.to_string().contains("broke")),
        ),
        (source(&bytes, Then::End), size + 1, |e| matches!(e, StreamError::Short { came: 26_214_400, .. })),
        (source(&bytes, Then::End), size - 1, |e| matches!(e, StreamError::Long { .. })),
    ];
    for (source, size, is_root) in cases {
        let strict = Strict::start();
        let failed = upload_stream(&store(&strict.site()), KEY, source, size).await.unwrap_err();
        assert!(is_root(&failed.root) && failed.left.is_none(), "{failed:?}");
        assert!(strict.keys("tracks/").is_empty() && strict.multiparts().is_empty());
        assert_eq!(strict.log().about(KEY).iter().filter(|entry| entry.op == Op::Complete).count(), 0);
    }
}

#[tokio::test]
async fn s3_upload_error() {
    // UP-12, UP-16
    let bytes = noise(45 * MIB, 3);
    let strict = Strict::start();
    let refusal = Answer { status: 403, code: "AccessDenied" };
    strict.faults().add(Rule::on(Op::UploadPart, Action::Answer(refusal)).part(2));
    // The reader never goes on: that must not keep the store's answer from the caller.
    let store = store(&strict.site());
    let upload = upload_stream(&store, KEY, source(&bytes[..30 * MIB], Then::Hang), bytes.len() as u64);
    let failed = tokio::time::timeout(Duration::from_secs(20), async { upload.await.unwrap_err() }).await.unwrap();
    let StreamFailed { root: StreamError::Store(StoreError::Away(why)), left: None } = failed else {
        panic!("{failed:?}")
    };
    assert!(why.to_string().contains("AccessDenied"), "the root cause: {why}");
    assert!(strict.keys("tracks/").is_empty() && strict.multiparts().is_empty());
}

#[tokio::test]
async fn what_cant_be_aborted_or_may_be_whole_is_named() {
    let bytes = noise(12 * MIB, 4);
    let strict = Strict::start();
    let store = store(&strict.site());
    strict.faults().add(Rule::on(Op::Abort, Action::Answer(Answer::INTERNAL_ERROR)).skip(1));
    let failed = upload_stream(&store, KEY, source(&bytes, Then::Fail), bytes.len() as u64 + 1).await.unwrap_err();
    assert!(matches!(failed.root, StreamError::Read(_)), "{failed:?}");
    assert_eq!(failed.left.unwrap().key, KEY);

    strict.faults().heal();
    strict.faults().add(Rule::on(Op::Complete, Action::Answer(Answer::INTERNAL_ERROR)));
    let aborts = strict.log().count(Op::Abort);
    let failed = upload_stream(&store, KEY, source(&bytes, Then::End), bytes.len() as u64).await.unwrap_err();
    assert!(matches!(failed.root, StreamError::Store(StoreError::Away(_))), "{failed:?}");
    assert!(failed.left.is_some());
    assert_eq!(strict.log().count(Op::Abort), aborts, "no abort after a Complete");
}

#[tokio::test]
async fn three_parts_are_on_their_way_and_no_fourth_is_read() {
    // S3-1
    let bytes = noise(65 * MIB, 5);
    let strict = Strict::start();
    let store = store(&strict.site());
    pipeline::store::Store::put(&store, "warm", bytes::Bytes::new()).await.unwrap();
    let held = strict.faults().add(Rule::on(Op::UploadPart, Action::HoldAnswer));
    let (done, ()) = tokio::join!(upload_stream(&store, KEY, source(&bytes, Then::End), bytes.len() as u64), async {
        held.until_hit(3).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(held.hits(), 3);
        held.release();
    });
    done.unwrap();
    assert!(strict.object(KEY).unwrap() == bytes);
}
