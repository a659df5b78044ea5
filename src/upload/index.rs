//! Whether a file's index is behind its sound. Its end goes first then, and it plays while the rest is sent.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use pipeline::media::sniff::index_behind_sound;

/// An index longer than this isn't sent first: the server keeps it in memory until its turn. That of ten hours has a tenth of it.
const INDEX_BYTES_MAX: u64 = 16 << 20;

/// Fewer bytes are one chunk of the usual length: nothing of it could go first.
const FILE_BYTES_MIN: u64 = 10 << 20;

/// Where the index begins, if it is worth sending it first.
pub(super) async fn to_send_first(path: &Path, size: u64) -> Option<u64> {
    if size <= FILE_BYTES_MIN {
        return None;
    }
    let path = path.to_owned();
    let found = tokio::task::spawn_blocking(move || {
        let file = File::open(path).ok()?;
        index_behind_sound(|at, len| {
            let mut bytes = vec![0; len];
            let mut filled = 0;
            while filled < len {
                match file.read_at(&mut bytes[filled..], at + filled as u64) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(_) => return None,
                }
            }
            bytes.truncate(filled);
            Some(bytes)
        })
    });
    let at = found.await.ok().flatten()?;
    (at < size && size - at <= INDEX_BYTES_MAX).then_some(at)
}
