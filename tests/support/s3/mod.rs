//! S3 for tests: a strict server in memory, a proxy that spoils what passes, and the faults that both know.
//!
//! `Strict` answers as AWS does, or with the manners of a laxer store. `Toxic` stands before a real one. Both take the
//! same rules (`Faults`), keep the same log (`Log`) and count the same bytes (`Meter`): a test is written once.
//! Nothing here reaches into the rest of the tests, so that benches can use it too. Absent: checking of signatures.

#![allow(dead_code, unused_imports, reason = "the rig offers more than today's tests use")]

mod body;
mod call;
mod checksum;
mod faults;
mod gate;
mod listing;
mod log;
mod meter;
mod multipart;
mod objects;
mod reply;
mod rules;
mod seeded;
mod site;
mod store;
mod strict;
mod toxic;
mod xml;

pub use call::Op;
pub use faults::{Action, Answer, Armed, Faults, Rule};
pub use log::{Entry, Log};
pub use meter::Meter;
pub use site::{Settings, Site};
pub use strict::{Keep, Manners, Options, Strict};
pub use toxic::Toxic;
