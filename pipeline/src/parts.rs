//! What is durable of an upload, as rows: parts, tails, and the committed prefix that follows from them.
//!
//! Order: 1 bytes in the store, 2 one transaction: the row, the tails that it covers to the trash, `committed` walked on,
//! 3 the acknowledgement.
//! Dead after 1: bytes beyond the committed end, written again on resume or deleted with the upload.
//! Dead after 2: the client asks HEAD, and hears the new offset.
//! Never: an acknowledged byte without a row, or an offset computed from sizes.

use std::ops::Range;

use schema::{Id, Tx, upload::Upload};
use sqlx::PgPool;
use time::OffsetDateTime;

use crate::{
    digest,
    engine::{db_int, from_db},
    lease::{Lease, interval},
    store::{Part, Tail},
};

/// A piece that the store has and the rows don't yet.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) what: What,
    /// The digest's midstate at its end, if it is known.
    pub(crate) sha_state: Option<Vec<u8>>,
}

/// Which kind of piece.
#[derive(Debug)]
pub(crate) enum What {
    /// A whole part, and its copy where a dead holder may still overwrite it.
    Part(Part, Option<Tail>),
    /// Less than a part.
    Tail(Tail),
}

/// Where the committed end stands.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) committed: u64,
    pub(crate) length: Option<u64>,
    pub(crate) part_bytes: u64,
    pub(crate) key: String,
    pub(crate) multipart_id: Option<String>,
    pub(crate) sha256_want: Option<Vec<u8>>,
    /// The midstate at `committed`, if it is known.
    pub(crate) sha_state: Option<Vec<u8>>,
    /// The tails of the part that is open at `committed`.
    pub(crate) tails: Vec<Tail>,
    /// CRC of those tails.
    pub(crate) tails_crc: u64,
    /// Parts that a dead holder may still overwrite.
    pub(crate) shadow: Range<i32>,
}

/// A commit that holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    /// The committed end.
    pub(crate) to: u64,
    /// When the upload is given up if nothing more comes.
    pub(crate) expires_at: OffsetDateTime,
}

/// How a commit is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// From now on.
    pub(crate) expiry: std::time::Duration,
    /// The lease goes back with it: nothing of its holder is under way any more.
    pub(crate) lets_go: bool,
}

/// Commits durable pieces, all of them or none, in one statement; `None`: the lease is gone, stop and say nothing.
pub(crate) async fn commit(
    db: &PgPool,
    upload: Id<Upload>,
    epoch: i64,
    pieces: &[Piece],
    terms: Terms,
) -> sqlx::Result<Option<Committed>> {
    let mut columns = Columns::default();
    for piece in pieces {
        match &piece.what {
            What::Part(part, copy) => {
                columns.part(part, piece.sha_state.as_deref());
                if let Some(copy) = copy {
                    columns.tail(copy, None, Some(part.part_no));
                }
            }
            What::Tail(tail) => columns.tail(tail, piece.sha_state.as_deref(), None),
        }
    }
    let row = sqlx::query!(
        "SELECT committed_to AS \"to!\", expires AS \"expires!\"
           FROM upload_commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        upload.uuid(),
        epoch,
        interval(terms.expiry),
        terms.lets_go,
        &columns.part_nos as &[Option<i32>],
        &columns.shadows as &[Option<i32>],
        &columns.offs,
        &columns.lens,
        &columns.names as &[&str],
        &columns.crcs,
        &columns.sha_states as &[Option<&[u8]>]
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Committed { to: from_db(row.to), expires_at: row.expires }))
}

/// Pieces as `upload_commit` takes them: one row in each place.
#[derive(Default)]
struct Columns<'a> {
    part_nos: Vec<Option<i32>>,
    shadows: Vec<Option<i32>>,
    offs: Vec<i64>,
    lens: Vec<i64>,
    /// A part's ETag, a tail's key.
    names: Vec<&'a str>,
    crcs: Vec<i64>,
    sha_states: Vec<Option<&'a [u8]>>,
}

impl<'a> Columns<'a> {
    fn part(&mut self, part: &'a Part, sha_state: Option<&'a [u8]>) {
        self.row(part.off, part.len, &part.etag, part.crc64, sha_state);
        self.part_nos.push(Some(part.part_no));
        self.shadows.push(None);
    }

    fn tail(&mut self, tail: &'a Tail, sha_state: Option<&'a [u8]>, shadows: Option<i32>) {
        self.row(tail.off, tail.len, &tail.key, tail.crc64, sha_state);
        self.part_nos.push(None);
        self.shadows.push(shadows);
    }

    fn row(&mut self, off: u64, len: u64, name: &'a str, crc64: u64, sha_state: Option<&'a [u8]>) {
        self.offs.push(db_int(off));
        self.lens.push(db_int(len));
        self.names.push(name);
        self.crcs.push(crc64.cast_signed());
        self.sha_states.push(sha_state);
    }
}

