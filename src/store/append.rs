//! Appending text: calls that load nothing.

use bytes::BufMut;
use prost::encoding::{
    WireType, encode_key, encode_varint, encoded_len_varint, key_len, message, uint64,
};
use redis::{Cmd, Value};

use super::{
    Store, StoreError,
    log::ENTRY_BYTES_MAX,
    reply::{Outcome, parse},
};
use crate::{
    domain::{
        Time,
        cursor::Cursor,
        ids::{BlockId, MessageId, RequestId, UserId},
        limits::ENTRY_EVENTS_MAX,
        message::MessageState,
    },
    proto as v1,
    wire::values::time_to_v1,
};

/// Arguments of the function before the first entry.
const ARGUMENTS_BEFORE_ENTRIES: usize = 6;

/// Text for an open block: all of it is appended, or nothing.
#[derive(Debug)]
pub struct Append<'a> {
    /// Which message.
    pub message: &'a MessageId,
    /// Which block; none for the last one, if it is an open text.
    pub block: Option<&'a BlockId>,
    /// At least one.
    pub deltas: Vec<Delta<'a>>,
    /// When.
    pub time: Time,
    /// The length that the text must have.
    pub expected_offset: Option<u64>,
    /// Which writer.
    pub fence: u64,
    /// Whose the message must be.
    pub owner: Option<&'a UserId>,
}

