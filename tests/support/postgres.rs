//! A migrated database of one's own for each test, out of one throw-away server for all.
//!
//! The runner gives every test its own process. So each says that it is there by a shared lock, the first starts the
//! server under another, and a watchman, started with the server, stops and removes it once nobody is there. The server listens on a unix socket in its own folder, and keeps no promise about crashes.
//! As root it runs as the user `postgres`, because it refuses to run as root.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use sqlx::{Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::sync::OnceCell;

/// Seconds between two looks of the watchman.
const LINGER_S: u32 = 10;

/// Connections of one test.
const POOL: u32 = 8;

/// A test's database.
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    /// For what connects by itself.
    #[allow(dead_code, reason = "of use to tests that start a whole daemon on it")]
    pub(crate) url: String,
}

impl Database {
    /// A fresh one, with all migrations.
    pub(crate) async fn new() -> Self {
        let server = SERVER.get_or_init(Server::join).await;
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        let mut admin = PgConnection::connect(&server.url("postgres")).await.unwrap();
        let sql = format!("CREATE DATABASE {name} TEMPLATE {}", server.template);
        admin.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        let url = server.url(&name);
        Self { pool: PgPoolOptions::new().max_connections(POOL).connect(&url).await.unwrap(), url }
    }
}

static SERVER: OnceCell<Server> = OnceCell::const_new();

struct Server {
    folder: PathBuf,
    template: String,
    _present: File,
}

impl Server {
    async fn join() -> Self {
        // One server for each build folder and user: two check-outs don't meet.
        let mut key = DefaultHasher::new();
        (env!("CARGO_TARGET_TMPDIR"), rustix::process::getuid().as_raw()).hash(&mut key);
        let folder = std::env::temp_dir().join(format!("millrace-tests-{:016x}", key.finish()));
        let file = |kind: &str| File::options().create(true).append(true).open(folder.with_extension(kind)).unwrap();
        let (present, starting) = (file("lock"), file("start"));
        // Waits for a watchman who is just clearing away; from then on none does.
        present.lock_shared().unwrap();
        starting.lock().unwrap();
        if !is_running(&folder) {
            start(&folder);
        }
        let server = Self { template: template_name(), folder, _present: present };
        server.migrate().await;
        server
    }

    fn url(&self, database: &str) -> String {
        let folder = self.folder.to_str().unwrap().replace('/', "%2F");
        format!("postgres://postgres@{folder}/{database}")
    }

    async fn migrate(&self) {
        let mut admin = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let known = sqlx::query("SELECT FROM pg_database WHERE datname = $1").bind(&self.template);
        if known.fetch_optional(&mut admin).await.unwrap().is_some() {
            return;
        }
        let draft = format!("{}_draft", self.template);
        let mut run = async |sql: String| admin.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        run(format!("DROP DATABASE IF EXISTS {draft}")).await;
        run(format!("CREATE DATABASE {draft}")).await;
        let mut db = PgConnection::connect(&self.url(&draft)).await.unwrap();
        schema::MIGRATIONS.run(&mut db).await.unwrap();
        db.close().await.unwrap();
        run(format!("ALTER DATABASE {draft} RENAME TO {}", self.template)).await;
    }
}

/// Other scripts, another template.
fn template_name() -> String {
    let mut scripts = DefaultHasher::new();
    schema::MIGRATIONS.iter().for_each(|script| script.checksum.hash(&mut scripts));
    format!("migrated_{:016x}", scripts.finish())
}

fn is_running(folder: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(folder.join(".s.PGSQL.5432")).is_ok()
}

fn start(folder: &Path) {
    let bin = binaries();
    let as_postgres = if rustix::process::getuid().is_root() { "runuser -u postgres --" } else { "" };
    let watched = format!(
        "set -e
         {as_postgres} {bin}/pg_ctl -D {f} -m immediate stop >/dev/null 2>&1 || true
         rm -rf {f}; mkdir {f}
         [ -z \"{as_postgres}\" ] || chown postgres {f}
         cd {f}
         {as_postgres} {bin}/initdb -D {f} -U postgres -A trust -E UTF8 --locale=C -N >{l}.log 2>&1
         {as_postgres} {bin}/pg_ctl -D {f} -w -l {f}/log -o \"-k {f} -c listen_addresses= -c fsync=off \\
             -c full_page_writes=off -c synchronous_commit=off -c max_connections=400 -c shared_buffers=64MB\" \\
             start >>{l}.log 2>&1",
        f = folder.display(),
        l = folder.display(),
    );
    let done = Command::new("sh").arg("-c").arg(watched).stdin(Stdio::null()).status().unwrap();
    assert!(done.success(), "{}", fs::read_to_string(folder.with_extension("log")).unwrap_or_default());
    let lock = folder.with_extension("lock");
    let watch = format!(
        "while sleep {LINGER_S}; do
             flock -n -x {lock} sh -c '{as_postgres} {bin}/pg_ctl -D {f} -m immediate stop; rm -rf {f}' && exit
         done",
        lock = lock.display(),
        f = folder.display(),
    );
    // A session of its own: the runner counts processes of its tests' groups as left over.
    let mut watchman = Command::new("setsid");
    watchman.args(["--fork", "sh", "-c", &watch]).process_group(0);
    watchman.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(watchman.status().unwrap().success());
}

fn binaries() -> String {
    let mut found: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .expect("Debian's PostgreSQL: apt-get install postgresql")
        .map(|entry| entry.unwrap().path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().expect("a PostgreSQL with initdb").to_str().unwrap().to_owned()
}
