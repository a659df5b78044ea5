//! The streaming core: frame, session, tee, parts, digest, media, store.
