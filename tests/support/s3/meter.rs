//! Bytes that have passed, and a mark at which they stop: so that a test can kill at a byte.

use tokio::sync::watch;

pub struct Meter {
    passed: watch::Sender<u64>,
    mark: watch::Sender<u64>,
}

impl Default for Meter {
    fn default() -> Self {
        Self { passed: watch::Sender::new(0), mark: watch::Sender::new(u64::MAX) }
    }
}

impl Meter {
    /// Since the start.
    pub fn passed(&self) -> u64 {
        *self.passed.borrow()
    }

    /// Returns once so many have passed.
    pub async fn until_passed(&self, bytes: u64) {
        let mut passed = self.passed.subscribe();
        passed.wait_for(|passed| *passed >= bytes).await.expect("the meter is here");
    }

    /// From now on nothing passes beyond so many bytes since the start.
    pub fn stop_at(&self, bytes: u64) {
        self.mark.send_replace(bytes);
    }

    /// Takes the mark away.
    pub fn go_on(&self) {
        self.stop_at(u64::MAX);
    }

    /// How many of the wanted bytes may pass; at least one, sooner or later.
    pub async fn pass(&self, wanted: usize) -> usize {
        let mut mark = self.mark.subscribe();
        loop {
            let limit = *mark.borrow_and_update();
            let mut may = 0;
            self.passed.send_if_modified(|passed| {
                may = limit.saturating_sub(*passed).min(wanted as u64);
                *passed += may;
                may > 0
            });
            if may > 0 || wanted == 0 {
                return usize::try_from(may).expect("not more than wanted");
            }
            mark.changed().await.expect("the meter is here");
        }
    }
}
