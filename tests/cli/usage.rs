//! Exit codes, one-line errors, and what the command says of itself.

use std::process::Command;

use crate::postgres::daemon::{finish, folder, millrace};

fn with(args: &[&str]) -> Command {
    let mut command = millrace(std::path::Path::new("/nonexistent/data"));
    command.args(args);
    command
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    for args in [&["frobnicate"][..], &[], &["upload"], &["config", "explain", "a", "b"], &["serve", "--listen", "x"]] {
        assert_eq!(finish(with(args)).0.code(), Some(2), "{args:?}");
    }
    for args in [&["--help"][..], &["--version"], &["upload", "--help"]] {
        assert_eq!(finish(with(args)).0.code(), Some(0), "{args:?}");
    }
}

#[test]
fn a_wrong_setting_is_1_and_one_line_that_names_it() {
    let mut command = with(&["config", "check"]);
    command.env("UPLOAD_PART_BYTES", "tiny");
    let (status, _, errors) = finish(command);
    assert_eq!((status.code(), errors.lines().count()), (Some(1), 1), "{errors}");
    assert!(errors.starts_with("millrace: UPLOAD_PART_BYTES (from variable UPLOAD_PART_BYTES): "), "{errors}");
    let mut command = with(&["serve"]);
    command.env("TRACK_STORAGE_BACKEND", "gcs");
    let (status, _, errors) = finish(command);
    assert_eq!(status.code(), Some(1));
    assert!(errors.contains("TRACK_STORAGE_BACKEND"), "{errors}");
}

#[test]
fn a_setting_is_explained_with_its_origin() {
    let mut command = with(&["config", "explain", "url_ttl", "--json"]);
    command.env("URL_TTL", "20m");
    let (status, out, errors) = finish(command);
    assert!(status.success(), "{errors}");
    let explained: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&explained[0]["value"], &explained[0]["origin"]), (&"20m".into(), &"variable URL_TTL".into()));
    assert_eq!(finish(with(&["config", "explain", "NOPE"])).0.code(), Some(1));
}

#[test]
fn secrets_stay_out_of_every_answer() {
    for args in [&["config", "check", "--json"][..], &["config", "explain"], &["doctor"], &["migrate"]] {
        let mut command = with(args);
        command.env("DATABASE_URL", "postgres://u:hunter2@127.0.0.1:9/x");
        let (_, out, errors) = finish(command);
        assert!(!out.contains("hunter2") && !errors.contains("hunter2"), "{args:?}: {out}{errors}");
    }
}

#[test]
fn completions_and_the_manual_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish"] {
        let (status, script, _) = finish(with(&["completions", shell]));
        assert!(status.success() && script.contains("doctor"), "{shell}");
    }
    let (status, page, _) = finish(with(&["man"]));
    assert!(status.success());
    for command in ["SERVE", "UPLOAD", "DOCTOR", "MIGRATE", "CONFIG", "JOBS", "DB", "COMPLETIONS"] {
        assert!(page.contains(&format!(".SH {command}")), "{command}");
    }
}

#[test]
fn jobs_are_listed_as_data() {
    let dir = folder();
    let mut command = millrace(&dir.path().join("data"));
    command.args(["jobs", "list", "--json"]);
    let (status, out, errors) = finish(command);
    assert!(status.success(), "{errors}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), serde_json::json!([]));
}

#[test]
fn a_dump_can_be_restored_from() {
    let dir = folder();
    let data = dir.path().join("data");
    let dump = dir.path().join("dump");
    let mut command = millrace(&data);
    command.arg("migrate");
    assert!(finish(command).0.success());
    let mut command = millrace(&data);
    command.args(["db", "dump", "--out"]).arg(&dump);
    let (status, _, errors) = finish(command);
    assert!(status.success(), "{errors}");
    let listed = Command::new("pg_restore").arg("--list").arg(&dump).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("TABLE public tracks"));
}

/// As under `millrace config explain | head -1`.
#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    use std::process::Stdio;
    for args in [&["config", "explain"][..], &["man"], &["completions", "bash"], &["config", "explain", "--json"]] {
        let mut child = with(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
}
