//! The database's folder: made once, as a whole; checked every time.
//!
//! Order: 1 `initdb` into `postgres.new`; 2 one sync of the file system, thirty times as fast as its own sync of a
//! thousand files; 3 the rename to `postgres`; 4 the sync of the parent.
//! Dead before 3: the next start removes the leftover. Never: a half-made folder under the final name.

use std::{
    fs, io,
    io::Read,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use rustix::process::Signal;

use super::{
    Error, Settings, USER,
    account::{Accounts, barrier},
    binaries::Binaries,
    child,
};

/// The longest complaint of `initdb` that we pass on.
const COMPLAINT_BYTES_MAX: u64 = 8 * 1024;

/// Where the database's folder is.
pub fn of(data: &Path) -> PathBuf {
    data.join("postgres")
}

/// Makes the folder if it isn't there, and the files that say who may connect.
pub fn prepare(settings: &Settings, binaries: &Binaries, accounts: &Accounts) -> Result<PathBuf, Error> {
    let folder = of(&settings.data);
    check(settings, &folder, accounts)?;
    if !folder.exists() {
        init(&folder, binaries, accounts)?;
    }
    Ok(folder)
}

/// Whether the server's user gets there, and finds a database or nothing.
pub fn check(settings: &Settings, folder: &Path, accounts: &Accounts) -> Result<(), Error> {
    if accounts.differ()
        && let Some(parent) = barrier(&accounts.servers, &settings.data)
    {
        return Err(Error::Unreachable { account: accounts.servers.name.clone(), parent });
    }
    if folder.exists() && !folder.join("PG_VERSION").is_file() {
        return Err(Error::NotADatabase(folder.into()));
    }
    Ok(())
}

/// Writes who may connect: our user and the server's, as the superuser, told by the kernel (`peer`).
///
/// `trust` in a 0700 folder would do too, until somebody loosens the folder. The files are ours and lie outside the
/// server's folder, so that root never writes where another user could have put a link. They are written at every
/// start, because who starts us may change.
pub fn permit(data: &Path, accounts: &Accounts) -> Result<(PathBuf, PathBuf), Error> {
    let dir = data.join("postgres-auth");
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Io { what: "can't write", path, source }
    };
    match fs::DirBuilder::new().mode(0o755).create(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&dir)(e)),
        _ => {}
    }
    let (hba, ident) = (dir.join("hba.conf"), dir.join("ident.conf"));
    let mut map = format!("millrace \"{}\" {USER}\n", accounts.ours.name);
    if accounts.differ() {
        map.push_str(&format!("millrace \"{}\" {USER}\n", accounts.servers.name));
    }
    for (path, text) in [(&hba, "local all all peer map=millrace\n"), (&ident, map.as_str())] {
        fs::write(path, text).map_err(failed(path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(failed(path))?;
    }
    Ok((hba, ident))
}

fn init(folder: &Path, binaries: &Binaries, accounts: &Accounts) -> Result<(), Error> {
    let new = folder.with_extension("new");
    let failed = |what: &'static str, path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Io { what, path, source }
    };
    if new.exists() {
        fs::remove_dir_all(&new).map_err(failed("can't remove the unfinished", &new))?;
    }
    fs::DirBuilder::new().mode(0o700).create(&new).map_err(failed("can't make", &new))?;
    if accounts.differ() {
        let (uid, gid) = (accounts.servers.uid, accounts.servers.gid);
        chown(&new, Some(uid), Some(gid)).map_err(failed("can't hand over", &new))?;
    }
    run_initdb(&new, binaries, accounts)?;
    let synced = fs::File::open(&new).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
    synced.map_err(failed("can't sync", &new))?;
    fs::rename(&new, folder).map_err(failed("can't rename", &new))?;
    let parent = folder.parent().unwrap_or(Path::new("/"));
    fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed("can't sync", parent))
}

/// Text is compared by bytes, which no upgrade of the system's library changes, and upper and lower case are Unicode's.
fn run_initdb(new: &Path, binaries: &Binaries, accounts: &Accounts) -> Result<(), Error> {
    let pgdata = new.to_string_lossy().into_owned();
    let args = ["-D", &pgdata, "-U", USER, "--auth-local=peer", "--auth-host=reject", "--data-checksums", "--no-sync"]
        .into_iter()
        .chain(["--encoding=UTF8", "--lc-collate=C", "--lc-ctype=C.UTF-8", "--lc-messages=C", "--no-instructions"])
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let program = binaries.dir.join("initdb");
    let mut child = child::spawn(&program, &args, accounts, Signal::TERM).map_err(|source| Error::Io {
        what: "can't start",
        path: program,
        source,
    })?;
    let mut complaint = String::new();
    if let Some(pipe) = child.stderr.take() {
        // What can't be read can't be passed on; the exit status still tells.
        let _ = pipe.take(COMPLAINT_BYTES_MAX).read_to_string(&mut complaint);
    }
    let status = child.wait().map_err(|e| Error::Init(e.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let line = complaint.lines().find(|line| line.contains("error:")).unwrap_or("it said nothing");
    Err(Error::Init(line.trim_start_matches("initdb: error: ").to_owned()))
}
