//! Which node this is: a name that outlives the process, so that a restart can take back what its predecessor held.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use uuid::Uuid;

/// Reads `node-id` in the data folder, making it on the first start. The folder is locked, so nobody else does.
///
/// # Errors
/// The folder can't be used, or the file isn't ours.
pub fn load_or_make(data: &Path) -> anyhow::Result<Uuid> {
    let path = data.join("node-id");
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().with_context(|| format!("{} doesn't hold an id: remove it", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let (id, new) = (Uuid::new_v4(), data.join("node-id.new"));
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            writeln!(file, "{id}")?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            fs::File::open(data)?.sync_all()?;
            Ok(id)
        }
        Err(e) => Err(e).with_context(|| format!("can't read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name() {
        let data = tempfile::tempdir().unwrap();
        let first = load_or_make(data.path()).unwrap();
        assert_eq!(load_or_make(data.path()).unwrap(), first);
        fs::write(data.path().join("node-id"), "nonsense").unwrap();
        assert!(load_or_make(data.path()).is_err());
    }
}
