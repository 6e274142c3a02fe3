//! Appended text as entries of a log: encoded by hand, since this is done for
//! every token.

use bytes::BufMut;
use prost::encoding::{
    WireType, encode_key, encode_varint, encoded_len_varint, key_len, message, uint64,
};

use super::{append::Append, log::ENTRY_BYTES_MAX};
use crate::{
    domain::{ids::BlockId, limits::ENTRY_EVENTS_MAX},
    proto as v1,
    wire::values::time_to_v1,
};

/// TEXT_DELTAs that go into one entry, without what the function adds to them:
/// block and offset.
pub(super) struct DeltaEntry {
    pub(super) events: Vec<u8>,
    pub(super) count: u64,
    pub(super) text_length: usize,
}

pub(super) fn entries(append: &Append<'_>) -> Vec<DeltaEntry> {
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
/// as field 1 of an entry, without making the messages.
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

impl DeltaEntry {
    /// The entry up to the offset of its first delta, which only Redis knows and
    /// puts behind.
    pub(super) fn with_block(&self, block: &BlockId) -> Vec<u8> {
        const BLOCK: u32 = 2;
        const OFFSET: u32 = 3;
        let block = block.as_str();
        let mut entry = Vec::with_capacity(self.events.len() + block.len() + 4);
        entry.extend_from_slice(&self.events);
        encode_key(BLOCK, WireType::LengthDelimited, &mut entry);
        encode_varint(block.len() as u64, &mut entry);
        entry.put_slice(block.as_bytes());
        encode_key(OFFSET, WireType::SixtyFourBit, &mut entry);
        entry
    }
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
