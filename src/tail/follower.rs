//! One who follows a log: a cursor is all that it keeps.

use std::sync::Arc;

use tokio::sync::watch;

use super::topic::{News, Ready, Topic};
use crate::domain::cursor::Cursor;

/// Follows one log.
#[derive(Debug)]
pub struct Follower {
    topic: Arc<Topic>,
    news: watch::Receiver<News>,
    /// The last round of the topic's crowd that it came to wait in.
    round: u64,
}

impl Follower {
    pub(super) fn new(topic: Arc<Topic>) -> Self {
        let mut news = topic.subscribe();
        // The log may have ended since it was found to go on.
        news.mark_changed();
        Self {
            news,
            topic,
            round: 0,
        }
    }

    pub(super) fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// How many heartbeats there have been.
    pub fn beat(&self) -> u64 {
        self.news.borrow().beat
    }

    /// What comes after `seen`. Where there is much of it, and several follow, its
    /// deltas may be joined.
    pub fn after(&self, seen: Cursor, may_join: bool) -> Ready {
        self.topic.after(seen, may_join)
    }

    /// What is new, which is then no longer new.
    pub fn news(&mut self) -> News {
        *self.news.borrow_and_update()
    }

    /// Waits until something is new.
    pub async fn changed(&mut self) {
        self.topic.come(&mut self.round);
        // The sender lives in the topic that this follower holds.
        let _ = self.news.changed().await;
    }
}
