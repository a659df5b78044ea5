//! An upload goes from one node to another while both live: whoever comes asks, whoever holds lets go.
//!
//! The word travels by Postgres's NOTIFY, which reaches every node that listens; a node that is gone is waited for until
//! its lease ends. Promise: a living holder has let go within `YIELD_GRACE` and one store call. A lost word costs a
//! retry of the newcomer, never a byte: the epoch decides.

use std::{sync::Arc, time::Duration};

use schema::{Id, caller::Account, upload::Upload};
use sqlx::postgres::PgListener;
use tokio::{select, time::Instant};

use crate::{
    engine::Engine,
    lease::{Ask, Lease, Taken},
    limits::TAKEOVER_WAIT,
    resource::{Kind, Look, LookError},
};

/// The channel of `NOTIFY`. Its payload: an upload's id, a space, and what is asked of its holder.
const CHANNEL: &str = "millrace_release";

/// Between two looks at a lease that another node was asked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A listener that lost its connection comes back after this.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// The lease of an upload, asking another node for it when that one holds it. `None`: it isn't to be had now.
    pub(crate) async fn lease(&self, id: Id<Upload>) -> sqlx::Result<Option<Lease>> {
        let deadline = Instant::now() + TAKEOVER_WAIT;
        let mut asked = false;
        loop {
            match Lease::take(&self.db, id, self.node, self.limits.lease, self.shadows()).await? {
                Taken::Ours(lease) => return Ok(Some(lease)),
                Taken::Over => return Ok(None),
                Taken::Held => {}
            }
            if !asked {
                self.ask_others(id, Ask::Yield).await?;
                asked = true;
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// How many parts a dead holder may still be sending. None where a part can't be overwritten from afar.
    pub(crate) fn shadows(&self) -> i32 {
        match self.store.tails_in_place() {
            true => 0,
            false => i32::try_from(self.limits.parts_in_flight + 1).unwrap_or(i32::MAX),
        }
    }

    async fn ask_others(&self, id: Id<Upload>, ask: Ask) -> sqlx::Result<()> {
        let word = format!("{id} {}", if ask == Ask::Flush { "flush" } else { "yield" });
        sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, word).fetch_one(&self.db).await?;
        Ok(())
    }

    /// Makes durable what a running request has brought, ends it, and shows the upload: the offset stands still then,
    /// until somebody appends. For protocols whose offsets must be accepted once told (IETF draft).
    ///
    /// # Errors
    /// As [`Engine::look`].
    pub async fn settled(&self, owner: Id<Account>, id: Id<Upload>) -> Result<Look, LookError> {
        let look = self.look(owner, id).await?;
        if look.kind == Kind::Final {
            // Nobody appends to it, so its offset need not stand still.
            return Ok(look);
        }
        self.holders.settle(id).await;
        let deadline = Instant::now() + TAKEOVER_WAIT;
        let mut asked = false;
        while Instant::now() < deadline && self.is_held(id).await? {
            if !asked {
                self.ask_others(id, Ask::Flush).await?;
                asked = true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if asked || look.state != schema::upload::State::Stored { self.look(owner, id).await } else { Ok(look) }
    }

    async fn is_held(&self, id: Id<Upload>) -> sqlx::Result<bool> {
        let held = sqlx::query_scalar!(
            "SELECT node IS NOT NULL AND lease_until > now() AS \"held!\" FROM uploads
              WHERE id = $1 AND state IN ('opened', 'receiving')",
            id.uuid()
        )
        .fetch_optional(&self.db)
        .await?;
        Ok(held.unwrap_or(false))
    }

    /// Hears what other nodes ask for, until the process stops.
    pub(crate) async fn hear_others(self: Arc<Self>) {
        loop {
            select! {
                () = self.stop.cancelled() => return,              // cancel-safe: a flag
                // cancel-safe: a word that is lost costs the asking node a retry
                heard = self.hear() => if let Err(error) = heard {
                    tracing::warn!(%error, "not hearing other nodes; a takeover from here waits until this is over");
                }
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    }

    async fn hear(&self) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(&self.db).await?;
        listener.listen(CHANNEL).await?;
        loop {
            let word = listener.recv().await?;
            let Some((id, ask)) = word.payload().split_once(' ') else { continue };
            if let Ok(id) = id.parse::<Id<Upload>>() {
                self.holders.ask(id, if ask == "flush" { Ask::Flush } else { Ask::Yield });
            }
        }
    }
}
