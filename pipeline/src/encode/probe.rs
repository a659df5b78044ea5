//! Can tracks be encoded here? Asked by the health routes, which everybody may call.

use std::time::{Duration, Instant};

use crate::{
    engine::{Encoding, Engine},
    media::{Event, Order, Worker},
};

/// How long the answer about the worker is believed: shorter than a balancer's patience, longer than a flood's interval.
const PROBE_KEPT: Duration = Duration::from_secs(10);

impl Engine {
    /// Whether a worker starts, locks itself in and asks for bytes. Asked by anybody who asks for health, so the answer is
    /// kept for `PROBE_KEPT` and one worker is started at a time.
    ///
    /// # Errors
    /// Why tracks can't be encoded here.
    pub async fn probe_worker(&self) -> Result<(), String> {
        let mut probed = self.probed.lock().await;
        if let Some((at, answer)) = &*probed
            && at.elapsed() < PROBE_KEPT
        {
            return answer.clone();
        }
        let answer = self.started_worker().await;
        *probed = Some((Instant::now(), answer.clone()));
        answer
    }

    async fn started_worker(&self) -> Result<(), String> {
        let Encoding { ladder, segment_seconds, exe } = self.encoding.clone();
        let mut worker = Worker::spawn(Order::stream(ladder, segment_seconds, exe)).await.map_err(|e| e.to_string())?;
        match worker.next().await {
            Event::Failed(failure) => Err(failure.to_string()),
            _ => Ok(()),
        }
    }
}
