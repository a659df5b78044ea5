//! Why a request's body broke, in the engine's words.

use std::{error::Error, io};

use pipeline::BodyBroken;

/// A body that isn't what its head says is the client's mistake, also one that ends before its length while the connection
/// stands: the same won't do another time. Everything else is the line's, or ours.
pub(crate) fn broken(error: axum::Error) -> BodyBroken {
    let said = error.to_string();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(here) = cause {
        let io = here.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(io, Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)) {
            return BodyBroken::Malformed(said);
        }
        cause = here.source();
    }
    BodyBroken::Early(said)
}
