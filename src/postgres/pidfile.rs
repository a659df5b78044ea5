//! `postmaster.pid`: who holds the folder. Read, never written, never deleted.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub struct Pidfile {
    /// Line 1; negative would be a single-user server.
    pub pid: i32,
    /// Line 5.
    pub socket_dir: PathBuf,
    /// Line 8.
    status: String,
}

impl Pidfile {
    pub fn is_ready(&self) -> bool {
        self.status == "ready"
    }

    /// A sentence for the operator about whoever keeps the folder locked.
    pub fn accuse(&self, folder: &Path) -> String {
        let pid = self.pid;
        let folder_shown = folder.display();
        match fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(cwd) if cwd == folder => {
                format!("another PostgreSQL (process {pid}) runs on {folder_shown}: stop it with kill -INT {pid}")
            }
            _ if Path::new(&format!("/proc/{pid}")).exists() => {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                format!(
                    "{folder_shown}/postmaster.pid names process {pid} ({}), which isn't a PostgreSQL of this folder: \
                     if none runs on it, in another container neither, remove that file",
                    name.trim()
                )
            }
            _ => format!(
                "PostgreSQL says that {folder_shown} is in use, though process {pid} is gone: look for its remaining \
                 processes (pgrep postgres), and end them"
            ),
        }
    }
}

pub fn read(folder: &Path) -> Option<Pidfile> {
    parse(&fs::read_to_string(folder.join("postmaster.pid")).ok()?)
}

fn parse(text: &str) -> Option<Pidfile> {
    let mut lines = text.lines().map(str::trim);
    let pid = lines.next()?.parse().ok()?;
    let socket_dir = PathBuf::from(lines.nth(3).unwrap_or_default());
    let status = lines.nth(2).unwrap_or_default().to_owned();
    Some(Pidfile { pid, socket_dir, status })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lines_that_we_use_are_found() {
        let text = "4711\n/data/postgres\n1700000000\n5432\n/data/socket\n\n  983050  12\nready   \n";
        let file = parse(text).unwrap();
        assert_eq!((file.pid, file.socket_dir.to_str().unwrap(), file.is_ready()), (4711, "/data/socket", true));
    }

    #[test]
    fn a_file_that_is_still_being_written_is_not_ready() {
        assert!(!parse("4711\n/data/postgres\n").unwrap().is_ready());
        assert_eq!(parse(""), None);
    }
}
