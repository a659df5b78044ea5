//! A bad line: the same bytes go again, damage is found, silence ends.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use pipeline::store::{Part, Store, StoreError, Tail, contract};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{STALL, store};
use crate::support::{
    s3::{Action, Answer, Op, Rule, Strict},
    sound::noise,
};

const KEY: &str = "tracks/1/source";
/// What a slow line passes on at once.
const PIECE: usize = 64 << 10;

fn frames(bytes: &[u8]) -> Vec<Bytes> {
    bytes.chunks(100_000).map(Bytes::copy_from_slice).collect()
}

#[tokio::test]
async fn a_part_that_fails_goes_again_with_the_same_bytes() {
    let bytes = noise(1 << 20, 1);
    let hiccups = [
        Action::Answer(Answer::SLOW_DOWN),
        Action::Answer(Answer::INTERNAL_ERROR),
        Action::AnswerAfter(Answer::INTERNAL_ERROR),
        Action::Drop,
        Action::Cut { after: 300_000 },
        Action::DropAnswer,
        Action::Hang,
        Action::HangAnswer,
    ];
    for action in hiccups {
        let strict = Strict::start();
        let store = store(&strict.site());
        let to = store.begin(KEY).await.unwrap();
        let rule = strict.faults().add(Rule::on(Op::UploadPart, action.clone()).times(2));
        let mut one = contract::part(1, 0, &bytes);
        one.etag =
            store.put_part(&to, &one, &[], 0, frames(&bytes)).await.unwrap_or_else(|e| panic!("{action:?}: {e:?}"));
        assert_eq!(rule.hits(), 2, "{action:?}");
        store.complete(&to, &[one], bytes.len() as u64).await.unwrap();
        assert!(strict.object(KEY).unwrap() == bytes, "{action:?}");
    }
}

#[tokio::test]
async fn after_three_tries_the_caller_hears() {
    for action in [Action::Answer(Answer::SLOW_DOWN), Action::Drop, Action::Hang] {
        let strict = Strict::start();
        let store = store(&strict.site());
        let to = store.begin(KEY).await.unwrap();
        let rule = strict.faults().add(Rule::on(Op::UploadPart, action.clone()));
        let began = Instant::now();
        let part = contract::part(1, 0, b"abc");
        let away = store.put_part(&to, &part, &[], 0, frames(b"abc")).await;
        assert!(matches!(away, Err(StoreError::Away(_))), "{action:?}: {away:?}");
        assert_eq!(rule.hits(), 3, "{action:?}");
        assert!(began.elapsed() < 20 * STALL, "{action:?}: silence ends");
    }
}

#[tokio::test]
async fn a_flipped_bit_never_becomes_a_part() {
    let bytes = noise(1 << 20, 2);
    let strict = Strict::start();
    let store = store(&strict.site());
    let mut one = contract::part(1, 0, &bytes);
    // A store that refuses what isn't what was said, and one that took it without a look and says what it has.
    let damages = [Action::Answer(Answer { status: 400, code: "BadDigest" }), Action::FlipBit { at: 500_000 }];
    for (n, action) in damages.into_iter().enumerate() {
        let key = format!("tracks/{n}/source");
        let to = store.begin(&key).await.unwrap();
        let rule = strict.faults().add(Rule::on(Op::UploadPart, action.clone()).key(&key).times(2));
        one.etag = store.put_part(&to, &one, &[], 0, frames(&bytes)).await.unwrap();
        assert_eq!(rule.hits(), 2, "{action:?}: found twice, and sent again");
        store.complete(&to, &[one.clone()], bytes.len() as u64).await.unwrap();
        assert!(strict.object(&key).unwrap() == bytes);

        strict.faults().add(Rule::on(Op::UploadPart, action.clone()));
        let to = store.begin("tracks/broken/source").await.unwrap();
        let broken = store.put_part(&to, &one, &[], 0, frames(&bytes)).await;
        assert!(
            matches!(broken, Err(StoreError::Away(_))),
            "a line that always damages is as good as none: {broken:?}"
        );
        assert!(store.complete(&to, &[one.clone()], bytes.len() as u64).await.is_err());
        store.abort(&to).await.unwrap();
        strict.faults().heal();
    }
}

#[tokio::test]
async fn a_tail_that_changed_on_its_way_back_is_read_again() {
    let strict = Strict::start();
    let store = store(&strict.site());
    let to = store.begin(KEY).await.unwrap();
    let tail = Tail { key: "tails/1/0-1-0".into(), off: 0, len: 3, crc64: contract::part(1, 0, b"abc").crc64 };
    store.put_tail(&to, &tail, frames(b"abc")).await.unwrap();
    let one = contract::part(1, 0, b"abcdef");
    for action in [Action::FlipBit { at: 9 }, Action::Truncate { keep: 1 }, Action::Cut { after: 1 }] {
        let rule = strict.faults().add(Rule::on(Op::GetObject, action.clone()).once());
        let etag = store.put_part(&to, &one, std::slice::from_ref(&tail), 3, frames(b"def")).await;
        assert_eq!(rule.hits(), 1, "{action:?}");
        let part = Part { etag: etag.unwrap_or_else(|e| panic!("{action:?}: {e:?}")), ..one.clone() };
        assert_eq!(store.listed(&to).await.unwrap()[0].etag, part.etag);
    }
    strict.faults().add(Rule::on(Op::GetObject, Action::FlipBit { at: 9 }));
    let wrong = store.put_part(&to, &one, &[tail], 3, frames(b"def")).await;
    assert!(matches!(wrong, Err(StoreError::Wrong { .. })), "{wrong:?}");
}

