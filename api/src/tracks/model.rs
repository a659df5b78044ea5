//! A track as the API tells it. No I/O.

use std::collections::BTreeMap;

use schema::{Id, track, track::Track};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use super::byproducts::{Duplicate, Picture, ReplayGain};

/// Longest title, as the table has it.
pub(super) const TITLE_MAX: usize = 1000;

/// Items on a page of a list, unless said otherwise.
pub(super) const LIMIT_DEFAULT: i64 = 50;
/// And at most.
pub(super) const LIMIT_MAX: i64 = 100;

/// A track.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct View {
    /// Its id.
    #[schema(value_type = String)]
    pub id: Id<Track>,
    /// Where it stands: ingesting, playable, ready, failed, taken_down.
    #[schema(value_type = String)]
    pub state: track::State,
    /// Its title.
    pub title: String,
    /// What the file was called.
    pub filename: Option<String>,
    /// Length of the music, once it is known.
    pub duration_ms: Option<i64>,
    /// The same in samples at `rate`.
    pub samples: Option<i64>,
    /// Samples per second of what plays.
    pub rate: Option<i32>,
    /// Samples that an AAC decoder puts out before the music, as the init's edit list says; FLAC has none. With `samples` it
    /// is what a player needs to join tracks without a gap.
    pub start_pad: Option<i32>,
    /// Segments that every rung has.
    pub segments_ready: i64,
    /// Size of the source in bytes.
    pub size: Option<i64>,
    /// SHA-256 of the source, in hex, once it is verified.
    pub sha256: Option<String>,
    /// EBU R128: integrated, range, true_peak.
    #[schema(value_type = Option<Object>)]
    pub loudness: Option<serde_json::Value>,
    /// What a player may turn it up or down by; the stream itself is as loud as its source.
    pub replaygain: Option<ReplayGain>,
    /// The file's own words: title, artist, album, track_number, date, genre, isrc and what else it says. Not in lists.
    pub tags: Option<BTreeMap<String, String>>,
    /// The picture in the file, in up to three sizes, the largest first.
    pub artwork: Option<Vec<Picture>>,
    /// Other tracks of the owner's that are the same bytes or the same recording, at most 20. Not in lists.
    pub duplicates: Option<Vec<Duplicate>>,
    /// Why it failed.
    pub error: Option<Failure>,
    /// The source's codec.
    pub codec: Option<String>,
    /// The source is lossless.
    pub lossless: Option<bool>,
    /// The upload that it comes from.
    pub upload: Option<Upload>,
    /// Its bytes are verified and durable.
    pub stored: bool,
    /// When its first byte came.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: OffsetDateTime,
}

/// Why a track failed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Failure {
    /// A stable name.
    pub code: String,
    /// The same in a sentence.
    pub detail: Option<String>,
}

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Upload {
    /// Bytes that are durable.
    pub offset: i64,
    /// Bytes in all, if the client said so.
    pub length: Option<i64>,
    /// opened, receiving, sealing, stored, aborted, expired, failed.
    pub state: String,
}

impl View {
    /// Nothing will change any more by itself. What failed while its bytes still come may.
    pub(super) fn is_settled(&self) -> bool {
        match self.state {
            track::State::Ready | track::State::TakenDown => true,
            track::State::Failed => {
                let moves = |upload: &Upload| matches!(upload.state.as_str(), "opened" | "receiving" | "sealing");
                self.stored || !self.upload.as_ref().is_some_and(moves)
            }
            track::State::Ingesting | track::State::Playable => false,
        }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page {
    /// Newest first.
    pub(crate) items: Vec<View>,
    /// Ask with it for what comes next; null at the end.
    pub(crate) next_cursor: Option<String>,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Items at most: 50 unless said otherwise, never more than 100.
    #[param(value_type = Option<i64>)]
    pub(crate) limit: Option<String>,
    /// `next_cursor` of the page before.
    pub(crate) cursor: Option<String>,
}

impl Which {
    /// What isn't a sensible number is the default.
    pub(super) fn limit(&self) -> i64 {
        let told = self.limit.as_deref().and_then(|limit| limit.trim().parse::<i64>().ok());
        told.filter(|limit| *limit > 0).map_or(LIMIT_DEFAULT, |limit| limit.min(LIMIT_MAX))
    }
}

/// Where to play a track.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stream {
    /// The multivariant playlist.
    pub(crate) url: String,
    /// From then on it doesn't open any more; what was opened plays to its end.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) expires_at: OffsetDateTime,
}

/// Where to fetch a file of a track.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Download {
    /// The file; it comes as an attachment, and any part of it on request.
    pub(crate) url: String,
    /// From then on the link doesn't open any more; what was begun comes to its end.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) expires_at: OffsetDateTime,
    /// What it is: original, flac, wav, mp3, aac, opus.
    pub(crate) format: &'static str,
    /// What it will be called.
    pub(crate) filename: String,
    /// Its length in bytes, where it is known already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<i64>,
}

/// Which file.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// original, flac, wav, mp3, aac or opus; original if absent.
    pub(crate) format: Option<String>,
}

/// What may be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// The new title.
    pub(crate) title: String,
}

/// Waveform peaks as audiowaveform's JSON.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Waveform {
    /// 2.
    pub(crate) version: i32,
    /// Of the sound that the peaks are of.
    pub(crate) channels: i32,
    /// Samples per second.
    pub(crate) sample_rate: i32,
    /// Samples that one pair stands for.
    pub(crate) samples_per_pixel: i32,
    /// 8 or 16.
    pub(crate) bits: u8,
    /// Pairs per channel.
    pub(crate) length: u32,
    /// Minimum and maximum, in turn.
    pub(crate) data: Vec<i16>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_clamped_and_nonsense_is_the_default() {
        for (told, limit) in [
            (Some("1000"), 100),
            (Some("100"), 100),
            (Some("7"), 7),
            (Some("0"), 50),
            (Some("-1"), 50),
            (Some("garbage"), 50),
            (Some("99999999999999999999"), 50),
            (None, 50),
        ] {
            let which = Which { limit: told.map(str::to_owned), cursor: None };
            assert_eq!(which.limit(), limit, "{told:?}");
        }
    }
}
