//! The strict store takes what AWS takes, and refuses what AWS refuses.

use std::time::Duration;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::mpu::{MIB, Mpu, bytes, code, crc64, put};
use crate::support::s3::{Keep, Manners, Op, Options, Strict};

/// The smallest part that isn't the last.
const SMALLEST: usize = 5 * MIB;

fn with(manners: Manners) -> Strict {
    Strict::with(Options { manners, ..Options::default() })
}

#[tokio::test]
async fn parts_are_judged_at_complete() {
    let s3 = Strict::start();
    let site = s3.site();
    let (a, b) = (bytes(1, SMALLEST), bytes(2, 10));
    let mpu = Mpu::create(&site, "k", false).await;
    let etags = [mpu.part(1, &a).await.unwrap(), mpu.part(2, &b).await.unwrap(), mpu.part(3, &b).await.unwrap()];
    let [one, two, three] = etags.each_ref().map(String::as_str);
    let small = mpu.complete(&[(1, one), (2, two), (3, three)], None).await;
    assert_eq!(small.unwrap_err(), "EntityTooSmall");
    assert_eq!(mpu.complete(&[(2, two), (1, one)], None).await.unwrap_err(), "InvalidPartOrder");
    assert_eq!(mpu.complete(&[(1, one), (1, one)], None).await.unwrap_err(), "InvalidPartOrder");
    assert_eq!(mpu.complete(&[(1, two), (2, two)], None).await.unwrap_err(), "InvalidPart");
    assert_eq!(mpu.complete(&[(1, one), (4, two)], None).await.unwrap_err(), "InvalidPart");
    assert_eq!(mpu.complete(&[], None).await.unwrap_err(), "MalformedXML");
    assert_eq!(mpu.part(0, &b).await.unwrap_err(), "InvalidArgument");
    assert_eq!(mpu.part(10_001, &b).await.unwrap_err(), "InvalidArgument");
    assert!(mpu.part(10_000, &b).await.is_ok());
    let again = mpu.part(2, b"other").await.unwrap();
    assert_eq!(mpu.complete(&[(1, one), (2, two)], None).await.unwrap_err(), "InvalidPart", "overwritten");
    assert!(s3.keys("").is_empty());
    let etag = mpu.complete(&[(1, one), (2, &again)], None).await.unwrap();
    assert!(etag.ends_with("-2\""), "{etag}");
    assert_eq!(s3.object("k").unwrap(), [&a[..], b"other"].concat());
    assert_eq!(mpu.part(1, &b).await.unwrap_err(), "NoSuchUpload");
    assert!(s3.multiparts().is_empty());
}

#[tokio::test]
async fn checksums_are_compared_part_by_part_and_for_the_whole() {
    let s3 = Strict::start();
    let (a, b) = (bytes(1, SMALLEST), bytes(2, 10));
    let mpu = Mpu::create(&s3.site(), "k", true).await;
    assert_eq!(mpu.part_claiming(1, &a, Some(crc64(&b))).await.unwrap_err(), "BadDigest");
    assert_eq!(mpu.part(1, &a).await.unwrap_err(), "InvalidRequest");
    let one = mpu.part_claiming(1, &a, Some(crc64(&a))).await.unwrap();
    let two = mpu.part_claiming(2, &b, Some(crc64(&b))).await.unwrap();
    let three = mpu.part_claiming(3, &b, Some(crc64(&b))).await.unwrap();
    let gap = mpu.complete(&[(1, &one), (3, &three)], None).await;
    assert_eq!(gap.unwrap_err(), "InvalidPartOrder");
    let list = [(1, one.as_str()), (2, two.as_str())];
    assert_eq!(mpu.complete(&list, Some(crc64(&a))).await.unwrap_err(), "BadDigest");
    mpu.complete(&list, Some(crc64(&[a, b].concat()))).await.unwrap();
    let put = mpu.client.put_object().bucket(&mpu.bucket).key("p").checksum_crc64_nvme(crc64(b"x"));
    assert_eq!(put.body(b"y".to_vec().into()).send().await.map_err(code).unwrap_err(), "BadDigest");
    assert_eq!(s3.keys(""), ["k"]);
}

