//! What happens to messages by itself, when its time has come.
//!
//! Every instance sweeps, and none leads: each step is conditional in Redis, so
//! ten of them do the same as one. What is to be done is decided on the message
//! itself ([`Message::settle`]); who loses a race finds nothing left to do.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{Engine, EngineError, clock};
use crate::{
    domain::{Time, ids::MessageId, message::Message, offload::BlobNames, refusal::Refusal},
    store::StoreError,
};

/// The longest sleep: what was made due elsewhere is found after it.
const INTERVAL: Duration = Duration::from_millis(500);
/// So long no other instance is given a message that was taken, and so late it is
/// settled where this one dies meanwhile.
const HOLD: Duration = Duration::from_millis(500);
/// So long a message is left alone that cannot be read.
const DAMAGED_DELAY: Duration = Duration::from_secs(60);
/// Messages that are taken at once.
const BATCH: usize = 256;
/// Of these, so many are settled at a time.
const CONCURRENCY: usize = 16;
/// A message that changes all the time is decided on so often before it is left
/// for later.
const DECISIONS_MAX: usize = 16;
/// Before this one, who appends is fenced off: a text that grows all the time could
/// never be sealed.
const DECISION_AFTER_FENCE: usize = 2;

impl Engine {
    /// Settles what comes due, until stopped.
    pub(super) async fn sweep_forever(self, stop: CancellationToken) {
        let mut is_failing = false;
        loop {
            let pause = match self.sweep().await {
                Ok(pause) => {
                    is_failing = false;
                    pause
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        warn!(%error, "looking for what is due failed, will go on trying");
                    }
                    INTERVAL
                }
            };
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Settles what is due, and says how long there is nothing more to do.
    async fn sweep(&self) -> Result<Duration, StoreError> {
        let now = clock::now();
        let due = self.store.take_due(now, BATCH, HOLD).await?;
        let settling = |id: MessageId| self.settle_taken(id, due.taken_until);
        let later: Vec<_> = stream::iter(due.messages)
            .map(settling)
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let next = later.into_iter().flatten().chain(due.next).min();
        let pause = next.map(|next| (next - clock::now()).to_std().unwrap_or_default());
        Ok(pause.map_or(INTERVAL, |pause| pause.min(INTERVAL)))
    }

    /// Settles a message that was taken. Returns when it is due again, if it is.
    async fn settle_taken(&self, id: MessageId, taken_until: Time) -> Option<Time> {
        let later = match self.settle_due(&id).await {
            Ok(None) => None,
            Ok(Some(message)) => {
                self.offer_again(&message).await;
                message.due_time(clock::now())
            }
            Err(EngineError::Store(StoreError::Corrupt(problem))) => {
                error!(message = %id, %problem, "what is due cannot be settled");
                Some(clock::now() + DAMAGED_DELAY)
            }
            Err(error) => {
                warn!(message = %id, %error, "settling what is due failed, will try again");
                return None;
            }
        };
        let now = clock::now();
        if let Err(error) = self.store.postpone(&id, taken_until, now, later).await {
            debug!(message = %id, %error, "could not say when the message is due");
        }
        later
    }

    /// Does what is due by now. Returns the message as it then is; none where it
    /// is gone.
    async fn settle_due(&self, id: &MessageId) -> Result<Option<Message>, EngineError> {
        let mut names = clock::blob_names();
        let settled = self.settle_named(id, &mut names).await;
        self.leave(names, &settled).await;
        settled
    }

    /// The same, with names for the content in it.
    async fn settle_named(
        &self,
        id: &MessageId,
        names: &mut BlobNames,
    ) -> Result<Option<Message>, EngineError> {
        for round in 0..DECISIONS_MAX {
            let Some(loaded) = self.store.load(id).await? else {
                return Ok(None);
            };
            let now = clock::now();
            let changes = loaded.message.settle(now);
            if changes.is_empty() {
                return Ok(Some(loaded.message));
            }
            if round == DECISION_AFTER_FENCE {
                self.fence_off(&loaded, now).await?;
                continue;
            }
            let mut before = loaded.message.clone();
            before.visited(now);
            let committed = self.commit_named(&loaded, before, changes, None, now, names);
            match committed.await {
                Ok(None) => {}
                Ok(settled) => return Ok(settled),
                Err(EngineError::Refused(Refusal::MessageUnknown(_))) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Err(EngineError::Contended)
    }
}
