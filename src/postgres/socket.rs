//! The folder of the server's socket: private, and short enough for the kernel.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Error, PORT, Settings, USER, account::Accounts};

/// `sun_path` has 108 bytes, one of which ends it; PostgreSQL wants another for its lock file's name.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Makes the folder: in the data folder if its path is short enough, else a short private one.
pub fn prepare(settings: &Settings, accounts: &Accounts) -> Result<PathBuf, Error> {
    let digest = Sha256::digest(settings.data.as_os_str().as_encoded_bytes());
    let name = format!("millrace-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
    // A login's private folder is closed to the other user that root starts the server as.
    let runtime = settings.runtime_dir.as_ref().filter(|_| !accounts.differ()).map(|dir| dir.join(&name));
    let run = accounts.differ().then(|| Path::new("/run").join(&name));
    let tmp = Path::new("/tmp").join(format!("{name}-{}", accounts.servers.uid));
    let candidates = [Some(settings.data.join("postgres-socket")), runtime, run, Some(tmp)];
    candidates
        .into_iter()
        .flatten()
        .filter(|dir| dir.as_os_str().len() + suffix().len() < SOCKET_PATH_BYTES_MAX)
        .find(|dir| make_private(dir, accounts).is_ok())
        .ok_or_else(|| Error::NoSocket(settings.data.clone()))
}

/// How a client, sqlx or libpq alike, finds a server by its socket's folder.
pub fn url(dir: &Path) -> String {
    let mut host = String::new();
    for byte in dir.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => host.push(char::from(*byte)),
            other => host.push_str(&format!("%{other:02X}")),
        }
    }
    format!("postgres://{USER}@{host}:{PORT}/{USER}")
}

fn suffix() -> String {
    format!("/.s.PGSQL.{PORT}")
}

/// A folder that only the server's user may enter, and that nobody else could have put there.
fn make_private(dir: &Path, accounts: &Accounts) -> std::io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) if accounts.differ() => return chown(dir, Some(accounts.servers.uid), Some(accounts.servers.gid)),
        Ok(()) => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let meta = fs::symlink_metadata(dir)?;
    let owned = meta.uid() == accounts.servers.uid || meta.uid() == accounts.ours.uid;
    if !meta.is_dir() || !owned {
        return Err(std::io::Error::other("not our folder"));
    }
    if meta.uid() != accounts.servers.uid {
        chown(dir, Some(accounts.servers.uid), Some(accounts.servers.gid))?;
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_escapes_the_folder() {
        assert_eq!(url(Path::new("/a b/%")), "postgres://millrace@%2Fa%20b%2F%25:5432/millrace");
    }
}
