//! `millrace blobs link`: where a program of the operator's own can read what is stored, without our credentials.

use std::time::Duration;

use anyhow::{Context, bail};
use pipeline::{
    resolve::{Place, Resolved},
    store::{SignedUrls, Store},
};
use schema::{Id, track::Track};
use sqlx::PgPool;

use crate::{
    config::{Config, Loaded, Span},
    store,
};

/// The path or the signed URL of a track's source, or of an object by its key.
///
/// # Errors
/// No such track, or one that this process can't read; no such duration; the store.
pub async fn link(loaded: &Loaded, pool: &PgPool, what: &str, ttl: Option<&str>) -> anyhow::Result<String> {
    let ttl = ttl.map(|text| text.parse::<Span>().ok().context("--ttl is a duration such as 1h")).transpose()?;
    let (config, store) = (&loaded.config, store::beside(&loaded.config)?);
    let Ok(track) = what.parse::<Id<Track>>() else {
        return match (signs(&*store)?, ttl) {
            (urls, Some(Span(ttl))) => Ok(urls.signed_url(what, ttl).await?),
            (urls, None) => presigned_url(config, urls, what).await,
        };
    };
    let place = Place::of(pool, track).await?.with_context(|| format!("no stored track {track}"))?;
    match place.resolve(store.backend())? {
        Resolved::Path(path) => Ok(path),
        Resolved::Object(key) => {
            let ttl: Duration = ttl.map_or(config.transcode_url_ttl.0, |ttl| ttl.0);
            Ok(signs(&*store)?.signed_url(&key, ttl).await?)
        }
    }
}

/// As [`SignedUrls::signed_url`], for as long as `URL_TTL` says.
async fn presigned_url(config: &Config, urls: &dyn SignedUrls, key: &str) -> anyhow::Result<String> {
    Ok(urls.signed_url(key, config.url_ttl.0).await?)
}

fn signs(store: &dyn Store) -> anyhow::Result<&dyn SignedUrls> {
    match store.signed_urls() {
        Some(urls) => Ok(urls),
        None => bail!("a store on a disk signs no URLs; name a track to hear where its file is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::store::StoreError;

    use crate::config::{Start, load};

    struct Told;

    #[async_trait::async_trait]
    impl SignedUrls for Told {
        async fn signed_url(&self, key: &str, ttl: Duration) -> Result<String, StoreError> {
            Ok(format!("{key} for {} s", ttl.as_secs()))
        }
    }

    #[tokio::test]
    async fn without_a_word_a_url_is_good_for_as_long_as_the_setting_says() {
        // S3-3, HLS-3, URL-3, URL-4
        let empty = tempfile::NamedTempFile::new().unwrap();
        let start = Start::new(Default::default(), false).file(Some(empty.path().to_owned()));
        let mut config = load(start).unwrap().config;
        assert_eq!((config.url_ttl.0.as_secs(), config.transcode_url_ttl.0.as_secs()), (900, 3600));
        for seconds in [900, 60] {
            config.url_ttl = Span(Duration::from_secs(seconds));
            let wrapped = presigned_url(&config, &Told, "a/b").await.unwrap();
            assert_eq!(wrapped, Told.signed_url("a/b", config.url_ttl.0).await.unwrap());
        }
    }
}
