//! Appending text: one call that loads nothing.

use redis::Cmd;

use super::{Store, StoreError, functions, log::encode_event, reply::Outcome};
use crate::{
    domain::{
        Time,
        cursor::Cursor,
        ids::{BlockId, MessageId, RequestId, UserId},
        limits,
        message::MessageState,
    },
    proto::{self as v1, event::Payload},
    wire::values::time_to_v1,
};

/// Text for an open block.
#[derive(Debug)]
pub struct Append<'a> {
    /// Which message.
    pub message: &'a MessageId,
    /// Which block; none for the last one, if it is an open text.
    pub block: Option<&'a BlockId>,
    /// At least one byte.
    pub delta: &'a str,
    /// When.
    pub time: Time,
    /// The length that the text must have.
    pub expected_offset: Option<u64>,
    /// Which writer.
    pub fence: u64,
    /// What a repeat is recognised by, with the digest of the request.
    pub request: Option<(&'a RequestId, &'a str)>,
    /// Whose the message must be.
    pub owner: Option<&'a UserId>,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is written: its place, its block and where in the text it begins.
    Done {
        /// Place of the event.
        cursor: Cursor,
        /// Where the text went.
        block: BlockId,
        /// Length of the text before.
        offset: u64,
    },
    /// It was written before under the same request id.
    Repeated {
        /// Place of the event then.
        cursor: String,
        /// Block and offset then.
        detail: String,
    },
    /// The text has the same bytes at the expected offset.
    Applied {
        /// Where the text is.
        block: BlockId,
        /// The expected offset.
        offset: u64,
    },
    /// There is no such message, or it is another user's.
    Missing,
    /// The message has ended.
    Terminal(MessageState),
    /// The fence is not the current writer's.
    Fenced,
    /// The request id was used with another payload.
    Reused,
    /// The text has another length than expected.
    OffsetMismatch {
        /// Its length.
        length: u64,
    },
    /// The text would be too long.
    TooLong,
    /// The block is not open, or no block is: load and decide.
    Unopened,
}

impl Store {
    /// Appends text to an open block.
    pub async fn append(&self, append: &Append<'_>) -> Result<Appended, StoreError> {
        let call = self.append_call(append);
        let is_repeatable = append.request.is_some() || append.expected_offset.is_some();
        let answer = match is_repeatable {
            true => self.link.repeatable(&call).await?,
            false => self.link.write(&call).await?,
        };
        parse(Outcome::parse(answer)?, append)
    }

    fn append_call(&self, append: &Append<'_>) -> Cmd {
        let keys = self.keys.of_message(append.message);
        let mut call = functions::write("append", &[&keys[0], &keys[1]]);
        call.arg(append.block.map_or("", BlockId::as_str))
            .arg(append.delta)
            .arg(encode_delta(append))
            .arg(1)
            .arg(append.time.timestamp_micros());
        match append.expected_offset {
            Some(offset) => call.arg(offset),
            None => call.arg(""),
        };
        let (request, fingerprint) = append
            .request
            .map_or(("", ""), |(id, fingerprint)| (id.as_str(), fingerprint));
        call.arg(append.fence)
            .arg(request)
            .arg(fingerprint)
            .arg(append.owner.map_or("", UserId::as_str))
            .arg(self.options.retained_entries)
            .arg(limits::BLOCK_BYTES_MAX)
            .arg(self.message_ttl_millis())
            .arg(self.content_ttl_millis())
            .arg(u8::from(self.freshness.is_due(append.message)));
        call
    }
}

/// The event, without what the function adds to it: block and offset.
fn encode_delta(append: &Append<'_>) -> Vec<u8> {
    let delta = v1::TextDelta {
        delta: append.delta.to_owned(),
        ..v1::TextDelta::default()
    };
    let event = v1::Event {
        event_type: v1::EventType::TextDelta.into(),
        time: Some(time_to_v1(append.time)),
        payload: Some(Payload::TextDelta(delta)),
        ..v1::Event::default()
    };
    let mut entry = Vec::with_capacity(append.delta.len() + 48);
    encode_event(&event, &mut entry);
    entry
}

fn parse(mut outcome: Outcome, append: &Append<'_>) -> Result<Appended, StoreError> {
    let block = |id: String| BlockId::parse(&id).map_err(StoreError::corrupt);
    Ok(match outcome.word.as_str() {
        "ok" => Appended::Done {
            cursor: Cursor {
                sequence: outcome.take()?,
                time: append.time,
            },
            block: block(outcome.take()?)?,
            offset: outcome.take()?,
        },
        "repeat" => Appended::Repeated {
            cursor: outcome.take()?,
            detail: outcome.take()?,
        },
        "applied" => Appended::Applied {
            block: block(outcome.take()?)?,
            offset: outcome.take()?,
        },
        "missing" => Appended::Missing,
        "terminal" => {
            let status: String = outcome.take()?;
            let state = MessageState::named(&status)
                .ok_or_else(|| StoreError::corrupt("the status of a message is unknown"))?;
            Appended::Terminal(state)
        }
        "fenced" => Appended::Fenced,
        "reused" => Appended::Reused,
        "offset" => Appended::OffsetMismatch {
            length: outcome.take()?,
        },
        "too_long" => Appended::TooLong,
        "unopened" => Appended::Unopened,
        "corrupt" => return Err(StoreError::corrupt("a message has no log")),
        _ => return Err(outcome.unknown()),
    })
}
