//! What every backend promises, as one test body: the local folder runs it, and so must every store that joins.

#![allow(clippy::unwrap_used, reason = "a test body: a panic is the report")]

use bytes::Bytes;

use super::{Part, Store, StoreError, Tail};
use crate::digest::crc64;

/// Puts `store` through the contract. It must be empty below `contract/`, and is left so.
///
/// # Panics
/// When a promise is broken: this is a test.
pub async fn contract(store: &dyn Store) {
    whole_objects(store).await;
    parts_and_tails(store).await;
    completed_twice(store).await;
    gaps_are_refused(store).await;
    aborted(store).await;
    for object in store.list("contract/", "").await.unwrap() {
        store.delete(&object.key).await.unwrap();
    }
    assert!(store.list("contract/", "").await.unwrap().is_empty());
    assert!(store.unfinished("contract/").await.unwrap().is_empty());
    store.probe().await.unwrap();
}

async fn whole_objects(store: &dyn Store) {
    let key = "contract/whole/a.m4s";
    assert_eq!(store.head(key).await.unwrap(), None);
    assert!(matches!(store.read(key, 0, 1).await, Err(StoreError::Missing(_))));
    let put = store.put(key, Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(put.size, 10);
    assert_eq!(store.read(key, 3, 4).await.unwrap(), "3456");
    assert_eq!(store.read(key, 8, 100).await.unwrap(), "89", "a range past the end is shorter, not an error");
    assert!(store.read(key, 10, 5).await.unwrap().is_empty());
    store.put(key, Bytes::from_static(b"0123456789")).await.unwrap();
    let other = store.put(key, Bytes::from_static(b"other")).await;
    assert!(matches!(other, Err(StoreError::Exists(_))), "an object never changes: {other:?}");
    assert_eq!(store.head(key).await.unwrap().unwrap().size, 10);
    store.put("contract/whole/b.m4s", Bytes::new()).await.unwrap();
    let keys: Vec<_> = store.list("contract/whole/", "").await.unwrap().into_iter().map(|o| (o.key, o.size)).collect();
    assert_eq!(keys, [("contract/whole/a.m4s".into(), 10), ("contract/whole/b.m4s".into(), 0)]);
    store.delete(key).await.unwrap();
    store.delete(key).await.unwrap();
    assert_eq!(store.head(key).await.unwrap(), None);
}

/// Two parts of 5 MiB and 3 bytes, the first in three pieces, sent out of order.
async fn parts_and_tails(store: &dyn Store) {
    const MIB5: usize = 5 << 20;
    let data: Bytes = (0..MIB5 + 3).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect::<Vec<_>>().into();
    let to = store.begin("contract/up/one").await.unwrap();
    assert_eq!(store.head("contract/up/one").await.unwrap(), None, "nothing is under the final name yet");
    let tail = |off: usize, len: usize| Tail {
        key: format!("contract/tails/one/{off}-1-0"),
        off: off as u64,
        len: len as u64,
        crc64: crc64(&[data.slice(off..off + len)]),
    };
    let (a, b) = (tail(0, 1000), tail(1000, 500));
    store.put_tail(&to, &a, vec![data.slice(..400), data.slice(400..1000)]).await.unwrap();
    store.put_tail(&to, &b, vec![data.slice(1000..1500)]).await.unwrap();
    if let Some(read) = store.read_unfinished(&to, 200, 1000).await.unwrap() {
        assert_eq!(read, data.slice(200..1200));
    }
    let (mut one, mut two) = (part(1, 0, &data[..MIB5]), part(2, MIB5 as u64, &data[MIB5..]));
    two.etag = store.put_part(&to, &two, &[], MIB5 as u64, vec![data.slice(MIB5..)]).await.unwrap();
    one.etag = store.put_part(&to, &one, &[a, b], 1500, vec![data.slice(1500..MIB5)]).await.unwrap();
    let parts = [one, two];
    let whole = store.complete(&to, &parts, data.len() as u64).await.unwrap();
    assert_eq!(whole.size, data.len() as u64);
    assert_eq!(store.read("contract/up/one", 0, data.len()).await.unwrap(), data);
}

async fn completed_twice(store: &dyn Store) {
    // minio#17858: the second complete must keep the data.
    let to = store.begin("contract/up/twice").await.unwrap();
    let mut one = part(1, 0, b"twice");
    one.etag = store.put_part(&to, &one, &[], 0, vec![Bytes::from_static(b"twice")]).await.unwrap();
    let parts = [one];
    store.complete(&to, &parts, 5).await.unwrap();
    store.complete(&to, &parts, 5).await.unwrap();
    assert_eq!(store.read("contract/up/twice", 0, 9).await.unwrap(), "twice");
}

async fn gaps_are_refused(store: &dyn Store) {
    let to = store.begin("contract/up/gap").await.unwrap();
    let mut two = part(2, 5 << 20, b"xyz");
    two.etag = store.put_part(&to, &two, &[], 5 << 20, vec![Bytes::from_static(b"xyz")]).await.unwrap();
    let parts = [two];
    assert!(store.complete(&to, &parts, 3).await.is_err());
    assert!(store.complete(&to, &parts, (5 << 20) + 3).await.is_err());
    assert_eq!(store.head("contract/up/gap").await.unwrap(), None);
    store.abort(&to).await.unwrap();
}

async fn aborted(store: &dyn Store) {
    let to = store.begin("contract/up/gone").await.unwrap();
    let one = part(1, 0, b"abc");
    store.put_part(&to, &one, &[], 0, vec![Bytes::from_static(b"abc")]).await.unwrap();
    store.abort(&to).await.unwrap();
    store.abort(&to).await.unwrap();
    let late = store.put_part(&to, &one, &[], 0, vec![Bytes::from_static(b"abc")]).await;
    assert!(matches!(late, Err(StoreError::Missing(_))), "an upload that the store forgot isn't written on: {late:?}");
    let parts = [one];
    assert!(store.complete(&to, &parts, 3).await.is_err(), "lost is not done");
    assert_eq!(store.head("contract/up/gone").await.unwrap(), None);
}

/// Part `part_no` at `off` of these bytes, as its caller describes it before the store has it.
pub fn part(part_no: i32, off: u64, bytes: &[u8]) -> Part {
    let crc64 = crc64(&[Bytes::copy_from_slice(bytes)]);
    Part { part_no, off, len: bytes.len() as u64, etag: String::new(), crc64 }
}
