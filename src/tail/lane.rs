//! Connections that wait for many logs each.
//!
//! Redis goes through all logs of a connection whenever one of them wakes it. So
//! the few logs that are written right now share one connection, the *hot* lane,
//! and the many that are silent wait on *cold* ones. An entry moves a log to the
//! hot lane, silence moves it back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{JoinSet, yield_now},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{
    reader::{Patience, Reader},
    registry::Registry,
    topic::Topic,
};
use crate::store::{ClientId, Feed, FeedItem, Read, Store, StoreError};

/// Cold lanes; each connects when it gets its first log.
const COLD_LANES: usize = 8;
/// Logs that a cold lane holds before the next one gets any.
const COLD_LOGS: usize = 512;
/// A log that is silent for so long is cold.
const COOLING: Duration = Duration::from_secs(2);
/// How long one read waits. Logs that join interrupt it; this bounds how late
/// logs are found to be silent, or followed by nobody.
const READ_WAIT: Duration = Duration::from_secs(2);
/// A hot lane with no more logs than this does not pause.
const UNPACED_LOGS: usize = 64;
/// What a wake-up costs Redis for each log where that is cheap, times five: a paced
/// lane costs it a sixth of a core there. Of 1,000 logs that are written it was 2 us
/// each. Times seven it was a hundredth of a core less, and events came 1.5 ms later.
const PAUSE_PER_LOG: Duration = Duration::from_nanos(3_000);
/// A read that brought only what this process has written itself was for nothing,
/// and the next will probably be: so much longer it waits, and so many times its
/// pause. What others write to these logs comes later by that, once; a log that
/// joins is not waited with.
const KNOWN_PAUSE: Duration = Duration::from_millis(10);
const KNOWN_FACTOR: u32 = 10;
/// A read that is interrupted before it has reached Redis is not: so often is
/// it tried again.
const UNBLOCK_INTERVAL: Duration = Duration::from_millis(1);

/// The ways into the lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    hot: UnboundedSender<Arc<Topic>>,
    cold: Vec<Cold>,
}

#[derive(Debug)]
struct Cold {
    joining: UnboundedSender<Arc<Topic>>,
    /// Logs that it holds or is about to.
    logs: Arc<AtomicUsize>,
}

impl Lanes {
    /// Starts the lanes, which end when `stop` is cancelled.
    pub(super) fn start(
        store: &Store,
        registry: &Arc<Registry>,
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let (hot, hot_joining) = unbounded_channel();
        let (cold, cold_joining): (Vec<_>, Vec<_>) = (0..COLD_LANES)
            .map(|_| {
                let (joining, receiver) = unbounded_channel();
                let logs = Arc::new(AtomicUsize::new(0));
                (
                    Cold {
                        joining,
                        logs: logs.clone(),
                    },
                    (receiver, logs),
                )
            })
            .unzip();
        let lanes = Arc::new(Self { hot, cold });
        let lane = |joining, cold_logs| Lane {
            store: store.clone(),
            registry: registry.clone(),
            lanes: lanes.clone(),
            joining,
            held: Vec::new(),
            cold_logs,
        };
        tasks.spawn(lane(hot_joining, None).run(stop.clone()));
        for (joining, logs) in cold_joining {
            tasks.spawn(lane(joining, Some(logs)).run(stop.clone()));
        }
        lanes
    }

    fn heat(&self, topic: Arc<Topic>) {
        // A lane that has ended did so because the process stops.
        let _ = self.hot.send(topic);
    }

    /// Waits for a log that is probably not being written.
    fn cool(&self, topic: Arc<Topic>) {
        let has_room = |cold: &&Cold| cold.logs.load(Ordering::Relaxed) < COLD_LOGS;
        let emptiest = || {
            self.cold
                .iter()
                .min_by_key(|cold| cold.logs.load(Ordering::Relaxed))
        };
        if let Some(cold) = self.cold.iter().find(has_room).or_else(emptiest) {
            cold.logs.fetch_add(1, Ordering::Relaxed);
            let _ = cold.joining.send(topic);
        }
    }
}

impl Reader for Lanes {
    /// Where somebody begins to follow, it is probably being written.
    fn read(&self, topic: Arc<Topic>) {
        self.heat(topic);
    }

    fn is_prompt(&self) -> bool {
        false
    }
}

/// One connection, and the logs that it waits for.
struct Lane {
    store: Store,
    registry: Arc<Registry>,
    lanes: Arc<Lanes>,
    joining: UnboundedReceiver<Arc<Topic>>,
    held: Vec<Held>,
    /// Counts the logs of a cold lane; none in the hot one.
    cold_logs: Option<Arc<AtomicUsize>>,
}

/// A log that a lane waits for.
struct Held {
    topic: Arc<Topic>,
    joined: Instant,
    /// Up to where it reached at the last look.
    tip: u64,
    /// When it was last found to reach further.
    active: Option<Instant>,
}

