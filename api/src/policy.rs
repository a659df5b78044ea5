//! The policies that this crate's routes share.

use std::time::Duration;

use front::{BodyLimit, Cache, Csrf, Policy, Time, Who};

/// A JSON document that a form or a script sends: names, tokens, titles.
const JSON_BYTES: u64 = 16 * 1024;

/// Long enough for a slow database, short enough that nobody waits for a lost cause.
const TIME: Duration = Duration::from_secs(30);

/// Reads.
pub(crate) const fn read(who: Who) -> Policy {
    Policy {
        who,
        csrf: Csrf::Exempt,
        body: BodyLimit::Bytes(0),
        time: Time::Limit(TIME),
        cache: Cache::NoStore,
        cors: false,
    }
}

/// Writes a small document.
pub(crate) const fn write(who: Who) -> Policy {
    Policy { csrf: Csrf::Checked, body: BodyLimit::Bytes(JSON_BYTES), ..read(who) }
}
