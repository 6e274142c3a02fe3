//! Messages that somebody waits for and that do not exist yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{domain::ids::MessageId, store::Store};

/// How often Redis is asked, once for all messages, while there are any. Who
/// watches a session waits so long for the first event of a new message.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What is known of a message that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expected {
    /// It exists.
    pub is_born: bool,
    /// Counts heartbeats.
    pub beat: u64,
}

/// Messages that somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Births {
    expected: Mutex<HashMap<MessageId, watch::Sender<Expected>>>,
    /// Somebody has begun to wait.
    begun: Notify,
}

impl Births {
    pub(super) fn expect(&self, message: &MessageId) -> watch::Receiver<Expected> {
        let birth = self
            .expected()
            .entry(message.clone())
            .or_default()
            .subscribe();
        self.begun.notify_one();
        birth
    }

    fn expected(&self) -> MutexGuard<'_, HashMap<MessageId, watch::Sender<Expected>>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for them until stopped.
    pub(super) async fn watch_forever(
        self: Arc<Self>,
        store: Store,
        heartbeat: Duration,
        stop: CancellationToken,
    ) {
        let mut timer = interval(LOOK_INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_beat = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.something_expected() => {}
            }
            timer.tick().await;
            let beats = last_beat.elapsed() >= heartbeat / 2;
            if beats {
                last_beat = Instant::now();
            }
            if let Err(error) = self.look(&store, beats).await {
                warn!(%error, "looking for messages that are waited for failed");
            }
        }
    }

    async fn something_expected(&self) {
        while self.expected().is_empty() {
            self.begun.notified().await;
        }
    }

    async fn look(&self, store: &Store, beats: bool) -> Result<(), crate::store::StoreError> {
        let messages: Vec<MessageId> = {
            let mut expected = self.expected();
            expected.retain(|_, waiting| waiting.receiver_count() > 0);
            if beats {
                for waiting in expected.values() {
                    waiting.send_modify(|expected| expected.beat += 1);
                }
            }
            expected.keys().cloned().collect()
        };
        if messages.is_empty() {
            return Ok(());
        }
        let exist = store.exist(&messages).await?;
        let mut expected = self.expected();
        for (message, _) in messages.iter().zip(exist).filter(|(_, exists)| *exists) {
            if let Some(waiting) = expected.remove(message) {
                waiting.send_modify(|expected| expected.is_born = true);
            }
        }
        Ok(())
    }
}
