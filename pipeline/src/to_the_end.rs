//! A call whose work is finished even when nobody waits for its answer any more.
//!
//! As long as somebody does, it runs in the caller's own task: bytes that go from the socket's task to another one cost a
//! wake-up of the other processor per frame, a quarter of all that an upload costs. Dropped before its end, it goes on in a
//! task of its own: a put under way must not outlive the lease that it was begun under.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// See above. `tasks` waits for it in either case.
pub(crate) struct ToTheEnd<T: Send + 'static> {
    work: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
}

impl<T: Send + 'static> ToTheEnd<T> {
    pub(crate) fn new(tasks: &TaskTracker, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(tasks.track_future(work))) }
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Taken out, so that what panicked isn't polled again.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        // Without a runtime the process is at its end.
        if let (Some(work), Ok(runtime)) = (self.work.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::oneshot, time::timeout};

    use super::*;

    #[tokio::test]
    async fn goes_on_when_its_caller_has_left() {
        let tasks = TaskTracker::new();
        let (go, gone) = oneshot::channel::<()>();
        let (done, mut is_done) = oneshot::channel();
        let mut call = ToTheEnd::new(&tasks, async move {
            gone.await.unwrap();
            done.send(()).unwrap();
        });
        assert!(timeout(Duration::from_millis(1), &mut call).await.is_err(), "it waits");
        drop(call);
        assert!(is_done.try_recv().is_err());
        go.send(()).unwrap();
        is_done.await.unwrap();
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn what_panicked_is_over() {
        let tasks = TaskTracker::new();
        let call = ToTheEnd::new(&tasks, async { panic!("as asked") });
        assert!(tokio::spawn(call).await.unwrap_err().is_panic());
        tasks.close();
        tasks.wait().await;
    }
}
