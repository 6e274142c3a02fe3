//! What one who writes messages should hear at once, though it did not ask.

use std::{collections::HashMap, future};

use futures_util::{
    future::{AbortHandle, AbortRegistration, Abortable, BoxFuture, FutureExt as _},
    stream::{FuturesUnordered, StreamExt as _},
};
use tokio::sync::watch::Receiver;

use super::Engine;
use crate::{
    domain::{ids::MessageId, message::MessageState},
    tail::{Fate, Hub, Tidings},
};

/// A writer hears of so many messages: of those that it wrote last.
const MESSAGES_MAX: usize = 1_024;

/// News of a message that somebody writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Of which message.
    pub message: MessageId,
    /// What has become of it.
    pub news: News,
}

/// What has become of a message since its writer heard of it last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct News {
    /// Somebody asked that it be cancelled.
    pub cancel_requested: bool,
    /// Another writer has taken the right to write it.
    pub fenced: bool,
    /// How it ended.
    pub ended: Option<MessageState>,
    /// It was deleted, or has expired.
    pub gone: bool,
}

impl News {
    fn is_last(self) -> bool {
        self.ended.is_some() || self.gone
    }
}

/// Notices for one who writes: of each change of a message one, at most.
pub struct Notices {
    hub: Hub,
    written: HashMap<MessageId, Written>,
    coming: FuturesUnordered<Abortable<BoxFuture<'static, Told>>>,
    /// How many writes there have been.
    writes: u64,
}

/// A message that was written, and what its writer knows of it.
struct Written {
    /// Which of the writes was the last.
    write: u64,
    /// The greatest fence that it has used or was told of; none where it has
    /// written nothing that depends on one.
    fence: Option<u64>,
    cancel_requested: bool,
    /// Ends the wait for its notices.
    wait: AbortHandle,
}

/// How a message stands, and where to hear what becomes of it.
struct Told {
    message: MessageId,
    tidings: Receiver<Tidings>,
    fate: Fate,
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
    /// The writer has written a message, with this fence where one was needed, and
    /// was told whether a cancel was requested: from now on it hears of it, unless
    /// it has heard of its end already.
    pub fn wrote(&mut self, message: &MessageId, fence: Option<u64>, cancel_requested: bool) {
        self.writes += 1;
        if !self.written.contains_key(message) {
            self.follow(message);
        }
        if let Some(written) = self.written.get_mut(message) {
            written.write = self.writes;
            written.fence = written.fence.max(fence);
            written.cancel_requested |= cancel_requested;
        }
    }

    /// The writer has created a message: what it heard was of an earlier one.
    pub fn created(&mut self, message: &MessageId) {
        if let Some(earlier) = self.written.remove(message) {
            earlier.wait.abort();
        }
        self.wrote(message, Some(0), false);
    }

    /// The writer has ended a message, and need not be told.
    pub fn ended(&mut self, message: &MessageId) {
        self.wrote(message, None, false);
        if let Some(written) = self.written.get(message) {
            written.wait.abort();
        }
    }

    fn follow(&mut self, message: &MessageId) {
        if self.written.len() >= MESSAGES_MAX {
            self.forget_oldest();
        }
        let (wait, registration) = AbortHandle::new_pair();
        self.wait(
            Told {
                tidings: self.hub.fate(message),
                message: message.clone(),
                fate: Fate::Unknown,
            },
            registration,
        );
        let written = Written {
            write: self.writes,
            fence: None,
            cancel_requested: false,
            wait,
        };
        self.written.insert(message.clone(), written);
    }

    fn wait(&self, told: Told, registration: AbortRegistration) {
        let next = told.next().boxed();
        self.coming.push(Abortable::new(next, registration));
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
            let Ok(told) = self.coming.next().await? else {
                continue;
            };
            let Some(written) = self.written.get_mut(&told.message) else {
                continue;
            };
            let news = written.learn(told.fate);
            let message = told.message.clone();
            if !news.is_last() {
                let (wait, registration) = AbortHandle::new_pair();
                written.wait = wait;
                self.wait(told, registration);
            }
            if news != News::default() {
                return Some(Notice { message, news });
            }
        }
    }
}

impl Written {
    /// What its writer does not know yet of a message that stands so.
    fn learn(&mut self, fate: Fate) -> News {
        let vitals = match fate {
            Fate::There(vitals) => vitals,
            Fate::Missing => {
                return News {
                    gone: true,
                    ..News::default()
                };
            }
            Fate::Unknown => return News::default(),
        };
        let news = News {
            cancel_requested: vitals.cancel_requested && !self.cancel_requested,
            fenced: self.fence.is_some_and(|fence| vitals.fence > fence),
            ended: Some(vitals.state).filter(|state| *state != MessageState::Streaming),
            gone: false,
        };
        self.cancel_requested |= vitals.cancel_requested;
        self.fence = self.fence.map(|fence| fence.max(vitals.fence));
        news
    }
}

impl Told {
    /// Waits until the message stands otherwise.
    async fn next(mut self) -> Self {
        loop {
            if self.tidings.changed().await.is_err() {
                // Nobody tells any more.
                return future::pending().await;
            }
            let fate = self.tidings.borrow_and_update().fate;
            if fate != self.fate {
                self.fate = fate;
                return self;
            }
        }
    }
}
