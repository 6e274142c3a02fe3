//! One connection that waits for many logs.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{hub::Registry, topic::Topic};
use crate::store::{Feed, FeedItem, Read, Store, StoreError};

/// How long one read waits. Only bounds how late it notices that nobody follows
/// a log any more: logs that join interrupt it.
const READ_WAIT: Duration = Duration::from_secs(5);
/// A read that is interrupted before it has reached Redis is not: so often is
/// it tried again.
const UNBLOCK_INTERVAL: Duration = Duration::from_millis(1);
const RECONNECT_DELAY: Duration = Duration::from_millis(100);
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(2);

/// Reads the logs of its topics for as long as somebody follows them.
pub(super) struct Lane {
    pub(super) store: Store,
    pub(super) registry: Arc<Registry>,
    pub(super) joining: mpsc::UnboundedReceiver<Arc<Topic>>,
    pub(super) topics: Vec<Arc<Topic>>,
}

impl Lane {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut delay = RECONNECT_DELAY;
        while !stop.is_cancelled() {
            let outcome = tokio::select! {
                () = stop.cancelled() => return,
                outcome = self.read_on() => outcome,
            };
            match outcome {
                Ok(()) => return,
                Err(Interrupted { error, progressed }) => {
                    if progressed {
                        delay = RECONNECT_DELAY;
                    }
                    warn!(%error, "reading live logs failed, will reconnect");
                    sleep(delay).await;
                    delay = RECONNECT_DELAY_MAX.min(delay * 2);
                }
            }
        }
    }

    /// Reads until the connection fails. Ends well when the hub is gone.
    async fn read_on(&mut self) -> Result<(), Interrupted> {
        let mut progressed = false;
        let mut feed = match self.store.feed().await {
            Ok(feed) => feed,
            Err(error) => return Err(Interrupted { error, progressed }),
        };
        // What happened while there was no connection: the log may be another.
        self.registry.look_after(&self.store, &self.topics).await;
        loop {
            if self.gather().await.is_none() {
                return Ok(());
            }
            match self.read(&mut feed).await {
                Ok(items) => {
                    progressed = true;
                    for FeedItem { index, entries } in items {
                        self.topics[index].take_in(entries);
                    }
                }
                Err(error) => return Err(Interrupted { error, progressed }),
            }
        }
    }

    /// Lets go of the topics that nobody follows and takes in those that join;
    /// waits while there is none. None when the hub is gone.
    async fn gather(&mut self) -> Option<()> {
        self.registry.release(&mut self.topics);
        while let Ok(topic) = self.joining.try_recv() {
            self.topics.push(topic);
        }
        if self.topics.is_empty() {
            self.topics.push(self.joining.recv().await?);
        }
        Some(())
    }

    /// One read of all logs, interrupted when another joins.
    async fn read(&mut self, feed: &mut Feed) -> Result<Vec<FeedItem>, StoreError> {
        let logs: Vec<Read> = self
            .topics
            .iter()
            .map(|topic| Read {
                session: topic.session.clone(),
                message: topic.message.clone(),
                after: topic.tip().sequence,
            })
            .collect();
        let client = feed.client();
        let mut joined = Vec::new();
        let items = {
            let mut read = std::pin::pin!(feed.read(&logs, READ_WAIT));
            loop {
                tokio::select! {
                    biased;
                    items = &mut read => break items,
                    Some(topic) = self.joining.recv() => joined.push(topic),
                    () = interrupt(&self.store, client), if !joined.is_empty() => {}
                }
            }
        };
        self.topics.append(&mut joined);
        items
    }
}

async fn interrupt(store: &Store, client: i64) {
    if let Err(error) = store.unblock(client).await {
        debug!(%error, "interrupting a read failed");
    }
    sleep(UNBLOCK_INTERVAL).await;
}

/// A connection failed.
struct Interrupted {
    error: StoreError,
    /// It had read something before.
    progressed: bool,
}
