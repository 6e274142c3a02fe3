//! What reads logs for their topics.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::topic::Topic;

/// Reads the logs of topics.
pub(super) trait Reader: Send + Sync {
    /// Has a topic take in what its log holds after its tip, and what is added to
    /// it, until the registry releases the topic.
    fn read(&self, topic: Arc<Topic>);

    /// Reads the log of a topic that was found to reach further than it was read.
    /// One that reads logs all the time does so anyway.
    fn catch_up(&self, _topic: Arc<Topic>) {}

    /// Whether it hears right now of what this process writes as soon as Redis has
    /// answered the write.
    fn is_prompt(&self) -> bool;
}

/// How long to wait before a lost connection is opened again: longer each time,
/// until one has been of use.
#[derive(Debug)]
pub(super) struct Patience {
    delay: Duration,
}

impl Patience {
    const DELAY: Duration = Duration::from_millis(100);
    const DELAY_MAX: Duration = Duration::from_secs(2);

    pub(super) async fn pause(&mut self, stop: &CancellationToken) {
        stop.run_until_cancelled(sleep(self.delay)).await;
        self.delay = Self::DELAY_MAX.min(self.delay * 2);
    }

    /// A connection has been of use.
    pub(super) fn renew(&mut self) {
        self.delay = Self::DELAY;
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self { delay: Self::DELAY }
    }
}
