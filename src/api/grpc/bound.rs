//! Keeps small what a request becomes: an empty block, or a value of an object, is
//! two bytes of a request, and some hundred once it is read.

use bytes::Buf;
use prost::{
    Name,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use prost_reflect::{Kind, MessageDescriptor};

use crate::proto::POOL;

/// A request of no more bytes than this is read as it is.
const UNCHECKED_BYTES: usize = 64 * 1024;
/// More than a request needs that keeps to all other limits.
pub(super) const FIELDS_MAX: usize = 200_000;
/// Prost reads no deeper.
const DEPTH_MAX: usize = 100;

/// Whether a request, an `M`, has a bearable number of fields in all that it holds. One
/// that cannot be read has: prost says what is wrong with it.
pub(super) fn is_bearable<M: Name>(request: &[u8]) -> bool {
    request.len() <= UNCHECKED_BYTES || has_few_fields::<M>(request)
}

/// By itself, for requests are read all the time and are seldom large.
#[cold]
#[inline(never)]
fn has_few_fields<M: Name>(request: &[u8]) -> bool {
    let mut left = FIELDS_MAX;
    let descriptor = POOL.get_message_by_name(&M::full_name());
    descriptor.is_none_or(|descriptor| count(request, &descriptor, DEPTH_MAX, &mut left).is_some())
}

/// Takes the fields of a message from those that are left; none where there are more.
fn count(
    mut message: &[u8],
    descriptor: &MessageDescriptor,
    depth: usize,
    left: &mut usize,
) -> Option<()> {
    while message.has_remaining() {
        *left = left.checked_sub(1)?;
        let Ok((tag, wire_type)) = decode_key(&mut message) else {
            return Some(());
        };
        if wire_type != WireType::LengthDelimited {
            let skipped = skip_field(wire_type, tag, &mut message, DecodeContext::default());
            if skipped.is_err() {
                return Some(());
            }
            continue;
        }
        let length = decode_varint(&mut message).ok();
        let length = length.and_then(|length| usize::try_from(length).ok());
        let Some((value, rest)) = length.and_then(|length| message.split_at_checked(length)) else {
            return Some(());
        };
        message = rest;
        let kind = descriptor.get_field(tag).map(|field| field.kind());
        if let Some(Kind::Message(inner)) = kind
            && depth > 0
        {
            count(value, &inner, depth - 1, left)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use prost_types::{ListValue, Struct, Value, value::Kind as Json};

    use super::*;
    use crate::proto as v1;

    fn is_bearable_of<M: prost::Message + Name>(request: &M) -> bool {
        is_bearable::<M>(&request.encode_to_vec())
    }

    #[test]
    fn many_small_things_are_refused_and_one_large_thing_is_not() {
        let blocks = |count| v1::CreateMessageRequest {
            blocks: vec![v1::ContentBlock::default(); count],
            ..Default::default()
        };
        assert!(is_bearable_of(&blocks(FIELDS_MAX)));
        assert!(!is_bearable_of(&blocks(FIELDS_MAX + 1)));

        let list = ListValue {
            values: vec![Value::default(); FIELDS_MAX],
        };
        let fields = [(
            "list".to_owned(),
            Value {
                kind: Some(Json::ListValue(list)),
            },
        )];
        let publish = v1::PublishEventRequest {
            data: Some(Struct {
                fields: fields.into(),
            }),
            ..Default::default()
        };
        assert!(!is_bearable_of(&publish));

        let append = v1::AppendTextRequest {
            delta: "\u{1}".repeat(10 * FIELDS_MAX),
            ..Default::default()
        };
        assert!(is_bearable_of(&append));
    }

    #[test]
    fn what_cannot_be_read_is_left_to_prost() {
        // A field that says it is longer than the request, again and again.
        let request = [0x2a, 0xff, 0xff, 0xff, 0x7f].repeat(UNCHECKED_BYTES);
        assert!(is_bearable::<v1::CreateMessageRequest>(&request));
        let request = vec![0xff; 2 * UNCHECKED_BYTES];
        assert!(is_bearable::<v1::CreateMessageRequest>(&request));
    }
}
