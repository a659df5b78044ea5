//! A file's SHA-256, computed while other things happen.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

/// What is read from a file at once.
pub const READ_BYTES: usize = 256 << 10;

/// Under way, or known.
pub enum Hash {
    /// On a thread of its own.
    Running(JoinHandle<anyhow::Result<String>>),
    /// In hex.
    Known(String),
}

impl Hash {
    /// Begins.
    pub fn start(path: &Path) -> Self {
        let path = path.to_path_buf();
        Self::Running(tokio::task::spawn_blocking(move || read(&path)))
    }

    /// Waits for it, once.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn get(&mut self) -> anyhow::Result<&str> {
        if let Self::Running(task) = self {
            *self = Self::Known(task.await.context("hashing ended")??);
        }
        match self {
            Self::Known(hex) => Ok(hex),
            Self::Running(_) => unreachable!("it has just become known"),
        }
    }
}

fn read(path: &PathBuf) -> anyhow::Result<String> {
    let failed = || format!("can't read {}", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer).with_context(failed)? {
            0 => return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => digest.update(&buffer[..n]),
        }
    }
}
