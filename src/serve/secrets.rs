//! Keys of this instance: derived from the secret that all its nodes are given, else made on the first start.
//!
//! Order: 1 a private temporary file, written and synced; 2 a hard link to the final name, which fails if there is one;
//! 3 the folder synced. Dead after 1: a leftover that the next start overwrites. Never: half a key under its name.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, bail};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// As long as the output of SHA-256: longer buys nothing for an HMAC.
pub const KEY_BYTES: usize = 32;

/// A secret that never shows itself.
#[derive(Clone)]
pub struct Key(pub [u8; KEY_BYTES]);

/// All keys.
#[derive(Clone)]
pub struct Secrets {
    /// Signs grants.
    pub grant: Key,
    /// Proves that a write comes from our own page.
    pub csrf: Key,
    /// Signs cursors.
    pub cursor: Key,
}

/// The keys of an instance of several nodes, all the same wherever they are derived.
///
/// # Errors
/// The secret is shorter than what it derives.
pub fn derived(secret: &str) -> anyhow::Result<Secrets> {
    if secret.len() < KEY_BYTES {
        bail!(
            "MILLRACE_SECRET has {} bytes: give it {KEY_BYTES} random ones or more, the same on every node",
            secret.len()
        );
    }
    let key = |name: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).context("the secret can't be a key")?;
        mac.update(b"millrace/1/");
        mac.update(name.as_bytes());
        Ok::<_, anyhow::Error>(Key(mac.finalize().into_bytes().into()))
    };
    Ok(Secrets { grant: key("grant")?, csrf: key("csrf")?, cursor: key("cursor")? })
}

/// Reads the keys, making those that are missing.
///
/// # Errors
/// The folder can't be used, or a key has the wrong size or is open to others.
pub fn load_or_make(data: &Path) -> anyhow::Result<Secrets> {
    let dir = data.join("secrets");
    match fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(e).with_context(|| format!("can't make {}", dir.display()));
        }
        _ => {}
    }
    Ok(Secrets { grant: key(&dir, "grant")?, csrf: key(&dir, "csrf")?, cursor: key(&dir, "cursor")? })
}

fn key(dir: &Path, name: &str) -> anyhow::Result<Key> {
    let path = dir.join(name);
    if !path.exists() {
        make(dir, name).with_context(|| format!("can't make the key {}", path.display()))?;
    }
    let mode = fs::metadata(&path).with_context(|| format!("can't read {}", path.display()))?.permissions().mode();
    if mode & 0o077 != 0 {
        bail!("{} is open to other users: chmod 600 {0}", path.display());
    }
    let bytes = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
    match bytes.try_into() {
        Ok(key) => Ok(Key(key)),
        Err(_) => bail!("{} isn't {KEY_BYTES} bytes long: restore it, or remove it to get a new one", path.display()),
    }
}

fn make(dir: &Path, name: &str) -> std::io::Result<()> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|e| std::io::Error::other(e.to_string()))?;
    let new = dir.join(format!("{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    match fs::hard_link(&new, dir.join(name)) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    fs::remove_file(&new)?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let data = tempfile::tempdir().unwrap();
        load_or_make(data.path()).unwrap();
        let path = data.path().join("secrets/grant");
        let first = fs::read(&path).unwrap();
        load_or_make(data.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(first, [0; KEY_BYTES]);
    }

    #[test]
    fn one_secret_gives_every_node_the_same_keys_and_each_purpose_another() {
        let (a, b) = (derived(&"s".repeat(32)).unwrap(), derived(&"s".repeat(32)).unwrap());
        assert_eq!((a.grant.0, a.csrf.0, a.cursor.0), (b.grant.0, b.csrf.0, b.cursor.0));
        assert_ne!(a.grant.0, a.csrf.0);
        assert_ne!(a.grant.0, derived(&"t".repeat(32)).unwrap().grant.0);
        assert!(derived("short").err().unwrap().to_string().contains("MILLRACE_SECRET"));
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let data = tempfile::tempdir().unwrap();
        load_or_make(data.path()).unwrap();
        let path = data.path().join("secrets/grant");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load_or_make(data.path()).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
