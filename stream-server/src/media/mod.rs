//! Playlists and segments.
