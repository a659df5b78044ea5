//! The command line, as people and scripts use it.

mod doctor;
mod tus;
mod upload;
mod usage;
