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
    listed_in_order(store).await;
    unfinished(store).await;
    if !store.tails_in_place() {
        parts_of_their_own(store).await;
        copied(store).await;
        damaged(store).await;
        overwritten(store).await;
    }
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
    for others in ["other", "9876543210"] {
        let other = store.put(key, Bytes::from_static(others.as_bytes())).await;
        assert!(matches!(other, Err(StoreError::Exists(_))), "an object never changes: {other:?}");
    }
    assert_eq!(store.head(key).await.unwrap().unwrap().size, 10);
    store.put("contract/whole/b.m4s", Bytes::new()).await.unwrap();
    let keys: Vec<_> = store.list("contract/whole/", "").await.unwrap().into_iter().map(|o| (o.key, o.size)).collect();
    assert_eq!(keys, [("contract/whole/a.m4s".into(), 10), ("contract/whole/b.m4s".into(), 0)]);
    // S3-5: what is gone may be deleted again.
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
    let read = store.read_unfinished(&to, 200, 1000).await.unwrap();
    assert_eq!(read, store.reads_unfinished().then(|| data.slice(200..1200)));
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

async fn listed_in_order(store: &dyn Store) {
    let keys: Vec<String> = ["a", "b/c", "b-d", "e"].map(|key| format!("contract/list/{key}")).to_vec();
    for key in &keys {
        store.put(key, Bytes::from_static(b"x")).await.unwrap();
    }
    let mut sorted = keys.clone();
    sorted.sort();
    let found = async |after: &str| -> Vec<String> {
        store.list("contract/list/", after).await.unwrap().into_iter().map(|object| object.key).collect()
    };
    assert_eq!(found("").await, sorted);
    assert_eq!(found(&sorted[1]).await, sorted[2..], "what comes after a key is without it");
    assert!(found(&sorted[3]).await.is_empty());
    assert!(store.list("contract/list/", "").await.unwrap()[0].modified.is_some(), "a listing tells the age");
    let gone = [keys.clone(), vec!["contract/list/never".into()]].concat();
    store.delete_all(&gone).await.unwrap();
    store.delete_all(&gone).await.unwrap();
    assert!(found("").await.is_empty());
}

async fn unfinished(store: &dyn Store) {
    let before = time::OffsetDateTime::now_utc() - time::Duration::minutes(5);
    let (one, two) = (store.begin("contract/open/1").await.unwrap(), store.begin("contract/open/2").await.unwrap());
    let found = store.unfinished("contract/open/").await.unwrap();
    let names = |found: &[super::Unfinished]| -> Vec<(String, String)> {
        found.iter().map(|open| (open.of.key.clone(), open.of.multipart_id.clone())).collect()
    };
    let wanted = [&one, &two].map(|to| (to.key.clone(), to.multipart_id.clone()));
    assert_eq!(names(&found), wanted);
    assert!(found.iter().all(|open| open.begun > before));
    assert!(store.unfinished("contract/elsewhere/").await.unwrap().is_empty());
    store.abort(&one).await.unwrap();
    assert_eq!(names(&store.unfinished("contract/open/").await.unwrap()), wanted[1..]);
    store.abort(&two).await.unwrap();
}

/// Where parts have a life of their own, they can be listed, and tails are objects.
async fn parts_of_their_own(store: &dyn Store) {
    let to = store.begin("contract/up/listed").await.unwrap();
    assert!(store.listed(&to).await.unwrap().is_empty());
    let tail = Tail { key: "contract/tails/listed/0-1-0".into(), off: 0, len: 3, crc64: crc64(&[Bytes::from("abc")]) };
    store.put_tail(&to, &tail, vec![Bytes::from_static(b"a"), Bytes::from_static(b"bc")]).await.unwrap();
    assert_eq!(store.read(&tail.key, 0, 9).await.unwrap(), "abc");
    let mut one = part(1, 0, b"abcdef");
    let lost = Tail { key: "contract/tails/listed/none".into(), ..tail.clone() };
    let without = store.put_part(&to, &one, &[lost], 3, vec![Bytes::from_static(b"def")]).await;
    assert!(matches!(without, Err(StoreError::Missing(_))), "a part isn't made of what isn't there: {without:?}");
    let other = Tail { crc64: 1, ..tail.clone() };
    let damaged = store.put_part(&to, &one, &[other], 3, vec![Bytes::from_static(b"def")]).await;
    assert!(matches!(damaged, Err(StoreError::Wrong { .. })), "a tail that changed is found: {damaged:?}");
    one.etag = store.put_part(&to, &one, &[tail], 3, vec![Bytes::from_static(b"def")]).await.unwrap();
    let listed = store.listed(&to).await.unwrap();
    assert_eq!((listed.len(), listed[0].part_no, listed[0].len), (1, 1, 6));
    assert_eq!(listed[0].etag, one.etag);
    assert!(listed[0].crc64.is_none_or(|crc| crc == one.crc64));
    store.complete(&to, &[one], 6).await.unwrap();
    assert_eq!(store.read("contract/up/listed", 0, 9).await.unwrap(), "abcdef");
    assert!(matches!(store.listed(&to).await, Err(StoreError::Missing(_))));
}

