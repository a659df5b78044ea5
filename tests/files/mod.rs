//! `/files`: tus 1.0, verb by verb, then what a crash or a second client does to it.

mod append;
mod checksum;
mod crash;
mod create;
mod deferred;
mod full;
mod garbage;
mod offset;
mod quota;
mod resume;
mod scan;
mod terminate;
