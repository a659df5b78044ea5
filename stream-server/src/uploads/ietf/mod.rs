//! `/files`: the door of the IETF's resumable uploads (draft-ietf-httpbis-resumable-upload, drafts 01 to 12, and what will be
//! the RFC for who names no version).
//!
//! Promise: an offset that an answer or a 104 tells is durable; one that HEAD tells is accepted next. A request that breaks
//! keeps what came, and never completes an upload: only `Upload-Complete: ?1` does, once its last byte is there.
//! Absent: what an upload is, which the engine knows, and limits on single appends: there are none.

mod answers;
mod append;
mod content;
mod create;
mod digests;
mod disposition;
mod fields;
mod offset;
mod terminate;
mod version;

pub(super) use answers::options;
pub(super) use append::append;
pub(super) use create::create;
pub(super) use offset::offset;
pub(super) use terminate::terminate;

use http::HeaderMap;

/// Does a request name something that only this protocol has?
pub(super) fn is_meant(headers: &HeaderMap) -> bool {
    [fields::INTEROP, fields::COMPLETE, fields::INCOMPLETE].iter().any(|name| headers.contains_key(name))
        || content::is_partial(headers)
}