impl From<Arc<Topic>> for Held {
    fn from(topic: Arc<Topic>) -> Self {
        Self {
            tip: topic.tip().sequence,
            topic,
            joined: Instant::now(),
            active: None,
        }
    }
}

impl Lane {
    async fn run(mut self, stop: CancellationToken) {
        let mut patience = Patience::default();
        loop {
            let error = tokio::select! {
                () = stop.cancelled() => return,
                error = self.read_on(&mut patience) => error,
            };
            warn!(%error, "reading live logs failed, will reconnect");
            patience.pause(&stop).await;
        }
    }

    /// Reads until the connection fails.
    async fn read_on(&mut self, patience: &mut Patience) -> StoreError {
        // The first log is worth a connection.
        self.gather().await;
        let mut feed = match self.store.feed().await {
            Ok(feed) => feed,
            Err(error) => return error,
        };
        // What happened while there was no connection: the log may be another, which
        // must not be read as if it went on.
        self.gather().await;
        let topics: Vec<_> = self.held.iter().map(|held| held.topic.clone()).collect();
        if let Err(error) = self.registry.look_after(&self.store, &topics).await {
            return error;
        }
        loop {
            self.gather().await;
            match self.read(&mut feed).await {
                Ok(items) => {
                    patience.renew();
                    let was_known = self.take_in(items) == Some(false);
                    self.sort();
                    self.pause(was_known).await;
                }
                Err(error) => return error,
            }
        }
    }

    /// Lets go of the topics that nobody follows and takes in those that join;
    /// waits while there is none.
    async fn gather(&mut self) {
        let before = self.held.len();
        self.held.retain(|held| !self.registry.release(&held.topic));
        self.count_down(before - self.held.len());
        while let Ok(topic) = self.joining.try_recv() {
            self.held.push(topic.into());
        }
        if self.held.is_empty()
            && let Some(topic) = self.joining.recv().await
        {
            self.held.push(topic.into());
        }
    }

    /// One read of all logs, interrupted when another joins.
    async fn read(&mut self, feed: &mut Feed) -> Result<Vec<FeedItem>, StoreError> {
        let logs: Vec<Read<'_>> = self.held.iter().map(|held| held.topic.unread()).collect();
        let client = feed.client().clone();
        let mut joined = Vec::new();
        let items = {
            let mut read = std::pin::pin!(feed.read(&logs, READ_WAIT));
            loop {
                tokio::select! {
                    biased;
                    items = &mut read => break items,
                    Some(topic) = self.joining.recv() => joined.push(Held::from(topic)),
                    () = interrupt(&self.store, &client), if !joined.is_empty() => {}
                }
            }
        };
        self.held.append(&mut joined);
        items
    }

    /// Whether any of it was not known; none where there is nothing.
    fn take_in(&self, items: Vec<FeedItem>) -> Option<bool> {
        let items = items.into_iter();
        let is_new = items.map(|FeedItem { index, entries }| {
            let held = &self.held[index];
            held.topic.take_in_read(entries)
        });
        is_new.reduce(|any, is_new| any | is_new)
    }

    /// Hands on the logs that belong into another lane by now.
    fn sort(&mut self) {
        let is_cold_lane = self.cold_logs.is_some();
        let now = Instant::now();
        for held in &mut self.held {
            let tip = held.topic.tip().sequence;
            if tip > held.tip {
                (held.tip, held.active) = (tip, Some(now));
            }
        }
        let belongs_elsewhere = |held: &mut Held| match is_cold_lane {
            true => held.active.is_some(),
            false => held.active.unwrap_or(held.joined).elapsed() > COOLING,
        };
        let leaving: Vec<Held> = self.held.extract_if(.., belongs_elsewhere).collect();
        self.count_down(leaving.len());
        for held in leaving {
            match is_cold_lane {
                true => self.lanes.heat(held.topic),
                false => self.lanes.cool(held.topic),
            }
        }
    }

    fn count_down(&self, count: usize) {
        if let Some(logs) = &self.cold_logs {
            logs.fetch_sub(count, Ordering::Relaxed);
        }
    }

    /// Many hot logs are better read a little later, several entries at once; any
    /// logs are, where a read brought nothing but what was known. Otherwise followers
    /// send what was read before more is asked for.
    async fn pause(&mut self, was_known: bool) {
        let logs = u32::try_from(self.held.len()).unwrap_or(u32::MAX);
        let paced = match self.cold_logs {
            None if self.held.len() > UNPACED_LOGS => PAUSE_PER_LOG * logs,
            _ => Duration::ZERO,
        };
        match paced > Duration::ZERO {
            true => sleep(paced).await,
            false => yield_now().await,
        }
        if was_known {
            tokio::select! {
                () = sleep(KNOWN_PAUSE + KNOWN_FACTOR * paced) => {}
                Some(topic) = self.joining.recv() => self.held.push(topic.into()),
            }
        }
    }
}

async fn interrupt(store: &Store, client: &ClientId) {
    if let Err(error) = store.unblock(client).await {
        debug!(%error, "interrupting a read failed");
    }
    sleep(UNBLOCK_INTERVAL).await;
}