pub(crate) async fn insert_tail(
    tx: &mut Tx<'_>,
    upload: Id<Upload>,
    epoch: i64,
    tail: &Tail,
    sha_state: Option<&[u8]>,
    shadows_part: Option<i32>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO upload_tails (upload_id, off, len, object_key, crc64, sha_state, epoch, shadows_part)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        upload.uuid(),
        db_int(tail.off),
        db_int(tail.len),
        tail.key,
        tail.crc64.cast_signed(),
        sha_state,
        epoch,
        shadows_part
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(crate) async fn insert_part(
    tx: &mut Tx<'_>,
    upload: Id<Upload>,
    epoch: i64,
    part: &Part,
    sha_state: Option<&[u8]>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO upload_parts (upload_id, part_no, off, len, etag, crc64, sha_state, epoch)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        upload.uuid(),
        part.part_no,
        db_int(part.off),
        db_int(part.len),
        part.etag,
        part.crc64.cast_signed(),
        sha_state,
        epoch
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Objects of a discarded request: no row names them, so a row of the trash must.
pub(crate) async fn bury(db: &PgPool, tails: impl Iterator<Item = &Tail>) -> sqlx::Result<()> {
    let keys: Vec<_> = tails.map(|tail| tail.key.clone()).collect();
    if !keys.is_empty() {
        sqlx::query!("INSERT INTO store_trash (key) SELECT unnest($1::text[])", &keys).execute(db).await?;
    }
    Ok(())
}

/// Reads where an upload stands, for its lease holder.
pub(crate) async fn standing(db: &PgPool, lease: &Lease) -> sqlx::Result<Option<Standing>> {
    // `open_from`: where the part begins that is open at the end; of a whole upload, the last one. Tails can fill a part
    // whose row never came: as long as they are there, it is open.
    let row = sqlx::query!(
        "SELECT committed, length, part_bytes, key, multipart_id, sha256_want,
                coalesce(lower(shadow), 0) AS \"shadow_from!\", coalesce(upper(shadow), 0) AS \"shadow_to!\",
                tail.offs AS \"offs!\", tail.lens AS \"lens!\", tail.keys AS \"keys!\", tail.crcs AS \"crcs!\",
                (SELECT sha_state FROM upload_tails
                  WHERE upload_id = id AND off + len = committed AND off >= open_from AND shadows_part IS NULL
                 UNION ALL
                 SELECT sha_state FROM upload_parts
                  WHERE upload_id = id AND off + len = committed AND part_no >= open_from / part_bytes
                  LIMIT 1) AS sha_state
           FROM uploads,
                LATERAL (SELECT CASE WHEN length = committed OR EXISTS (
                                          SELECT FROM upload_tails
                                           WHERE upload_id = id AND off + len = committed AND shadows_part IS NULL)
                                     THEN greatest(committed - 1, 0) ELSE committed END
                                / part_bytes * part_bytes AS open_from) AS part,
                LATERAL (SELECT coalesce(array_agg(off ORDER BY off), '{}') AS offs,
                                coalesce(array_agg(len ORDER BY off), '{}') AS lens,
                                coalesce(array_agg(object_key ORDER BY off), '{}') AS keys,
                                coalesce(array_agg(crc64 ORDER BY off), '{}') AS crcs
                           FROM upload_tails
                          WHERE upload_id = id AND off >= open_from AND off < committed AND shadows_part IS NULL) AS tail
          WHERE id = $1 AND epoch = $2",
        lease.upload.uuid(),
        lease.epoch
    )
    .fetch_optional(db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let places = row.offs.into_iter().zip(row.lens).zip(row.keys.into_iter().zip(row.crcs));
    let tails: Vec<_> = places
        .map(|((off, len), (key, crc))| Tail { key, off: from_db(off), len: from_db(len), crc64: crc.cast_unsigned() })
        .collect();
    let tails_crc = tails.iter().fold(digest::crc64(&[]), |crc, t| digest::crc64_join(crc, t.crc64, t.len));
    let committed = from_db(row.committed);
    Ok(Some(Standing {
        sha_state: if committed == 0 { Some(digest::Sha::new().midstate()) } else { row.sha_state },
        committed,
        length: row.length.map(from_db),
        part_bytes: from_db(row.part_bytes),
        key: row.key,
        multipart_id: row.multipart_id,
        sha256_want: row.sha256_want,
        tails,
        tails_crc,
        shadow: row.shadow_from..row.shadow_to,
    }))
}

/// How far the digest is known, and its midstate there: nowhere behind it does it have to begin again.
pub(crate) async fn midstate_known(db: &PgPool, upload: Id<Upload>) -> sqlx::Result<(u64, digest::Sha)> {
    let row = sqlx::query!(
        "SELECT off + len AS \"at!\", sha_state AS \"sha_state!\" FROM upload_parts
          WHERE upload_id = $1 AND sha_state IS NOT NULL ORDER BY part_no DESC LIMIT 1",
        upload.uuid()
    )
    .fetch_optional(db)
    .await?;
    let known = row.and_then(|r| Some((from_db(r.at), digest::Sha::resume(&r.sha_state)?)));
    Ok(known.unwrap_or_default())
}

/// All parts, in order.
pub(crate) async fn all(db: &PgPool, upload: Id<Upload>) -> sqlx::Result<Vec<Part>> {
    let rows = sqlx::query!(
        "SELECT part_no, off, len, etag, crc64 FROM upload_parts WHERE upload_id = $1 ORDER BY part_no",
        upload.uuid()
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Part {
            part_no: r.part_no,
            off: from_db(r.off),
            len: from_db(r.len),
            etag: r.etag,
            crc64: r.crc64.cast_unsigned(),
        })
        .collect())
}