#[tokio::test]
async fn a_slow_line_is_never_cut() {
    let strict = Strict::start();
    let (line, _) = line(&strict.endpoint(), Duration::from_millis(20)).await;
    let store = store(&strict.site().through(&line));
    // More than the sender's socket takes at once.
    let bytes = noise(12 << 20, 3);
    let to = store.begin(KEY).await.unwrap();
    let mut one = contract::part(1, 0, &bytes);
    let began = Instant::now();
    one.etag = store.put_part(&to, &one, &[], 0, frames(&bytes)).await.unwrap();
    assert!(began.elapsed() > 2 * STALL, "longer than silence may last: {:?}", began.elapsed());
    store.complete(&to, &[one], bytes.len() as u64).await.unwrap();
    assert!(store.read(KEY, 0, bytes.len()).await.unwrap() == bytes);
    assert_eq!(strict.log().about(KEY).iter().filter(|entry| entry.op == Op::UploadPart).count(), 1, "one try");
}

#[tokio::test]
async fn a_part_goes_out_once_and_unsigned() {
    // Over plain HTTP the SDK would hash every byte again for its signature, or send it in chunks with a trailer.
    let strict = Strict::start();
    let (line, heard) = line(&strict.endpoint(), Duration::ZERO).await;
    let store = store(&strict.site().through(&line));
    let (to, _) = super::one_part(&store, KEY, b"abc").await;
    heard.lock().unwrap().clear();
    let one = contract::part(2, 0, b"defg");
    store.put_part(&to, &one, &[], 0, vec![Bytes::from("de"), Bytes::from("fg")]).await.unwrap();
    let sent = String::from_utf8(heard.lock().unwrap().clone()).unwrap().to_lowercase();
    for header in ["x-amz-content-sha256: unsigned-payload", "x-amz-checksum-crc64nvme: ", "content-length: 4\r\n"] {
        assert!(sent.contains(header), "{header} isn't in {sent}");
    }
    for not in ["aws-chunked", "x-amz-trailer", "transfer-encoding", "x-amz-checksum-crc32", "content-md5"] {
        assert!(!sent.contains(not), "{not} is in {sent}");
    }
    assert!(sent.ends_with("\r\n\r\ndefg"), "{sent}");
}

type Heard = Arc<Mutex<Vec<u8>>>;

/// Where a line to `endpoint` begins that holds little, and pauses after each piece; and what was said on it.
async fn line(endpoint: &str, pause: Duration) -> (String, Heard) {
    let there: SocketAddr = endpoint.trim_start_matches("http://").parse().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(PIECE as u32).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let here = socket.listen(16).unwrap();
    let begins = format!("http://{}", here.local_addr().unwrap());
    let heard = Heard::default();
    let listening = heard.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = here.accept().await {
            let far = TcpStream::connect(there).await.unwrap();
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::spawn(passed_on(near_in, far_out, pause, listening.clone()));
            tokio::spawn(passed_on(far_in, near_out, pause, Heard::default()));
        }
    });
    (begins, heard)
}

async fn passed_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    pause: Duration,
    heard: Heard,
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let len = from.read(&mut piece).await?;
        if len == 0 {
            return to.shutdown().await;
        }
        heard.lock().unwrap().extend_from_slice(&piece[..len]);
        to.write_all(&piece[..len]).await?;
        tokio::time::sleep(pause).await;
    }
}

#[tokio::test]
async fn a_store_that_says_slow_down_gets_fewer_parts_at_once() {
    let strict = Strict::start();
    let store = store(&strict.site());
    let to = store.begin(KEY).await.unwrap();
    let part = contract::part(1, 0, b"abc");
    strict.faults().add(Rule::on(Op::UploadPart, Action::Answer(Answer::SLOW_DOWN)).once());
    store.put_part(&to, &part, &[], 0, frames(b"abc")).await.unwrap();
    // Eight at first, half of it now.
    let held = strict.faults().add(Rule::on(Op::UploadPart, Action::Hold));
    let sends: Vec<_> = (0..6)
        .map(|_| {
            let (store, to, part) = (store.clone(), to.clone(), part.clone());
            tokio::spawn(async move { store.put_part(&to, &part, &[], 0, frames(b"abc")).await })
        })
        .collect();
    held.until_hit(4).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(held.hits(), 4);
    held.release();
    for send in sends {
        send.await.unwrap().unwrap();
    }
}
