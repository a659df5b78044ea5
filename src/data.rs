//! `$MILLRACE_DATA`: one folder, one daemon.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// The right to use the folder, until dropped or until the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the folder isn't ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process uses it.
    #[error(
        "another millrace (process {holder}) uses {data}: stop it, or give this one a folder of its own with --data"
    )]
    Held {
        /// The folder.
        data: PathBuf,
        /// Who.
        holder: String,
    },
    /// The folder can't be made or written.
    #[error("can't use {path}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Makes the folder if need be, and takes it.
///
/// Others may pass through it (`x`) but not look around: root's database runs as another user below it.
///
/// # Errors
/// It is taken, or can't be written.
pub fn lock(data: &Path) -> Result<Lock, LockError> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| LockError::Io { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o711).create(data).map_err(io(data))?;
    let path = data.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(io(&path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // Only for the message.
            let _ = file.read_to_string(&mut holder);
            return Err(LockError::Held { data: data.into(), holder: holder.trim().to_owned() });
        }
        Err(e) => return Err(io(&path)(e.into())),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(io(&path))?;
    Ok(Lock { _file: file })
}
