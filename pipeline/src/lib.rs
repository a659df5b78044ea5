//! The streaming core: frame → session → tee → {parts, digest, media} → object and HLS. No HTTP, no money.
//!
//! The order below is one byte's journey.

pub mod limits;

pub mod engine;
mod session;
mod writing;

pub mod budget;
mod parts;
pub mod tee;

pub mod digest;

mod encode;
pub mod media;
mod source;

pub mod publish;

pub mod playlist;
pub mod shelf;

pub mod grant;

pub mod store;

pub mod lease;

mod recover;
mod sweep;

pub use encode::{RetryError, retry};
pub use engine::{CreateError, Encoding, Engine, Look, LookError, NewUpload};
pub use publish::SealError;
pub use session::{AppendError, Appended, BodyBroken};
