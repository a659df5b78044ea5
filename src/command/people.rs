//! `millrace user` and `millrace token`: accounts, and the secrets that open them.

use anyhow::{Context, bail};
use api::accounts::flow;
use clap::Subcommand;
use sqlx::PgPool;

use super::print_json;
use crate::{config::Loaded, database, say};

/// What to do with accounts.
#[derive(Subcommand)]
pub enum User {
    /// Make one
    Create {
        /// Their name
        name: String,
        /// listener, creator, label, moderator or admin
        #[arg(long, default_value = "creator")]
        role: String,
    },
    /// Show all
    List {
        /// Say it as JSON
        #[arg(long)]
        json: bool,
    },
}

/// What to do with tokens.
#[derive(Subcommand)]
pub enum Token {
    /// Make one; it is shown this once
    Create {
        /// Whose: an account's id, as `user list` shows it [default: the owner's]
        #[arg(long, value_name = "ID")]
        user: Option<String>,
        /// What for
        #[arg(long, default_value = "command line")]
        label: String,
    },
}

/// Makes or shows accounts.
///
/// # Errors
/// No database, or a name or role that can't be.
pub async fn users(loaded: &Loaded, command: User) -> anyhow::Result<()> {
    with_database(loaded, async |pool| list_or_create(pool, command).await).await
}

async fn list_or_create(pool: &PgPool, command: User) -> anyhow::Result<()> {
    match command {
        User::Create { name, role } => say(format_args!("{}", flow::create_user(pool, &name, &role).await?)),
        User::List { json } => {
            let all = flow::users(pool).await?;
            if json {
                let told = |u: &api::accounts::model::User| serde_json::json!({ "id": u.id, "name": u.name, "role": u.role, "is_owner": u.is_owner });
                print_json(&all.iter().map(told).collect::<Vec<_>>())?;
            } else {
                for user in all {
                    let owner = if user.is_owner { "  owner" } else { "" };
                    say(format_args!("{}  {:10} {}{owner}", user.id, user.role, user.name));
                }
            }
        }
    }
    Ok(())
}

/// Makes a token.
///
/// # Errors
/// No database, or nobody of that id.
pub async fn tokens(loaded: &Loaded, command: Token) -> anyhow::Result<()> {
    let Token::Create { user, label } = command;
    with_database(loaded, async |pool| create_token(pool, user, &label).await).await
}

async fn create_token(pool: &PgPool, user: Option<String>, label: &str) -> anyhow::Result<()> {
    let all = flow::users(pool).await?;
    let wanted = match &user {
        Some(id) => all.iter().find(|u| u.id.to_string() == id.replace('-', "")),
        None => all.iter().find(|u| u.is_owner),
    };
    let Some(wanted) = wanted else {
        bail!("there is no such account: `millrace user list` shows them, and the first `serve` makes the owner's")
    };
    let token = flow::create_token(pool, wanted.id, label).await.context("can't make a token")?;
    say(format_args!("{}", token.reveal()));
    Ok(())
}

/// The work, and then the database goes as it came, however that ended.
async fn with_database(loaded: &Loaded, work: impl AsyncFnOnce(&PgPool) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let database = database::borrow(loaded).await?;
    let done = async {
        let pool = database.pool().await?;
        database::migrate(&pool).await?;
        let done = work(&pool).await;
        pool.close().await;
        done
    };
    let done = done.await;
    database.close().await;
    done
}
