//! Which of some keys no row names: asked of the rows, a page of the store at a time.

use std::{collections::HashSet, sync::Arc};

use schema::{Id, track::Track, upload::Upload};
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Found, Orphan, OrphanError};
use crate::store::{Multipart, Object, Store};

/// What a key of ours says. Of any other shape: not made by us, and none of our business.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// The bytes of an upload, and the track that they are; of a probe, which no row names ever, nobody's.
    Upload { track: Uuid },
    /// Of which upload.
    Tail { upload: Uuid },
    /// Of which file, and which try to make it.
    Rendition { rendition: Uuid, attempt: i32 },
    /// Of which run; `rung` and `n` are -1 where there is none.
    Media { track: Uuid, run: i32, rung: i32, n: i32 },
}

fn place(key: &str) -> Option<Place> {
    let mut parts = key.split('/');
    let kind = parts.next()?;
    let rest: Vec<_> = parts.collect();
    let track = |text: &str| text.parse::<Id<Track>>().ok().map(Id::uuid);
    let upload = |text: &str| text.parse::<Id<Upload>>().ok().map(Id::uuid);
    match (kind, rest.as_slice()) {
        ("tracks", [of, id]) => upload(id).and_then(|_| track(of)).map(|track| Place::Upload { track }),
        ("partials", [id]) => upload(id).map(|_| Place::Upload { track: Uuid::nil() }),
        ("probe", ["examine"]) => Some(Place::Upload { track: Uuid::nil() }),
        ("probe", [id]) => upload(id).map(|_| Place::Upload { track: Uuid::nil() }),
        ("tails", [id, _]) => upload(id).map(|upload| Place::Tail { upload }),
        ("renditions", [of, id, attempt, n]) => {
            let rendition = track(of).and_then(|_| upload(id))?;
            n.parse::<i32>().ok().and(Some(Place::Rendition { rendition, attempt: attempt.parse().ok()? }))
        }
        ("hls", [of, run, file @ ..]) => {
            let (rung, n) = match file {
                ["peaks.dat"] => (-1, -1),
                ["artwork", picture] => picture.strip_suffix(".jpg").map(|_| (-1, -1))?,
                [rung, "init.mp4"] => (rung.parse().ok()?, -1),
                [rung, segment] => (rung.parse().ok()?, segment.strip_suffix(".m4s")?.parse().ok()?),
                _ => return None,
            };
            Some(Place::Media { track: track(of)?, run: run.parse().ok()?, rung, n })
        }
        _ => None,
    }
}

/// The keys of one kind in a page, column by column, as the queries take them.
struct Columns {
    keys: Vec<String>,
    ids: Vec<Uuid>,
    runs: Vec<i32>,
    rungs: Vec<i32>,
    ns: Vec<i32>,
}

impl Columns {
    const EMPTY: Self = Self { keys: vec![], ids: vec![], runs: vec![], rungs: vec![], ns: vec![] };
}

/// Sorts a page of the store into what is named, or too young to say, and the rest.
pub(super) async fn judge(
    db: &PgPool,
    page: Vec<Object>,
    before: OffsetDateTime,
    found: &mut Found,
) -> Result<(), OrphanError> {
    let [mut uploads, mut tails, mut media, mut files] = [const { Columns::EMPTY }; 4];
    for object in &page {
        let Some(place) = place(&object.key).filter(|_| object.modified.is_some_and(|at| at < before)) else {
            continue;
        };
        let (columns, id) = match place {
            Place::Upload { track } => (&mut uploads, track),
            Place::Tail { upload } => (&mut tails, upload),
            Place::Rendition { rendition, attempt } => {
                files.runs.push(attempt);
                (&mut files, rendition)
            }
            Place::Media { track, run, rung, n } => {
                media.runs.push(run);
                media.rungs.push(rung);
                media.ns.push(n);
                (&mut media, track)
            }
        };
        columns.keys.push(object.key.clone());
        columns.ids.push(id);
    }
    let mut unnamed = unnamed_uploads(db, &uploads).await?;
    unnamed.extend(unnamed_tails(db, &tails).await?);
    unnamed.extend(unnamed_media(db, &media).await?);
    unnamed.extend(unnamed_files(db, &files).await?);
    let unnamed: HashSet<_> = unnamed.into_iter().collect();
    for object in page {
        if unnamed.contains(&object.key) {
            found.add(Orphan { key: object.key, multipart_id: None, bytes: object.size });
        } else {
            found.kept += 1;
        }
    }
    Ok(())
}

