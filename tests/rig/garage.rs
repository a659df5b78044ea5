//! Garage runs, keeps what it was given through `kill -9`, and tells what is open.

use std::time::Instant;

use crate::support::{garage::Garage, s3::Site};

async fn put(site: &Site, key: &str, bytes: Vec<u8>) {
    site.client().put_object().bucket(&site.bucket).key(key).body(bytes.into()).send().await.unwrap();
}

#[tokio::test]
async fn what_is_stored_outlives_a_kill() {
    let begun = Instant::now();
    let mut garage = Garage::start().await;
    eprintln!("garage is up after {:?}", begun.elapsed());
    let site = garage.site();
    put(&site, "a/1", vec![7; 3 << 20]).await;
    let open = site.client().create_multipart_upload().bucket(&site.bucket).key("b").send().await.unwrap();
    garage.kill();
    assert!(site.client().head_object().bucket(&site.bucket).key("a/1").send().await.is_err(), "it is dead");
    garage.boot().await;
    assert_eq!(site.read("a/1").await, vec![7; 3 << 20]);
    assert_eq!(garage.objects("a/").await, ["a/1"]);
    assert_eq!(garage.multiparts().await, [("b".to_owned(), open.upload_id.unwrap())]);
}

#[tokio::test]
async fn two_nodes_of_three_go_on() {
    let begun = Instant::now();
    let mut garage = Garage::three().await;
    eprintln!("three are up after {:?}", begun.elapsed());
    let site = garage.site();
    put(&site, "a", vec![1; 100]).await;
    garage.kill_node(2);
    put(&site, "b", vec![2; 100]).await;
    let second = site.through(&garage.endpoint_of(1));
    assert_eq!(second.read("a").await, vec![1; 100]);
    assert_eq!(second.read("b").await, vec![2; 100]);
    garage.boot_node(2).await;
    assert_eq!(site.through(&garage.endpoint_of(2)).read("b").await, vec![2; 100]);
}
