//! The streaming core: frame → session → tee → {parts, digest, media} → object and HLS. No HTTP, no money.

pub mod media;
pub mod playlist;
