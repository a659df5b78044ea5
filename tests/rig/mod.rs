//! The rig itself: each fault happens as it is named, the strict store refuses what AWS refuses, Garage runs.

mod faults;
mod garage;
mod strict;
