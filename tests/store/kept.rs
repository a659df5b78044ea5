//! One contract, every store; and what only S3 has: signed URLs, and a server that says no.

use std::time::Duration;

use bytes::Bytes;
use pipeline::store::{S3, Store, StoreError, contract::contract, s3::Settings};

use super::store;
use crate::support::{
    garage::Garage,
    s3::{Action, Answer, Keep, Manners, Op, Options, Rule, Strict, Toxic},
};

#[tokio::test]
async fn garage_keeps_the_contract() {
    // UP-11: the same body as `a_folder_keeps_the_contract`.
    let garage = Garage::start().await;
    contract(&store(&garage.site())).await;
    assert!(
        garage.objects("probe/").await.is_empty() && garage.multiparts().await.is_empty(),
        "nothing of ours is left"
    );
}

#[tokio::test]
async fn garage_under_the_rules_of_aws_keeps_the_contract() {
    let garage = Garage::start().await;
    let strict = Toxic::aws_rules(&garage.site());
    contract(&store(&strict.site())).await;
    assert!(garage.multiparts().await.is_empty());
}

#[tokio::test]
async fn stores_of_other_manners_keep_the_contract() {
    for manners in [Manners::Aws, Manners::Garage] {
        let strict = Strict::with(Options { manners, keep: Keep::Bytes });
        contract(&store(&strict.site())).await;
        assert!(strict.keys("").is_empty() && strict.multiparts().is_empty(), "{manners:?}");
        assert_eq!(strict.log().count(Op::Other), 0);
    }
}

#[tokio::test]
async fn a_signed_url_is_read_by_whoever_has_it_for_as_long_as_was_said() {
    // S3-2, HLS-3: the time is the call's, whatever any default is.
    let garage = Garage::start().await;
    let store = store(&garage.site());
    store.put("media/a.m4s", Bytes::from_static(b"0123456789")).await.unwrap();
    let urls = store.signed_urls().expect("a bucket signs");
    for seconds in [900, 7] {
        let url = urls.signed_url("media/a.m4s", Duration::from_secs(seconds)).await.unwrap();
        assert!(url.contains(&format!("X-Amz-Expires={seconds}&")), "{url}");
        assert!(!url.contains(&garage.site().secret_access_key));
        let http = reqwest::Client::new();
        assert_eq!(http.get(&url).send().await.unwrap().bytes().await.unwrap(), "0123456789");
        let part = http.get(&url).header("Range", "bytes=2-3").send().await.unwrap();
        assert_eq!((part.status().as_u16(), part.bytes().await.unwrap()), (206, Bytes::from_static(b"23")));
    }
    let url = urls.signed_url("media/a.m4s", Duration::from_secs(1)).await.unwrap();
    let forged = url.replace("X-Amz-Expires=1&", "X-Amz-Expires=100&");
    assert_eq!(reqwest::get(forged).await.unwrap().status(), 403);
}

#[tokio::test]
async fn what_a_refusal_means_is_told_without_secrets() {
    let strict = Strict::start();
    let store = store(&strict.site());
    store.put("a", Bytes::new()).await.unwrap();
    let put = async |answer| {
        let rule = strict.faults().add(Rule::on(Op::PutObject, Action::Answer(answer)));
        let error = store.put("b", Bytes::from_static(b"b")).await.unwrap_err();
        assert!(rule.hits() > 0);
        strict.faults().heal();
        error
    };
    let full = put(Answer { status: 507, code: "InsufficientStorage" }).await;
    assert!(matches!(full, StoreError::Full(_)), "{full:?}");
    let full = put(Answer { status: 403, code: "QuotaExceeded" }).await;
    assert!(matches!(full, StoreError::Full(_)), "{full:?}");
    let denied = put(Answer { status: 403, code: "AccessDenied" }).await;
    assert!(matches!(denied, StoreError::Away(_)), "{denied:?}");
    let said = format!("{denied:?} {:?}", std::error::Error::source(&denied).unwrap().to_string());
    assert!(said.contains("PutObject: 403 AccessDenied"), "{said}");
    assert!(!said.contains("anything") && !said.contains("Signature"), "{said}");
}

#[tokio::test]
async fn a_store_that_is_away_says_so_and_is_asked_again() {
    let mut garage = Garage::start().await;
    let site = garage.site();
    let store = store(&site);
    store.probe().await.unwrap();
    garage.kill();
    assert!(matches!(store.probe().await, Err(StoreError::Away(_))));
    // What the store can do isn't known yet, and isn't decided by its absence.
    assert!(matches!(store.put("a", Bytes::from_static(b"a")).await, Err(StoreError::Away(_))));
    garage.boot().await;
    store.put("a", Bytes::from_static(b"a")).await.unwrap();
    let other = S3::open(Settings::new(&site.endpoint, &site.region, "none", &site.access_key_id, "wrong"));
    assert!(other.probe().await.is_err());
    let denied = other.examine().await.unwrap_err();
    assert!(matches!(denied, pipeline::store::s3::ExamineError::Refused(_)), "{denied}");
}
