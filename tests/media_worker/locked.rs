//! The sandbox, from outside: what it reports, what it calls, whom it runs as. The ways out are tried in `contained`.

use std::process::{Command, Stdio};

use pipeline::media::Worker;

use super::support::*;

#[tokio::test]
async fn the_worker_reports_its_lock() {
    let hello = run(order(), &song(0.1)).await.hello.unwrap();
    assert!(hello.seccomp);
    assert_eq!(hello.landlock, "enforced");
    assert_ne!(hello.uid, 0);
}

/// Runs `transcode` under strace and gives the worker's calls after its first word.
fn calls_after_hello(file: &[u8]) -> Vec<String> {
    let folder = tempfile::TempDir::new().unwrap();
    let (file, trace) = (write(folder.path(), "in", file), folder.path().join("trace"));
    let status = Command::new("strace")
        .args(["-f", "-ff", "-o"])
        .arg(&trace)
        .arg(exe())
        .arg("transcode")
        .arg(&file)
        .arg("--out")
        .arg(folder.path().join("out"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.code().is_some());
    let mut calls = vec![];
    let mut has_worker = false;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_string_lossy().starts_with("trace.") {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        if text.contains("SECCOMP_FILTER_FLAG_TSYNC") {
            has_worker = true;
            let after = text.lines().skip_while(|l| !l.contains("SECCOMP_FILTER_FLAG_TSYNC")).skip(1);
            calls.extend(after.map(str::to_owned));
        }
    }
    assert!(has_worker, "the filter was seen being installed");
    calls
}

#[test]
fn nothing_is_opened_and_nobody_is_called() {
    // HLS-6
    let dref = {
        let mut file = ffmpeg(&song(0.5), &[], &["-c:a", "aac", "-movflags", "+faststart"], "a.m4a");
        // A data reference that names a file: `url ` with flag 1 (self-contained) becomes `alis` without it.
        let at = file.windows(8).position(|w| w == b"url \0\0\0\x01").expect("a data reference");
        file[at..at + 8].copy_from_slice(b"alis\0\0\0\0");
        file
    };
    let playlist = b"#EXTM3U\n#EXTINF:6,\nhttp://127.0.0.1:9/canary\n/etc/passwd\n".to_vec();
    let concat = b"ffconcat version 1.0\nfile /etc/passwd\n".to_vec();
    for file in [song(0.5), dref, playlist, concat] {
        let calls = calls_after_hello(&file);
        assert!(calls.iter().any(|c| c.starts_with("write(")), "the marker is before the work");
        let allowed = [
            "read(",
            "write(",
            "close(",
            "munmap(",
            "brk(",
            "mremap(",
            "madvise(",
            "futex(",
            "mmap(",
            "exit(",
            "exit_group(",
            "rt_sigprocmask(",
            "sigaltstack(",
            "mprotect(",
            "getrandom(",
            "sched_yield(",
            "+++",
            "---",
            "<...",
        ];
        let others: Vec<_> = calls.iter().filter(|c| !allowed.iter().any(|a| c.starts_with(a))).collect();
        assert_eq!(others, Vec::<&String>::new());
    }
}

/// Only root can become somebody else to try this; as anybody else every other test here has shown it already.
#[tokio::test]
async fn the_daemon_need_not_be_root() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let file = write(folder.path(), "in.wav", &song(0.5));
    let copy = folder.path().join("millrace");
    std::fs::copy(exe(), &copy).unwrap();
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), all).unwrap();
    let mut command = Command::new(&copy);
    std::os::unix::process::CommandExt::uid(&mut command, 65_533);
    let out = command.arg("transcode").arg(&file).arg("--out").arg(folder.path().join("out")).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[tokio::test]
async fn a_dropped_worker_is_gone() {
    let worker = Worker::spawn(order()).await.unwrap();
    let pid = worker.pid().unwrap();
    worker.kill().await;
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

/// Runs `transcode` on a kernel that lacks a system call.
fn on_a_kernel_without(call: &str) -> std::process::Output {
    let folder = tempfile::TempDir::new().unwrap();
    let file = write(folder.path(), "in", &song(0.3));
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error=ENOSYS"));
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "-e", &trace, "-e", &inject]).arg(exe()).arg("transcode").arg(&file);
    command.arg("--out").arg(folder.path().join("out")).output().unwrap()
}

#[test]
fn without_landlock_the_filter_has_to_do() {
    let out = on_a_kernel_without("landlock_create_ruleset");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn without_the_filter_no_byte_is_decoded() {
    let out = on_a_kernel_without("seccomp");
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && text.contains("worker_sandbox"), "{text}");
}
