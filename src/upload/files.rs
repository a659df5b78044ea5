//! What is to be sent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// What a folder is searched for, with the type that each is sent as. A file named outright is sent whatever it is.
const AUDIO: &[(&str, &str)] = &[
    ("wav", "audio/wav"),
    ("aif", "audio/aiff"),
    ("aiff", "audio/aiff"),
    ("flac", "audio/flac"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("oga", "audio/ogg"),
    ("opus", "audio/ogg"),
    ("m4a", "audio/mp4"),
    ("aac", "audio/aac"),
];
/// Deeper than any library, shallower than a loop.
const DEPTH_MAX: u8 = 32;

/// The files, in the order of their names; a folder's whole tree, without what links lead to.
///
/// # Errors
/// One of the paths can't be read, or there is nothing to send.
pub fn collect(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let meta = fs::metadata(path).with_context(|| format!("can't read {}", path.display()))?;
        let path = fs::canonicalize(path).with_context(|| format!("can't read {}", path.display()))?;
        if meta.is_dir() {
            descend(&path, 0, &mut files)?;
        } else if meta.is_file() {
            files.push(path);
        } else {
            bail!("{} is neither a file nor a folder", path.display());
        }
    }
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.clone()));
    if files.is_empty() {
        bail!("no audio file there; name a file outright to send it whatever it is called");
    }
    Ok(files)
}

/// The media type that a name promises; the server looks for itself.
pub fn media_type(file: &Path) -> &'static str {
    known(file).unwrap_or("application/octet-stream")
}

fn known(file: &Path) -> Option<&'static str> {
    let extension = file.extension()?.to_str()?.to_ascii_lowercase();
    AUDIO.iter().find(|(known, _)| *known == extension).map(|(_, media_type)| *media_type)
}

fn descend(dir: &Path, depth: u8, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if depth > DEPTH_MAX {
        bail!("{} is more than {DEPTH_MAX} folders deep", dir.display());
    }
    let unreadable = || format!("can't read {}", dir.display());
    let mut entries =
        fs::read_dir(dir).with_context(unreadable)?.collect::<Result<Vec<_>, _>>().with_context(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().with_context(unreadable)?;
        if kind.is_dir() {
            descend(&entry.path(), depth + 1, files)?;
        } else if kind.is_file() && known(&entry.path()).is_some() {
            files.push(entry.path());
        }
    }
    Ok(())
}
