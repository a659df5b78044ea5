//! A track's progress as server-sent events: the whole track whenever anything about it changed.
//!
//! Ends: when nothing can change any more, the track is gone, the caller's right is gone, the server drains, or the
//! client has left (then the stream is simply dropped). A lost connection costs nothing: the next one starts with the
//! whole again, so events have no ids.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Instant};

use axum::response::sse::Event;
use front::{Credential, accept::Draining};
use futures_util::{Stream, stream};
use schema::{
    Id,
    caller::{Account, Caller},
    track::Track,
};
use tokio::sync::OwnedSemaphorePermit;

use super::{Tracks, model::View, sql};

/// Who listens to what.
pub(super) struct Listener {
    pub(super) tracks: Tracks,
    pub(super) owner: Id<Account>,
    pub(super) id: Id<Track>,
    pub(super) credential: Credential,
    pub(super) draining: Draining,
    pub(super) permit: OwnedSemaphorePermit,
}

struct State {
    listener: Listener,
    told: Option<Arc<View>>,
    spoke: Instant,
    checked: Instant,
    settled: Option<Instant>,
}

/// The events from now on.
pub(super) fn follow(listener: Listener) -> Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>> {
    let now = Instant::now();
    let state = State { listener, told: None, spoke: now, checked: now, settled: None };
    Box::pin(stream::unfold(state, |mut state| async move {
        let event = state.next().await?;
        Some((Ok(event), state))
    }))
}

impl State {
    /// The next thing to say; `None` ends the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.told.is_some() {
                tokio::select! {
                    () = tokio::time::sleep(self.listener.tracks.beat.poll) => {}
                    () = self.listener.draining.0.cancelled() => return None,
                }
            }
            if self.is_over().await {
                return None;
            }
            // A database that is away is no news about the track: the client hears a sign of life and goes on waiting.
            if let Ok(track) = sql::track_of(&self.listener.tracks.db, self.listener.owner, self.listener.id).await {
                let track = track?;
                if track.is_settled() {
                    self.settled.get_or_insert_with(Instant::now);
                } else {
                    self.settled = None;
                }
                if self.told.as_deref() != Some(&track) {
                    let event = Event::default().event("track").json_data(&track).ok()?;
                    self.told = Some(Arc::new(track));
                    self.spoke = Instant::now();
                    return Some(event);
                }
            }
            if self.spoke.elapsed() >= self.listener.tracks.beat.heartbeat {
                self.spoke = Instant::now();
                return Some(Event::default().comment(""));
            }
        }
    }

    async fn is_over(&mut self) -> bool {
        let beat = self.listener.tracks.beat;
        if self.settled.is_some_and(|since| since.elapsed() >= beat.grace) {
            return true;
        }
        if self.checked.elapsed() < beat.recheck {
            return false;
        }
        self.checked = Instant::now();
        let _held = &self.listener.permit;
        let caller: Option<Caller> = match self.listener.credential.caller(&self.listener.tracks.db).await {
            Ok(caller) => caller,
            Err(_) => return true, // a right that can't be checked isn't one; the client comes back
        };
        caller.is_none_or(|caller| caller.account != self.listener.owner)
    }
}
