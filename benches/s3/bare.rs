//! A file into S3 by the SDK alone: what a store takes from one sender on this machine.
//!
//! Payloads unsigned, parts of our size, as many in flight as a server here has. Each part is read from the page cache
//! into one buffer. Absent: checksums, digests, a server.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig,
    },
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use tokio::task::JoinSet;

use super::{PART_BYTES, PARTS_IN_FLIGHT, site::Site};

/// Uploads `files` ranges of `length` bytes at once, and prints how long that took.
pub async fn run(site: Site, source: &Path, start: u64, length: u64, files: u64) -> anyhow::Result<()> {
    let (client, source) = (client(&site), Arc::new(File::open(source)?));
    let begun = Instant::now();
    let mut uploads = JoinSet::new();
    for n in 0..files {
        let file = Object { client: client.clone(), bucket: site.bucket.clone(), key: format!("bare-{start}-{n}") };
        uploads.spawn(file.upload(Arc::clone(&source), start + n * super::STEP_BYTES, length));
    }
    while let Some(done) = uploads.join_next().await {
        done??;
    }
    println!("{}", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Whether the bucket is there.
pub async fn answers(site: &Site) -> bool {
    client(site).head_bucket().bucket(&site.bucket).send().await.is_ok()
}

fn client(site: &Site) -> Client {
    let (id, secret) = (&site.access_key_id, &site.secret_access_key);
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(&site.endpoint)
        .region(Region::new(site.region.clone()))
        .credentials_provider(Credentials::new(id, secret, None, None, "bench"))
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    Client::from_conf(config)
}

/// What [`run`] printed.
pub fn took(printed: &str) -> anyhow::Result<Duration> {
    Ok(Duration::from_secs_f64(printed.trim().parse().context("the loop didn't say how long it took")?))
}

#[derive(Clone)]
struct Object {
    client: Client,
    bucket: String,
    key: String,
}

impl Object {
    async fn upload(self, source: Arc<File>, start: u64, length: u64) -> anyhow::Result<()> {
        let begun = self.client.create_multipart_upload().bucket(&self.bucket).key(&self.key).send().await?;
        let id = begun.upload_id.context("no upload id")?;
        let (mut sent, mut parts) = (JoinSet::new(), Vec::new());
        let count = length.div_ceil(PART_BYTES as u64);
        for n in 0..count {
            if sent.len() >= PARTS_IN_FLIGHT
                && let Some(done) = sent.join_next().await
            {
                parts.push(done??);
            }
            let off = n * PART_BYTES as u64;
            let len = usize::try_from((length - off).min(PART_BYTES as u64))?;
            let (object, id, source) = (self.clone(), id.clone(), Arc::clone(&source));
            sent.spawn(object.part(id, i32::try_from(n)? + 1, source, start + off, len));
        }
        while let Some(done) = sent.join_next().await {
            parts.push(done??);
        }
        parts.sort_by_key(|part: &CompletedPart| part.part_number());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.client.complete_multipart_upload().bucket(&self.bucket).key(&self.key).upload_id(id);
        complete.multipart_upload(parts).send().await?;
        Ok(())
    }

    async fn part(
        self,
        id: String,
        part_no: i32,
        source: Arc<File>,
        off: u64,
        len: usize,
    ) -> anyhow::Result<CompletedPart> {
        let bytes = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; len];
            source.read_exact_at(&mut bytes, off).map(|()| bytes)
        });
        let put = self.client.upload_part().bucket(&self.bucket).key(&self.key).upload_id(id).part_number(part_no);
        let put = put.body(ByteStream::from(bytes.await??)).customize().disable_payload_signing().send().await?;
        Ok(CompletedPart::builder().part_number(part_no).set_e_tag(put.e_tag).build())
    }
}
