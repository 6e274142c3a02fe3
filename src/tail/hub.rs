//! All that is followed in this process.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    births::{Births, Expected},
    lane::Lane,
    topic::{News, Ready, Standing, Topic},
};
use crate::{
    domain::{
        cursor::Cursor,
        ids::{MessageId, SessionId},
    },
    store::{Look, Store},
    wire::frame::WatchEnd,
};

/// Connections that wait for logs. Redis goes through all logs of a connection
/// whenever one of them wakes it, so they are spread over a few.
const LANES: usize = 4;
/// Messages that are looked after in one call.
const LOOK_BATCH: usize = 256;

/// All that is followed in this process. Cloning shares it.
#[derive(Clone)]
pub struct Hub {
    registry: Arc<Registry>,
    lanes: Arc<[mpsc::UnboundedSender<Arc<Topic>>]>,
    next_lane: Arc<AtomicUsize>,
    births: Arc<Births>,
    heartbeat: Duration,
    drain: CancellationToken,
}

impl Hub {
    /// Starts reading. Followers get a heartbeat every `heartbeat`. The tasks
    /// end when `drain` is cancelled, and none of them before.
    pub fn start(
        store: Store,
        heartbeat: Duration,
        drain: CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let registry = Arc::new(Registry::default());
        let births = Arc::new(Births::default());
        let lanes = (0..LANES).map(|_| {
            let (sender, joining) = mpsc::unbounded_channel();
            let lane = Lane {
                store: store.clone(),
                registry: registry.clone(),
                joining,
                topics: Vec::new(),
            };
            tasks.spawn(lane.run(drain.clone()));
            sender
        });
        let hub = Self {
            lanes: lanes.collect(),
            registry: registry.clone(),
            next_lane: Arc::default(),
            births: births.clone(),
            heartbeat,
            drain: drain.clone(),
        };
        tasks.spawn(beat_forever(
            store.clone(),
            registry,
            heartbeat,
            drain.clone(),
        ));
        tasks.spawn(births.watch_forever(store, heartbeat, drain));
        hub
    }

    /// Cancelled when this process stops: followers say goodbye.
    pub fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    /// How often a watcher hears something.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Follows a message whose log reached to `head` a moment ago.
    pub fn follow(&self, message: &MessageId, session: &SessionId, head: Cursor) -> Follower {
        let mut topics = self.registry.topics();
        if let Some(topic) = topics.get(message)
            && topic.is_live()
            && topic.session == *session
        {
            return Follower::new(topic.clone());
        }
        let topic = Arc::new(Topic::new(message.clone(), session.clone(), head));
        let follower = Follower::new(topic.clone());
        topics.insert(message.clone(), topic.clone());
        drop(topics);
        let lane = self.next_lane.fetch_add(1, Ordering::Relaxed) % self.lanes.len();
        // A lane that has ended does so because the process stops.
        let _ = self.lanes[lane].send(topic);
        follower
    }

    /// Tells when a message comes to exist, and of heartbeats until then.
    pub fn await_birth(&self, message: &MessageId) -> watch::Receiver<Expected> {
        self.births.expect(message)
    }
}

/// Follows one message.
#[derive(Debug)]
pub struct Follower {
    topic: Arc<Topic>,
    news: watch::Receiver<News>,
}

impl Follower {
    fn new(topic: Arc<Topic>) -> Self {
        Self {
            news: topic.subscribe(),
            topic,
        }
    }

    /// What comes after `seen`.
    pub fn after(&self, seen: Cursor) -> Ready {
        self.topic.after(seen)
    }

    /// What is new, which is then no longer new.
    pub fn news(&mut self) -> News {
        *self.news.borrow_and_update()
    }

    /// Waits until something is new.
    pub async fn changed(&mut self) {
        // The sender lives in the topic that this follower holds.
        let _ = self.news.changed().await;
    }
}

/// The topics of this process.
#[derive(Debug, Default)]
pub(super) struct Registry {
    topics: Mutex<HashMap<MessageId, Arc<Topic>>>,
}

impl Registry {
    fn topics(&self) -> MutexGuard<'_, HashMap<MessageId, Arc<Topic>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of topics that nobody follows, and of those whose log is over.
    pub(super) fn release(&self, held: &mut Vec<Arc<Topic>>) {
        let is_needed = |topic: &Arc<Topic>| topic.is_followed() && topic.is_live();
        if held.iter().all(is_needed) {
            return;
        }
        // Nobody can begin to follow one of them meanwhile.
        let mut topics = self.topics();
        held.retain(|topic| {
            let keep = is_needed(topic);
            let is_registered = topics
                .get(&topic.message)
                .is_some_and(|registered| Arc::ptr_eq(registered, topic));
            if !keep && is_registered {
                topics.remove(&topic.message);
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
                .map(|(topic, tip)| (&topic.message, &topic.session, *tip));
            match store.look(followed).await {
                Ok(looks) => {
                    for (topic, look) in batch.iter().zip(looks) {
                        judge(topic, look);
                    }
                }
                Err(error) => warn!(%error, "looking after followed messages failed"),
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

/// One timer for all heartbeats of the process.
async fn beat_forever(
    store: Store,
    registry: Arc<Registry>,
    heartbeat: Duration,
    stop: CancellationToken,
) {
    // A watcher that was silent for a whole beat is due: two make the interval.
    let mut timer = interval(heartbeat / 2);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let topics: Vec<_> = registry.topics().values().cloned().collect();
        for topic in &topics {
            topic.beat();
        }
        registry.look_after(&store, &topics).await;
        if let Err(error) = store.keep(topics.iter().map(|topic| &topic.message)).await {
            warn!(%error, "keeping watched messages alive failed");
        }
    }
}
