//! The laws of the rows: migrations, typed ids, state machines, job leases, and who is asking.
//!
//! What may enter this crate: what changes in the same commit as a `.sql` file.
//! Absent: HTTP, media, money. Nothing here knows why a row moves, only whether it may.

mod begin;
pub mod caller;
mod id;
pub mod job;
pub mod machine;
pub mod track;
pub mod upload;

pub use begin::begin;
pub use id::Id;

/// The scripts beside this crate, in order.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// A transaction on the one database.
pub type Tx<'c> = sqlx::Transaction<'c, sqlx::Postgres>;