async fn unnamed_uploads(db: &PgPool, of: &Columns) -> sqlx::Result<Vec<String>> {
    if of.keys.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar!(
        "SELECT k.key AS \"key!\" FROM unnest($1::text[], $2::uuid[]) AS k(key, id)
          WHERE NOT EXISTS (SELECT FROM uploads u
                             WHERE u.key = k.key AND u.state IN ('opened', 'receiving', 'sealing', 'stored'))
            AND NOT EXISTS (SELECT FROM tracks t WHERE t.id = k.id AND t.storage_key = k.key)
            AND NOT EXISTS (SELECT FROM store_trash s WHERE s.key = k.key AND s.multipart_id IS NULL)",
        &of.keys,
        &of.ids
    )
    .fetch_all(db)
    .await
}

async fn unnamed_tails(db: &PgPool, of: &Columns) -> sqlx::Result<Vec<String>> {
    if of.keys.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar!(
        "SELECT k.key AS \"key!\" FROM unnest($1::text[], $2::uuid[]) AS k(key, id)
          WHERE NOT EXISTS (SELECT FROM uploads u WHERE u.id = k.id AND u.state IN ('opened', 'receiving', 'sealing'))
            AND NOT EXISTS (SELECT FROM upload_tails t WHERE t.object_key = k.key)
            AND NOT EXISTS (SELECT FROM store_trash s WHERE s.key = k.key AND s.multipart_id IS NULL)",
        &of.keys,
        &of.ids
    )
    .fetch_all(db)
    .await
}

async fn unnamed_media(db: &PgPool, of: &Columns) -> sqlx::Result<Vec<String>> {
    if of.keys.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar!(
        "SELECT k.key AS \"key!\"
           FROM unnest($1::text[], $2::uuid[], $3::int[], $4::int[], $5::int[]) AS k(key, id, run, rung, n)
          WHERE NOT EXISTS (SELECT FROM runs r JOIN tracks t ON t.id = r.track_id
                             WHERE r.track_id = k.id AND r.run = k.run AND t.state IN ('ingesting', 'playable', 'failed'))
            AND NOT EXISTS (SELECT FROM rungs g
                             WHERE g.track_id = k.id AND g.run = k.run AND g.rung = k.rung AND g.init_key = k.key)
            AND NOT EXISTS (SELECT FROM segments s WHERE s.track_id = k.id AND s.run = k.run AND s.rung = k.rung
                               AND s.n = k.n AND s.key = k.key)
            AND NOT EXISTS (SELECT FROM tracks t WHERE t.id = k.id AND t.peaks_key = k.key)
            AND NOT EXISTS (SELECT FROM pictures p WHERE p.track_id = k.id AND p.run = k.run AND p.key = k.key)
            AND NOT EXISTS (SELECT FROM store_trash s
                             WHERE s.key = k.key OR (s.is_prefix AND starts_with(k.key, s.key)))",
        &of.keys,
        &of.ids,
        &of.runs,
        &of.rungs,
        &of.ns
    )
    .fetch_all(db)
    .await
}