#[tokio::test]
async fn stores_differ_in_conditions_and_in_a_second_complete() {
    for (manners, second, over) in [
        (Manners::Aws, Ok(()), Err("PreconditionFailed")),
        (Manners::Minio, Err("NoSuchUpload"), Err("PreconditionFailed")),
        (Manners::Garage, Err("NoSuchUpload"), Ok(())),
    ] {
        let s3 = with(manners);
        let site = s3.site();
        let mpu = Mpu::create(&site, "k", false).await;
        let etag = mpu.part(1, b"one").await.unwrap();
        mpu.complete_if(&[(1, &etag)], None, Some("*")).await.unwrap();
        let again = mpu.complete_if(&[(1, &etag)], None, Some("*")).await;
        assert_eq!(again.map(drop), second.map_err(str::to_owned), "{manners:?}");
        let other = Mpu::create(&site, "k", false).await;
        let etag = other.part(1, b"two").await.unwrap();
        let done = other.complete_if(&[(1, &etag)], None, Some("*")).await;
        assert_eq!(done.map(drop), over.map_err(str::to_owned), "{manners:?}");
        let put = site.client().put_object().bucket(&site.bucket).key("k").if_none_match("*").send().await;
        assert_eq!(put.map(drop).map_err(code), over.map_err(str::to_owned), "{manners:?}");
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let s3 = Strict::start();
    let site = s3.site();
    for key in ["a/1", "a/2", "a/3/x", "a/3/y", "b & <c>"] {
        put(&site, key, key.as_bytes()).await.unwrap();
    }
    assert_eq!(site.objects("a/").await, ["a/1", "a/2", "a/3/x", "a/3/y"]);
    assert_eq!(site.objects("b").await, ["b & <c>"]);
    let list = site.client().list_objects_v2().bucket(&site.bucket).prefix("a/").delimiter("/").max_keys(1);
    let mut pages = list.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        found.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        found.extend(page.common_prefixes().iter().map(|group| group.prefix().unwrap().to_owned()));
    }
    assert_eq!(found, ["a/1", "a/2", "a/3/"]);
    let mpu = Mpu::create(&site, "many", false).await;
    for number in 1..=5 {
        mpu.part(number, b"x").await.unwrap();
    }
    let list = mpu.client.list_parts().bucket(&mpu.bucket).key("many").upload_id(&mpu.id).max_parts(2);
    let mut pages = list.into_paginator().send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.unwrap().parts().len());
    }
    assert_eq!(sizes, [2, 2, 1]);
    s3.backdate(Duration::from_hours(25));
    let old = Mpu::create(&site, "old", false).await;
    assert_eq!(site.multiparts().await, [("many".into(), mpu.id.clone()), ("old".into(), old.id.clone())]);
    let page = site.client().list_multipart_uploads().bucket(&site.bucket).max_uploads(1).send().await.unwrap();
    assert_eq!((page.next_key_marker(), page.uploads().len()), (Some("many"), 1));
    s3.lose_uploads("many");
    assert_eq!(mpu.part(6, b"x").await.unwrap_err(), "NoSuchUpload");
    assert_eq!(s3.log().count(Op::UploadPart), 6);
}

#[tokio::test]
async fn objects_are_read_copied_and_deleted() {
    let s3 = Strict::start();
    let site = s3.site();
    let all = bytes(3, 6 * MIB);
    put(&site, "source", &all).await.unwrap();
    let client = site.client();
    let ranged = async |range: &str| {
        let read = client.get_object().bucket(&site.bucket).key("source").range(range).send().await;
        Ok::<_, String>(read.map_err(code)?.body.collect().await.unwrap().to_vec())
    };
    assert_eq!(ranged("bytes=1-3").await.unwrap(), all[1..4]);
    assert_eq!(ranged("bytes=-5").await.unwrap(), all[all.len() - 5..]);
    assert_eq!(ranged("bytes=9999999-").await.unwrap_err(), "InvalidRange");
    let mpu = Mpu::create(&site, "copy", false).await;
    let copy = client.upload_part_copy().bucket(&site.bucket).key("copy").upload_id(&mpu.id).part_number(1);
    let source = format!("{}/source", site.bucket);
    let copied = copy.copy_source(source).copy_source_range("bytes=0-5242879").send().await.unwrap();
    let etag = copied.copy_part_result.unwrap().e_tag.unwrap();
    mpu.complete(&[(1, &etag)], None).await.unwrap();
    assert_eq!(s3.object("copy").unwrap(), all[..5 * MIB]);
    let object = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let both = Delete::builder().objects(object("source")).objects(object("copy")).quiet(true).build().unwrap();
    client.delete_objects().bucket(&site.bucket).delete(both).send().await.unwrap();
    assert!(s3.keys("").is_empty());
    let gone = client.head_object().bucket(&site.bucket).key("source").send().await;
    assert_eq!(gone.unwrap_err().raw_response().unwrap().status().as_u16(), 404);
}

#[tokio::test]
async fn what_is_measured_isnt_kept() {
    let s3 = Strict::with(Options { keep: Keep::Lengths, ..Options::default() });
    let mpu = Mpu::create(&s3.site(), "k", true).await;
    let one = mpu.part_claiming(1, &bytes(1, SMALLEST), Some(crc64(b"anything"))).await.unwrap();
    // Small ones are checked all the same: by them clients find out what a store can do.
    mpu.part_claiming(2, b"12345", Some(crc64(b"something"))).await.unwrap_err();
    let two = mpu.part_claiming(2, b"12345", Some(crc64(b"12345"))).await.unwrap();
    assert_ne!(one, two);
    mpu.complete(&[(1, &one), (2, &two)], Some(crc64(b"anything"))).await.unwrap();
    assert_eq!(s3.object_bytes("k"), Some(SMALLEST as u64 + 5));
    put(&s3.site(), "tail", b"kept").await.unwrap();
    assert_eq!(s3.object("tail").unwrap(), b"kept");
}
