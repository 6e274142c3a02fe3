//! All that is followed in this process.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    fates::{Fates, Tidings},
    follower::Follower,
    lane::Lanes,
    push::Push,
    reader::Reader,
    registry::Registry,
};
use crate::{
    domain::{cursor::Cursor, ids::MessageId},
    store::{Log, Placed, Store},
};

/// All that is followed in this process. Cloning shares it.
#[derive(Clone)]
pub struct Hub {
    registry: Arc<Registry>,
    reader: Arc<dyn Reader>,
    fates: Arc<Fates>,
    heartbeat: Duration,
    drain: CancellationToken,
}

impl Hub {
    /// Starts reading: where the store publishes, what is published, else with
    /// lanes. Followers get a heartbeat every `heartbeat`. The tasks
    /// end when `drain` is cancelled, and none of them before.
    pub fn start(
        store: Store,
        heartbeat: Duration,
        drain: CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let registry = Arc::new(Registry::default());
        let fates = Arc::new(Fates::default());
        let reader: Arc<dyn Reader> = match store.options().publishes {
            true => Push::start(&store, &registry, &drain, tasks),
            false => Lanes::start(&store, &registry, &drain, tasks),
        };
        let hub = Self {
            registry,
            reader,
            fates: fates.clone(),
            heartbeat,
            drain: drain.clone(),
        };
        tasks.spawn(hub.clone().beat_forever());
        tasks.spawn(hub.clone().look_forever(store.clone()));
        tasks.spawn(fates.tell_forever(store, drain));
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

    /// Follows a log whose head was at `head` a moment ago.
    pub fn follow(&self, log: Log, head: Cursor) -> Follower {
        self.registry
            .follow(log, head, |topic| self.reader.read(topic))
    }

    /// Finds out whether a log that is followed is still the same, and tells all who
    /// follow it.
    pub async fn look_after(&self, store: &Store, follower: &Follower) {
        let topic = std::slice::from_ref(follower.topic());
        if let Err(error) = self.registry.look_after(store, topic).await {
            debug!(%error, "a followed log is looked after later");
        }
    }

    /// Whether what this process writes is of use here: something is followed, and
    /// would be read later.
    pub fn wants_written(&self) -> bool {
        !self.reader.is_prompt() && !self.registry.is_empty()
    }

    /// Takes in events, `first` and what follows it, that this process has added
    /// to a log: who follows it here need not wait until they are read. They are
    /// made only where somebody does.
    pub fn take_in_written(&self, log: &str, first: u64, events: impl FnOnce(&Log) -> Vec<Placed>) {
        if let Some(topic) = self.registry.find(log) {
            topic.take_in_written(first, events);
        }
    }

    /// Tells what becomes of a message, and of heartbeats.
    pub fn fate(&self, message: &MessageId) -> watch::Receiver<Tidings> {
        self.fates.ask(message)
    }

    /// One timer for all heartbeats of the process. It waits for nothing else.
    async fn beat_forever(self) {
        let mut timer = twice_every(self.heartbeat);
        while self.drain.run_until_cancelled(timer.tick()).await.is_some() {
            self.fates.beat();
            for topic in self.registry.all() {
                topic.beat();
            }
        }
    }

    /// Looks after all logs as often, and keeps their messages alive; more often where
    /// these live shorter.
    async fn look_forever(self, store: Store) {
        let mut timer = twice_every(self.heartbeat.min(store.options().message_ttl));
        while self.drain.run_until_cancelled(timer.tick()).await.is_some() {
            let topics = self.registry.all();
            match self.registry.look_after(&store, &topics).await {
                Ok(behind) => behind
                    .into_iter()
                    .for_each(|topic| self.reader.catch_up(topic)),
                Err(error) => warn!(%error, "looking after followed logs failed"),
            }
            if let Err(error) = store.keep(topics.iter().map(|topic| &topic.log)).await {
                warn!(%error, "keeping watched messages alive failed");
            }
        }
    }
}

/// A watcher that was silent for a whole beat is due: two make the interval.
fn twice_every(period: Duration) -> Interval {
    let mut timer = interval(period / 2);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}
