//! What a listener sees of a track, asked every few milliseconds: the first segment through its signed URL, and its state.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use url::Url;

use crate::server::Server;

/// Between two looks: small beside what is measured, large beside what a look costs.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Beyond this the thing never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A listener with the owner's token.
pub struct Sight<'a> {
    server: &'a Server,
    http: Client,
}

impl<'a> Sight<'a> {
    pub fn of(server: &'a Server) -> anyhow::Result<Self> {
        Ok(Self { server, http: Client::builder().timeout(PATIENCE).build()? })
    }

    /// When init and first segment of the variant that players start with had been fetched.
    pub async fn first_segment(&self, track: &str) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.try_first_segment(track).await?.is_some() {
                return Ok(Instant::now());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        bail!("no segment after {PATIENCE:?}: {}", self.state(track).await?)
    }

    /// When the track was `ready`.
    pub async fn ready(&self, track: &str) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        loop {
            let seen = self.state(track).await?;
            match seen.as_str() {
                "ready" => return Ok(Instant::now()),
                "failed" => bail!("the track failed"),
                _ => ensure!(begun.elapsed() < PATIENCE, "not ready after {PATIENCE:?}: {seen}"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn state(&self, id: &str) -> anyhow::Result<String> {
        let answer = self.get(self.server.url(&format!("/api/v1/tracks/{id}"))).send().await?.error_for_status()?;
        Ok(answer.json::<Value>().await?["state"].as_str().context("no state")?.to_owned())
    }

    /// The signed URL, once there is one.
    async fn stream(&self, id: &str) -> anyhow::Result<Option<String>> {
        let answer = self.get(self.server.url(&format!("/api/v1/tracks/{id}/stream"))).send().await?;
        if answer.status() != StatusCode::OK {
            return Ok(None);
        }
        Ok(Some(answer.json::<Value>().await?["url"].as_str().context("no url")?.to_owned()))
    }

    async fn try_first_segment(&self, track: &str) -> anyhow::Result<Option<()>> {
        let Some(url) = self.stream(track).await? else { return Ok(None) };
        let playlist = Url::parse(&self.server.url("/"))?.join(&url)?;
        let Some(variants) = self.text(&playlist).await? else { return Ok(None) };
        let Some(variant) = variants.lines().find(|l| !l.is_empty() && !l.starts_with('#')) else { return Ok(None) };
        let media = playlist.join(variant)?;
        let Some(text) = self.text(&media).await? else { return Ok(None) };
        let init = text.lines().find_map(|l| l.strip_prefix("#EXT-X-MAP:URI=\"")?.split('"').next());
        let segment = text.lines().find(|l| !l.is_empty() && !l.starts_with('#'));
        let (Some(init), Some(segment)) = (init, segment) else { return Ok(None) };
        for part in [init, segment] {
            let answer = self.http.get(media.join(part)?).send().await?;
            ensure!(answer.status() == StatusCode::OK, "{part} is named and says {}", answer.status());
            ensure!(!answer.bytes().await?.is_empty(), "{part} is empty");
        }
        Ok(Some(()))
    }

    /// A text by a URL that needs no token: the grant is in it.
    async fn text(&self, url: &Url) -> anyhow::Result<Option<String>> {
        let answer = self.http.get(url.clone()).send().await?;
        Ok(if answer.status() == StatusCode::OK { Some(answer.text().await?) } else { None })
    }

    fn get(&self, url: String) -> reqwest::RequestBuilder {
        self.http.get(url).bearer_auth(self.server.token.as_deref().unwrap_or_default())
    }
}
