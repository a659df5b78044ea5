//! `millrace doctor`: planted faults are named, each with a cure.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::Value;

use crate::{
    postgres::daemon::{Daemon, finish, folder, millrace},
    support::garage::Garage,
};

fn doctor(data: &Path) -> Command {
    let mut command = millrace(data);
    command.args(["doctor", "--json"]).env("MILLRACE_LISTEN", "127.0.0.1:0").env("MILLRACE_ADMIN", "127.0.0.1:0");
    command
}

#[track_caller]
fn ill(command: Command, subject: &str, words: &str) {
    let (status, out, errors) = finish(command);
    assert_eq!(status.code(), Some(1), "all is well: {out}{errors}");
    let findings: Vec<Value> = serde_json::from_str(&out).unwrap();
    let bad: Vec<&Value> = findings.iter().filter(|f| f["ok"] == false).collect();
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert_eq!(bad[0]["subject"], subject);
    let said = format!("{} {}", bad[0]["found"], bad[0]["cure"]);
    assert!(said.contains(words), "{said}");
}

#[test]
fn all_is_well_on_a_fresh_machine_and_nothing_is_made() {
    let dir = folder();
    let data = dir.path().join("data");
    let (status, out, errors) = finish(doctor(&data));
    assert!(status.success(), "{out}{errors}");
    assert!(!data.exists(), "doctor made the data folder");
}

#[test]
fn all_is_well_beside_a_running_daemon() {
    let dir = folder();
    let data = dir.path().join("data");
    let daemon = Daemon::start(&data).unwrap();
    let address = daemon.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let mut command = doctor(&data);
    command.env("MILLRACE_LISTEN", address);
    let (status, out, errors) = finish(command);
    assert!(status.success(), "{out}{errors}");
    assert!(out.contains("the daemon answers and is ready") && out.contains("it answers"), "{out}");
}

#[test]
fn planted_faults_are_named() {
    let dir = folder();
    let data = dir.path().join("data");
    let with = |name: &str, value: &str| {
        let mut command = doctor(&data);
        command.env(name, value);
        command
    };
    ill(with("PG_BINDIR", "/nowhere"), "database", "PG_BINDIR");
    ill(with("DATABASE_URL", "postgres://x@127.0.0.1:9/x"), "database", "correct DATABASE_URL");
    ill(with("TRACK_STORAGE_BACKEND", "gcs"), "settings", "TRACK_STORAGE_BACKEND");
    ill(with("MILLRACE_NONSENSE", "1"), "settings", "MILLRACE_NONSENSE");
    ill(with("STRIPE_SECRET_KEY", "1"), "settings", "STRIPE_SECRET_KEY");
    ill(with("CLAMD_ADDR", "127.0.0.1:9"), "virus scan", "unset CLAMD_ADDR");
    ill(with("MILLRACE_LISTEN", "192.0.2.1:80"), "public address", "--listen");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    std::thread::spawn(move || taken.incoming().for_each(drop));
    ill(with("MILLRACE_ADMIN", &address), "admin address", "another program");

    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("owner-token"), "x").unwrap();
    fs::set_permissions(data.join("owner-token"), fs::Permissions::from_mode(0o644)).unwrap();
    ill(doctor(&data), "secrets", "chmod go=");
    fs::remove_file(data.join("owner-token")).unwrap();

    let lock = fs::File::create(data.join("lock")).unwrap();
    lock.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(3600)).unwrap();
    ill(doctor(&data), "clock", "timedatectl");
    fs::remove_file(data.join("lock")).unwrap();

    fs::create_dir(data.join("postgres")).unwrap();
    ill(doctor(&data), "database", "isn't a PostgreSQL folder");
    fs::write(data.join("postgres/PG_VERSION"), "9").unwrap();
    ill(doctor(&data), "database", "postgresql-9");
}

#[tokio::test]
async fn a_bucket_is_looked_into_and_left_as_it_was() {
    let mut garage = Garage::start().await;
    let dir = folder();
    let data = dir.path().join("data");
    let settings = garage.settings();
    let with = |name: &str, value: &str| {
        let mut command = doctor(&data);
        command.envs(settings.pairs()).env(name, value);
        command
    };
    let (status, out, errors) = finish(with("LANG", "C"));
    assert!(status.success(), "{out}{errors}");
    assert!(out.contains("CRC-64/NVME") && out.contains("data_fsync"), "{out}");
    assert!(garage.objects("").await.is_empty() && garage.multiparts().await.is_empty());
    ill(with("S3_SECRET_ACCESS_KEY", "hunter2"), "s3", "S3_SECRET_ACCESS_KEY");
    ill(with("S3_REGION", "mars"), "s3", "S3_REGION");
    ill(with("S3_BUCKET", "elsewhere"), "s3", "S3_BUCKET");
    ill(with("S3_BUCKET", ""), "settings", "S3_BUCKET");
    garage.kill();
    ill(with("LANG", "C"), "s3", "S3_ENDPOINT");
}
