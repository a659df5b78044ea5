//! The rig itself: each fault happens as it is named, the strict store refuses what AWS refuses, Garage runs.

mod alike;
mod faults;
mod garage;
mod mpu;
mod strict;
mod toxic;
