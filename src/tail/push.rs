//! One connection on which Redis tells what is added to all followed logs.
//!
//! It costs Redis nothing for logs that are silent, and an entry comes without
//! being asked for. But what is published is heard at most once. So a topic takes
//! in nothing but the entry that is next; where one is missing, after a
//! subscription and after a lost connection, its log is read.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    reader::{Patience, Reader},
    registry::Registry,
    topic::Topic,
};
use crate::store::{Published, READ_ENTRIES_MAX, Store, StoreError, Subscription};

/// How often topics that nobody follows are let go, and the connection is tried.
const TIDY_INTERVAL: Duration = Duration::from_secs(1);
/// Logs that are read in one call.
const READ_BATCH: usize = 256;

/// The way to the one who listens.
#[derive(Debug)]
pub(super) struct Push {
    joining: UnboundedSender<Arc<Topic>>,
    is_heard: Arc<AtomicBool>,
}

impl Push {
    /// Begins to listen, until `stop` is cancelled.
    pub(super) fn start(
        store: &Store,
        registry: &Arc<Registry>,
        stop: &CancellationToken,
        tasks: &mut JoinSet<()>,
    ) -> Arc<Self> {
        let (sender, joining) = unbounded_channel();
        let is_heard = Arc::new(AtomicBool::new(false));
        let listener = Listener {
            store: store.clone(),
            registry: registry.clone(),
            is_heard: is_heard.clone(),
            joining,
            held: HashMap::new(),
            behind: HashSet::new(),
        };
        tasks.spawn(listener.run(stop.clone()));
        Arc::new(Self {
            joining: sender,
            is_heard,
        })
    }
}

impl Reader for Push {
    fn read(&self, topic: Arc<Topic>) {
        // A listener that has ended did so because the process stops.
        let _ = self.joining.send(topic);
    }

    fn catch_up(&self, topic: Arc<Topic>) {
        self.read(topic);
    }

    /// What is published goes out before the answer.
    fn is_prompt(&self) -> bool {
        self.is_heard.load(Relaxed)
    }
}

struct Listener {
    store: Store,
    registry: Arc<Registry>,
    /// Whether Redis is listened to right now.
    is_heard: Arc<AtomicBool>,
    joining: UnboundedReceiver<Arc<Topic>>,
    /// What is subscribed to, by the names of the logs.
    held: HashMap<String, Arc<Topic>>,
    /// Logs that have to be read: what is published does not follow what was
    /// read so far.
    behind: HashSet<String>,
}

impl Listener {
    async fn run(mut self, stop: CancellationToken) {
        let mut patience = Patience::default();
        loop {
            let Err(error) = tokio::select! {
                () = stop.cancelled() => return,
                error = self.listen(&mut patience) => error,
            };
            self.is_heard.store(false, Relaxed);
            warn!(%error, "listening for live events failed, will reconnect");
            patience.pause(&stop).await;
        }
    }

    /// Listens until the connection fails.
    async fn listen(&mut self, patience: &mut Patience) -> Result<Infallible, StoreError> {
        let mut subscription = self.store.subscription().await?;
        self.resume(&mut subscription).await?;
        patience.renew();
        self.is_heard.store(true, Relaxed);
        let mut timer = interval(TIDY_INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                published = subscription.published() => self.take_in(published?),
                Some(topic) = self.joining.recv() => self.join(topic, &mut subscription).await?,
                _ = timer.tick() => self.tidy(&mut subscription).await?,
            }
            // What is published meanwhile waits, and then follows what was read.
            self.catch_up(&mut subscription).await?;
        }
    }

    /// Subscribes anew to all that was followed before the connection was lost.
    async fn resume(&mut self, subscription: &mut Subscription) -> Result<(), StoreError> {
        let topics: Vec<_> = self.held.values().cloned().collect();
        subscription
            .subscribe(topics.iter().map(|topic| &topic.log))
            .await?;
        // The log may be another, which must not be read as if it went on.
        self.registry.look_after(&self.store, &topics).await?;
        self.behind = self.held.keys().cloned().collect();
        self.catch_up(subscription).await
    }

    /// Takes in what follows what was read.
    fn take_in(&mut self, published: Vec<Published>) {
        for entry in published {
            if let Some(topic) = self.held.get(&entry.log)
                && !topic.take_in_published(&entry)
            {
                self.behind.insert(entry.log);
            }
        }
    }

    /// Subscribes to the log of a topic, and of those that join as well by now.
    async fn join(
        &mut self,
        topic: Arc<Topic>,
        subscription: &mut Subscription,
    ) -> Result<(), StoreError> {
        let mut new = Vec::new();
        let mut next = Some(topic);
        while let Some(topic) = next {
            // One that is over must not take the place of another of its log.
            if !self.registry.release(&topic) {
                let name = topic.log.name().to_owned();
                self.behind.insert(name.clone());
                if self.held.insert(name, topic.clone()).is_none() {
                    new.push(topic);
                }
            }
            next = self.joining.try_recv().ok();
        }
        subscription
            .subscribe(new.iter().map(|topic| &topic.log))
            .await
    }

    /// Reads the logs that have to be read, up to their ends.
    async fn catch_up(&mut self, subscription: &mut Subscription) -> Result<(), StoreError> {
        while !self.behind.is_empty() {
            let names = self.behind.drain();
            let topics: Vec<_> = names.filter_map(|name| self.held.get(&name)).collect();
            for batch in topics.chunks(READ_BATCH) {
                let reads: Vec<_> = batch.iter().map(|topic| topic.unread()).collect();
                for item in subscription.read(&reads).await? {
                    let topic = batch[item.index];
                    let is_full = |entries: &Vec<_>| entries.len() >= READ_ENTRIES_MAX;
                    if item.entries.as_ref().is_ok_and(is_full) {
                        self.behind.insert(topic.log.name().to_owned());
                    }
                    topic.take_in_read(item.entries);
                }
            }
        }
        Ok(())
    }

    /// Lets go of topics that nobody needs, and finds out whether Redis is there.
    async fn tidy(&mut self, subscription: &mut Subscription) -> Result<(), StoreError> {
        let released: Vec<_> = self
            .held
            .extract_if(|_, topic| self.registry.release(topic))
            .map(|(_, topic)| topic)
            .collect();
        subscription
            .unsubscribe(released.iter().map(|topic| &topic.log))
            .await?;
        subscription.check().await
    }
}
