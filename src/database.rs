//! The one database: the operator's, or the private one.

use std::{
    str::FromStr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use sqlx::{
    Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    config::Loaded,
    data::{self, Lock, LockError},
    postgres::{self, Postgres},
};

/// Of the private server's 40 connections: enough for every role, and the rest for psql, dumps and a second process.
const POOL_CONNECTIONS_MAX: u32 = 20;
/// A request that waits longer for a connection is better answered 503.
const POOL_WAIT: Duration = Duration::from_secs(2);
/// Somebody else's database that is being restarted too gets this long at our start.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// A process that stops between two statements of a transaction, asleep or off the network, keeps its rows locked no longer:
/// shorter than the default lease, so that whoever takes its uploads over finds them free. Ours take milliseconds.
const FORGET_IDLE_TRANSACTIONS: &str = "SET idle_in_transaction_session_timeout = '10s'";
/// Between tries.
const CONNECT_WAIT: Duration = Duration::from_millis(100);

/// A database that answers.
pub struct Database {
    /// For sqlx, psql and pg_dump alike. It may hold a password: never log it.
    pub url: String,
    /// The private server, if we run it.
    pub private: Option<Postgres>,
    _lock: Option<Lock>,
}

/// For the daemon: takes the data folder, and starts the private server unless `DATABASE_URL` names another.
///
/// # Errors
/// In one sentence, with the cure.
pub async fn own(loaded: &Loaded) -> anyhow::Result<Database> {
    let lock = data::lock(&loaded.config.data)?;
    match &loaded.config.database_url {
        Some(url) => Ok(Database { url: url.expose().to_owned(), private: None, _lock: Some(lock) }),
        None => start(loaded, lock).await,
    }
}

/// For a command: the daemon's database if one runs, else the private server for as long as the command takes.
///
/// # Errors
/// In one sentence, with the cure.
pub async fn borrow(loaded: &Loaded) -> anyhow::Result<Database> {
    if let Some(url) = &loaded.config.database_url {
        return Ok(Database { url: url.expose().to_owned(), private: None, _lock: None });
    }
    match data::lock(&loaded.config.data) {
        Ok(lock) => start(loaded, lock).await,
        Err(LockError::Held { holder, .. }) => match postgres::running_url(&loaded.config.data) {
            Some(url) => Ok(Database { url, private: None, _lock: None }),
            None => bail!("the daemon (process {holder}) is starting or stopping its database: try again in a moment"),
        },
        Err(e) => Err(e.into()),
    }
}

/// What the supervisor is told.
pub fn settings(loaded: &Loaded) -> postgres::Settings {
    postgres::Settings {
        data: loaded.config.data.clone(),
        bindir: loaded.config.pg_bindir.clone(),
        path: loaded.path.clone(),
        runtime_dir: loaded.runtime_dir.clone(),
    }
}

async fn start(loaded: &Loaded, lock: Lock) -> anyhow::Result<Database> {
    let mut private = postgres::start(settings(loaded)).context("can't start the database's supervisor")?;
    let url = private.ready().await?;
    create_if_missing(&url).await.context("can't create the database")?;
    Ok(Database { url, private: Some(private), _lock: Some(lock) })
}

impl Database {
    /// Connections for the whole process.
    ///
    /// # Errors
    /// It doesn't answer, or the URL isn't one.
    pub async fn pool(&self) -> anyhow::Result<PgPool> {
        let options = PgConnectOptions::from_str(&self.url).context("DATABASE_URL isn't a PostgreSQL address")?;
        let options = options.application_name("millrace");
        let start = Instant::now();
        // The pool waits for no server that refuses; a server that restarts with us is worth waiting for.
        while let Err(e) = PgConnection::connect_with(&options).await {
            let passing = matches!(&e, sqlx::Error::Io(_)) || e.as_database_error().is_some_and(is_starting);
            if !passing || start.elapsed() > CONNECT_MAX {
                return Err(e).context("can't connect to the database");
            }
            tokio::time::sleep(CONNECT_WAIT).await;
        }
        Ok(PgPoolOptions::new()
            .max_connections(POOL_CONNECTIONS_MAX)
            .acquire_timeout(POOL_WAIT)
            .after_connect(|db, _| Box::pin(async move { db.execute(FORGET_IDLE_TRANSACTIONS).await.map(drop) }))
            .connect_lazy_with(options))
    }

    /// Stops the private server, if it is ours, and gives the folder back.
    pub async fn close(self) {
        if let Some(private) = self.private {
            // It waits for the supervisor's thread, so not on a runtime's worker.
            let _ = tokio::task::spawn_blocking(move || private.stop()).await;
        }
    }
}

/// Applies what the database lacks of the schema.
///
/// # Errors
/// A script failed, or the database is newer than this release.
pub async fn migrate(pool: &PgPool) -> anyhow::Result<()> {
    schema::MIGRATIONS.run(pool).await.map_err(|e| match e {
        sqlx::migrate::MigrateError::VersionMissing(n) => {
            anyhow::anyhow!("the database was migrated by a newer release (script {n}): start that one")
        }
        other => anyhow::Error::new(other).context("can't migrate the database"),
    })
}

/// `57P03`: the server is starting up or shutting down.
fn is_starting(e: &dyn sqlx::error::DatabaseError) -> bool {
    e.code().as_deref() == Some("57P03")
}

async fn create_if_missing(url: &str) -> sqlx::Result<()> {
    let mut admin = PgConnection::connect_with(&PgConnectOptions::from_str(url)?.database("postgres")).await?;
    let known = sqlx::query("SELECT FROM pg_database WHERE datname = 'millrace'").fetch_optional(&mut admin).await?;
    if known.is_none() {
        sqlx::query("CREATE DATABASE millrace").execute(&mut admin).await?;
    }
    admin.close().await
}
