//! What Redis tells by itself: entries as they are added to logs, and which
//! messages have begun or ended.
//!
//! What is published is heard at most once, and by nobody who is not connected.
//! So whoever listens also looks: after it has subscribed, and from time to time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use redis::{PushInfo, PushKind, Value, aio::MultiplexedConnection};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    Entry, EntryEvents, FeedItem, Log, Read, Store, StoreError,
    feed::{parse_items, read_call},
    keys::Keys,
    link::{Era, Link},
    reply::parse,
};
use crate::domain::ids::MessageId;

/// Bytes that were heard and not yet taken. Who falls behind by more is cut off,
/// and reads what it has missed.
const UNTAKEN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that what is heard takes besides what it says.
const OVERHEAD_BYTES: usize = 256;
/// What is taken at once.
const TAKEN_MAX: usize = 256;
/// Channels that are named in one command.
const CHANNELS_MAX: usize = 1_024;

/// A connection that hears what is published on its channels.
struct Ear {
    connection: MultiplexedConnection,
    era: Era,
    pushes: UnboundedReceiver<PushInfo>,
    untaken: Arc<Untaken>,
}

/// What was heard and not yet taken.
#[derive(Default)]
struct Untaken {
    bytes: AtomicUsize,
    /// It was too much, and something is missing.
    has_overrun: AtomicBool,
}

impl Untaken {
    /// Whether there is room for one more.
    fn add(&self, push: &PushInfo) -> bool {
        let size = size(push);
        let has_room = self.bytes.fetch_add(size, Relaxed) + size <= UNTAKEN_BYTES_MAX;
        if !has_room {
            self.has_overrun.store(true, Relaxed);
        }
        has_room
    }

    fn take(&self, pushes: &[PushInfo]) {
        let taken: usize = pushes.iter().map(size).sum();
        self.bytes.fetch_sub(taken, Relaxed);
    }
}

fn size(push: &PushInfo) -> usize {
    let length = |value: &Value| match value {
        Value::BulkString(bytes) => bytes.len(),
        _ => 0,
    };
    OVERHEAD_BYTES + push.data.iter().map(length).sum::<usize>()
}

impl Ear {
    async fn open(link: &Link) -> Result<Self, StoreError> {
        let (sender, pushes) = unbounded_channel();
        let untaken = Arc::new(Untaken::default());
        let counter = untaken.clone();
        let send = move |push: PushInfo| {
            let is_wanted = matches!(push.kind, PushKind::Message | PushKind::Disconnection);
            match is_wanted && counter.add(&push) {
                true => sender.send(push),
                false => Ok(()),
            }
        };
        Ok(Self {
            era: link.era(),
            connection: link.subscriber(send).await?,
            pushes,
            untaken,
        })
    }

    /// Waits for what was published, as channels and payloads. Nothing is lost
    /// where it is not waited for to the end.
    async fn hear(&mut self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut pushes = Vec::new();
        self.pushes.recv_many(&mut pushes, TAKEN_MAX).await;
        self.untaken.take(&pushes);
        let is_cut = |push: &PushInfo| push.kind == PushKind::Disconnection;
        let has_overrun = self.untaken.has_overrun.load(Relaxed);
        if pushes.is_empty() || has_overrun || pushes.iter().any(is_cut) {
            let cut = io::Error::from(io::ErrorKind::ConnectionAborted);
            return Err(StoreError::Unavailable(cut.into()));
        }
        let read = |push: PushInfo| {
            let mut data = push.data.into_iter();
            let mut next = || data.next().unwrap_or(Value::Nil);
            Ok((parse(next())?, parse(next())?))
        };
        pushes.into_iter().map(read).collect()
    }

    async fn subscribe(&mut self, channels: &[String]) -> Result<(), StoreError> {
        for channels in channels.chunks(CHANNELS_MAX) {
            self.connection.subscribe(channels).await?;
        }
        Ok(())
    }

    async fn unsubscribe(&mut self, channels: &[String]) -> Result<(), StoreError> {
        for channels in channels.chunks(CHANNELS_MAX) {
            self.connection.unsubscribe(channels).await?;
        }
        Ok(())
    }

    async fn check(&mut self) -> Result<(), StoreError> {
        self.era.check()?;
        let ping = redis::cmd("PING");
        Ok(ping.exec_async(&mut self.connection).await?)
    }
}

