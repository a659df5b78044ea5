//! The verbs.
//!
//! `ensure_owner` keeps the file and the row together. Order: 1 the row, 2 the file under a temporary name, synced,
//! 3 its real name, 4 the folder synced. Dead after 1: a row that opens nothing, since nobody saw its secret; the next
//! start makes another. Never: half a token in the file, or a moment in which others could read it.

use std::{
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderMap, HeaderValue};
use schema::{
    Id,
    caller::{self, Account, Caller, Role},
};
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Accounts,
    model::{Arrival, NAME_MAX, Secret, User},
    sql,
};

/// The owner's token, in the data folder.
pub const OWNER_TOKEN_FILE: &str = "owner-token";
const OWNER_NAME: &str = "Owner";
const OWNER_TOKEN_LABEL: &str = "owner-token";

/// How long a browser stays signed in without signing in again.
pub const SESSION_LIVES: Duration = Duration::from_secs(30 * 24 * 3600);

/// The owner, after a start.
#[derive(Debug)]
pub struct Owner {
    /// The account.
    pub account: Id<Account>,
    /// Where its token is.
    pub token_file: PathBuf,
    /// The file is new: worth a line on the terminal.
    pub is_new: bool,
}

/// Why an account, a token or a session wasn't made.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A name must say something, and not too much.
    #[error("a name has 1 to {NAME_MAX} characters")]
    Name,
    /// No such role.
    #[error("`{0}` is no role: listener, creator, label, moderator or admin")]
    Role(String),
    /// No such account.
    #[error("there is no account {0}")]
    Missing(Id<Account>),
    /// The system has no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[from] getrandom::Error),
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
    /// The token's file can't be used.
    #[error("can't write {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Sees to it that there is an owner, and a token of theirs in `data_dir`. A missing file, or one whose token doesn't
/// hold any more, is made again; the token that was in it before is revoked.
///
/// # Errors
/// [`AccountError`]: the database, random bytes or the file.
pub async fn ensure_owner(db: &PgPool, data_dir: &Path, node: Uuid) -> Result<Owner, AccountError> {
    let account = sql::owner(db, Uuid::new_v4().into(), OWNER_NAME).await?;
    let path = data_dir.join(OWNER_TOKEN_FILE);
    let failed = |source| AccountError::File { path: path.clone(), source };
    let kept = match tokio::fs::read_to_string(&path).await {
        Ok(token) => caller::by_token(db, token.trim()).await?.is_some_and(|caller| caller.account == account),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(error)),
    };
    if !kept {
        let secret = Secret::new()?;
        // Each node has a file of its own: one that joins doesn't void another's token.
        let label = format!("{OWNER_TOKEN_LABEL} {node}");
        let mut tx = schema::begin(db).await?;
        sql::revoke_tokens_labelled(&mut tx, account, &label).await?;
        sql::add_token(&mut *tx, account, &caller::hash(secret.reveal()), &label).await?;
        tx.commit().await?;
        let to = path.clone();
        let written = tokio::task::spawn_blocking(move || write_privately(&to, secret.reveal())).await;
        written.unwrap_or_else(|gone| Err(io::Error::other(gone))).map_err(failed)?;
    }
    Ok(Owner { account, token_file: path, is_new: !kept })
}

/// Opens an account.
///
/// # Errors
/// [`AccountError`].
pub async fn create_user(db: &PgPool, name: &str, role: &str) -> Result<Id<Account>, AccountError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_MAX {
        return Err(AccountError::Name);
    }
    if !["listener", "creator", "label", "moderator", "admin"].contains(&role) {
        return Err(AccountError::Role(role.to_owned()));
    }
    let id = Uuid::new_v4().into();
    sql::open_account(db, id, name, role).await?;
    Ok(id)
}

/// Everybody, oldest first.
///
/// # Errors
/// Only the database's.
pub async fn users(db: &PgPool) -> sqlx::Result<Vec<User>> {
    sql::all_users(db).await
}

/// One account.
///
/// # Errors
/// Only the database's.
pub async fn user(db: &PgPool, id: Id<Account>) -> sqlx::Result<Option<User>> {
    sql::user(db, id).await
}

/// A new API token of `account`; its text is told this once.
///
/// # Errors
/// [`AccountError`].
pub async fn create_token(db: &PgPool, account: Id<Account>, label: &str) -> Result<Secret, AccountError> {
    if sql::user(db, account).await?.is_none() {
        return Err(AccountError::Missing(account));
    }
    let secret = Secret::new()?;
    sql::add_token(db, account, &caller::hash(secret.reveal()), label).await?;
    Ok(secret)
}

/// A new browser session of `account`: who that is then, and the cookie that says so.
///
/// # Errors
/// [`AccountError`].
pub async fn open_session(accounts: &Accounts, caller: &Caller) -> Result<(Caller, HeaderValue), AccountError> {
    let secret = Secret::new()?;
    let hash = caller::hash(secret.reveal());
    let (session, _) = sql::open_session(&accounts.db, caller.account, &hash, SESSION_LIVES).await?;
    let caller = Caller { account: caller.account, role: caller.role, session: Some(session) };
    Ok((caller, accounts.cookies.open(secret.reveal(), SESSION_LIVES)))
}

/// Ends a session for good, wherever its cookie still is.
///
/// # Errors
/// Only the database's.
pub async fn close_session(accounts: &Accounts, session: Uuid) -> sqlx::Result<()> {
    sql::close_session(&accounts.db, session).await
}

/// Signs the owner in who opens the page on their own machine, in development: `None` is everybody else.
/// The page answers with the cookie at once, not by a redirect: a browser that was led here wouldn't send it back.
///
/// # Errors
/// [`AccountError`].
pub async fn sign_in_at_home(
    accounts: &Accounts,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Result<Option<(Caller, HeaderValue)>, AccountError> {
    let arrival = Arrival { is_development: accounts.is_development, peer, headers };
    if !arrival.is_owner_at_home() {
        return Ok(None);
    }
    let account = sql::owner(&accounts.db, Uuid::new_v4().into(), OWNER_NAME).await?;
    let owner = Caller { account, role: Role::Admin, session: None };
    open_session(accounts, &owner).await.map(Some)
}

fn write_privately(path: &Path, token: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let draft = path.with_extension("new");
    match std::fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    std::fs::File::open(folder)?.sync_all()
}