/// What becomes one event.
#[derive(Debug)]
pub struct Delta<'a> {
    /// At least one byte.
    pub text: &'a str,
    /// What a repeat is recognised by, with the digest of the request.
    pub request: Option<(&'a RequestId, &'a str)>,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is written.
    Done {
        /// Place of the first event; the others follow.
        first: Cursor,
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
    /// The text, or its beginning, stands at the expected offset already, and
    /// nothing was appended.
    Applied {
        /// Where the text is.
        block: BlockId,
        /// The expected offset.
        offset: u64,
        /// How many bytes of it stand there: all of a single delta.
        bytes: u64,
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
    /// Of several deltas one is a repeat or does not fit: append one by one.
    Split,
}

impl Store {
    /// Makes appends in one journey, in order. Each succeeds or fails alone.
    pub async fn append(&self, appends: &[Append<'_>]) -> Vec<Result<Appended, StoreError>> {
        let mut calls = redis::pipe();
        for append in appends {
            calls.add_command(self.append_call(append));
        }
        let is_repeatable = appends.iter().all(Append::is_repeatable);
        let answers = self.link.write_all(&calls, is_repeatable).await;
        let parse = |(append, answer): (&Append<'_>, Result<Value, StoreError>)| match answer? {
            Value::Array(refusal) => parse_refusal(Outcome::parse(Value::Array(refusal))?),
            place => parse_place(place, append),
        };
        appends.iter().zip(answers).map(parse).collect()
    }

    fn append_call(&self, append: &Append<'_>) -> Cmd {
        let text: String = append.deltas.iter().map(|delta| delta.text).collect();
        let entries = entries(append);
        let keys = self.keys.of_message(append.message);
        let mut call = self.functions.write("append", &[&keys[0], &keys[1]]);
        call.arg(append.block.map_or("", BlockId::as_str))
            .arg(text)
            .arg(append.fence);
        match append.expected_offset {
            Some(offset) => call.arg(offset),
            None => call.arg(""),
        };
        call.arg(append.deltas.len());

        // Most appends have no more to say, which makes them faster.
        let refresh = self.freshness.is_due(append.message);
        let has_requests = append.deltas.iter().any(|delta| delta.request.is_some());
        let has_rest = refresh || has_requests || append.owner.is_some();
        match has_rest {
            true => call.arg(ARGUMENTS_BEFORE_ENTRIES + 3 * entries.len() + 1),
            false => call.arg(""),
        };
        for entry in &entries {
            call.arg(entry.events.as_slice())
                .arg(entry.count)
                .arg(entry.text_length);
        }
        if has_rest {
            call.arg(u8::from(refresh))
                .arg(append.owner.map_or("", UserId::as_str))
                .arg(append.time.timestamp_micros());
            add_requests(&mut call, &append.deltas);
        }
        call
    }
}

impl Append<'_> {
    /// Whether making it twice is the same as making it once.
    fn is_repeatable(&self) -> bool {
        self.expected_offset.is_some() || self.deltas.iter().all(|delta| delta.request.is_some())
    }
}

fn add_requests(call: &mut Cmd, deltas: &[Delta<'_>]) {
    let mut place = 0;
    for (number, delta) in deltas.iter().enumerate() {
        if let Some((id, fingerprint)) = delta.request {
            call.arg(number)
                .arg(place)
                .arg(id.as_str())
                .arg(fingerprint);
        }
        place += delta.text.len();
    }
}

/// TEXT_DELTAs that go into one entry, without what the function adds to them:
/// block and offset.
struct DeltaEntry {
    events: Vec<u8>,
    count: u64,
    text_length: usize,
}

fn entries(append: &Append<'_>) -> Vec<DeltaEntry> {
    let time = time_to_v1(append.time);
    let mut entries: Vec<DeltaEntry> = Vec::new();
    for delta in &append.deltas {
        let fits = |entry: &&mut DeltaEntry| {
            entry.count < ENTRY_EVENTS_MAX && entry.events.len() < ENTRY_BYTES_MAX
        };
        if entries.last_mut().filter(fits).is_none() {
            entries.push(DeltaEntry {
                events: Vec::with_capacity(delta.text.len() + 64),
                count: 0,
                text_length: 0,
            });
        }
        if let Some(entry) = entries.last_mut() {
            encode_delta(delta.text, &time, &mut entry.events);
            entry.count += 1;
            entry.text_length += delta.text.len();
        }
    }
    entries
}

/// Encodes `v1::Event { event_type: TEXT_DELTA, time, text_delta: { delta } }`
/// as field 1 of an entry, without making the messages: this is done for every
/// token.
fn encode_delta(delta: &str, time: &prost_types::Timestamp, buffer: &mut Vec<u8>) {
    const EVENTS: u32 = 1;
    const EVENT_TYPE: u32 = 3;
    const TIME: u32 = 6;
    const TEXT_DELTA: u32 = 12;
    const DELTA: u32 = 3;
    let event_type = v1::EventType::TextDelta as u64;
    let delta_length = length_delimited(DELTA, delta.len());
    let event_length = uint64::encoded_len(EVENT_TYPE, &event_type)
        + message::encoded_len(TIME, time)
        + length_delimited(TEXT_DELTA, delta_length);
    encode_key(EVENTS, WireType::LengthDelimited, buffer);
    encode_varint(event_length as u64, buffer);
    uint64::encode(EVENT_TYPE, &event_type, buffer);
    message::encode(TIME, time, buffer);
    encode_key(TEXT_DELTA, WireType::LengthDelimited, buffer);
    encode_varint(delta_length as u64, buffer);
    encode_key(DELTA, WireType::LengthDelimited, buffer);
    encode_varint(delta.len() as u64, buffer);
    buffer.put_slice(delta.as_bytes());
}

fn length_delimited(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}

/// Reads "<sequence> <offset> <block>".
fn parse_place(place: Value, append: &Append<'_>) -> Result<Appended, StoreError> {
    let place: String = parse(place)?;
    let mut parts = place.splitn(3, ' ');
    let mut next = || parts.next().unwrap_or_default();
    Ok(Appended::Done {
        first: Cursor {
            sequence: next().parse().map_err(StoreError::corrupt)?,
            time: append.time,
        },
        offset: next().parse().map_err(StoreError::corrupt)?,
        block: match (next(), append.block) {
            (id, Some(block)) if id == block.as_str() => block.clone(),
            (id, _) => BlockId::parse(id).map_err(StoreError::corrupt)?,
        },
    })
}

fn parse_refusal(mut outcome: Outcome) -> Result<Appended, StoreError> {
    let block = |id: String| BlockId::parse(&id).map_err(StoreError::corrupt);
    Ok(match outcome.word.as_str() {
        "repeat" => Appended::Repeated {
            cursor: outcome.take()?,
            detail: outcome.take()?,
        },
        "applied" => Appended::Applied {
            block: block(outcome.take()?)?,
            offset: outcome.take()?,
            bytes: outcome.take()?,
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
        "split" => Appended::Split,
        "corrupt" => return Err(StoreError::corrupt("a message has no log")),
        _ => return Err(outcome.unknown()),
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::store::log::encode_event;

    #[test]
    fn a_delta_is_encoded_as_the_event_it_is() {
        let time = prost_types::Timestamp {
            seconds: 1_700_000_000,
            nanos: 123_000,
        };
        for delta in ["x", "äöü", &"long ".repeat(1_000)] {
            let event = v1::Event {
                event_type: v1::EventType::TextDelta.into(),
                time: Some(time),
                payload: Some(v1::event::Payload::TextDelta(v1::TextDelta {
                    delta: delta.to_owned(),
                    ..Default::default()
                })),
                ..Default::default()
            };
            let mut expected = Vec::new();
            encode_event(&event, &mut expected);
            let mut encoded = Vec::new();
            encode_delta(delta, &time, &mut encoded);
            assert_eq!(encoded, expected);
            assert_eq!(
                event.encoded_len() + 1 + encoded_len_varint(event.encoded_len() as u64),
                encoded.len()
            );
        }
    }
}
