//! One multipart upload, step by step, with any step wrong.

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use crc_fast::{CrcAlgorithm, checksum};

use crate::support::s3::Site;

pub const MIB: usize = 1 << 20;

pub struct Mpu {
    pub client: Client,
    pub bucket: String,
    pub key: String,
    pub id: String,
}

/// What went wrong: S3's code, or `none` where there was no answer.
pub type Code = String;

impl Mpu {
    /// With checksums of the full object, or without any.
    pub async fn create(site: &Site, key: &str, with_checksums: bool) -> Self {
        let client = site.client();
        let mut create = client.create_multipart_upload().bucket(&site.bucket).key(key);
        if with_checksums {
            create = create.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
        }
        let id = create.send().await.unwrap().upload_id.unwrap();
        Self { client, bucket: site.bucket.clone(), key: key.to_owned(), id }
    }

    /// The ETag.
    pub async fn part(&self, number: i32, bytes: &[u8]) -> Result<String, Code> {
        self.part_claiming(number, bytes, None).await
    }

    pub async fn part_claiming(&self, number: i32, bytes: &[u8], crc: Option<String>) -> Result<String, Code> {
        let put = self.client.upload_part().bucket(&self.bucket).key(&self.key).upload_id(&self.id);
        let sent = put.part_number(number).set_checksum_crc64_nvme(crc).body(bytes.to_vec().into()).send().await;
        sent.map(|done| done.e_tag.unwrap()).map_err(code)
    }

    /// The ETag of the object.
    pub async fn complete(&self, parts: &[(i32, &str)], crc: Option<String>) -> Result<String, Code> {
        self.complete_if(parts, crc, None).await
    }

    pub async fn complete_if(
        &self,
        parts: &[(i32, &str)],
        crc: Option<String>,
        none_match: Option<&str>,
    ) -> Result<String, Code> {
        let part = |(number, etag): &(i32, &str)| CompletedPart::builder().part_number(*number).e_tag(*etag).build();
        let list = CompletedMultipartUpload::builder().set_parts(Some(parts.iter().map(part).collect())).build();
        let kind = crc.is_some().then_some(ChecksumType::FullObject);
        let complete = self.client.complete_multipart_upload().bucket(&self.bucket).key(&self.key).upload_id(&self.id);
        let complete = complete.multipart_upload(list).set_checksum_crc64_nvme(crc).set_checksum_type(kind);
        let done = complete.set_if_none_match(none_match.map(str::to_owned)).send().await;
        done.map(|done| done.e_tag.unwrap()).map_err(code)
    }
}

pub fn code<E: ProvideErrorMetadata, R>(error: SdkError<E, R>) -> Code {
    match &error {
        SdkError::ServiceError(said) => said.err().code().unwrap_or("without code").to_owned(),
        _ => "none".to_owned(),
    }
}

/// As headers carry it.
pub fn crc64(bytes: &[u8]) -> String {
    STANDARD.encode(checksum(CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes())
}

/// Bytes that differ from their neighbours, and from those of another seed.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

pub async fn put(site: &Site, key: &str, bytes: &[u8]) -> Result<String, Code> {
    let put = site.client().put_object().bucket(&site.bucket).key(key).body(bytes.to_vec().into());
    put.send().await.map(|done| done.e_tag.unwrap()).map_err(code)
}
