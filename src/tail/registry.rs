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
    store::{Log, Look, Store, StoreError},
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

    /// The topic of a log, if it is followed here.
    pub(super) fn find(&self, log: &str) -> Option<Arc<Topic>> {
        self.topics().get(log).cloned()
    }

    /// Whether no log is followed here.
    pub(super) fn is_empty(&self) -> bool {
        self.topics().is_empty()
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

    /// Lets go of a topic that nobody follows, or whose log is over. False for
    /// all others.
    pub(super) fn release(&self, topic: &Arc<Topic>) -> bool {
        if topic.is_needed() {
            return false;
        }
        // Nobody can begin to follow it meanwhile.
        let mut topics = self.topics();
        if topic.is_needed() {
            return false;
        }
        let name = topic.log.name();
        if topics
            .get(name)
            .is_some_and(|registered| Arc::ptr_eq(registered, topic))
        {
            topics.remove(name);
        }
        true
    }

    /// Finds out whether logs are still there and the same, and tells their
    /// followers. Returns those that reach further than they were read.
    ///
    /// Fails where Redis is not there.
    pub(super) async fn look_after(
        &self,
        store: &Store,
        topics: &[Arc<Topic>],
    ) -> Result<Vec<Arc<Topic>>, StoreError> {
        let mut behind = Vec::new();
        for batch in topics.chunks(LOOK_BATCH) {
            let tips: Vec<Cursor> = batch.iter().map(|topic| topic.tip()).collect();
            let followed = batch
                .iter()
                .zip(&tips)
                .map(|(topic, tip)| (&topic.log, *tip));
            match store.look(followed).await {
                Ok(looks) => {
                    let judged = batch.iter().zip(looks);
                    let is_behind = |(topic, look): &(&Arc<Topic>, Look)| judge(topic, *look);
                    behind.extend(judged.filter(is_behind).map(|(topic, _)| topic.clone()));
                }
                Err(error) if error.is_absence() => return Err(error),
                Err(error) => warn!(%error, "looking after followed logs failed"),
            }
        }
        Ok(behind)
    }
}

/// Tells followers what became of a log; true where there is more of it.
fn judge(topic: &Topic, look: Look) -> bool {
    match look {
        Look::Same(head) => return head > topic.tip().sequence,
        Look::Changed => topic.set_standing(Standing::Changed),
        Look::Deleted => topic.set_standing(Standing::Over(WatchEnd::Deleted)),
        Look::Expired => topic.set_standing(Standing::Over(WatchEnd::Expired)),
    }
    false
}
