//! The private PostgreSQL, through the real command: boot, crashes, refusals.

mod boot;
mod crash;
pub mod daemon;
mod refuse;
