//! Where the streams of an HTTP/2 connection run: each its own task, counted, and cut alone when its reader lags.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

use super::{
    Cut, Shared,
    answer::Meter,
    flow::{Flow, Lag, Pace},
};

tokio::task_local! {
    static METER: Meter;
}

/// The meter of the stream whose task this is; `None` on HTTP/1.
pub(super) fn meter() -> Option<Meter> {
    METER.try_with(Arc::clone).ok()
}

#[derive(Clone)]
pub(super) struct Streams(pub(super) Arc<Shared>);

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let meter: Meter = Arc::new(Mutex::new(Flow::new(Pace::from(&self.0.limits))));
        let cut = self.0.stop.cut.clone();
        let idle = self.0.limits.stalled;
        self.0.tasks.spawn(async move {
            let stream = METER.scope(Arc::clone(&meter), stream);
            // Dropping the stream resets it; its connection lives on.
            let outcome = tokio::select! {
                _ = stream => Ok(()),
                lag = lagging(&meter, idle) => Err(lag),
                () = cut.cancelled() => Err(Cut::Shutdown),
            };
            if let Err(cut) = outcome {
                cut.count();
            }
        });
    }
}

/// Ends when the client takes too little of the answer.
async fn lagging(meter: &Meter, look_again: std::time::Duration) -> Cut {
    let mut alarm: Pin<&mut Sleep> = pin!(sleep_until((Instant::now() + look_again).into()));
    poll_fn(|cx| {
        loop {
            let now = Instant::now();
            let next = match meter.lock().unwrap_or_else(PoisonError::into_inner).verdict(now) {
                Ok(next) => next.unwrap_or(now + look_again).into(),
                Err(Lag::Stalled) => return std::task::Poll::Ready(Cut::ReaderStalled),
                Err(Lag::Slow) => return std::task::Poll::Ready(Cut::ReaderSlow),
            };
            if alarm.is_elapsed() || alarm.deadline() > next {
                alarm.as_mut().reset(next);
            }
            std::task::ready!(alarm.as_mut().poll(cx));
        }
    })
    .await
}
