//! Joining deltas, for a watcher that is far behind a stream: one frame then
//! brings it as far as hundreds would.

use crate::{
    proto::{self as v1, event::Payload},
    store::Placed,
};

/// A delta of this many bytes gets no further text.
const JOINED_BYTES_MAX: usize = 64 * 1024;

/// Joins deltas of one block that follow one another. What was joined names its
/// range.
pub fn join_deltas(events: Vec<Placed>) -> Vec<Placed> {
    let mut joined = Vec::new();
    for next in events {
        push_joined(&mut joined, next);
    }
    joined
}

/// Adds the next event to those that were joined before.
pub(super) fn push_joined(joined: &mut Vec<Placed>, next: Placed) {
    match joined.last_mut() {
        Some(last) if continues(&last.event, &next.event) => join(last, next),
        _ => joined.push(next),
    }
}

fn continues(last: &v1::Event, next: &v1::Event) -> bool {
    match (&last.payload, &next.payload) {
        (Some(Payload::TextDelta(last)), Some(Payload::TextDelta(next))) => {
            last.block_id == next.block_id
                && last.offset + last.delta.len() as u64 == next.offset
                && last.delta.len() + next.delta.len() <= JOINED_BYTES_MAX
        }
        _ => false,
    }
}

fn join(last: &mut Placed, next: Placed) {
    let Placed { cursor, event } = next;
    last.cursor = cursor;
    let joined = &mut last.event;
    if joined.first_sequence == 0 {
        joined.first_sequence = joined.sequence;
    }
    joined.cursor = event.cursor;
    joined.sequence = event.sequence;
    joined.time = event.time;
    if let (Some(Payload::TextDelta(text)), Some(Payload::TextDelta(more))) =
        (&mut joined.payload, event.payload)
    {
        text.delta.push_str(&more.delta);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Time, cursor::Cursor};

    fn placed(sequence: u64, payload: Payload) -> Placed {
        let time = Time::from_timestamp_micros(sequence.cast_signed()).unwrap();
        let cursor = Cursor { sequence, time };
        Placed {
            cursor,
            event: v1::Event {
                cursor: cursor.to_string(),
                sequence,
                payload: Some(payload),
                ..Default::default()
            },
        }
    }

    fn delta(sequence: u64, block: &str, offset: u64, delta: &str) -> Placed {
        let delta = v1::TextDelta {
            block_id: block.into(),
            offset,
            delta: delta.into(),
        };
        placed(sequence, Payload::TextDelta(delta))
    }

    fn custom(sequence: u64) -> Placed {
        placed(sequence, Payload::Custom(v1::Custom::default()))
    }

    /// First and last sequence, and the text, of each.
    fn joined(events: Vec<Placed>) -> Vec<(u64, u64, String)> {
        let joined = join_deltas(events).into_iter();
        let parts = joined.map(|Placed { cursor, event }| {
            assert_eq!(event.cursor, cursor.to_string());
            assert_eq!(event.sequence, cursor.sequence);
            let text = match event.payload {
                Some(Payload::TextDelta(delta)) => delta.delta,
                _ => String::new(),
            };
            (event.first_sequence, event.sequence, text)
        });
        parts.collect()
    }

    #[test]
    fn deltas_that_follow_one_another_become_one_with_their_range() {
        let events = vec![
            delta(3, "b", 10, "one "),
            delta(4, "b", 14, "two "),
            delta(5, "b", 18, "three"),
        ];
        let first = join_deltas(events.clone()).remove(0);
        assert_eq!(joined(events), [(3, 5, "one two three".to_owned())]);
        assert!(matches!(
            first.event.payload,
            Some(Payload::TextDelta(delta)) if delta.offset == 10
        ));
    }

    #[test]
    fn what_lies_between_keeps_deltas_apart() {
        let events = vec![
            delta(3, "b", 0, "a"),
            custom(4),
            delta(5, "b", 1, "b"),
            delta(6, "c", 0, "c"),
            // Another text of the block begins.
            delta(7, "c", 0, "d"),
        ];
        let ranges: Vec<_> = joined(events).into_iter().map(|(a, b, _)| (a, b)).collect();
        assert_eq!(ranges, [(0, 3), (0, 4), (0, 5), (0, 6), (0, 7)]);
    }

    #[test]
    fn a_joined_delta_does_not_grow_without_end() {
        let long = "x".repeat(JOINED_BYTES_MAX / 4);
        let events = (0..6).map(|n| delta(n + 1, "b", n * long.len() as u64, &long));
        let ranges: Vec<_> = joined(events.collect())
            .into_iter()
            .map(|(first, last, text)| (first, last, text.len() / long.len()))
            .collect();
        assert_eq!(ranges, [(1, 4, 4), (5, 6, 2)]);
    }
}