async fn unnamed_files(db: &PgPool, of: &Columns) -> sqlx::Result<Vec<String>> {
    if of.keys.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar!(
        "SELECT k.key AS \"key!\" FROM unnest($1::text[], $2::uuid[], $3::int[]) AS k(key, id, attempt)
          WHERE NOT EXISTS (SELECT FROM renditions r WHERE r.id = k.id AND r.attempt = k.attempt AND r.whole_at IS NULL)
            AND NOT EXISTS (SELECT FROM rendition_pieces p WHERE p.rendition_id = k.id AND p.key = k.key)
            AND NOT EXISTS (SELECT FROM store_trash s
                             WHERE s.key = k.key OR (s.is_prefix AND starts_with(k.key, s.key)))",
        &of.keys,
        &of.ids,
        &of.runs
    )
    .fetch_all(db)
    .await
}

/// Multipart objects that no upload under way has. One whose upload is stored is left alone: to abort what may have been
/// completed is the one thing that a store may take the object for.
pub(super) async fn unnamed_multiparts(
    db: &PgPool,
    store: &Arc<dyn Store>,
    prefix: &str,
    before: OffsetDateTime,
    found: &mut Found,
) -> Result<Vec<Multipart>, OrphanError> {
    let listed = store.unfinished(prefix).await?;
    let all = listed.len() as u64;
    let old = listed.into_iter().filter(|one| one.begun < before && place(&one.of.key).is_some());
    let (keys, ids): (Vec<_>, Vec<_>) = old.map(|one| (one.of.key, one.of.multipart_id)).unzip();
    let rows = sqlx::query!(
        "SELECT k.key AS \"key!\", k.multipart_id AS \"multipart_id!\"
           FROM unnest($1::text[], $2::text[]) AS k(key, multipart_id)
          WHERE NOT EXISTS (SELECT FROM uploads u WHERE u.key = k.key
                    AND (u.state IN ('opened', 'receiving', 'sealing') AND coalesce(u.multipart_id, k.multipart_id) = k.multipart_id
                      OR u.state = 'stored' AND u.multipart_id = k.multipart_id))
            AND NOT EXISTS (SELECT FROM store_trash s WHERE s.key = k.key AND s.multipart_id = k.multipart_id)",
        &keys,
        &ids
    )
    .fetch_all(db)
    .await?;
    found.kept += all - rows.len() as u64;
    Ok(rows.into_iter().map(|row| Multipart { key: row.key, multipart_id: row.multipart_id }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_we_make_have_a_place() {
        let id = "0123456789abcdef0123456789abcdef";
        let uuid: Uuid = id.parse().unwrap();
        assert_eq!(place(&format!("tracks/{id}/{id}")), Some(Place::Upload { track: uuid }));
        assert_eq!(place(&format!("partials/{id}")), Some(Place::Upload { track: Uuid::nil() }));
        assert_eq!(place(&format!("tails/{id}/0-1-2")), Some(Place::Tail { upload: uuid }));
        for key in [format!("probe/{id}"), "probe/examine".to_owned()] {
            assert_eq!(place(&key), Some(Place::Upload { track: Uuid::nil() }));
        }
        let media = |rung, n| Some(Place::Media { track: uuid, run: 3, rung, n });
        assert_eq!(place(&format!("hls/{id}/3/peaks.dat")), media(-1, -1));
        assert_eq!(place(&format!("hls/{id}/3/artwork/5a.jpg")), media(-1, -1));
        assert_eq!(place(&format!("hls/{id}/3/2/init.mp4")), media(2, -1));
        assert_eq!(place(&format!("hls/{id}/3/2/17.m4s")), media(2, 17));
        for foreign in
            ["tracks/readme.txt", "tracks/x/y", "hls/x/1/peaks.dat", "backups/db", "tails", "partials/a/b", "probe/x"]
        {
            assert_eq!(place(foreign), None, "{foreign}");
        }
        assert_eq!(place(&format!("renditions/{id}/{id}/2/7")), Some(Place::Rendition { rendition: uuid, attempt: 2 }));
        for foreign in ["renditions/x/y/1/0", "renditions/readme", &format!("renditions/{id}/{id}/1/x")] {
            assert_eq!(place(foreign), None, "{foreign}");
        }
        assert_eq!(place(&format!("hls/{id}/3/cover.jpg")), None);
    }
}
