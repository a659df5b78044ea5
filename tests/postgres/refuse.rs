//! What keeps the server from starting is said in one line, with the cure.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::daemon::{Daemon, finish, folder, kill, millrace};

/// The refusal's exit code and its one line on standard error; log lines are JSON.
fn refusal(said: Result<Daemon, String>) -> String {
    let said = said.err().expect("it started");
    let (code, text) = said.split_once(": ").unwrap();
    assert_eq!(code, "1", "{text}");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(lines.len(), 1, "one line: {text}");
    lines[0].to_owned()
}

#[tokio::test]
async fn a_second_daemon_on_the_same_folder_is_refused() {
    let dir = folder();
    let data = dir.path().join("data");
    let first = Daemon::start(&data).unwrap();
    let line = refusal(Daemon::start(&data));
    assert!(line.contains(&format!("process {}", first.pid())) && line.contains("--data"), "{line}");
    first.until_ready(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_folder_of_another_version_is_refused_and_left_alone() {
    let dir = folder();
    let data = dir.path().join("data");
    drop(Daemon::start(&data).unwrap());
    let version = data.join("postgres/PG_VERSION");
    fs::write(&version, "9\n").unwrap();
    let line = refusal(Daemon::start(&data));
    assert!(line.contains("made by PostgreSQL 9") && line.contains("apt install postgresql-9"), "{line}");
    assert_eq!(fs::read_to_string(&version).unwrap(), "9\n");
    let mut doctor = millrace(&data);
    doctor.arg("doctor");
    let (status, findings, _) = finish(doctor);
    assert_eq!(status.code(), Some(1));
    assert!(findings.contains("apt install postgresql-9"), "{findings}");
}

#[tokio::test]
async fn a_folder_that_is_no_database_is_refused() {
    let dir = folder();
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("postgres")).unwrap();
    fs::write(data.join("postgres/something"), "mine").unwrap();
    let line = refusal(Daemon::start(&data));
    assert!(line.contains("isn't a PostgreSQL folder"), "{line}");
    assert!(data.join("postgres/something").exists());
}

#[tokio::test]
async fn a_half_made_database_is_made_again() {
    let dir = folder();
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("postgres.new/base")).unwrap();
    let daemon = Daemon::start(&data).unwrap();
    daemon.until_ready(Duration::from_secs(1)).await;
    assert!(!data.join("postgres.new").exists());
}

#[tokio::test]
async fn programs_that_arent_where_they_were_said_to_be_are_named() {
    let dir = folder();
    let data = dir.path().join("data");
    let mut command = millrace(&data);
    command.env("PG_BINDIR", "/nowhere");
    let line = refusal(Daemon::start_as(&data, command));
    assert!(line.contains("/nowhere") && line.contains("PG_BINDIR"), "{line}");
}

#[tokio::test]
async fn a_parent_that_the_servers_user_cant_enter_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = folder();
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    let line = refusal(Daemon::start(&closed.join("data")));
    assert!(line.contains(&format!("chmod o+x {}", closed.display())), "{line}");
}

/// A process that the server takes for its own: same user, alive, named in the pid file.
fn impostor(data: &std::path::Path) -> std::process::Child {
    use std::os::unix::fs::MetadataExt;
    let pidfile = data.join("postgres/postmaster.pid");
    let owner = fs::metadata(data.join("postgres")).unwrap();
    let mut command = Command::new("sleep");
    command.arg("60");
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let child = command.spawn().unwrap();
    let text = format!("{}\n{}\n1\n5432\n\n\n  1 1\nready\n", child.id(), data.join("postgres").display());
    fs::write(&pidfile, text).unwrap();
    fs::set_permissions(&pidfile, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&pidfile, Some(owner.uid()), Some(owner.gid())).unwrap();
    child
}

#[tokio::test]
async fn a_stale_pid_is_waited_for_then_explained_and_never_deleted() {
    let dir = folder();
    let data = dir.path().join("data");
    drop(Daemon::start(&data).unwrap());
    let mut child = impostor(&data);
    let start = Instant::now();
    let line = refusal(Daemon::start(&data));
    let took = start.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(took >= Duration::from_secs(15) && took < Duration::from_secs(20), "gave up after {took:?}");
    assert!(line.contains("(sleep)") && line.contains("isn't a PostgreSQL of this folder"), "{line}");
    assert!(data.join("postgres/postmaster.pid").exists(), "the pid file was deleted");
}

#[tokio::test]
async fn a_stale_pid_whose_process_ends_in_time_does_no_harm() {
    let dir = folder();
    let data = dir.path().join("data");
    drop(Daemon::start(&data).unwrap());
    let mut child = impostor(&data);
    let pid = i32::try_from(child.id()).unwrap();
    let end = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(2));
        kill(pid, Signal::KILL);
        child.wait().unwrap();
    });
    let start = Instant::now();
    let daemon = Daemon::start(&data).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2), "the lock was not respected");
    daemon.until_ready(Duration::from_secs(1)).await;
    end.join().unwrap();
}
