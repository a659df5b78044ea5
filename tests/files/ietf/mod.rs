//! `/files` as draft-ietf-httpbis-resumable-upload has it: what each request must carry and what answers it, then the draft's
//! iterations, its interim answers and its digests.

mod append;
mod cancel;
mod create;
mod digests;
mod dispatch;
mod interim;
mod length;
mod offset;
mod versions;
