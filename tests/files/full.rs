//! A full disk: 507 before any acknowledgement, and it goes on without a restart when there is space again.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    postgres::daemon::{self, Daemon},
    support::{app::App, postgres::Database, sound::noise, tus},
};

/// Mounts a small file system where only what follows sees it, and becomes what follows.
const SMALL: &str = r#"mkdir -p "$1" && mount -t tmpfs -o size=32m tmpfs "$1" && shift && exec "$@""#;

/// Ways into a mount namespace of one's own: as root, and as anybody whom the kernel lets be root in a user namespace.
const WAYS: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];

/// A command that runs `program` in a mount namespace with 32 MiB at `store`; `None` where nobody may have one.
fn on_a_small_disk(store: &Path, program: &Command) -> Option<Command> {
    let way = WAYS.into_iter().find(|way| {
        let tried = Command::new("unshare").args(*way).args(["sh", "-c", SMALL, "sh"]).arg(store).arg("true").status();
        tried.is_ok_and(|status| status.success())
    })?;
    let mut command = Command::new("unshare");
    command.args(way).args(["sh", "-c", SMALL, "sh"]).arg(store).arg(program.get_program()).args(program.get_args());
    command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir("/");
    Some(command)
}

/// A daemon whose store has 32 MiB, on a database elsewhere; and its store, as seen from here.
async fn small() -> Option<(App, PathBuf)> {
    let folder = daemon::folder();
    let data = folder.path().join("data");
    let mut program = daemon::millrace(&data);
    let database = Database::new().await;
    program.env("UPLOAD_PART_BYTES", "5MiB").env("DATABASE_URL", &database.url);
    let command = on_a_small_disk(&data.join("store"), &program)?;
    let daemon = Daemon::start_as(&data, command).unwrap();
    let store =
        PathBuf::from(format!("/proc/{}/root", daemon.pid())).join(data.strip_prefix("/").unwrap()).join("store");
    Some((App::around(daemon, folder), store))
}

#[tokio::test]
async fn a_full_store_says_so_and_recovers() {
    // U9, UP-10
    let Some((app, store)) = small().await else {
        let may_skip = std::env::var("MILLRACE_SKIP_INTEGRATION").is_ok_and(|value| value == "1");
        assert!(
            may_skip,
            "this machine lets nobody mount a small file system; MILLRACE_SKIP_INTEGRATION=1 leaves it out"
        );
        return;
    };
    let bytes = noise(24 << 20, 14);
    let filler = store.join("filler");
    std::fs::write(&filler, noise(20 << 20, 15)).unwrap();
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let mut offsets = vec![0];
    for _ in 0..3 {
        let from = *offsets.last().unwrap();
        assert_eq!(tus::patch(&app, &upload, from as u64, &bytes[from..]).await.status(), 507);
        offsets.push(tus::offset(&app, &upload).await as usize);
    }
    assert!(offsets[1] <= 12 << 20, "what there is room for: {offsets:?}");
    assert!(offsets.is_sorted(), "an offset never goes back: {offsets:?}");
    assert_eq!(offsets[2], offsets[3], "nothing more is taken: {offsets:?}");
    std::fs::remove_file(&filler).unwrap();
    let offset = tus::offset(&app, &upload).await as usize;
    assert_eq!(offset, offsets[3], "what was told is still so");
    assert_eq!(tus::patch(&app, &upload, offset as u64, &bytes[offset..]).await.status(), 204);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}
