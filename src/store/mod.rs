//! Everything that knows it is Redis.
//!
//! [`keys`] is the one table of keys, `functions/` holds the Redis functions,
//! one a file. A write is one call of one of them.

mod append;
mod commit;
mod content;
mod deltas;
mod due;
mod entry;
mod error;
mod extend;
mod feed;
mod functions;
pub mod keys;
mod known;
mod link;
mod load;
mod log;
mod messages;
mod queue;
mod reply;
mod sessions;
mod snapshot;
mod subscription;
mod text;

use std::{sync::Arc, time::Duration};

use redis::Cmd;

pub use self::link::ClientId;
pub use self::{
    commit::{Commit, Committed},
    content::{StoredBytes, StoredContent},
    due::Due,
    entry::{Entry, EntryEvents},
    error::StoreError,
    feed::{Feed, FeedItem, READ_ENTRIES_MAX, Read},
    load::{Reload, Version},
    log::{Log, Look, Page, Placed, Resume},
    messages::{Inspected, Loaded, Repeat, Vitals},
    queue::{QueueBells, QueueEntry, Taken, Ticket},
    sessions::{Admission, Unended},
    subscription::{Bell, Published, Subscription},
    text::{Append, Appended, Delta},
};
use self::{functions::Library, keys::Keys, known::Known, link::Link};

/// How long things are kept, and who is told of them.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Of a message and its log, after the last write or look of a watcher.
    pub message_ttl: Duration,
    /// Of content kept out of line; at least its message's.
    pub content_ttl: Duration,
    /// Of a session, after its last change or new message.
    pub session_ttl: Duration,
    /// About how many entries a log keeps.
    pub retained_entries: u32,
    /// Whether what is added to a log is published as well.
    pub publishes: bool,
}

impl Default for StoreOptions {
    /// The seed's: 24 hours, 7 days, 1,000 entries. Nothing is published.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            message_ttl: DAY,
            content_ttl: 7 * DAY,
            session_ttl: 7 * DAY,
            retained_entries: 1_000,
            publishes: false,
        }
    }
}

/// Conversations in Redis. Cloning shares the connections.
#[derive(Clone)]
pub struct Store {
    link: Arc<Link>,
    functions: Arc<Library>,
    keys: Keys,
    options: Arc<StoreOptions>,
    known: Arc<Known>,
}

impl Store {
    /// Connects to the Redis at `url` (`redis://`, `rediss://` or
    /// `redis+unix://`) and loads the functions.
    ///
    /// Fails where Redis cannot be reached, or is older than 7.0.
    pub async fn connect(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        let info = link::parse_url(url)?;
        let keys = Keys {
            database: info.redis_settings().db(),
        };
        let functions = Arc::new(Library::new(&options, &keys));
        let link = Link::connect(info, functions.clone()).await?;
        Ok(Self {
            link: Arc::new(link),
            functions,
            keys,
            known: Arc::new(Known::new(options.message_ttl)),
            options: Arc::new(options),
        })
    }

    /// How long things are kept, and who is told of them.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Version of the Redis that was connected to.
    pub fn redis_version(&self) -> &str {
        self.link.redis_version()
    }

    /// Whether Redis is there and accepts writes.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let call = self.probe_call();
        let (written, read) = tokio::join!(self.link.repeatable(&call), self.link.ping());
        written.and(read)
    }

    /// Takes new connections where [`probe`](Store::probe) failed with `error` and
    /// those that are there may be the reason: a host that vanished closes none,
    /// and neither does a primary that has become a replica.
    pub async fn recover(&self, error: &StoreError) {
        if error.is_of_connection() {
            self.link.renew(&self.probe_call()).await;
        }
    }

    fn probe_call(&self) -> Cmd {
        self.functions.write("probe", &[""; 0])
    }
}
