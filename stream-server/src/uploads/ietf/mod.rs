//! `/files`: the door of the IETF's resumable uploads (draft-ietf-httpbis-resumable-upload).

mod digests;
mod disposition;
mod fields;
mod version;
