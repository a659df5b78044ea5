//! Bytes over HTTP: uploads, playlists, segments.
