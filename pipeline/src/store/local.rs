//! A folder with S3's manners.
//!
//! ```text
//! store/objects/<key>      whole objects, under their final names only when complete and synced
//! store/multipart/<key>    uploads under way: one file each, parts and tails written in place at their offsets
//! store/tmp/               whole objects on their way; emptied at start
//! ```
//! Order of `put`: 1 bytes to tmp, 2 fdatasync, 3 link to the final name, 4 fsync of the folder. Dead before 3: a file in
//! tmp, gone at the next start. Dead before 4: the name may be missing, and nobody was told that it exists.
//! Order of `complete`: 1 fdatasync, 2 size checked, 3 rename, 4 fsync of both folders. Dead after 3: `complete` finds the
//! final name and says so.
//! Never: a final name over bytes that aren't whole and durable.
//! Absent: a second copy of anything, and protection from another process in the same folder (`millrace serve` locks it).

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use time::OffsetDateTime;

use super::{
    Backend, LIST_MAX, Listed, Multipart, Object, Part, SignedUrls, Store, StoreError, Tail, Unfinished, assert_own_key,
};

/// The store of one machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Local {
    root: PathBuf,
}

/// Names in tmp are unique within the process; the folder belongs to one process.
static NEXT_TMP: AtomicU64 = AtomicU64::new(0);

impl Local {
    /// Opens `root`, making its folders and clearing what an earlier process left in tmp.
    ///
    /// # Errors
    /// The file system's.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        // Others on this machine have no business with people's files.
        let mut private = fs::DirBuilder::new();
        private.recursive(true).mode(0o700);
        for folder in ["objects", "multipart", "tmp"] {
            private.create(root.join(folder))?;
        }
        for left in fs::read_dir(root.join("tmp"))? {
            fs::remove_file(left?.path())?;
        }
        Ok(Self { root })
    }

    /// Looks into `root` beside the process that it belongs to: for reading and deleting. Nothing is made or cleared.
    pub fn beside(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn object(&self, key: &str) -> PathBuf {
        assert_own_key(key);
        self.root.join("objects").join(key)
    }

    fn unfinished(&self, key: &str) -> PathBuf {
        assert_own_key(key);
        self.root.join("multipart").join(key)
    }

    /// Writes frames in place at `off` and makes them durable. The file must exist: `begin` made it.
    async fn write_at(&self, to: &Multipart, off: u64, frames: Vec<Bytes>) -> Result<(), StoreError> {
        let path = self.unfinished(&to.key);
        let key = to.key.clone();
        on_disk(&key, move || {
            let file = OpenOptions::new().write(true).open(path)?;
            let mut at = off;
            for frame in &frames {
                file.write_all_at(frame, at)?;
                at += frame.len() as u64;
            }
            file.sync_data()
        })
        .await
    }

    /// Every file of one of our folders whose key begins with `prefix`, in the order of their keys.
    async fn below(&self, folder: &'static str, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let top = self.root.join(folder);
        assert_own_key(prefix.trim_end_matches('/'));
        let below = top.join(prefix.trim_end_matches('/'));
        on_disk(prefix, move || {
            let mut found = Vec::new();
            let mut folders = vec![below];
            while let Some(folder) = folders.pop() {
                let entries = match fs::read_dir(&folder) {
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    other => other?,
                };
                for entry in entries {
                    let entry = entry?;
                    if entry.file_type()?.is_dir() {
                        folders.push(entry.path());
                    } else if let Ok(key) = entry.path().strip_prefix(&top) {
                        // A file may go between the listing and this look.
                        let Ok(meta) = entry.metadata() else { continue };
                        let modified = meta.modified().ok().map(OffsetDateTime::from);
                        found.push(object(key.to_string_lossy().into_owned(), meta.len(), modified));
                    }
                }
            }
            found.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(found)
        })
        .await
    }
}

fn object(key: String, size: u64, modified: Option<OffsetDateTime>) -> Object {
    Object { etag: format!("size-{size}"), key, size, modified }
}

#[async_trait]
impl Store for Local {
    fn backend(&self) -> Backend {
        Backend::Local
    }

