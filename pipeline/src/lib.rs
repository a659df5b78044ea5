//! The streaming core: frame → session → tee → {parts, digest, media} → object and HLS. No HTTP, no money.

pub mod grant;
pub mod media;