/// Hears which messages have come to exist, have ended or are gone, are to be
/// cancelled or have another writer.
pub struct Bell {
    ear: Ear,
    keys: Keys,
}

/// Hears entries as they are added to logs, by those who publish them.
pub struct Subscription {
    ear: Ear,
    prefix: String,
}

/// An entry as it was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// Name of the log.
    pub log: String,
    /// Sequence of the entry's first event.
    pub first: u64,
    /// `<first> <events>`, without events where the log was deleted.
    payload: Vec<u8>,
    events_at: usize,
}

impl Store {
    /// Connects to the bell.
    pub async fn bell(&self) -> Result<Bell, StoreError> {
        let mut ear = Ear::open(&self.link).await?;
        ear.subscribe(&[self.keys.bell()]).await?;
        let keys = self.keys.clone();
        Ok(Bell { ear, keys })
    }

    /// Connects to where entries are published; of no log so far.
    pub async fn subscription(&self) -> Result<Subscription, StoreError> {
        Ok(Subscription {
            ear: Ear::open(&self.link).await?,
            prefix: self.keys.channel_prefix(),
        })
    }
}

impl Bell {
    /// Waits until it is rung, and tells for which messages. Can be dropped
    /// without loss.
    pub async fn rung(&mut self) -> Result<Vec<MessageId>, StoreError> {
        let heard = self.ear.hear().await?.into_iter();
        let message = |(_, key): (String, Vec<u8>)| {
            let key = String::from_utf8(key).ok()?;
            self.keys.message_of(&key)
        };
        Ok(heard.filter_map(message).collect())
    }

    /// Fails where the other end is gone without a word, or is another by now than
    /// what is written to.
    pub async fn check(&mut self) -> Result<(), StoreError> {
        self.ear.check().await
    }
}

impl Subscription {
    /// From the return on, what is added to these logs is heard.
    pub async fn subscribe<'a>(
        &mut self,
        logs: impl Iterator<Item = &'a Log>,
    ) -> Result<(), StoreError> {
        let channels: Vec<String> = logs.map(|log| self.channel(log)).collect();
        self.ear.subscribe(&channels).await
    }

    /// What is added to these logs is heard no longer.
    pub async fn unsubscribe<'a>(
        &mut self,
        logs: impl Iterator<Item = &'a Log>,
    ) -> Result<(), StoreError> {
        let channels: Vec<String> = logs.map(|log| self.channel(log)).collect();
        self.ear.unsubscribe(&channels).await
    }

    fn channel(&self, log: &Log) -> String {
        format!("{}{}", self.prefix, log.key)
    }

    /// Waits for entries, in the order in which they were added. What is none is
    /// passed over. Can be dropped without loss.
    pub async fn published(&mut self) -> Result<Vec<Published>, StoreError> {
        let heard = self.ear.hear().await?.into_iter();
        let publish = |(channel, payload): (String, Vec<u8>)| {
            let log = channel.strip_prefix(&self.prefix)?;
            Published::parse(log, payload)
        };
        Ok(heard.filter_map(publish).collect())
    }

    /// Reads what logs hold after a place, without waiting for more.
    pub async fn read(&mut self, logs: &[Read<'_>]) -> Result<Vec<FeedItem>, StoreError> {
        let call = read_call(logs, None);
        parse_items(call.query_async(&mut self.ear.connection).await?, logs)
    }

    /// Fails where the other end is gone without a word, or is another by now than
    /// what is written to.
    pub async fn check(&mut self) -> Result<(), StoreError> {
        self.ear.check().await
    }
}

impl Published {
    fn parse(log: &str, payload: Vec<u8>) -> Option<Self> {
        let space = payload.iter().position(|byte| *byte == b' ')?;
        let first = std::str::from_utf8(&payload[..space]).ok()?;
        Some(Self {
            log: log.to_owned(),
            first: first.parse().ok()?,
            events_at: space + 1,
            payload,
        })
    }

    /// The entry.
    pub fn entry(&self) -> Result<Entry, StoreError> {
        match &self.payload[self.events_at..] {
            [] => Ok(Entry::Deleted),
            events => EntryEvents::decode(events, self.first).map(Entry::Events),
        }
    }
}