    fn local_path(&self, key: &str) -> Option<String> {
        Some(self.object(key).to_string_lossy().into_owned())
    }

    async fn begin(&self, key: &str) -> Result<Multipart, StoreError> {
        let path = self.unfinished(key);
        on_disk(key, move || {
            let folder = made_parent(&path)?;
            OpenOptions::new().write(true).create(true).truncate(false).open(&path)?.sync_all()?;
            File::open(folder)?.sync_all()
        })
        .await?;
        Ok(Multipart { key: key.into(), multipart_id: key.into() })
    }

    fn tails_in_place(&self) -> bool {
        true
    }

    fn reads_unfinished(&self) -> bool {
        true
    }

    async fn put_part(
        &self,
        to: &Multipart,
        part: &Part,
        _tails: &[Tail],
        off: u64,
        frames: Vec<Bytes>,
    ) -> Result<String, StoreError> {
        self.write_at(to, off, frames).await?;
        Ok(format!("in-place-{}", part.part_no))
    }

    async fn copy_part(
        &self,
        _to: &Multipart,
        _part: &Part,
        _from: &str,
        _from_off: u64,
    ) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    async fn listed(&self, _of: &Multipart) -> Result<Vec<Listed>, StoreError> {
        Ok(Vec::new())
    }

    async fn put_tail(&self, to: &Multipart, tail: &Tail, frames: Vec<Bytes>) -> Result<(), StoreError> {
        self.write_at(to, tail.off, frames).await
    }

    async fn complete(&self, to: &Multipart, parts: &[Part], size: u64) -> Result<Object, StoreError> {
        let (from, into, key) = (self.unfinished(&to.key), self.object(&to.key), to.key.clone());
        let covered = parts.iter().try_fold(0, |at, p| (p.off == at).then_some(at + p.len));
        if covered != Some(size) {
            return Err(StoreError::Wrong { key, what: format!("parts cover {covered:?} of {size} bytes") });
        }
        let found = on_disk(&to.key, move || {
            let file = match OpenOptions::new().write(true).open(&from) {
                Ok(file) => file,
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(fs::metadata(&into)?.len()),
                Err(e) => return Err(e),
            };
            // Bytes past the end are a cut request's, never acknowledged.
            if file.metadata()?.len() > size {
                file.set_len(size)?;
            }
            file.sync_all()?;
            let found = file.metadata()?.len();
            if found == size {
                let folder = made_parent(&into)?;
                fs::rename(&from, &into)?;
                File::open(folder)?.sync_all()?;
                sync_parent(&from)?;
            }
            Ok(found)
        })
        .await?;
        if found != size {
            return Err(StoreError::Wrong { key, what: format!("{found} bytes instead of {size}") });
        }
        Ok(object(key, size, None))
    }

    async fn abort(&self, to: &Multipart) -> Result<(), StoreError> {
        let path = self.unfinished(&to.key);
        on_disk(&to.key, move || removed(&path)).await
    }

