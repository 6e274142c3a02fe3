//! Messages: listed, looked at and erased.

use std::time::Duration;

use redis::Value;

use super::{
    Store, StoreError,
    entry::ends,
    keys::Keys,
    known::parse_fence,
    reply::{elements, parse, scored},
};
use crate::domain::{
    Time,
    cursor::Cursor,
    ids::{MessageId, RequestId, SessionId, UserId},
    message::{Message, MessageState},
};

/// Entries of an index that are passed over at once.
const SKIP_BATCH_MAX: usize = 10_000;
/// Messages of an index that are looked at in one journey.
pub(super) const LOOK_BATCH: usize = 1_000;

/// A message as it was read, with what a commit must find unchanged.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The message.
    pub message: Message,
    /// Changes with every write but appended text.
    pub(super) revision: u64,
    /// The first event of the last entry of its log.
    pub(super) last_entry: Cursor,
    /// Keys of its content out of line.
    pub(super) contents: String,
    pub(super) repeats: String,
}

/// A write that was made before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// Digest of the request.
    pub fingerprint: String,
    /// Place of its last event.
    pub cursor: Cursor,
    /// What else it was answered.
    pub detail: String,
}

impl Loaded {
    /// The write that carried this request id.
    pub fn recall(&self, request: &RequestId) -> Result<Option<Repeat>, StoreError> {
        let line = self.repeats.lines().skip(1).find_map(|line| {
            let (id, line) = line.split_once('|')?;
            (id == request.as_str()).then_some(line)
        });
        line.map(Repeat::parse).transpose()
    }
}

impl Repeat {
    fn parse(line: &str) -> Result<Self, StoreError> {
        let mut parts = line.split('|');
        let mut part = || parts.next().unwrap_or_default();
        Ok(Self {
            fingerprint: part().to_owned(),
            cursor: part().parse().map_err(StoreError::corrupt)?,
            detail: part().to_owned(),
        })
    }
}

/// What those who write or await a message must know of it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    /// Whether it is still being written.
    pub state: MessageState,
    /// Which writer may write; 0 where anybody may.
    pub fence: u64,
    /// Somebody asked that it be cancelled.
    pub cancel_requested: bool,
}

/// How a message lies in Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Its keys, with the time that each has left.
    pub keys: Vec<(String, Option<Duration>)>,
    /// Entries of its log.
    pub entries: u64,
    /// The first event that is retained.
    pub first: Cursor,
}

impl Store {
    /// How messages stand, in the same order; none for one that does not exist.
    pub async fn vitals(&self, messages: &[MessageId]) -> Result<Vec<Option<Vitals>>, StoreError> {
        let mut calls = redis::pipe();
        for message in messages {
            let key = self.keys.message(message);
            calls.cmd("HMGET").arg(key).arg("status").arg("fence");
        }
        let answers = self.link.read(&calls).await?;
        answers.into_iter().map(parse_vitals).collect()
    }

    /// Erases a message and takes it from its session's index. False where the
    /// user's session has no such message.
    pub async fn delete_message(
        &self,
        message: &MessageId,
        session: &SessionId,
        user: &UserId,
    ) -> Result<bool, StoreError> {
        let index = self.keys.session_messages(session);
        let mut entry = redis::cmd("ZSCORE");
        entry.arg(&index).arg(message.as_str());
        let entered: Option<f64> = parse(self.link.read_one(entry).await?)?;

        let [hash, text_prefix] = self.keys.of_message(message);
        let keys = [hash.as_str(), text_prefix.as_str(), self.keys.due()];
        let mut call = self.functions.write("delete", &keys);
        call.arg(session.as_str())
            .arg(message.as_str())
            .arg(user.as_str());
        let deleted: bool = parse(self.link.repeatable(&call).await?)?;
        self.known.forget(message);
        if let Some(entered) = entered {
            self.forget_in(&index, &[(entered as u64, message.as_str())])
                .await
                .map_err(|error| match deleted {
                    true => error.after_a_write(),
                    false => error,
                })?;
        }
        Ok(deleted)
    }

    /// Takes messages that do not exist from their session's index, unless they
    /// were entered anew since they were found there.
    pub async fn forget_messages(
        &self,
        session: &SessionId,
        found: &[(u64, MessageId)],
    ) -> Result<(), StoreError> {
        let entries: Vec<_> = found.iter().map(|(at, id)| (*at, id.as_str())).collect();
        let index = self.keys.session_messages(session);
        self.forget_in(&index, &entries).await
    }

