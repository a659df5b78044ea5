//! Whom the server runs as: us, or someone unprivileged when we are root.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::Error;

/// A user of this system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

/// Who we are, and whom the server runs as.
#[derive(Clone, Debug)]
pub struct Accounts {
    pub ours: Account,
    pub servers: Account,
}

impl Accounts {
    /// Whether the server's user isn't ours, so that we must hand files over and change user.
    pub fn differ(&self) -> bool {
        self.ours.uid != self.servers.uid
    }
}

/// Started by root: the owner of the database's folder, or of the data folder, or `postgres`.
pub fn choose(data: &Path, folder: &Path) -> Result<Accounts, Error> {
    let uid = rustix::process::geteuid().as_raw();
    let ours = by_uid(uid).ok_or(Error::Nameless(uid))?;
    if uid != 0 {
        return match owner(folder) {
            Some(owner) if owner != uid => Err(Error::Foreign { folder: folder.into(), owner }),
            _ => Ok(Accounts { servers: ours.clone(), ours }),
        };
    }
    let owner = [folder, data].into_iter().filter_map(owner).find(|&uid| uid != 0);
    let servers = match owner {
        Some(uid) => by_uid(uid).ok_or(Error::Nameless(uid))?,
        None => by_name("postgres").ok_or(Error::NoAccount)?,
    };
    Ok(Accounts { ours, servers })
}

/// The first folder on the way to `path`, itself included, that `account` can't enter.
pub fn barrier(account: &Account, path: &Path) -> Option<PathBuf> {
    let mut parents: Vec<_> = path.ancestors().collect();
    parents.reverse();
    parents.into_iter().find(|parent| !can_enter(account, parent)).map(Path::to_path_buf)
}

fn can_enter(account: &Account, folder: &Path) -> bool {
    let Ok(meta) = fs::metadata(folder) else { return true };
    let bit = match () {
        () if meta.uid() == account.uid => 0o100,
        () if meta.gid() == account.gid => 0o010,
        () => 0o001,
    };
    meta.mode() & bit != 0
}

fn owner(path: &Path) -> Option<u32> {
    fs::symlink_metadata(path).ok().map(|meta| meta.uid())
}

fn by_uid(uid: u32) -> Option<Account> {
    lookup(&uid.to_string(), |account| account.uid == uid)
}

fn by_name(name: &str) -> Option<Account> {
    lookup(name, |account| account.name == name)
}

/// The file first; `getent` knows the directories that the file doesn't.
fn lookup(asked: &str, matches: impl Fn(&Account) -> bool) -> Option<Account> {
    let find = |text: &str| text.lines().filter_map(parse).find(|account| matches(account));
    let local = fs::read_to_string("/etc/passwd").ok().and_then(|text| find(&text));
    local.or_else(|| {
        let answer = Command::new("getent").args(["passwd", asked]).output().ok()?;
        find(&String::from_utf8_lossy(&answer.stdout))
    })
}

fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { name, uid, gid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_passwd_is_read() {
        let account = parse("postgres:x:104:111:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash").unwrap();
        assert_eq!((account.name.as_str(), account.uid, account.gid), ("postgres", 104, 111));
        assert_eq!(parse("broken"), None);
    }

    #[test]
    fn the_first_folder_that_cant_be_entered_is_named() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("closed/data");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(root.path().join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Account { name: "stranger".into(), uid: 54_321, gid: 54_321 };
        assert_eq!(barrier(&stranger, &inner), Some(root.path().join("closed")));
    }
}
