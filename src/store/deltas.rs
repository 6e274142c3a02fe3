//! Appended text as entries of a log: encoded by hand, since this is done for
//! every token.

use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint, sfixed64};

use super::{entry::ENTRY_BYTES_MAX, text::Append};
use crate::domain::{Time, ids::BlockId, limits::ENTRY_EVENTS_MAX};

// Fields of `StoredEntry`, which is read in entry.rs.
const BLOCK: u32 = 2;
const OFFSET: u32 = 3;
const DELTAS: u32 = 4;
const TIME: u32 = 5;

/// Deltas that go into one entry.
pub(super) struct DeltaEntry {
    deltas: Vec<u8>,
    time: Time,
    pub(super) count: u64,
    pub(super) text_length: usize,
}

pub(super) fn entries(append: &Append<'_>) -> Vec<DeltaEntry> {
    let mut entries: Vec<DeltaEntry> = Vec::new();
    for delta in &append.deltas {
        let fits = |entry: &&mut DeltaEntry| {
            entry.count < ENTRY_EVENTS_MAX && entry.deltas.len() < ENTRY_BYTES_MAX
        };
        if entries.last_mut().filter(fits).is_none() {
            entries.push(DeltaEntry {
                deltas: Vec::with_capacity(delta.text.len() + 64),
                time: append.time,
                count: 0,
                text_length: 0,
            });
        }
        if let Some(entry) = entries.last_mut() {
            encode_delta(delta.text, &mut entry.deltas);
            entry.count += 1;
            entry.text_length += delta.text.len();
        }
    }
    entries
}

/// Encodes a delta as one of those of an entry.
fn encode_delta(delta: &str, buffer: &mut Vec<u8>) {
    encode_key(DELTAS, WireType::LengthDelimited, buffer);
    encode_varint(delta.len() as u64, buffer);
    buffer.put_slice(delta.as_bytes());
}

impl DeltaEntry {
    /// The entry without what the function adds to it: block and offset.
    pub(super) fn without_block(&self) -> Vec<u8> {
        self.with_room(0)
    }

    /// The entry up to the offset of its first delta, which only Redis knows and
    /// puts behind.
    pub(super) fn with_block(&self, block: &BlockId) -> Vec<u8> {
        let block = block.as_str();
        let mut entry = self.with_room(block.len() + 4);
        encode_key(BLOCK, WireType::LengthDelimited, &mut entry);
        encode_varint(block.len() as u64, &mut entry);
        entry.put_slice(block.as_bytes());
        encode_key(OFFSET, WireType::SixtyFourBit, &mut entry);
        entry
    }

    /// Deltas and time, with room for so many bytes more.
    fn with_room(&self, bytes: usize) -> Vec<u8> {
        let time = self.time.timestamp_micros();
        let length = self.deltas.len() + sfixed64::encoded_len(TIME, &time);
        let mut entry = Vec::with_capacity(length + bytes);
        entry.extend_from_slice(&self.deltas);
        sfixed64::encode(TIME, &time, &mut entry);
        entry
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::domain::ids::MessageId;
    use crate::store::{Delta, entry::StoredEntry};

    #[test]
    fn entries_are_encoded_as_what_they_are_read_as() {
        let message = MessageId::parse("m").unwrap();
        let block = BlockId::parse("block").unwrap();
        let time = Time::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let long = "long ".repeat(1_000);
        let texts = ["x", "äöü", &long].into_iter().cycle().take(70);
        let texts: Vec<&str> = texts.collect();
        let append = Append {
            message: &message,
            block: None,
            deltas: texts
                .iter()
                .map(|text| Delta {
                    text,
                    request: None,
                })
                .collect(),
            time,
            expected_offset: None,
            fence: 0,
            attempt: None,
            owner: None,
        };
        let entries = entries(&append);
        let counts = [ENTRY_EVENTS_MAX, 70 - ENTRY_EVENTS_MAX];
        assert_eq!(
            entries.iter().map(|entry| entry.count).collect::<Vec<_>>(),
            counts
        );
        let (first, second) = texts.split_at(usize::try_from(ENTRY_EVENTS_MAX).unwrap());
        for (entry, texts) in entries.iter().zip([first, second]) {
            let expected = StoredEntry {
                deltas: texts.iter().map(|text| (*text).to_owned()).collect(),
                time: time.timestamp_micros(),
                ..StoredEntry::default()
            };
            assert_eq!(entry.without_block(), expected.encode_to_vec());
            assert_eq!(entry.text_length, texts.concat().len());
            let mut whole = entry.with_block(&block);
            whole.extend_from_slice(&77_u64.to_le_bytes());
            let expected = StoredEntry {
                block: "block".to_owned(),
                offset: 77,
                ..expected
            };
            assert_eq!(StoredEntry::decode(whole.as_slice()).unwrap(), expected);
        }
    }
}