    async fn read_unfinished(&self, of: &Multipart, off: u64, len: usize) -> Result<Option<Bytes>, StoreError> {
        let path = self.unfinished(&of.key);
        on_disk(&of.key, move || read_range(&path, off, len)).await.map(Some)
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<Object, StoreError> {
        let into = self.object(key);
        let tmp = self.root.join("tmp").join(NEXT_TMP.fetch_add(1, Ordering::Relaxed).to_string());
        let size = bytes.len() as u64;
        let equal = on_disk(key, move || {
            let put = || {
                let file = OpenOptions::new().write(true).create_new(true).open(&tmp)?;
                file.write_all_at(&bytes, 0)?;
                file.sync_data()?;
                let folder = made_parent(&into)?;
                match fs::hard_link(&tmp, &into) {
                    Err(e) if e.kind() == ErrorKind::AlreadyExists => return Ok(fs::read(&into)? == bytes),
                    other => other?,
                }
                File::open(folder)?.sync_all()?;
                Ok(true)
            };
            let answer = put();
            removed(&tmp)?;
            answer
        })
        .await?;
        if !equal {
            return Err(StoreError::Exists(key.into()));
        }
        Ok(object(key.into(), size, None))
    }

    async fn read(&self, key: &str, off: u64, len: usize) -> Result<Bytes, StoreError> {
        let path = self.object(key);
        on_disk(key, move || read_range(&path, off, len)).await
    }

    async fn head(&self, key: &str) -> Result<Option<Object>, StoreError> {
        let path = self.object(key);
        let size = on_disk(key, move || match fs::metadata(&path) {
            Ok(m) => Ok(Some(m.len())),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        })
        .await?;
        Ok(size.map(|size| object(key.into(), size, None)))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let path = self.object(key);
        on_disk(key, move || removed(&path)).await
    }

    async fn list(&self, prefix: &str, after: &str) -> Result<Vec<Object>, StoreError> {
        let after = after.to_owned();
        let mut found = self.below("objects", prefix).await?;
        found.retain(|object| object.key > after);
        found.truncate(LIST_MAX);
        Ok(found)
    }

    async fn unfinished(&self, prefix: &str) -> Result<Vec<Unfinished>, StoreError> {
        let found = self.below("multipart", prefix).await?;
        Ok(found
            .into_iter()
            .map(|file| Unfinished {
                begun: file.modified.unwrap_or_else(OffsetDateTime::now_utc),
                of: Multipart { multipart_id: file.key.clone(), key: file.key },
            })
            .collect())
    }

    fn signed_urls(&self) -> Option<&dyn SignedUrls> {
        None
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let path = self.root.join("tmp").join(format!("probe-{}", NEXT_TMP.fetch_add(1, Ordering::Relaxed)));
        on_disk("probe", move || {
            fs::write(&path, b"probe")?;
            removed(&path)
        })
        .await
    }
}

/// Runs file work off the runtime, and says what its failure means.
async fn on_disk<T: Send + 'static>(
    key: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    match done.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
        Ok(answer) => Ok(answer),
        Err(e) if matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => Err(StoreError::Full(e)),
        Err(e) if e.kind() == ErrorKind::NotFound => Err(StoreError::Missing(key.into())),
        Err(e) => Err(StoreError::Away(e)),
    }
}

/// The parent folder of `path`, made and synced up to the first that existed.
fn made_parent(path: &Path) -> io::Result<&Path> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    if !folder.is_dir() {
        fs::create_dir_all(folder)?;
        let mut above = folder.parent();
        for _ in 0..3 {
            let Some(dir) = above else { break };
            File::open(dir)?.sync_all()?;
            above = dir.parent();
        }
    }
    Ok(folder)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().ok_or(ErrorKind::InvalidInput)?)?.sync_all()
}

fn removed(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn read_range(path: &Path, off: u64, len: usize) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let have = file.metadata()?.len().saturating_sub(off);
    let mut bytes = vec![0; len.min(usize::try_from(have).unwrap_or(usize::MAX))];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], off + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_keeps_the_contract() {
        // UP-11
        let folder = tempfile::tempdir().unwrap();
        super::super::contract::contract(&Local::open(folder.path()).unwrap()).await;
        // Whole or nothing: no file is left on its way.
        assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_crash_before_the_rename_leaves_nothing_under_the_final_name() {
        // UP-4
        let folder = tempfile::tempdir().unwrap();
        let store = Local::open(folder.path()).unwrap();
        let to = store.begin("u/crash").await.unwrap();
        store
            .put_part(&to, &super::super::contract::part(1, 0, b"abc"), &[], 0, vec![Bytes::from_static(b"abc")])
            .await
            .unwrap();
        drop(store);
        let again = Local::open(folder.path()).unwrap();
        assert_eq!(again.head("u/crash").await.unwrap(), None);
        assert_eq!(again.read_unfinished(&to, 0, 9).await.unwrap().unwrap(), "abc");
    }

    #[test]
    #[should_panic(expected = "not a key of ours")]
    fn a_traversal_is_not_a_key() {
        assert_own_key("u/../../etc/passwd");
    }
}
