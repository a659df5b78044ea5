//! Where PostgreSQL's programs are, and which version fits the folder.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Error, Settings};

/// One installed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The folder of `postgres`, `initdb`, `psql` and `pg_dump`.
    pub dir: PathBuf,
    /// Its major version, as `PG_VERSION` has it.
    pub major: String,
}

impl Binaries {
    /// The programs for `folder`: its own version, or the highest for a new one.
    ///
    /// # Errors
    /// None installed, or not the right one.
    pub fn find(settings: &Settings, folder: &Path) -> Result<Self, Error> {
        let found = installed(settings)?;
        let wanted = fs::read_to_string(folder.join("PG_VERSION")).ok();
        let Some(wanted) = wanted.as_deref().map(str::trim) else {
            // The first of equals: `max_by_key` would take the last.
            return found.into_iter().rev().max_by_key(Self::rank).ok_or(Error::NotInstalled);
        };
        if let Some(fitting) = found.iter().find(|b| b.major == wanted) {
            return Ok(fitting.clone());
        }
        if found.is_empty() {
            return Err(Error::NotInstalled);
        }
        let mut names: Vec<_> = found.into_iter().map(|b| b.major).collect();
        names.dedup();
        Err(Error::Version { folder: folder.into(), made_by: wanted.into(), installed: names.join(", ") })
    }

    fn rank(&self) -> u32 {
        self.major.parse().unwrap_or(0)
    }
}

/// All that can be found, in the order of looking.
pub fn installed(settings: &Settings) -> Result<Vec<Binaries>, Error> {
    if let Some(dir) = &settings.bindir {
        return look_in(dir).map(|b| vec![b]).ok_or_else(|| Error::WrongBindir(dir.clone()));
    }
    let mut dirs: Vec<PathBuf> = pg_config(settings).into_iter().collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    dirs.extend(versions.map(|version| version.path().join("bin")));
    dirs.extend(settings.path.iter().cloned());
    let mut seen = HashSet::new();
    dirs.retain(|dir| seen.insert(dir.clone()));
    Ok(dirs.iter().filter_map(|dir| look_in(dir)).collect())
}

fn pg_config(settings: &Settings) -> Option<PathBuf> {
    let program = settings.path.iter().map(|dir| dir.join("pg_config")).find(|p| p.is_file())?;
    let answer = Command::new(program).arg("--bindir").output().ok()?;
    Some(PathBuf::from(String::from_utf8(answer.stdout).ok()?.trim()))
}

fn look_in(dir: &Path) -> Option<Binaries> {
    if !dir.join("initdb").is_file() || !dir.join("postgres").is_file() {
        return None;
    }
    let answer = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
    let major = major(&String::from_utf8(answer.stdout).ok()?)?;
    Some(Binaries { dir: dir.into(), major })
}

/// From `postgres (PostgreSQL) 15.18 (Debian …)`; before 10 the major version had two numbers, and we don't serve those.
fn major(version: &str) -> Option<String> {
    let number = version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    Some(digits)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_major_version_is_read() {
        assert_eq!(super::major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)").unwrap(), "15");
        assert_eq!(super::major("postgres (PostgreSQL) 18beta2").unwrap(), "18");
        assert_eq!(super::major("no version"), None);
    }
}
