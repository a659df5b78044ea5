//! Whether a track is a recording that its owner has already, by what it sounds like.
//!
//! Order: 1 the fingerprint's row, 2 the pairs that were found, 3 the track is ready (`rows`).
//! Dead after 1 or 2: the job isn't done; its next holder does both again, which changes nothing.
//! Of two that end at once at least one sees the other: each row is committed before others are looked for.
//! Never more work than `CANDIDATES_MAX` comparisons: others are found by words that both have, among those of about its length.
//! Absent: refusal. Who has a song twice may want to.

use std::collections::BTreeSet;

use rusty_chromaprint::{Configuration, match_fingerprints};
use schema::{Id, job::Job, track::Track};
use sqlx::PgPool;

use crate::{
    engine::db_int,
    fenced::{RowError, fenced},
};

/// Two lengths of one recording: a codec's padding, a longer silence at an end.
const NEAR_MS: i64 = 7_000;

/// Tracks that are compared item by item, those that have most words in common.
const CANDIDATES_MAX: i64 = 64;

/// Items that a fingerprint needs: five seconds of sound. Fewer say too little.
const ITEMS_MIN: usize = 16;

/// Different words that it needs: silence and a single tone are alike everywhere.
const WORDS_MIN: usize = 8;

/// Bits that an item's word leaves out: they flip first when a coder was at it.
const WORD_SHIFT: u32 = 4;

/// Bits of 32 by which matching items may differ on average. Measured: the same song from 64 kbit/s MP3 or Opus differs by up to
/// 2.2, another song by 7 and more.
const SCORE_MAX: f64 = 4.0;

/// Of the shorter fingerprint so much must match.
const SHARE_MIN: f64 = 0.7;

/// Keeps the fingerprint and names the owner's other tracks that are the same recording.
pub(super) async fn remember(
    db: &PgPool,
    job: &Job,
    track: Id<Track>,
    items: Vec<u32>,
    duration_ms: u64,
) -> Result<(), RowError> {
    let words = words(&items);
    if items.len() < ITEMS_MIN || words.len() < WORDS_MIN {
        return Ok(());
    }
    let signed: Vec<i32> = items.iter().map(|item| item.cast_signed()).collect();
    let mut tx = fenced(db, job).await?;
    sqlx::query!(
        "INSERT INTO fingerprints (track_id, owner, duration_ms, items, words)
         SELECT id, owner, greatest($2::bigint, 1), $3::int[], $4::int[] FROM tracks WHERE id = $1
         ON CONFLICT (track_id) DO UPDATE SET duration_ms = greatest($2::bigint, 1), items = $3::int[], words = $4::int[]",
        track.uuid(),
        db_int(duration_ms),
        &signed,
        &words
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    let near = sqlx::query!(
        "SELECT f.track_id, f.items FROM fingerprints f
          WHERE f.owner = (SELECT owner FROM tracks WHERE id = $1) AND f.track_id <> $1
            AND f.duration_ms BETWEEN $2::bigint - $3::bigint AND $2::bigint + $3::bigint AND f.words && $4::int[]
          ORDER BY (SELECT count(*) FROM unnest(f.words) w WHERE w = ANY ($4::int[])) DESC LIMIT $5",
        track.uuid(),
        db_int(duration_ms),
        NEAR_MS,
        &words,
        CANDIDATES_MAX
    )
    .fetch_all(db)
    .await?;
    let alike = tokio::task::spawn_blocking(move || {
        let heard = |found: &[i32]| found.iter().map(|item| item.cast_unsigned()).collect::<Vec<_>>();
        near.into_iter().filter(|other| are_alike(&items, &heard(&other.items))).map(|other| other.track_id).collect()
    });
    let alike: Vec<_> = alike.await.map_err(|e| RowError::Db(sqlx::Error::Io(std::io::Error::other(e))))?;
    if alike.is_empty() {
        return Ok(());
    }
    let mut tx = fenced(db, job).await?;
    sqlx::query!(
        "INSERT INTO same_recordings (one, other) SELECT least($1, o), greatest($1, o) FROM unnest($2::uuid[]) o
         ON CONFLICT DO NOTHING",
        track.uuid(),
        &alike
    )
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}

/// What others are found by.
fn words(items: &[u32]) -> Vec<i32> {
    items.iter().map(|item| (item >> WORD_SHIFT).cast_signed()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn are_alike(one: &[u32], other: &[u32]) -> bool {
    let Ok(matches) = match_fingerprints(one, other, &Configuration::default()) else { return false };
    let close = matches.iter().filter(|segment| segment.score <= SCORE_MAX);
    let matched: usize = close.map(|segment| segment.items_count).sum();
    matched > 0 && matched as f64 >= SHARE_MIN * one.len().min(other.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Items that never repeat.
    fn items(seed: u32, count: u32) -> Vec<u32> {
        (0..count).map(|n| (seed + n).wrapping_mul(2_654_435_761).rotate_left(n % 31)).collect()
    }

    #[test]
    fn a_recording_is_alike_though_some_bits_flip_and_another_is_not() {
        let song = items(1, 600);
        let coded: Vec<u32> = song.iter().zip(0u32..).map(|(item, n)| item ^ (1 << (n % 4)) ^ (n % 3)).collect();
        assert!(are_alike(&song, &song) && are_alike(&song, &coded));
        assert!(are_alike(&song, &coded[3..]), "one begins a little later");
        assert!(!are_alike(&song, &items(90_000, 600)));
        let half = [&song[..200], &items(90_000, 400)[..]].concat();
        assert!(!are_alike(&song, &half), "the beginning alone");
        assert!(!are_alike(&song, &[]));
    }

    #[test]
    fn silence_has_few_words() {
        assert!(words(&[627_964_279; 900]).len() < WORDS_MIN);
        assert!(words(&items(1, 40)).len() >= WORDS_MIN);
    }
}
