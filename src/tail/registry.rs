//! The topics of this process, and whether they are still what they were.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::warn;

use super::{
    follower::Follower,
    topic::{Standing, Topic},
};
use crate::{
    domain::cursor::Cursor,
    store::{Log, Look, Store},
    wire::frame::WatchEnd,
};

/// Logs that are looked after in one call.
const LOOK_BATCH: usize = 256;

/// The topics of this process, by the names of their logs.
#[derive(Debug, Default)]
pub(super) struct Registry {
    topics: Mutex<HashMap<String, Arc<Topic>>>,
}

impl Registry {
    fn topics(&self) -> MutexGuard<'_, HashMap<String, Arc<Topic>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.topics().values().cloned().collect()
    }

    /// Follows a log whose head was at `head` a moment ago. `read` has a topic
    /// read that is new.
    pub(super) fn follow(&self, log: Log, head: Cursor, read: impl Fn(Arc<Topic>)) -> Follower {
        let mut topics = self.topics();
        if let Some(topic) = topics.get(log.name()).filter(|topic| topic.is_live()) {
            if topic.may_hold(head) {
                return Follower::new(topic.clone());
            }
            topic.set_standing(Standing::Changed);
        }
        let name = log.name().to_owned();
        let topic = Arc::new(Topic::new(log, head));
        topics.insert(name, topic.clone());
        let follower = Follower::new(topic.clone());
        read(topic);
        follower
    }

    /// Lets go of topics that nobody follows, and of those whose log is over.
    pub(super) fn release<T>(&self, held: &mut Vec<T>, topic: impl Fn(&T) -> &Arc<Topic>) {
        let is_needed = |held: &T| topic(held).is_followed() && topic(held).is_live();
        if held.iter().all(is_needed) {
            return;
        }
        // Nobody can begin to follow one of them meanwhile.
        let mut topics = self.topics();
        held.retain(|held| {
            let keep = is_needed(held);
            let name = topic(held).log.name();
            let is_registered = topics
                .get(name)
                .is_some_and(|registered| Arc::ptr_eq(registered, topic(held)));
            if !keep && is_registered {
                topics.remove(name);
            }
            keep
        });
    }

    /// Finds out whether logs are still there and the same, and tells their
    /// followers.
    pub(super) async fn look_after(&self, store: &Store, topics: &[Arc<Topic>]) {
        for batch in topics.chunks(LOOK_BATCH) {
            let tips: Vec<Cursor> = batch.iter().map(|topic| topic.tip()).collect();
            let followed = batch
                .iter()
                .zip(&tips)
                .map(|(topic, tip)| (&topic.log, *tip));
            match store.look(followed).await {
                Ok(looks) => {
                    for (topic, look) in batch.iter().zip(looks) {
                        judge(topic, look);
                    }
                }
                Err(error) => warn!(%error, "looking after followed logs failed"),
            }
        }
    }
}

fn judge(topic: &Topic, look: Look) {
    match look {
        Look::Same => {}
        Look::Changed => topic.set_standing(Standing::Changed),
        Look::Deleted => topic.set_standing(Standing::Over(WatchEnd::Deleted)),
        Look::Expired => topic.set_standing(Standing::Over(WatchEnd::Expired)),
    }
}
