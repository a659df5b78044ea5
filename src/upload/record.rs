//! What must be remembered of an upload to go on with it after Ctrl-C or a reboot.
//!
//! One JSON file per (server, path), replaced as a whole; it names the file's size and time of change, so that a file
//! that changed isn't continued. A lock beside it keeps a second command from sending the same file.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};
use url::Url;

/// How a file was when it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Look {
    /// Its length in bytes.
    pub size: u64,
    mtime_s: i64,
    mtime_ns: i64,
}

/// Where its upload is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The upload's path on the server.
    pub upload: String,
    /// Its track, if the server named one.
    pub track: Option<String>,
    /// Whether all of it is there, verified.
    pub finished: bool,
    /// How the file is cut, if it goes in chunks.
    #[serde(default)]
    pub chunk_bytes: Option<u64>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    path: PathBuf,
    server: String,
    look: Look,
    place: Place,
}

/// The record of one file, ours while this lives.
pub struct Record {
    at: PathBuf,
    path: PathBuf,
    server: String,
    _lock: File,
}

/// What the record knew.
pub enum Known {
    /// Nothing.
    Nothing,
    /// Where this very file's upload is.
    Same(Place),
    /// Where the upload of an earlier version of it is.
    Changed(Place),
}

impl Look {
    /// Looks.
    ///
    /// # Errors
    /// It can't be read.
    pub fn at(path: &Path) -> anyhow::Result<Self> {
        let meta = fs::metadata(path).with_context(|| format!("can't read {}", path.display()))?;
        Ok(Self { size: meta.len(), mtime_s: meta.mtime(), mtime_ns: meta.mtime_nsec() })
    }
}

impl Record {
    /// Takes the record of `path` on `server`.
    ///
    /// # Errors
    /// Another command has it, or the folder can't be used.
    pub fn open(dir: &Path, server: &Url, path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("can't use {}", dir.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(failed)?;
        let mut digest = Sha256::new();
        digest.update(server.as_str());
        digest.update([0]);
        digest.update(path.as_os_str().as_encoded_bytes());
        let name: String = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let lock = options.open(dir.join(format!("{name}.lock"))).with_context(failed)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another millrace upload is sending it");
        }
        Ok(Self {
            at: dir.join(format!("{name}.json")),
            path: path.into(),
            server: server.as_str().to_owned(),
            _lock: lock,
        })
    }

    /// What is known of a file that looks like this. A record that can't be read knows nothing.
    pub fn recall(&self, look: Look) -> Known {
        let kept = fs::read(&self.at).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        match kept {
            Some(kept) if kept.path != self.path || kept.server != self.server => Known::Nothing,
            Some(kept) if kept.look == look => Known::Same(kept.place),
            Some(kept) => Known::Changed(kept.place),
            None => Known::Nothing,
        }
    }

    /// Remembers, durably: before a byte is sent that somebody would want to resume.
    ///
    /// # Errors
    /// It can't be written.
    pub fn keep(&self, look: Look, place: &Place) -> anyhow::Result<()> {
        let kept = Kept { path: self.path.clone(), server: self.server.clone(), look, place: place.clone() };
        let write = || {
            let new = self.at.with_extension("new");
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&serde_json::to_vec(&kept)?)?;
            file.sync_all()?;
            fs::rename(&new, &self.at)?;
            File::open(self.at.parent().unwrap_or(Path::new("/")))?.sync_all()
        };
        write().with_context(|| format!("can't write {}", self.at.display()))
    }

    /// Forgets: the next command starts anew.
    pub fn forget(&self) {
        // At worst it is recalled, and the server says that it is gone.
        let _ = fs::remove_file(&self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_told_from_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (file, server) = (dir.path().join("a.wav"), Url::parse("http://127.0.0.1:1/").unwrap());
        fs::write(&file, b"one").unwrap();
        let look = Look::at(&file).unwrap();
        let place = Place { upload: "/files/1".into(), track: None, finished: false, chunk_bytes: None };
        {
            let record = Record::open(dir.path(), &server, &file).unwrap();
            assert!(matches!(record.recall(look), Known::Nothing));
            record.keep(look, &place).unwrap();
            assert!(Record::open(dir.path(), &server, &file).is_err(), "the record was taken twice");
        }
        let record = Record::open(dir.path(), &server, &file).unwrap();
        assert!(matches!(record.recall(look), Known::Same(p) if p == place));
        fs::write(&file, b"other").unwrap();
        assert!(matches!(record.recall(Look::at(&file).unwrap()), Known::Changed(p) if p == place));
        let elsewhere = Url::parse("http://127.0.0.1:2/").unwrap();
        let other = Record::open(dir.path(), &elsewhere, &file).unwrap();
        assert!(matches!(other.recall(look), Known::Nothing));
    }
}
