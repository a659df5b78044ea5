//! Where a bucket is and who may use it: as settings for Millrace, and as a client for the test itself.

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig, retry::RetryConfig,
    },
};

/// One bucket, reached through one endpoint.
#[derive(Clone, Debug)]
pub struct Site {
    /// `http://host:port`, without a path.
    pub endpoint: String,
    pub region: String,
    pub bucket: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

/// Environment variables.
#[derive(Clone, Debug)]
pub struct Settings(pub Vec<(&'static str, String)>);

impl Settings {
    /// As a started app takes them.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    /// With one more.
    #[must_use]
    pub fn and(mut self, name: &'static str, value: &str) -> Self {
        self.0.push((name, value.to_owned()));
        self
    }
}

impl Site {
    /// The same bucket by another way: through a proxy.
    pub fn through(&self, endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), ..self.clone() }
    }

    /// What Millrace has to be told.
    pub fn settings(&self) -> Settings {
        Settings(vec![
            ("TRACK_STORAGE_BACKEND", "s3".to_owned()),
            ("S3_ENDPOINT", self.endpoint.clone()),
            ("S3_REGION", self.region.clone()),
            ("S3_BUCKET", self.bucket.clone()),
            ("S3_ACCESS_KEY_ID", self.access_key_id.clone()),
            ("S3_SECRET_ACCESS_KEY", self.secret_access_key.clone()),
            ("S3_FORCE_PATH_STYLE", "true".to_owned()),
        ])
    }

    /// A client that tries once and adds nothing: a test sees what the store said.
    pub fn client(&self) -> Client {
        let keys = Credentials::new(&self.access_key_id, &self.secret_access_key, None, None, "tests");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .endpoint_url(&self.endpoint)
            .credentials_provider(keys)
            .force_path_style(true)
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Client::from_conf(config)
    }

    /// Keys of all objects below a prefix.
    pub async fn objects(&self, prefix: &str) -> Vec<String> {
        let list = self.client().list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let mut pages = list.into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(page.unwrap().contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        keys
    }

    /// Multipart uploads that are neither completed nor aborted: key and id, sorted.
    pub async fn multiparts(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let (mut key, mut id) = (None, None);
        loop {
            let list = self.client().list_multipart_uploads().bucket(&self.bucket);
            let page = list.set_key_marker(key).set_upload_id_marker(id).send().await.unwrap();
            let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
            found.extend(page.uploads().iter().map(|open| (text(open.key()), text(open.upload_id()))));
            if page.is_truncated() != Some(true) {
                found.sort();
                return found;
            }
            (key, id) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    /// All bytes of an object.
    pub async fn read(&self, key: &str) -> Vec<u8> {
        let object = self.client().get_object().bucket(&self.bucket).key(key).send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    }
}
