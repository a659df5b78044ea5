//! One integration binary.

mod media_worker;
