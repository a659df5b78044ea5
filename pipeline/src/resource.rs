//! An upload as its client has it: what is wanted, what is shown, and why there is nothing to show.

use schema::{
    Id,
    caller::Account,
    track::Track,
    upload::{self, Upload},
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::quota::QuotaError;

/// What an upload is to others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A track of its own.
    #[default]
    Whole,
    /// A piece of later ones; no track.
    Partial,
    /// Made of partials.
    Final,
}

impl Kind {
    /// As the column holds it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partial => "partial",
            Self::Final => "final",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        match name {
            "partial" => Self::Partial,
            "final" => Self::Final,
            _ => Self::Whole,
        }
    }
}

/// A wanted upload.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Whose.
    pub owner: Id<Account>,
    /// Through which door: `tus`, `ietf` or `chunks`.
    pub door: &'static str,
    /// Bytes, where known.
    pub length: Option<u64>,
    /// As received, to be repeated.
    pub metadata: String,
    /// The file's name, for people.
    pub filename: Option<String>,
    /// A title, if the client gave one.
    pub title: Option<String>,
    /// The digest that the client promises.
    pub sha256: Option<[u8; 32]>,
    /// The release that it belongs to.
    pub release: Option<Uuid>,
    /// What it is to others.
    pub kind: Kind,
    /// `Upload-Concat` as received, to be repeated.
    pub concat: Option<String>,
    /// Whole as soon as its length is there. `false`: its client will say when it ends.
    pub ends_at_length: bool,
}

/// An upload as its owner sees it.
#[derive(Clone, Debug)]
pub struct Look {
    /// Its id.
    pub id: Id<Upload>,
    /// The track that it becomes; a partial becomes none.
    pub track: Option<Id<Track>>,
    /// Through which door it came.
    pub door: String,
    /// What it is to others.
    pub kind: Kind,
    /// `Upload-Concat` as received.
    pub concat: Option<String>,
    /// The client has said that nothing more comes.
    pub ended: bool,
    /// Where it stands.
    pub state: upload::State,
    /// Why it failed.
    pub reason: Option<String>,
    /// The committed offset.
    pub offset: u64,
    /// Bytes in all, where known.
    pub length: Option<u64>,
    /// As received.
    pub metadata: String,
    /// When it is given up if nothing comes.
    pub expires_at: OffsetDateTime,
    /// Of the stored bytes.
    pub sha256: Option<Vec<u8>>,
    /// Its part length.
    pub part_bytes: u64,
}

/// Why an upload wasn't created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// 413: more than the limit.
    #[error("{length} bytes are more than the {max} that one upload may have")]
    TooLarge {
        /// What was asked.
        length: u64,
        /// `UPLOAD_MAX_BYTES`.
        max: u64,
    },
    /// 429, 413: the account gets no more now.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// 503.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

/// Why an upload can't be shown or ended.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// 404: unknown, or somebody else's.
    #[error("no such upload")]
    Missing,
    /// 410: aborted, expired, or failed.
    #[error("the upload is {}", state_text(*.state))]
    Gone {
        /// How it ended.
        state: upload::State,
        /// Why, when it failed.
        reason: Option<String>,
    },
    /// 409: it is being sealed, which can't be undone.
    #[error("the upload is being sealed")]
    Sealing,
    /// 503 with Retry-After: who is writing it hasn't let go in time.
    #[error("another connection is writing this upload")]
    Busy,
    /// 503.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

fn state_text(state: upload::State) -> &'static str {
    schema::machine::State::name(state)
}

/// What the client said.
pub(crate) fn title_given(new: &NewUpload) -> Option<&str> {
    new.title.as_deref().map(str::trim).filter(|t| t.chars().any(|c| !c.is_control()))
}

/// A title for people: what the client said, else the file's name without its ending.
pub(crate) fn title_of(new: &NewUpload) -> String {
    let given = title_given(new);
    let stem = new.filename.as_deref().and_then(|f| std::path::Path::new(f).file_stem()).and_then(|s| s.to_str());
    let title: String = given.or(stem).unwrap_or("Untitled").chars().filter(|c| !c.is_control()).take(1000).collect();
    if title.trim().is_empty() { "Untitled".into() } else { title }
}
