//! What one who writes messages should hear at once, though it did not ask.

use std::{collections::HashMap, future};

use futures_util::{
    future::{AbortHandle, Abortable, BoxFuture, FutureExt as _},
    stream::{FuturesUnordered, StreamExt as _},
};

use super::Engine;
use crate::{
    domain::{ids::MessageId, message::MessageState},
    tail::{Fate, Hub},
};

/// A writer hears of so many messages: of those that it wrote last.
const MESSAGES_MAX: usize = 1_024;

/// What became of a message that somebody writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Of which message.
    pub message: MessageId,
    /// How it ended; none where it was deleted, or has expired.
    pub ended: Option<MessageState>,
}

/// Notices for one who writes: one for each message, at most.
pub struct Notices {
    hub: Hub,
    written: HashMap<MessageId, Written>,
    coming: FuturesUnordered<Abortable<BoxFuture<'static, Notice>>>,
    /// How many writes there have been.
    writes: u64,
}

/// A message that was written.
struct Written {
    /// Which of the writes was the last.
    write: u64,
    /// Ends the wait for its notice.
    wait: AbortHandle,
}

impl Engine {
    /// Notices for one who has not written yet.
    pub fn notices(&self) -> Notices {
        Notices {
            hub: self.hub.clone(),
            written: HashMap::new(),
            coming: FuturesUnordered::new(),
            writes: 0,
        }
    }
}

impl Notices {
    /// The writer has written a message: from now on it hears of it, unless it
    /// has heard already.
    pub fn wrote(&mut self, message: &MessageId) {
        self.writes += 1;
        if let Some(written) = self.written.get_mut(message) {
            written.write = self.writes;
            return;
        }
        if self.written.len() >= MESSAGES_MAX {
            self.forget_oldest();
        }
        let (wait, registration) = AbortHandle::new_pair();
        let notice = notice(self.hub.clone(), message.clone()).boxed();
        self.coming.push(Abortable::new(notice, registration));
        let write = self.writes;
        self.written
            .insert(message.clone(), Written { write, wait });
    }

    /// The writer has created a message: what it heard was of an earlier one.
    pub fn created(&mut self, message: &MessageId) {
        if let Some(earlier) = self.written.remove(message) {
            earlier.wait.abort();
        }
        self.wrote(message);
    }

    /// The writer has ended a message, and need not be told.
    pub fn ended(&mut self, message: &MessageId) {
        self.wrote(message);
        if let Some(written) = self.written.get(message) {
            written.wait.abort();
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.written.iter().min_by_key(|(_, written)| written.write);
        if let Some(oldest) = oldest.map(|(message, _)| message.clone())
            && let Some(written) = self.written.remove(&oldest)
        {
            written.wait.abort();
        }
    }

    /// Waits for a notice; none where there will be none before the next write.
    /// Can be dropped without loss.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            if let Ok(notice) = self.coming.next().await? {
                return Some(notice);
            }
        }
    }
}

/// Waits for the end of a message.
async fn notice(hub: Hub, message: MessageId) -> Notice {
    let mut tidings = hub.fate(&message);
    loop {
        let fate = tidings.borrow_and_update().fate;
        let ended = match fate {
            Fate::There(vitals) if vitals.state != MessageState::Streaming => Some(vitals.state),
            Fate::Missing => None,
            Fate::There(_) | Fate::Unknown => {
                if tidings.changed().await.is_err() {
                    // Nobody tells any more.
                    return future::pending().await;
                }
                continue;
            }
        };
        return Notice { message, ended };
    }
}
