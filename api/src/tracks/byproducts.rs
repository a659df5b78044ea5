//! What the file itself brought along, as the API tells it: tags, gain, pictures, and tracks that are the same. Pure.

use std::collections::BTreeMap;

use schema::{Id, track::Track};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// ReplayGain 2.0's reference.
const REFERENCE_LUFS: f64 = -18.0;
/// Opus counts its gains from R128's own reference, five above.
const R128_OFFSET_DB: f64 = 5.0;

/// What a player may turn a track up or down by.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ReplayGain {
    /// Measured, in dB: from the integrated loudness to -18 LUFS.
    pub gain: Option<f64>,
    /// Measured: the true peak, where 1 is full scale.
    pub peak: Option<f64>,
    /// What the file says of itself.
    pub claimed: Option<Claimed>,
}

/// A file's own ReplayGain. Not checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Claimed {
    /// In dB.
    pub track_gain: Option<f64>,
    /// Where 1 is full scale.
    pub track_peak: Option<f64>,
    /// In dB.
    pub album_gain: Option<f64>,
    /// Where 1 is full scale.
    pub album_peak: Option<f64>,
}

/// The file's picture in one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Picture {
    /// In pixels.
    pub width: i32,
    /// In pixels.
    pub height: i32,
    /// Where it is; may be kept for ever, since it changes with the picture.
    pub url: String,
    /// Of its bytes.
    #[serde(skip)]
    pub sha: String,
}

/// A track of the same account with the same sound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Duplicate {
    /// Its id.
    pub id: String,
    /// `same_bytes`, or `same_recording` in other bytes.
    pub kind: String,
    /// Its title.
    pub title: String,
}

/// A picture's row.
#[derive(Deserialize)]
struct Row {
    width: i32,
    height: i32,
    sha: String,
}

impl Picture {
    /// The longer side: what it is asked for by.
    pub(super) fn side(&self) -> i32 {
        self.width.max(self.height)
    }

    /// A word that changes with the bytes.
    pub(super) fn version(&self) -> &str {
        self.sha.get(..16).unwrap_or_default()
    }
}

/// The pictures of a track, the largest first; none where there is none.
pub(super) fn pictures(id: Uuid, rows: Option<serde_json::Value>) -> Option<Vec<Picture>> {
    let rows: Vec<Row> = serde_json::from_value(rows?).ok()?;
    let url = |row: &Row| {
        let (id, side, sha) = (Id::<Track>::from(id), row.width.max(row.height), row.sha.get(..16).unwrap_or_default());
        format!("/api/v1/tracks/{id}/artwork?size={side}&v={sha}")
    };
    let told = |row: Row| Picture { url: url(&row), width: row.width, height: row.height, sha: row.sha };
    Some(rows.into_iter().map(told).collect())
}

/// The smallest picture of at least `size` pixels, or the largest there is.
pub(super) fn chosen(pictures: &[Picture], size: Option<i32>) -> Option<&Picture> {
    let enough = |size| pictures.iter().rev().find(|picture| picture.side() >= size);
    size.and_then(enough).or(pictures.first())
}

/// From what was measured, and from what the file says.
pub(super) fn gain(
    loudness: Option<&serde_json::Value>,
    tags: Option<&BTreeMap<String, String>>,
) -> Option<ReplayGain> {
    let measured = |name: &str| loudness?.get(name)?.as_f64();
    let gain = measured("integrated").map(|lufs| rounded(REFERENCE_LUFS - lufs, 2));
    let peak = measured("true_peak").map(|db| rounded(10f64.powf(db / 20.0), 6));
    let claimed = tags.and_then(claimed);
    (gain.is_some() || claimed.is_some()).then_some(ReplayGain { gain, peak, claimed })
}

fn claimed(tags: &BTreeMap<String, String>) -> Option<Claimed> {
    let number = |name: &str| {
        let text = tags.get(name)?.trim();
        let digits = text.strip_suffix("dB").or(text.strip_suffix("db")).unwrap_or(text).trim();
        digits.parse::<f64>().ok().filter(|value| value.is_finite() && value.abs() < 200.0)
    };
    // Opus: 1/256 of a dB.
    let opus = |name: &str| {
        let steps: i16 = tags.get(name)?.trim().parse().ok()?;
        Some(rounded(f64::from(steps) / 256.0 + R128_OFFSET_DB, 2))
    };
    let claimed = Claimed {
        track_gain: number("replaygain_track_gain").or_else(|| opus("r128_track_gain")),
        track_peak: number("replaygain_track_peak"),
        album_gain: number("replaygain_album_gain").or_else(|| opus("r128_album_gain")),
        album_peak: number("replaygain_album_peak"),
    };
    (claimed != Claimed::default()).then_some(claimed)
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tags(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn gain_is_the_way_to_the_reference() {
        let loud = json!({ "integrated": -9.25, "range": 3.0, "true_peak": 0.5 });
        let told = gain(Some(&loud), None).unwrap();
        assert_eq!((told.gain, told.peak, told.claimed), (Some(-8.75), Some(1.059254), None));
        let silent = json!({ "integrated": null, "range": null, "true_peak": null });
        assert_eq!(gain(Some(&silent), None), None);
    }

    #[test]
    fn a_claim_is_read_in_either_form_and_nonsense_is_none() {
        let said = tags(&[("replaygain_track_gain", "-6.48 dB"), ("replaygain_track_peak", "0.988")]);
        let told = gain(None, Some(&said)).unwrap().claimed.unwrap();
        assert_eq!((told.track_gain, told.track_peak, told.album_gain), (Some(-6.48), Some(0.988), None));
        let opus = tags(&[("r128_track_gain", "-512"), ("r128_album_gain", "1")]);
        let told = gain(None, Some(&opus)).unwrap().claimed.unwrap();
        assert_eq!((told.track_gain, told.album_gain), (Some(3.0), Some(5.0)));
        for nonsense in ["loud", "NaN", "inf", "1e9 dB", ""] {
            assert_eq!(gain(None, Some(&tags(&[("replaygain_track_gain", nonsense)]))), None, "{nonsense}");
        }
    }

    #[test]
    fn the_smallest_picture_that_is_large_enough() {
        let rows = json!([
            { "width": 1200, "height": 900, "sha": "aa".repeat(32) },
            { "width": 600, "height": 450, "sha": "bb".repeat(32) },
            { "width": 150, "height": 113, "sha": "cc".repeat(32) },
        ]);
        let pictures = pictures(Uuid::nil(), Some(rows)).unwrap();
        assert!(pictures[1].url.ends_with("/artwork?size=600&v=bbbbbbbbbbbbbbbb"), "{}", pictures[1].url);
        for (size, side) in [(None, 1200), (Some(1), 150), (Some(150), 150), (Some(151), 600), (Some(5000), 1200)] {
            assert_eq!(chosen(&pictures, size).unwrap().side(), side, "{size:?}");
        }
        assert_eq!(chosen(&[], Some(1)), None);
    }
}
