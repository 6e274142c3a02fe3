//! Loading messages.
//!
//! What a function answers is copied and hashed on the way through Lua, which
//! takes four times as long as reading a long text takes. So long texts are read
//! by themselves, after the message. The text of an open block only grows until
//! the revision changes: if that is the same afterwards, the first bytes of what
//! was read are the text that belongs to the message.
//!
//! Who has loaded a message before has it told whether anything has happened since.

use futures_util::stream::{self, Stream, StreamExt as _};
use redis::Value;

use super::{
    Loaded, Store, StoreError,
    entry::ends,
    reply::{elements, parse},
    snapshot,
};
use crate::domain::{cursor::Cursor, ids::MessageId};

/// How long the texts of a message may be together for its function to answer
/// them: from about here on a second journey is the shorter way.
const SHORT_TEXTS_BYTES: i64 = 8 * 1024;

/// A state of a message, which is told from all others that its id has: each
/// event makes another, and each write that has no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    revision: u64,
    last_entry: Cursor,
}

#[cfg(test)]
impl Version {
    /// One that no message ever had.
    pub(crate) const NONE: Self = Self {
        revision: 0,
        last_entry: Cursor::BEGINNING,
    };
}

/// What has become of a message that was loaded before.
#[derive(Debug)]
pub enum Reload {
    /// Nothing.
    Unchanged,
    /// Something; none where it is gone.
    Changed(Option<Box<Loaded>>),
}

impl Loaded {
    /// The state that was loaded.
    pub fn version(&self) -> Version {
        Version {
            revision: self.revision,
            last_entry: self.last_entry,
        }
    }
}

impl Store {
    /// Loads a message; none where there is no such message.
    pub async fn load(&self, message: &MessageId) -> Result<Option<Loaded>, StoreError> {
        let call = self.load_call(message, SHORT_TEXTS_BYTES);
        let answer = self.link.read_one(call).await?;
        self.complete(message, answer).await
    }

    /// Loads messages, in the same order. The long texts of one are not read before
    /// it is its turn.
    pub async fn load_each<'a>(
        &'a self,
        messages: &'a [MessageId],
    ) -> Result<impl Stream<Item = Result<Option<Loaded>, StoreError>> + 'a, StoreError> {
        let mut calls = redis::pipe();
        for message in messages {
            calls.add_command(self.load_call(message, SHORT_TEXTS_BYTES));
        }
        let answers = self.link.read(&calls).await?;
        let complete = |(message, answer)| self.complete(message, answer);
        Ok(stream::iter(messages.iter().zip(answers)).then(complete))
    }

    /// Loads a message, if it is another than this version of it.
    pub async fn load_unless(
        &self,
        message: &MessageId,
        version: &Version,
    ) -> Result<Reload, StoreError> {
        let mut call = self.load_call(message, SHORT_TEXTS_BYTES);
        call.arg(version.revision)
            .arg(format!("0-{}", version.last_entry.sequence));
        let loaded = match self.link.read_one(call).await? {
            Value::Array(only) if only.len() == 1 => {
                let [last] = elements(Value::Array(only))?;
                if ends(last)?[0] == version.last_entry {
                    return Ok(Reload::Unchanged);
                }
                // An entry of another history stands where the known one stood.
                self.load(message).await?
            }
            answer => self.complete(message, answer).await?,
        };
        Ok(Reload::Changed(loaded.map(Box::new)))
    }

    fn load_call(&self, message: &MessageId, bytes_max: i64) -> redis::Cmd {
        let mut call = self.functions.read("load", &self.keys.of_message(message));
        call.arg(bytes_max);
        call
    }

    /// A message from the answer of its function, with the texts that are not in it.
    async fn complete(
        &self,
        message: &MessageId,
        answer: Value,
    ) -> Result<Option<Loaded>, StoreError> {
        match snapshot::parse(answer, message)? {
            Some((loaded, lengths)) if !lengths.is_empty() => {
                self.add_texts(loaded, &lengths).await
            }
            whole => Ok(whole.map(|(loaded, _)| loaded)),
        }
    }

    /// Adds to a message the texts of its open blocks, which had these lengths.
    async fn add_texts(
        &self,
        mut loaded: Loaded,
        lengths: &[usize],
    ) -> Result<Option<Loaded>, StoreError> {
        let message = &mut loaded.message;
        let mut calls = redis::pipe();
        for block in message.open_blocks() {
            calls.cmd("GET").arg(self.keys.text(&message.id, &block.id));
        }
        calls
            .cmd("HGET")
            .arg(self.keys.message(&message.id))
            .arg("revision");
        let mut texts = self.link.read(&calls).await?;
        let revision: Option<u64> = parse(texts.pop().unwrap_or_default())?;
        if revision != Some(loaded.revision) {
            return self.load_at_once(&message.id).await;
        }
        for (text, length) in texts.iter_mut().zip(lengths) {
            if let Value::BulkString(bytes) = text {
                bytes.truncate(*length);
            }
        }
        snapshot::fill_texts(message, texts)?;
        Ok(Some(loaded))
    }

    /// Loads a message whose long texts were written to while they were read.
    async fn load_at_once(&self, message: &MessageId) -> Result<Option<Loaded>, StoreError> {
        let call = self.load_call(message, i64::MAX);
        let answer = self.link.read_one(call).await?;
        let whole = snapshot::parse(answer, message)?;
        Ok(whole.map(|(loaded, _)| loaded))
    }
}