    /// The same of any index.
    pub(super) async fn forget_in(
        &self,
        index: &str,
        entries: &[(u64, &str)],
    ) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut call = self.functions.write("forget", &[index]);
        for (score, member) in entries {
            call.arg(score).arg(member);
        }
        self.link.repeatable(&call).await.map(drop)
    }

    /// Takes a message from the index of a session that it is not of.
    pub async fn withdraw(
        &self,
        message: &MessageId,
        session: &SessionId,
    ) -> Result<(), StoreError> {
        let mut call = redis::cmd("ZREM");
        call.arg(self.keys.session_messages(session))
            .arg(message.as_str());
        self.link.repeatable(&call).await.map(drop)
    }

    /// A session's messages in the order of their creation, after `after` if
    /// that is given: up to `count`, each with its time.
    pub async fn list_messages(
        &self,
        session: &SessionId,
        after: Option<&(u64, MessageId)>,
        skip: usize,
        count: usize,
    ) -> Result<Vec<(u64, MessageId)>, StoreError> {
        let key = self.keys.session_messages(session);
        let from = after.map_or("-inf".to_owned(), |(time, _)| time.to_string());
        // Behind a place the range begins with those of the same microsecond,
        // which are not to be counted: there we pass over the rest ourselves.
        let (mut offset, mut skip) = match after {
            None => (skip, 0),
            Some(_) => (0, skip),
        };
        let batch_size = count + 1 + skip.min(SKIP_BATCH_MAX);
        let mut found = Vec::new();
        loop {
            let mut call = redis::cmd("ZRANGE");
            call.arg(&key).arg(&from).arg("+inf").arg("BYSCORE");
            call.arg("LIMIT")
                .arg(offset)
                .arg(batch_size)
                .arg("WITHSCORES");
            let batch = parse_ids(scored(self.link.read_one(call).await?)?)?;
            let complete = batch.len() < batch_size;
            offset += batch.len();
            // Those of the same microsecond are ordered by id.
            found.extend(
                batch
                    .into_iter()
                    .filter(|entry| after.is_none_or(|a| entry > a)),
            );
            let passed = found.drain(..skip.min(found.len())).count();
            skip -= passed;
            if complete || found.len() >= count {
                found.truncate(count);
                return Ok(found);
            }
        }
    }

    /// A session's latest messages, the newest first: up to `count`, each with its
    /// time.
    pub async fn latest_messages(
        &self,
        session: &SessionId,
        count: usize,
    ) -> Result<Vec<(u64, MessageId)>, StoreError> {
        let Some(last) = count.checked_sub(1) else {
            return Ok(Vec::new());
        };
        let mut call = redis::cmd("ZRANGE");
        call.arg(self.keys.session_messages(session));
        call.arg(0).arg(last).arg("REV").arg("WITHSCORES");
        parse_ids(scored(self.link.read_one(call).await?)?)
    }

    /// A session's messages that were created before `time`.
    pub async fn messages_before(
        &self,
        session: &SessionId,
        time: Time,
    ) -> Result<Vec<MessageId>, StoreError> {
        let mut call = redis::cmd("ZRANGE");
        call.arg(self.keys.session_messages(session));
        call.arg("-inf")
            .arg(format!("({}", time.timestamp_micros()))
            .arg("BYSCORE");
        let members: Vec<String> = parse(self.link.read_one(call).await?)?;
        members
            .iter()
            .map(|member| MessageId::parse(member).map_err(StoreError::corrupt))
            .collect()
    }

    /// How many of these messages the user's session has.
    pub async fn count_messages(
        &self,
        session: &SessionId,
        user: &UserId,
        messages: &[MessageId],
    ) -> Result<u64, StoreError> {
        let own = (Some(session.to_string()), Some(user.to_string()));
        let mut count = 0;
        for batch in messages.chunks(LOOK_BATCH) {
            let mut calls = redis::pipe();
            for message in batch {
                let key = self.keys.message(message);
                calls.cmd("HMGET").arg(key).arg("session").arg("user");
            }
            for answer in self.link.read(&calls).await? {
                let held: (Option<String>, Option<String>) = parse(answer)?;
                count += u64::from(held == own);
            }
        }
        Ok(count)
    }

    /// How a message lies in Redis.
    pub async fn inspect(&self, loaded: &Loaded) -> Result<Inspected, StoreError> {
        let message = &loaded.message;
        let log = self.message_log(&message.id, &message.session);
        let mut keys = vec![self.keys.message(&message.id), log.key.clone()];
        keys.extend(
            message
                .open_blocks()
                .map(|block| self.keys.text(&message.id, &block.id)),
        );
        keys.extend(loaded.contents.split_whitespace().map(str::to_owned));
        let mut calls = redis::pipe();
        calls.cmd("XLEN").arg(&log.key);
        calls
            .cmd("XRANGE")
            .arg(&log.key)
            .arg("-")
            .arg("+")
            .arg("COUNT")
            .arg(1);
        for key in &keys {
            calls.cmd("PTTL").arg(key);
        }
        let mut answers = self.link.read(&calls).await?.into_iter();
        let entries = parse(answers.next().unwrap_or_default())?;
        let first = answers.next().unwrap_or_default();
        let keys = keys.into_iter().zip(answers).map(|(key, answer)| {
            let left = u64::try_from(parse::<i64>(answer)?).ok();
            Ok((key, left.map(Duration::from_millis)))
        });
        Ok(Inspected {
            keys: keys.collect::<Result<_, StoreError>>()?,
            entries,
            first: ends(first)?[0],
        })
    }
}

fn parse_vitals(answer: Value) -> Result<Option<Vitals>, StoreError> {
    let [status, fence] = elements(answer)?;
    let (status, fence): (Option<String>, Option<String>) = (parse(status)?, parse(fence)?);
    let unknown = || StoreError::corrupt("the status of a message is unknown");
    let vitals = status.map(|status| {
        let state = MessageState::named(&status).ok_or_else(unknown)?;
        let (fence, cancel_requested) = parse_fence(&fence.unwrap_or_default())?;
        Ok(Vitals {
            state,
            fence,
            cancel_requested,
        })
    });
    vitals.transpose()
}

fn parse_ids(scored: Vec<(u64, String)>) -> Result<Vec<(u64, MessageId)>, StoreError> {
    let ids = scored.into_iter().map(|(score, member)| {
        let id = MessageId::parse(&member).map_err(StoreError::corrupt)?;
        Ok((score, id))
    });
    ids.collect()
}

impl Keys {
    /// The keys that a write of a message names.
    pub(super) fn of_message(&self, message: &MessageId) -> [String; 2] {
        [self.message(message), self.text_prefix(message)]
    }

    /// The keys that a write of a session names.
    pub(super) fn of_session(&self, session: &SessionId) -> [String; 3] {
        [
            self.session(session),
            self.session_messages(session),
            self.session_log(session),
        ]
    }
}
