//! `/files`: tus 1.0, verb by verb, then what a crash or a second client does to it; and the IETF draft on the same address.

mod append;
mod checksum;
mod concat;
mod crash;
mod create;
mod deferred;
mod full;
mod garbage;
mod ietf;
mod limits;
mod offset;
mod quota;
mod resume;
mod scan;
mod terminate;
