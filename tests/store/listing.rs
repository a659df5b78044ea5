//! More than one page.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use pipeline::store::{LIST_MAX, Store};

use super::store;
use crate::support::s3::{Action, Answer, Op, Rule, Strict};

#[tokio::test]
async fn a_page_is_followed_by_the_next_and_all_are_deleted_in_batches() {
    let strict = Strict::start();
    let store = store(&strict.site());
    let keys: Vec<String> = (0..LIST_MAX + 5).map(|n| format!("many/{n:05}")).collect();
    stream::iter(&keys).for_each_concurrent(32, async |key| drop(store.put(key, Bytes::new()).await.unwrap())).await;
    let first = store.list("many/", "").await.unwrap();
    assert_eq!((first.len(), &first[LIST_MAX - 1].key), (LIST_MAX, &keys[LIST_MAX - 1]));
    let rest = store.list("many/", &first[LIST_MAX - 1].key).await.unwrap();
    assert_eq!(rest.iter().map(|object| &object.key).collect::<Vec<_>>(), keys[LIST_MAX..].iter().collect::<Vec<_>>());
    store.delete_all(&keys).await.unwrap();
    assert_eq!((strict.log().count(Op::DeleteObjects), strict.keys("many/").len()), (2, 0));
}

#[tokio::test]
async fn a_store_that_doesnt_delete_in_batches_is_asked_key_by_key() {
    let strict = Strict::start();
    let store = store(&strict.site());
    let keys = ["many/1", "many/2"].map(str::to_owned);
    for key in &keys {
        store.put(key, Bytes::new()).await.unwrap();
    }
    let refusal = Answer { status: 400, code: "MissingContentMD5" };
    strict.faults().add(Rule::on(Op::DeleteObjects, Action::Answer(refusal)));
    store.delete_all(&keys).await.unwrap();
    assert!(strict.keys("many/").is_empty());
}

#[tokio::test]
async fn more_open_uploads_than_a_page_are_all_told() {
    let strict = Strict::start();
    let store = store(&strict.site());
    let keys: Vec<String> = (0..LIST_MAX + 3).map(|n| format!("many/{n:05}")).collect();
    stream::iter(&keys).for_each_concurrent(32, async |key| drop(store.begin(key).await.unwrap())).await;
    let found = store.unfinished("many/").await.unwrap();
    assert_eq!(found.into_iter().map(|open| open.of.key).collect::<Vec<_>>(), keys);
}
