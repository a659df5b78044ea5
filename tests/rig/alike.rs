//! The store in memory, with Garage's manners, and Garage itself: the same requests, the same answers.

use aws_sdk_s3::types::ChecksumMode;

use super::mpu::{Mpu, bytes, code, crc64, put};
use crate::support::{
    garage::Garage,
    s3::{Manners, Options, Site, Strict},
};

/// What a client can tell of a store.
async fn told_by(site: &Site) -> Vec<String> {
    let mut told = Vec::new();
    let mut tell = |what: &str, said: Result<String, String>| told.push(format!("{what}: {said:?}"));
    let (a, b) = (bytes(1, 70_000), bytes(2, 100));
    let both = [a.clone(), b.clone()].concat();
    tell("put", put(site, "put", &a).await);
    let mpu = Mpu::create(site, "folder/whole", true).await;
    tell("bad part", mpu.part_claiming(1, &a, Some(crc64(&b))).await.map(drop).map(|()| String::new()));
    let one = mpu.part_claiming(1, &a, Some(crc64(&a))).await;
    let two = mpu.part_claiming(2, &b, Some(crc64(&b))).await;
    tell("part 1", one.clone());
    tell("part 2", two.clone());
    let list = [(1, one.unwrap()), (2, two.unwrap())];
    let list: Vec<_> = list.iter().map(|(number, etag)| (*number, etag.as_str())).collect();
    tell("disorder", mpu.complete(&[list[1], list[0]], None).await);
    tell("wrong etag", mpu.complete(&[(1, list[1].1)], None).await);
    tell("wrong whole", mpu.complete(&list, Some(crc64(&a))).await.map_err(|_| "refused".to_owned()));
    let again = Mpu::create(site, "folder/whole", true).await;
    for (number, part) in [(1, &a), (2, &b)] {
        again.part_claiming(number, part, Some(crc64(part))).await.unwrap();
    }
    tell("complete", again.complete(&list, Some(crc64(&both))).await);
    tell("complete again", again.complete(&list, Some(crc64(&both))).await);
    let head = again.client.head_object().bucket(&site.bucket).key("folder/whole").checksum_mode(ChecksumMode::Enabled);
    let head = head.send().await.unwrap();
    let facts = (head.content_length, head.e_tag, head.checksum_crc64_nvme, head.checksum_type);
    tell("head", Ok(format!("{facts:?}")));
    let missing = again.client.get_object().bucket(&site.bucket).key("missing").send().await;
    tell("missing", missing.map(|_| String::new()).map_err(code));
    let past = again.client.get_object().bucket(&site.bucket).key("put").range("bytes=99999999-").send().await;
    tell("past the end", past.map(|_| String::new()).map_err(code));
    let parts = again.client.list_parts().bucket(&site.bucket).key("folder/whole").upload_id(&again.id).send().await;
    tell("parts of what is complete", parts.map(|_| String::new()).map_err(code));
    let aborted = mpu.client.abort_multipart_upload().bucket(&site.bucket).key("folder/whole").upload_id(&mpu.id);
    tell("abort", aborted.clone().send().await.map(|_| String::new()).map_err(code));
    tell("abort again", aborted.send().await.map(|_| String::new()).map_err(code));
    for what in ["put over", "delete under", "delete nothing under"] {
        if what == "delete under" {
            put(site, what, b"old").await.unwrap();
        }
        let open = Mpu::create(site, what, false).await;
        let younger = Mpu::create(site, what, false).await;
        match what {
            "put over" => drop(put(site, what, b"new").await.unwrap()),
            _ => drop(open.client.delete_object().bucket(&site.bucket).key(what).send().await.unwrap()),
        }
        tell(what, open.part(1, b"x").await);
        tell(what, younger.part(1, b"x").await);
    }
    let older = Mpu::create(site, "versions", false).await;
    let mpu = Mpu::create(site, "versions", false).await;
    let younger = Mpu::create(site, "versions", false).await;
    let etag = mpu.part(1, b"x").await.unwrap();
    mpu.complete(&[(1, &etag)], None).await.unwrap();
    tell("older", older.part(1, b"x").await);
    tell("younger", younger.part(1, b"x").await);
    tell("without its checksum", Mpu::create(site, "z", true).await.part(1, b"x").await);
    let list = again.client.list_objects_v2().bucket(&site.bucket).delimiter("/").send().await.unwrap();
    let groups: Vec<_> = list.common_prefixes().iter().map(|group| group.prefix()).collect();
    let objects: Vec<_> = list.contents().iter().map(|o| (o.key(), o.size(), o.e_tag())).collect();
    tell("list", Ok(format!("{groups:?} {objects:?}")));
    let open: Vec<_> = site.multiparts().await.into_iter().map(|(key, _)| key).collect();
    tell("open", Ok(format!("{open:?}")));
    told
}

#[tokio::test]
async fn garage_and_its_stand_in_say_the_same() {
    let garage = Garage::start().await;
    let memory = Strict::with(Options { manners: Manners::Garage, ..Options::default() });
    let (ours, theirs) = (told_by(&memory.site()).await, told_by(&garage.site()).await);
    assert_eq!(ours.join("\n"), theirs.join("\n"));
}
