//! Whole journeys: from a file on somebody's disk to sound in somebody's ears, with accidents on the way.

mod admission;
mod brought;
mod command;
mod crash;
mod detached;
mod elsewhere;
mod ends;
mod heard;
mod hung;
pub mod index_first;
mod locks;
mod reasons;
mod stuck;
mod upload_to_play;
mod watched;
mod workers;
