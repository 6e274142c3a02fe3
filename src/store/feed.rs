//! The live end of many logs, read over one connection.

use std::time::Duration;

use redis::{Cmd, Value};

use super::{
    ClientId, Entry, Log, Store, StoreError,
    link::Dedicated,
    reply::{array, elements, parse},
};

/// Entries of one log that are read at once.
pub const READ_ENTRIES_MAX: usize = 256;

/// A log to be read.
#[derive(Debug, Clone, Copy)]
pub struct Read<'a> {
    /// Which log.
    pub log: &'a Log,
    /// Read what comes after this.
    pub after: u64,
}

/// Entries of one of the logs that were asked for.
#[derive(Debug)]
pub struct FeedItem {
    /// Which of them.
    pub index: usize,
    /// Its next entries, if they can be read.
    pub entries: Result<Vec<Entry>, StoreError>,
}

/// A connection whose reads wait for something to happen.
pub struct Feed(Dedicated);

impl Store {
    /// Opens a connection for reads that wait.
    pub async fn feed(&self) -> Result<Feed, StoreError> {
        self.link.dedicated().await.map(Feed)
    }

    /// Makes a feed's read return at once, or the wait for a queue. One that comes
    /// before the read has reached Redis does nothing: repeat it until the read has
    /// returned.
    pub async fn unblock(&self, client: &ClientId) -> Result<(), StoreError> {
        self.link.unblock(client).await
    }
}

impl Feed {
    /// Names the connection in [`Store::unblock`].
    pub fn client(&self) -> &ClientId {
        self.0.client()
    }

    /// Waits until at least one of the logs has more, or `wait` is over.
    pub async fn read(
        &mut self,
        logs: &[Read<'_>],
        wait: Duration,
    ) -> Result<Vec<FeedItem>, StoreError> {
        let call = read_call(logs, Some(wait));
        parse_items(self.0.ask(&call, wait).await?, logs)
    }
}

/// A read of what comes next in logs, which waits for it where it is told to.
pub(super) fn read_call(logs: &[Read<'_>], wait: Option<Duration>) -> Cmd {
    let mut call = redis::cmd("XREAD");
    call.arg("COUNT").arg(READ_ENTRIES_MAX);
    if let Some(wait) = wait {
        call.arg("BLOCK").arg(wait.as_millis().to_string());
    }
    call.arg("STREAMS");
    for read in logs {
        call.arg(&read.log.key);
    }
    for read in logs {
        call.arg(format!("0-{}", read.after));
    }
    call
}

/// What a read found in the logs that it asked for.
pub(super) fn parse_items(answer: Value, logs: &[Read<'_>]) -> Result<Vec<FeedItem>, StoreError> {
    let mut items = Vec::new();
    // Redis answers in the order of the question.
    let mut asked = logs.iter().enumerate();
    for (key, entries) in streams(answer)? {
        let Some((index, _)) = asked.find(|(_, read)| read.log.key == key) else {
            return Err(StoreError::corrupt("a log was read that nobody asked for"));
        };
        let entries = array(entries)?.into_iter().map(Entry::decode).collect();
        items.push(FeedItem { index, entries });
    }
    Ok(items)
}

/// The answer of XREAD: nil, pairs (RESP2) or a map (RESP3).
fn streams(answer: Value) -> Result<Vec<(String, Value)>, StoreError> {
    let pairs: Vec<(Value, Value)> = match answer {
        Value::Nil => Vec::new(),
        Value::Map(pairs) => pairs,
        other => array(other)?
            .into_iter()
            .map(|pair| elements(pair).map(|[key, entries]| (key, entries)))
            .collect::<Result<_, _>>()?,
    };
    pairs
        .into_iter()
        .map(|(key, entries)| Ok((parse(key)?, entries)))
        .collect()
}
