//! The streaming core: frame → session → tee → {parts, digest, media} → object and HLS. No HTTP, no money.
//!
//! The order below is one byte's journey.

pub mod limits;

mod concat;
mod create;
pub mod engine;
pub mod quota;
mod resource;

mod extent;
mod handover;
mod join;
mod origin;
mod session;
mod writing;

pub mod chunks;

pub mod budget;
mod gathered;
mod parts;
pub mod scan;
mod spare;
pub mod tee;

pub mod check;
pub mod digest;

mod encode;
mod fenced;
pub mod media;
pub mod resolve;
mod source;

mod completing;
mod mend;
pub mod publish;

pub mod playlist;
pub mod shelf;

pub mod download;
pub mod renditions;
pub mod zip;

pub mod grant;

pub mod store;

pub mod lease;

mod hashing;
mod put_off;
mod recover;
mod sweep;
mod to_the_end;
pub mod trash;

pub mod moving;
pub mod orphans;
pub mod verify;

pub use concat::JoinError;
pub use encode::{RetryError, retry};
pub use engine::{Encoding, Engine};
pub use publish::SealError;
pub use resource::{CreateError, Kind, Look, LookError, NewUpload};
pub use session::{Append, AppendError, Appended, BodyBroken, Ends};
