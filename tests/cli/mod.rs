//! The command line, as people and scripts use it.

mod doctor;
mod door;
mod scatter;
mod tus;
mod upload;
mod usage;
