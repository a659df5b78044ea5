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
    lease::{Ask, Holding, Lease, Taken},
    limits::TAKEOVER_WAIT,
    resource::{Kind, Look, LookError},
};

/// The channel of `NOTIFY`. Its payload: an upload's id, the epoch at which it is held, and what is asked of that holder. The
/// asking node hears it too, and a word may come late: without the epoch it would be taken for somebody else's.
const CHANNEL: &str = "millrace_release";

/// Between two looks at a lease that another node was asked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A word may come before the holder listens for its epoch, or while nobody listens: it is said again.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// A listener that lost its connection comes back after this.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

impl Engine {
    /// The lease of an upload, asking another node for it when that one holds it. `None`: it isn't to be had now.
    pub(crate) async fn lease(&self, id: Id<Upload>, holding: &Holding) -> sqlx::Result<Option<Lease>> {
        let begun = Instant::now();
        let mut ask_at = begun;
        loop {
            let epoch = match Lease::take(&self.db, id, self.node, self.limits.lease, self.shadows()).await? {
                Taken::Ours(lease) => {
                    holding.took(lease.epoch);
                    return Ok(Some(lease));
                }
                Taken::Over => return Ok(None),
                Taken::Held(epoch) => epoch,
            };
            let now = Instant::now();
            if now > begun + TAKEOVER_WAIT {
                return Ok(None);
            }
            if now >= ask_at {
                self.ask_others(id, epoch, Ask::Yield).await?;
                ask_at = now + ASK_EVERY;
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

    pub(crate) async fn ask_others(&self, id: Id<Upload>, epoch: i64, ask: Ask) -> sqlx::Result<()> {
        let word = format!("{id} {epoch} {}", if ask == Ask::Flush { "flush" } else { "yield" });
        sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, word).fetch_one(&self.db).await?;
        Ok(())
    }

    /// Makes durable what a running request has brought, ends it, and shows the upload: the offset stands still then,
    /// until somebody appends. For protocols whose offsets must be accepted once told (IETF draft).
    ///
    /// # Errors
    /// As [`Engine::look`]; and `Busy`, where the offset doesn't stand still in time.
    pub async fn settled(&self, owner: Id<Account>, id: Id<Upload>) -> Result<Look, LookError> {
        let look = self.look(owner, id).await?;
        if look.kind == Kind::Final {
            // Nobody appends to it, so its offset need not stand still.
            return Ok(look);
        }
        self.holders.settle(id).await;
        let begun = Instant::now();
        let mut ask_at = begun;
        while let Some(epoch) = self.held_at(id).await? {
            let now = Instant::now();
            if now > begun + TAKEOVER_WAIT {
                // What its holder has in the store's hands may still be committed: any offset told now could move.
                return Err(LookError::Busy);
            }
            if now >= ask_at {
                self.ask_others(id, epoch, Ask::Flush).await?;
                ask_at = now + ASK_EVERY;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if ask_at > begun || look.state != schema::upload::State::Stored {
            self.look(owner, id).await
        } else {
            Ok(look)
        }
    }

    /// The epoch of the living holder.
    async fn held_at(&self, id: Id<Upload>) -> sqlx::Result<Option<i64>> {
        sqlx::query_scalar!(
            "SELECT epoch FROM uploads
              WHERE id = $1 AND state IN ('opened', 'receiving') AND node IS NOT NULL AND lease_until > now()",
            id.uuid()
        )
        .fetch_optional(&self.db)
        .await
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
            let mut words = word.payload().split(' ');
            let (Some(id), Some(epoch), Some(ask)) = (words.next(), words.next(), words.next()) else { continue };
            if let (Ok(id), Ok(epoch)) = (id.parse::<Id<Upload>>(), epoch.parse()) {
                self.holders.ask(id, epoch, if ask == "flush" { Ask::Flush } else { Ask::Yield });
            }
        }
    }
}
