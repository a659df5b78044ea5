//! From source bytes to segments.

pub mod worker;
