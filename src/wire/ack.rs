//! Answers to appends on a stream of writes: encoded by hand, since one is sent
//! for every token.

use bytes::BufMut;
use prost::encoding::{
    WireType, bool, encode_key, encode_varint, encoded_len_varint, key_len, uint64,
};

use crate::domain::cursor::Cursor;

/// An append that was made, as the `WriteMessageResponse` that says so.
#[derive(Debug, Clone, Copy)]
pub struct AppendAck<'a> {
    /// Which write of the stream it was.
    pub index: u64,
    /// Place of its event.
    pub cursor: Cursor,
    /// It had been made before.
    pub deduplicated: bool,
    /// Somebody asked that the message be cancelled.
    pub cancel_requested: bool,
    /// Its block.
    pub block: &'a str,
    /// Its place in the block's text.
    pub offset: u64,
}

/// Fields of `WriteMessageResponse`, `WriteAck` and `WriteResult`.
mod fields {
    pub(super) const ACK: u32 = 1;

    pub(super) const INDEX: u32 = 1;
    pub(super) const RESULT: u32 = 2;
    pub(super) const BLOCK_ID: u32 = 4;
    pub(super) const OFFSET: u32 = 5;

    pub(super) const CURSOR: u32 = 1;
    pub(super) const SEQUENCE: u32 = 2;
    pub(super) const DEDUPLICATED: u32 = 3;
    pub(super) const CANCEL_REQUESTED: u32 = 4;
}

impl AppendAck<'_> {
    /// Adds it to `bytes`.
    pub fn encode(&self, bytes: &mut impl BufMut) {
        let (mut sequence, mut time) = (itoa::Buffer::new(), itoa::Buffer::new());
        let sequence = sequence.format(self.cursor.sequence);
        let time = time.format(self.cursor.time.timestamp_micros());
        let cursor_length = sequence.len() + 1 + time.len();
        let result_length = length_delimited(fields::CURSOR, cursor_length)
            + uint64_len(fields::SEQUENCE, self.cursor.sequence)
            + bool_len(fields::DEDUPLICATED, self.deduplicated)
            + bool_len(fields::CANCEL_REQUESTED, self.cancel_requested);
        let ack_length = uint64_len(fields::INDEX, self.index)
            + length_delimited(fields::RESULT, result_length)
            + length_delimited(fields::BLOCK_ID, self.block.len())
            + uint64_len(fields::OFFSET, self.offset);

        put_length(fields::ACK, ack_length, bytes);
        put_uint64(fields::INDEX, self.index, bytes);
        put_length(fields::RESULT, result_length, bytes);
        put_length(fields::CURSOR, cursor_length, bytes);
        bytes.put_slice(sequence.as_bytes());
        bytes.put_u8(b'-');
        bytes.put_slice(time.as_bytes());
        put_uint64(fields::SEQUENCE, self.cursor.sequence, bytes);
        put_bool(fields::DEDUPLICATED, self.deduplicated, bytes);
        put_bool(fields::CANCEL_REQUESTED, self.cancel_requested, bytes);
        put_length(fields::BLOCK_ID, self.block.len(), bytes);
        bytes.put_slice(self.block.as_bytes());
        put_uint64(fields::OFFSET, self.offset, bytes);
    }
}

fn length_delimited(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}

fn put_length(tag: u32, length: usize, bytes: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, bytes);
    encode_varint(length as u64, bytes);
}

// What is 0 or false is left out.

fn uint64_len(tag: u32, value: u64) -> usize {
    if value == 0 {
        0
    } else {
        uint64::encoded_len(tag, &value)
    }
}

fn put_uint64(tag: u32, value: u64, bytes: &mut impl BufMut) {
    if value != 0 {
        uint64::encode(tag, &value, bytes);
    }
}

fn bool_len(tag: u32, value: bool) -> usize {
    if value {
        bool::encoded_len(tag, &value)
    } else {
        0
    }
}

fn put_bool(tag: u32, value: bool, bytes: &mut impl BufMut) {
    if value {
        bool::encode(tag, &value, bytes);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::{
        domain::Time,
        proto::{self as v1, write_ack::Outcome, write_message_response::Response},
    };

    fn of_prost(ack: &AppendAck<'_>) -> Vec<u8> {
        let response = v1::WriteMessageResponse {
            response: Some(Response::Ack(v1::WriteAck {
                index: ack.index,
                outcome: Some(Outcome::Result(v1::WriteResult {
                    cursor: ack.cursor.to_string(),
                    sequence: ack.cursor.sequence,
                    deduplicated: ack.deduplicated,
                    cancel_requested: ack.cancel_requested,
                })),
                block_id: ack.block.to_owned(),
                offset: ack.offset,
            })),
        };
        response.encode_to_vec()
    }

    #[test]
    fn an_ack_is_encoded_as_the_response_it_is() {
        let long = "b".repeat(128);
        for (number, flag, block) in [(0, false, "b"), (7, true, &long), (1 << 40, false, &long)] {
            let ack = AppendAck {
                index: number,
                cursor: Cursor {
                    sequence: number + 1,
                    time: Time::from_timestamp_micros(1_700_000_000_000_001).unwrap(),
                },
                deduplicated: flag,
                cancel_requested: !flag,
                block,
                offset: number,
            };
            let mut bytes = Vec::new();
            ack.encode(&mut bytes);
            assert_eq!(bytes, of_prost(&ack));
        }
    }
}
