//! The same rules before a real store: what passes is untouched, what is struck is struck there too.

use std::time::Instant;

use super::mpu::{MIB, Mpu, bytes, crc64, put};
use crate::support::{
    app::PATIENCE,
    garage::Garage,
    s3::{Action, Answer, Op, Rule, Toxic},
};

#[tokio::test]
async fn rules_strike_before_garage() {
    let mut garage = Garage::start().await;
    let toxic = Toxic::before(&garage.site());
    let (site, faults) = (toxic.site(), toxic.faults());
    let all = bytes(1, 3 * MIB);
    let clean = put(&site, "clean", &all).await.unwrap();
    assert_eq!(site.read("clean").await, all);
    assert_eq!(toxic.meter().passed(), all.len() as u64);
    assert_eq!(garage.objects("").await, site.objects("").await);

    let slow = faults.add(Rule::on(Op::PutObject, Action::Answer(Answer::SLOW_DOWN)).once());
    assert_eq!(put(&site, "slow", &all).await.unwrap_err(), "SlowDown");
    faults.add(Rule::on(Op::PutObject, Action::DropAnswer).once());
    assert_eq!(put(&site, "unanswered", &all).await.unwrap_err(), "none");
    faults.add(Rule::on(Op::PutObject, Action::FlipBit { at: 5 }).once());
    assert_ne!(put(&site, "flipped", &all).await.unwrap(), clean);
    assert_ne!(garage.site().read("flipped").await, all);
    faults.add(Rule::on(Op::PutObject, Action::Truncate { keep: 5 }).once());
    put(&site, "cut", &all).await.unwrap();
    assert_eq!(garage.site().read("cut").await, all[..5]);
    assert_eq!((slow.hits(), garage.objects("slow").await.len()), (1, 0));
    assert_eq!(garage.site().read("unanswered").await, all);
    let held = faults.add(Rule::on(Op::PutObject, Action::Hold).once());
    let (sent, ()) = tokio::join!(put(&site, "held", b"x"), async {
        held.until_hit(1).await;
        assert!(garage.objects("held").await.is_empty());
        held.release();
    });
    sent.unwrap();
    garage.kill();
    assert_eq!(put(&site, "dead", &all).await.unwrap_err(), "none");
    garage.boot().await;
    put(&site, "again", &all).await.unwrap();
}

#[tokio::test]
async fn parts_break_as_garage_breaks_them() {
    let garage = Garage::start().await;
    let toxic = Toxic::before(&garage.site());
    let part = bytes(1, 4 * MIB);
    let mpu = Mpu::create(&toxic.site(), "k", true).await;
    let one = mpu.part_claiming(1, &part, Some(crc64(&part))).await.unwrap();
    toxic.faults().add(Rule::on(Op::UploadPart, Action::FlipBit { at: 0 }).part(2));
    let two = mpu.part_claiming(2, &part, Some(crc64(&part))).await.unwrap();
    assert_ne!(two, one, "garage tells the digest of what it got");
    let whole = Some(crc64(&[&part[..], &part[..]].concat()));
    assert!(mpu.complete(&[(1, &one), (2, &two)], whole).await.is_err(), "the whole isn't as claimed");
    toxic.faults().heal();
    // A second try of a stored part that breaks off hides the first.
    let cut = toxic.faults().add(Rule::on(Op::UploadPart, Action::Cut { after: 3 * MIB as u64 }).part(1));
    assert_eq!(mpu.part_claiming(1, &part, Some(crc64(&part))).await.unwrap_err(), "none");
    // With a wrong checksum of the whole, which ends nothing: the parts are looked at first.
    let begun = Instant::now();
    while mpu.complete(&[(1, &one)], Some(crc64(b"wrong"))).await.unwrap_err() != "InvalidPart" {
        assert!(begun.elapsed() < PATIENCE, "it never came");
    }
    assert_eq!(mpu.complete(&[(1, &one)], None).await.unwrap_err(), "InvalidPart");
    let list = mpu.client.list_parts().bucket(&mpu.bucket).key("k").upload_id(&mpu.id).send().await.unwrap();
    assert_eq!(list.parts()[0].e_tag(), Some(one.as_str()), "the list tells it nevertheless");
    assert_eq!(cut.hits(), 1);
}

#[tokio::test]
async fn the_proxy_refuses_what_aws_would() {
    let garage = Garage::start().await;
    let toxic = Toxic::aws_rules(&garage.site());
    let site = toxic.site();
    let mpu = Mpu::create(&site, "k", false).await;
    assert_eq!(mpu.part(10_001, b"x").await.unwrap_err(), "InvalidArgument");
    let one = mpu.part(1, b"small").await.unwrap();
    let two = mpu.part(3, b"small").await.unwrap();
    assert_eq!(mpu.complete(&[(1, &one), (3, &two)], None).await.unwrap_err(), "InvalidPartOrder");
    let two = mpu.part(2, b"small").await.unwrap();
    assert_eq!(mpu.complete(&[(1, &one), (2, &two)], None).await.unwrap_err(), "EntityTooSmall");
    mpu.complete_if(&[(1, &one)], None, Some("*")).await.unwrap();
    let other = Mpu::create(&site, "k", false).await;
    let one = other.part(1, b"other").await.unwrap();
    assert_eq!(other.complete_if(&[(1, &one)], None, Some("*")).await.unwrap_err(), "PreconditionFailed");
    assert_eq!(site.read("k").await, b"small");
}
