//! What is ours: the database, the data folder, the two addresses.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use pipeline::scan::Scanner;
use sqlx::{Connection, PgConnection};

use super::Finding;
use crate::{config::Loaded, database, postgres};

/// A healthy database on this machine answers in milliseconds.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// So does a daemon.
const PROBE_MAX: Duration = Duration::from_secs(3);
/// Oldest that the schema was tried on.
const POSTGRES_MIN: u32 = 13;

pub async fn database(loaded: &Loaded) -> Finding {
    const SUBJECT: &str = "database";
    if let Some(url) = &loaded.config.database_url {
        return match asked(url.expose()).await {
            Ok(version) => Finding::well(SUBJECT, format!("yours answers, PostgreSQL {version}")),
            Err(why) => {
                Finding::ill(SUBJECT, format!("yours doesn't answer: {why}"), "start it, or correct DATABASE_URL")
            }
        };
    }
    let settings = database::settings(loaded);
    let plan = match postgres::plan(&settings) {
        Ok(plan) => plan,
        Err(e) => return Finding::ill(SUBJECT, "the private PostgreSQL can't run", e.to_string()),
    };
    if plan.binaries.major.parse().unwrap_or(0) < POSTGRES_MIN {
        let found = format!("PostgreSQL {} is too old", plan.binaries.major);
        return Finding::ill(
            SUBJECT,
            found,
            format!("install PostgreSQL {POSTGRES_MIN} or later, or set DATABASE_URL"),
        );
    }
    let how = format!("PostgreSQL {} in {}, run as {}", plan.binaries.major, plan.binaries.dir.display(), plan.account);
    match postgres::running_url(&loaded.config.data) {
        None => Finding::well(SUBJECT, how),
        Some(url) => match asked(&url).await {
            Ok(_) => Finding::well(SUBJECT, format!("{how}; it answers")),
            Err(why) => Finding::ill(SUBJECT, format!("{how}; it doesn't answer: {why}"), "restart `millrace serve`"),
        },
    }
}

pub fn data_folder(loaded: &Loaded) -> Finding {
    const SUBJECT: &str = "data folder";
    let data = &loaded.config.data;
    let shown = data.display();
    let there = data.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    if !there.is_dir() {
        return Finding::ill(SUBJECT, format!("{} isn't a folder", there.display()), "choose another with --data");
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if let Err(e) = rustix::fs::access(there, access) {
        let found = format!("we can't write in {} ({e})", there.display());
        return Finding::ill(SUBJECT, found, format!("chown {} it, or choose another with --data", whoami()));
    }
    if there == data.as_path() {
        Finding::well(SUBJECT, format!("{shown}"))
    } else {
        Finding::well(SUBJECT, format!("{shown}, which the first start makes"))
    }
}

/// Whoever reads these is the owner.
pub fn private_files(loaded: &Loaded) -> Finding {
    const SUBJECT: &str = "secrets";
    let secrets = loaded.config.data.join("secrets");
    let mut files = vec![loaded.config.data.join("owner-token"), secrets.clone()];
    files.extend(std::fs::read_dir(&secrets).into_iter().flatten().flatten().map(|entry| entry.path()));
    let open: Vec<PathBuf> = files.into_iter().filter(|path| is_open(path)).collect();
    match open.first() {
        None => Finding::well(SUBJECT, "closed to other users"),
        Some(path) => {
            let found = format!("{} is open to other users", path.display());
            Finding::ill(
                SUBJECT,
                found,
                format!("chmod go= {}, and make a new one if others log in here", path.display()),
            )
        }
    }
}

/// Without one nothing is scanned, which is a choice; with one that is away nothing is published.
pub async fn virus_scan(loaded: &Loaded) -> Finding {
    const SUBJECT: &str = "virus scan";
    let Some(clamd) = &loaded.config.clamd_addr else {
        return Finding::well(SUBJECT, "off: uploads are published unscanned, as CLAMD_ADDR isn't set");
    };
    match Scanner::new(clamd.0.clone(), loaded.config.clamd_timeout.0).probe().await {
        Ok(()) => Finding::well(SUBJECT, format!("clamd at {clamd} answers")),
        Err(e) => Finding::ill(
            SUBJECT,
            format!("{clamd}: {e}; no upload is published until it answers"),
            "start clamd, or correct or unset CLAMD_ADDR",
        ),
    }
}

pub async fn socket(subject: &'static str, flag: &str, address: SocketAddr) -> Finding {
    match tokio::net::TcpListener::bind(address).await {
        Ok(_) => return Finding::well(subject, format!("{address} is free")),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {}
        Err(e) => {
            return Finding::ill(
                subject,
                format!("{address} can't be had ({e})"),
                format!("choose another with {flag}"),
            );
        }
    }
    let probe = reqwest::Client::new().get(format!("http://{address}/readyz")).timeout(PROBE_MAX).send().await;
    match probe.map(|answer| answer.status().as_u16()) {
        Ok(200) => Finding::well(subject, format!("{address}: the daemon answers and is ready")),
        Ok(503) => Finding::ill(subject, format!("{address}: the daemon isn't ready"), "look at its log"),
        _ => {
            let found = format!("{address} is taken by another program");
            Finding::ill(subject, found, format!("stop it (ss -ltnp shows it), or choose another with {flag}"))
        }
    }
}

async fn asked(url: &str) -> Result<String, String> {
    let ask = async {
        let mut db = PgConnection::connect(url).await?;
        let version: String = sqlx::query_scalar("SHOW server_version").fetch_one(&mut db).await?;
        db.close().await?;
        Ok::<_, sqlx::Error>(version)
    };
    match tokio::time::timeout(CONNECT_MAX, ask).await {
        Ok(answer) => answer.map_err(|e| crate::one_line(&anyhow::Error::new(e))),
        Err(_) => Err(format!("nothing heard for {} s", CONNECT_MAX.as_secs())),
    }
}

fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
}

fn whoami() -> u32 {
    rustix::process::geteuid().as_raw()
}
