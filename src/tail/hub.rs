//! All that is followed in this process.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    births::{Births, Expected},
    follower::Follower,
    lane::Lanes,
    registry::Registry,
};
use crate::{
    domain::{cursor::Cursor, ids::MessageId},
    store::{Log, Store},
};

/// All that is followed in this process. Cloning shares it.
#[derive(Clone)]
pub struct Hub {
    registry: Arc<Registry>,
    lanes: Arc<Lanes>,
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
        let lanes = Lanes::start(&store, &registry, &drain, tasks);
        let hub = Self {
            lanes,
            registry: registry.clone(),
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

    /// Follows a log whose head was at `head` a moment ago.
    pub fn follow(&self, log: Log, head: Cursor) -> Follower {
        self.registry
            .follow(log, head, |topic| self.lanes.heat(topic))
    }

    /// Tells when a message comes to exist, and of heartbeats until then.
    pub fn await_birth(&self, message: &MessageId) -> watch::Receiver<Expected> {
        self.births.expect(message)
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
        let topics = registry.all();
        for topic in &topics {
            topic.beat();
        }
        registry.look_after(&store, &topics).await;
        if let Err(error) = store.keep(topics.iter().map(|topic| &topic.log)).await {
            warn!(%error, "keeping watched messages alive failed");
        }
    }
}
