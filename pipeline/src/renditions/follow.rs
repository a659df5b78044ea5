//! A file while it is made: its bytes as far as they are, then those that come, wherever they are made.
//!
//! Promise: the stream ends after the last byte of a whole file, or in an error; never between.
//! Memory:  one read.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::rows;
use crate::{
    download::{File, Piece},
    engine::Engine,
    store::StoreError,
};

/// How long the word of this process is trusted before the rows are asked: another node may be making it.
const ASK_THE_ROWS_AFTER: Duration = Duration::from_millis(300);

/// Without another byte for so long it is over: a dead holder's lease and two tries fit.
const PATIENCE: Duration = Duration::from_secs(90);

/// Why a download ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum CutOff {
    /// It can't be made.
    #[error("it can't be made: {reason}")]
    Failed {
        /// A stable code.
        reason: String,
    },
    /// It is made anew, of other bytes than those that were sent; or it was forgotten.
    #[error("it is made anew")]
    Anew,
    /// Nothing came for long.
    #[error("nothing more came in time")]
    Late,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] sqlx::Error),
}

impl From<CutOff> for io::Error {
    fn from(error: CutOff) -> Self {
        Self::other(error)
    }
}

struct Following {
    engine: Arc<Engine>,
    id: Uuid,
    attempt: Option<i32>,
    n: i32,
}

impl Engine {
    /// Waits until the first bytes are there, at most `wait`; `false`: they aren't yet.
    ///
    /// # Errors
    /// Why they won't come.
    pub async fn rendition_begun(self: &Arc<Self>, id: Uuid, wait: Duration) -> Result<bool, CutOff> {
        let mut following = Following { engine: Arc::clone(self), id, attempt: None, n: 0 };
        match following.piece(Instant::now() + wait).await {
            Err(CutOff::Late) => Ok(false),
            found => found.map(|_| true),
        }
    }

    /// Waits until all of it is there, as long as it grows.
    ///
    /// # Errors
    /// Why it won't be.
    pub async fn rendition_whole(self: &Arc<Self>, id: Uuid) -> Result<(), CutOff> {
        let mut following = Following { engine: Arc::clone(self), id, attempt: None, n: 0 };
        while following.piece(Instant::now() + PATIENCE).await?.is_some() {
            following.n += 1;
        }
        Ok(())
    }

    /// All of its bytes, from the first one on, as they are made.
    pub fn follow_rendition(self: &Arc<Self>, id: Uuid) -> BoxStream<'static, Result<Bytes, CutOff>> {
        let following = Following { engine: Arc::clone(self), id, attempt: None, n: 0 };
        let pieces = stream::unfold(Some(following), |following| async move {
            let mut following = following?;
            match following.piece(Instant::now() + PATIENCE).await {
                Ok(None) => None,
                Ok(Some(piece)) => {
                    following.n += 1;
                    let store = Arc::clone(&following.engine.store);
                    let len = piece.len;
                    let bytes = File { pieces: vec![piece], len, sha256: vec![] }.read(&store, 0, len);
                    Some((bytes.map(|read| read.map_err(CutOff::from)).boxed(), Some(following)))
                }
                Err(error) => Some((stream::iter([Err(error)]).boxed(), None)),
            }
        });
        pieces.flatten().boxed()
    }
}

impl Following {
    /// The next piece; `None` behind the last one. Cancel-safe.
    async fn piece(&mut self, until: Instant) -> Result<Option<Piece>, CutOff> {
        loop {
            let grown = self.engine.renders.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            let look = rows::look(&self.engine.db, self.id, self.n).await?.ok_or(CutOff::Anew)?;
            if *self.attempt.get_or_insert(look.attempt) != look.attempt {
                return Err(CutOff::Anew);
            }
            if look.piece.is_some() || look.whole {
                return Ok(look.piece);
            }
            if let Some(reason) = look.failed {
                return Err(CutOff::Failed { reason });
            }
            if Instant::now() >= until {
                return Err(CutOff::Late);
            }
            // Either way the rows are asked again.
            let _ = timeout_at(until.min(Instant::now() + ASK_THE_ROWS_AFTER), grown).await;
        }
    }
}