async fn copied(store: &dyn Store) {
    const MIB6: usize = 6 << 20;
    let data: Bytes = (0..MIB6).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect::<Vec<_>>().into();
    store.put("contract/whole/source", data.clone()).await.unwrap();
    store.put("contract/whole/small", Bytes::from_static(b"0123456789")).await.unwrap();
    let to = store.begin("contract/up/copy").await.unwrap();
    let (mut one, lie) = (part(1, 0, &data[3..MIB6 - 5]), part(1, 0, &data[4..MIB6 - 4]));
    let Some(etag) = store.copy_part(&to, &one, "contract/whole/source", 3).await.unwrap() else {
        return store.abort(&to).await.unwrap();
    };
    one.etag = etag;
    store.complete(&to, &[one], (MIB6 - 8) as u64).await.unwrap();
    assert_eq!(store.read("contract/up/copy", 0, MIB6).await.unwrap(), data.slice(3..MIB6 - 5));
    let to = store.begin("contract/up/copy-2").await.unwrap();
    let lied = match store.copy_part(&to, &lie, "contract/whole/source", 3).await {
        Ok(etag) => store.complete(&to, &[Part { etag: etag.unwrap(), ..lie }], (MIB6 - 8) as u64).await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(lied, Err(StoreError::Wrong { .. })), "a copy of other bytes is found: {lied:?}");
    let small = store.copy_part(&to, &part(1, 0, b"34567"), "contract/whole/small", 3).await;
    assert!(small.is_ok(), "what the store can't copy, the caller sends: {small:?}");
    let none = store.copy_part(&to, &part(1, 0, b"34567"), "contract/whole/none", 3).await;
    assert!(matches!(none, Err(StoreError::Missing(_))), "{none:?}");
    store.abort(&to).await.unwrap();
}

async fn damaged(store: &dyn Store) {
    let to = store.begin("contract/up/wrong").await.unwrap();
    let lie = Part { crc64: 1, ..part(1, 0, b"abc") };
    let wrong = store.put_part(&to, &lie, &[], 0, vec![Bytes::from_static(b"abc")]).await;
    assert!(matches!(wrong, Err(StoreError::Wrong { .. })), "{wrong:?}");
    let tail = Tail { key: "contract/tails/wrong/0-1-0".into(), off: 0, len: 3, crc64: 1 };
    let wrong = store.put_tail(&to, &tail, vec![Bytes::from_static(b"abc")]).await;
    assert!(matches!(wrong, Err(StoreError::Wrong { .. })), "{wrong:?}");
    assert_eq!(store.head(&tail.key).await.unwrap(), None);
    store.abort(&to).await.unwrap();
}

async fn overwritten(store: &dyn Store) {
    let to = store.begin("contract/up/over").await.unwrap();
    let mut one = part(1, 0, b"mine");
    one.etag = store.put_part(&to, &one, &[], 0, vec![Bytes::from_static(b"mine")]).await.unwrap();
    let zombie = part(1, 0, b"late");
    store.put_part(&to, &zombie, &[], 0, vec![Bytes::from_static(b"late")]).await.unwrap();
    let parts = store.complete(&to, &[one.clone()], 4).await;
    assert!(matches!(parts, Err(StoreError::Parts { .. })), "another's bytes are never ours: {parts:?}");
    assert_ne!(store.listed(&to).await.unwrap()[0].etag, one.etag, "nothing was aborted, and the listing tells which");
    one.etag = store.put_part(&to, &one, &[], 0, vec![Bytes::from_static(b"mine")]).await.unwrap();
    store.complete(&to, &[one], 4).await.unwrap();
    assert_eq!(store.read("contract/up/over", 0, 9).await.unwrap(), "mine");
}

/// Part `part_no` at `off` of these bytes, as its caller describes it before the store has it.
pub fn part(part_no: i32, off: u64, bytes: &[u8]) -> Part {
    let crc64 = crc64(&[Bytes::copy_from_slice(bytes)]);
    Part { part_no, off, len: bytes.len() as u64, etag: String::new(), crc64 }
}
