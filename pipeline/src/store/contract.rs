//! What every backend promises, as one test body: the local folder runs it, and so must every store that joins.

use bytes::Bytes;

use super::{Part, Store, StoreError, Tail};

/// Puts `store` through the contract. It must be empty below `contract/`, and is left so.
///
/// # Panics
/// When a promise is broken: this is a test.
pub(super) async fn contract(store: &dyn Store) {
    whole_objects(store).await;
    parts_and_tails(store).await;
    completed_twice(store).await;
    gaps_are_refused(store).await;
    aborted(store).await;
    for object in store.list("contract/").await.unwrap() {
        store.delete(&object.key).await.unwrap();
    }
    assert!(store.list("contract/").await.unwrap().is_empty());
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
    let keys: Vec<_> = store.list("contract/whole/").await.unwrap().into_iter().map(|o| (o.key, o.size)).collect();
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
    };
    let (a, b) = (tail(0, 1000), tail(1000, 500));
    store.put_tail(&to, &a, vec![data.slice(..400), data.slice(400..1000)]).await.unwrap();
    store.put_tail(&to, &b, vec![data.slice(1000..1500)]).await.unwrap();
    if let Some(read) = store.read_unfinished(&to, 200, 1000).await.unwrap() {
        assert_eq!(read, data.slice(200..1200));
    }
    let second = store.put_part(&to, 2, &[], MIB5 as u64, vec![data.slice(MIB5..)]).await.unwrap();
    let first = store.put_part(&to, 1, &[a, b], 1500, vec![data.slice(1500..MIB5)]).await.unwrap();
    let part = |part_no, off: usize, len: usize, etag: &str| Part {
        part_no,
        off: off as u64,
        len: len as u64,
        etag: etag.into(),
        crc64: crate::digest::crc64(&[data.slice(off..off + len)]),
    };
    let parts = [part(1, 0, MIB5, &first), part(2, MIB5, 3, &second)];
    let whole = store.complete(&to, &parts, data.len() as u64).await.unwrap();
    assert_eq!(whole.size, data.len() as u64);
    assert_eq!(store.read("contract/up/one", 0, data.len()).await.unwrap(), data);
}

async fn completed_twice(store: &dyn Store) {
    // minio#17858: the second complete must keep the data.
    let to = store.begin("contract/up/twice").await.unwrap();
    let etag = store.put_part(&to, 1, &[], 0, vec![Bytes::from_static(b"twice")]).await.unwrap();
    let crc64 = crate::digest::crc64(&[Bytes::from_static(b"twice")]);
    let parts = [Part { part_no: 1, off: 0, len: 5, etag, crc64 }];
    store.complete(&to, &parts, 5).await.unwrap();
    store.complete(&to, &parts, 5).await.unwrap();
    assert_eq!(store.read("contract/up/twice", 0, 9).await.unwrap(), "twice");
}

async fn gaps_are_refused(store: &dyn Store) {
    let to = store.begin("contract/up/gap").await.unwrap();
    let etag = store.put_part(&to, 2, &[], 5 << 20, vec![Bytes::from_static(b"xyz")]).await.unwrap();
    let parts = [Part { part_no: 2, off: 5 << 20, len: 3, etag, crc64: 0 }];
    assert!(store.complete(&to, &parts, 3).await.is_err());
    assert!(store.complete(&to, &parts, (5 << 20) + 3).await.is_err());
    assert_eq!(store.head("contract/up/gap").await.unwrap(), None);
    store.abort(&to).await.unwrap();
}

async fn aborted(store: &dyn Store) {
    let to = store.begin("contract/up/gone").await.unwrap();
    store.put_part(&to, 1, &[], 0, vec![Bytes::from_static(b"abc")]).await.unwrap();
    store.abort(&to).await.unwrap();
    store.abort(&to).await.unwrap();
    let late = store.put_part(&to, 1, &[], 0, vec![Bytes::from_static(b"abc")]).await;
    assert!(matches!(late, Err(StoreError::Missing(_))), "an upload that the store forgot isn't written on: {late:?}");
    let parts = [Part { part_no: 1, off: 0, len: 3, etag: String::new(), crc64: 0 }];
    assert!(store.complete(&to, &parts, 3).await.is_err(), "lost is not done");
    assert_eq!(store.head("contract/up/gone").await.unwrap(), None);
}
