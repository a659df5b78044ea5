//! What tests stand on: a running millrace, a tus client that can be cut anywhere, a player that only
//! follows URLs, and sound made by code.

pub mod app;
pub mod balancer;
pub mod chunks;
pub mod clamd;
pub mod garage;
pub mod ietf;
pub mod index_last;
pub mod line;
pub mod parts;
pub mod player;
pub mod postgres;
pub mod proof;
pub mod s3;
pub mod sound;
pub mod statements;
pub mod tus;
