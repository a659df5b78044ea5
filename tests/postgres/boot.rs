//! From nothing to ready, and down again.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::daemon::{Daemon, finish, folder, millrace};

/// The median of three: neither the luckiest nor the one that something else on the machine got in the way of.
#[tokio::test]
async fn first_boot_is_ready_in_5_s_and_a_later_one_in_2_s() {
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let dir = folder();
        let data = dir.path().join("data");
        first.push(boot_and_stop(&data).await);
        later.push(boot_and_stop(&data).await);
    }
    println!("first boot: ready after {first:?}; later: {later:?}");
    assert!(median(&first) < Duration::from_secs(5), "{first:?}");
    assert!(median(&later) < Duration::from_secs(2), "{later:?}");
}

fn median(took: &[Duration]) -> Duration {
    let mut sorted = took.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

/// How long until ready; then SIGTERM, to which the answer is a clean end.
async fn boot_and_stop(data: &Path) -> Duration {
    let start = Instant::now();
    let mut daemon = Daemon::start(data).unwrap();
    daemon.until_ready(Duration::from_secs(30)).await;
    let took = start.elapsed();
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    assert!(!data.join("postgres/postmaster.pid").exists(), "the server was not stopped cleanly");
    took
}

#[tokio::test]
async fn the_only_tcp_listeners_are_ours() {
    let dir = folder();
    let daemon = Daemon::start(&dir.path().join("data")).unwrap();
    let ours = listening_inodes(&[daemon.pid()]);
    assert_eq!(ours.len(), 2, "the public and the admin listener");
    let servers: Vec<i32> = children(daemon.postmaster()).into_iter().chain([daemon.postmaster()]).collect();
    assert!(servers.len() > 3, "the server's workers were found");
    assert_eq!(listening_inodes(&servers).len(), 0);
}

#[tokio::test]
async fn the_server_is_our_child_unprivileged_and_closed_to_others() {
    let dir = folder();
    let daemon = Daemon::start(&dir.path().join("data")).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.postmaster())).unwrap();
    let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("PPid:"), daemon.pid().to_string());
    assert!(!field("Uid:").split_whitespace().any(|uid| uid == "0"), "it runs as root");
    assert!(field("Groups:").split_whitespace().all(|group| group != "0"), "it kept root's groups");
    let mode = |path: &str| fs::metadata(daemon.data.join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("postgres"), mode("postgres-socket"), mode("secrets")), (0o700, 0o700, 0o700));
    assert_eq!(mode("lock"), 0o600);
    let mut db = daemon.connect().await;
    let fsync: String = sqlx::query_scalar("SHOW fsync").fetch_one(&mut db).await.unwrap();
    let checksums: String = sqlx::query_scalar("SHOW data_checksums").fetch_one(&mut db).await.unwrap();
    assert_eq!((fsync.as_str(), checksums.as_str()), ("on", "on"));
}

#[tokio::test]
async fn ctrl_c_in_a_terminal_reaches_us_and_not_the_server() {
    let dir = folder();
    let mut daemon = Daemon::start(&dir.path().join("data")).unwrap();
    let group = rustix::process::Pid::from_raw(daemon.pid()).unwrap();
    let servers = rustix::process::Pid::from_raw(daemon.postmaster());
    assert_ne!(rustix::process::getpgid(servers).unwrap(), group, "the server shares our process group");
    rustix::process::kill_process_group(group, Signal::INT).unwrap();
    assert!(daemon.wait().success());
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_that_something_holds_up() {
    use tokio::io::AsyncWriteExt;
    let dir = folder();
    let mut daemon = Daemon::start(&dir.path().join("data")).unwrap();
    let address = daemon.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut half = tokio::net::TcpStream::connect(&address).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    daemon.until_ready(Duration::from_secs(2)).await;
    let start = Instant::now();
    daemon.signal(Signal::TERM);
    while daemon.status("/readyz").await == Some(200) {}
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
}

/// As an ordinary user the server is simply us. Only root can try it from here.
#[tokio::test]
async fn an_ordinary_user_needs_nobody_else() {
    let Some((uid, gid)) = postgres_user() else { return };
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = folder();
    let data = dir.path().join("home/data");
    let binary = dir.path().join("millrace");
    fs::copy(env!("CARGO_BIN_EXE_millrace"), &binary).unwrap();
    fs::create_dir(dir.path().join("home")).unwrap();
    std::os::unix::fs::chown(dir.path().join("home"), Some(uid), Some(gid)).unwrap();
    let mut command = std::process::Command::new(&binary);
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/").arg("--data").arg(&data).uid(uid).gid(gid);
    let daemon = Daemon::start_as(&data, command).unwrap();
    daemon.until_ready(Duration::from_secs(5)).await;
    assert_eq!(fs::metadata(data.join("postgres")).unwrap().uid(), uid);
    assert_eq!(fs::metadata(&data).unwrap().mode() & 0o7777, 0o711);
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_served_from_a_short_one() {
    let dir = folder();
    let data = dir.path().join("d".repeat(60)).join("e".repeat(60));
    let daemon = Daemon::start(&data).unwrap();
    daemon.until_ready(Duration::from_secs(2)).await;
    let url = daemon.database_url();
    let socket_dir = url.split('@').nth(1).unwrap().split(':').next().unwrap().replace("%2F", "/");
    assert!(socket_dir.len() + "/.s.PGSQL.5432".len() < 107, "{socket_dir}");
    assert_eq!(fs::metadata(&socket_dir).unwrap().mode() & 0o777, 0o700);
    drop(daemon);
    fs::remove_dir(&socket_dir).unwrap();
}

#[tokio::test]
async fn a_command_without_a_daemon_runs_the_database_itself() {
    let dir = folder();
    let data = dir.path().join("data");
    let mut command = millrace(&data);
    command.args(["migrate"]);
    let (status, _, errors) = finish(command);
    assert!(status.success(), "{errors}");
    let mut command = millrace(&data);
    command.args(["db", "psql", "--", "-Atc", "SELECT count(*) > 0 FROM edge"]);
    let (status, rows, errors) = finish(command);
    assert!(status.success(), "{errors}");
    assert_eq!(rows.trim(), "t");
    assert!(!data.join("postgres/postmaster.pid").exists(), "a server was left behind");
}

fn postgres_user() -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.starts_with("postgres:"))?.to_owned();
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// The sockets of these processes that are in TCP's listening state (`0A`).
fn listening_inodes(pids: &[i32]) -> Vec<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let listening: Vec<String> = tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "0A")
        .map(|fields| format!("socket:[{}]", fields[9]))
        .collect();
    let mut held = Vec::new();
    for pid in pids {
        for fd in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            let target = fs::read_link(fd.path()).unwrap_or_default().to_string_lossy().into_owned();
            held.extend(listening.iter().find(|socket| **socket == target).cloned());
        }
    }
    held
}
