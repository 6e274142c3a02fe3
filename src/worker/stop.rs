//! How an attempt is told from outside that it is to stop.

use std::sync::Arc;

use tokio::sync::watch;

/// Why an attempt is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody asked that the message be cancelled.
    CancelRequested,
    /// The lease is another's, or the task is over: nothing may be written.
    LeaseLost,
    /// The worker stops: the task goes back to the queue.
    Draining,
}

/// Tells an attempt to stop. What is said first counts.
#[derive(Clone, Debug)]
pub(super) struct StopSignal(Arc<watch::Sender<Option<Stop>>>);

impl StopSignal {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    pub(super) fn stop(&self, why: Stop) {
        self.0.send_if_modified(|said| {
            let is_first = said.is_none();
            said.get_or_insert(why);
            is_first
        });
    }

    /// Resolves once the attempt is to stop.
    pub(super) async fn stopped(&self) -> Stop {
        let mut said = self.0.subscribe();
        loop {
            let why = *said.borrow_and_update();
            if let Some(why) = why {
                return why;
            }
            if said.changed().await.is_err() {
                // The sender is in `self`, so this does not happen.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_said_first_counts() {
        let signal = StopSignal::new();
        signal.stop(Stop::LeaseLost);
        signal.stop(Stop::CancelRequested);
        assert_eq!(signal.stopped().await, Stop::LeaseLost);
    }
}
