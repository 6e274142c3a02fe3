//! Entries of logs: events that were committed together, as Redis keeps them.

use prost::Message as _;
use redis::Value;

use super::{
    StoreError,
    reply::{array, elements, parse},
};
use crate::{
    domain::{Time, cursor::Cursor, event::Change, limits::ENTRY_EVENTS_MAX},
    proto as v1,
    wire::event::{change_to_v1, time_of},
};

/// An entry that holds more bytes than this gets no further event: one read
/// shall not take long.
pub(super) const ENTRY_BYTES_MAX: usize = 512 * 1024;

/// What stands in the field `e` of an entry. Sequences are not in it: the id of
/// the entry is that of its first event.
///
/// It holds events, or text that was appended: of that there is so much, and so
/// many pieces of it share an entry, that what these have in common is there once.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StoredEntry {
    #[prost(message, repeated, tag = "1")]
    pub(super) events: Vec<v1::Event>,
    /// Where the deltas were appended.
    #[prost(string, tag = "2")]
    pub(super) block: String,
    /// Length of that block's text before the first of them.
    #[prost(fixed64, tag = "3")]
    pub(super) offset: u64,
    /// Text of a TEXT_DELTA each.
    #[prost(string, repeated, tag = "4")]
    pub(super) deltas: Vec<String>,
    /// When they were appended, in microseconds.
    #[prost(sfixed64, tag = "5")]
    pub(super) time: i64,
}

/// Encodes changes that happen at `time`, as the bytes of entries and the
/// number of events in each.
pub(super) fn encode(changes: &[Change], time: Time) -> Vec<(Vec<u8>, usize)> {
    let mut entries: Vec<(Vec<u8>, usize)> = Vec::new();
    for change in changes {
        let fits = |(bytes, count): &&mut (Vec<u8>, usize)| {
            *count < ENTRY_EVENTS_MAX as usize && bytes.len() < ENTRY_BYTES_MAX
        };
        let event = change_to_v1(change, time);
        match entries.last_mut().filter(fits) {
            Some((bytes, count)) => {
                encode_event(&event, bytes);
                *count += 1;
            }
            None => {
                let mut bytes = Vec::with_capacity(event.encoded_len() + 8);
                encode_event(&event, &mut bytes);
                entries.push((bytes, 1));
            }
        }
    }
    entries
}

/// Adds an event to the bytes of an entry.
pub(super) fn encode_event(event: &v1::Event, entry: &mut Vec<u8>) {
    prost::encoding::message::encode(1, event, entry);
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// Events that were committed together.
    Events(EntryEvents),
    /// The message was deleted. The last entry of a log.
    Deleted,
}

/// Events that were committed together, at least one, as they are kept. Their log
/// makes of them what they are for clients, when somebody has to have that.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryEvents {
    first: Cursor,
    pub(super) stored: StoredEntry,
}

impl Entry {
    /// Reads an entry as XRANGE and XREAD give it.
    pub(super) fn decode(entry: Value) -> Result<Self, StoreError> {
        let [id, fields] = elements(entry)?;
        let id: String = parse(id)?;
        let mut fields = array(fields)?.into_iter();
        let (name, value) = (fields.next(), fields.next().unwrap_or_default());
        if name.map(parse::<String>).transpose()?.as_deref() == Some("deleted") {
            return Ok(Self::Deleted);
        }
        let first = id
            .strip_prefix("0-")
            .and_then(|sequence| sequence.parse().ok())
            .ok_or_else(|| StoreError::corrupt("the id of an entry is not 0-<sequence>"))?;
        let bytes: Vec<u8> = parse(value)?;
        EntryEvents::decode(&bytes, first).map(Self::Events)
    }
}

impl EntryEvents {
    /// Reads events from the bytes that an entry keeps them in.
    pub(super) fn decode(bytes: &[u8], sequence: u64) -> Result<Self, StoreError> {
        let stored = StoredEntry::decode(bytes).map_err(StoreError::corrupt)?;
        let time = match stored.events.first() {
            Some(event) => time_of(event).ok(),
            None => Time::from_timestamp_micros(stored.time),
        };
        let is_empty = stored.events.is_empty() && stored.deltas.is_empty();
        match time.filter(|_| !is_empty) {
            Some(time) => Ok(Self {
                first: Cursor { sequence, time },
                stored,
            }),
            None => Err(StoreError::corrupt("an entry has no event, or no time")),
        }
    }

    /// The place of the first of them.
    pub fn first(&self) -> Cursor {
        self.first
    }

    /// The place of the last of them.
    pub fn last(&self) -> Cursor {
        let count = self.stored.events.len().max(self.stored.deltas.len()) as u64;
        Cursor {
            sequence: self.first.sequence.saturating_add(count - 1),
            ..self.first
        }
    }

    /// Whether one of them is at this place.
    pub(super) fn hold(&self, place: Cursor) -> bool {
        let sequences = self.first.sequence..=self.last().sequence;
        place.time == self.first.time && sequences.contains(&place.sequence)
    }

    /// Events of a time, for nobody.
    #[cfg(test)]
    pub(crate) fn sample(sequences: std::ops::RangeInclusive<u64>, time: Time) -> Self {
        let (first, last) = sequences.into_inner();
        Self {
            first: Cursor {
                sequence: first,
                time,
            },
            stored: StoredEntry {
                events: vec![v1::Event::default(); (first..=last).count()],
                ..StoredEntry::default()
            },
        }
    }
}

/// The places of the first and the last event of one entry, from the answer of
/// XRANGE or XREVRANGE COUNT 1.
pub(super) fn ends(entries: Value) -> Result<[Cursor; 2], StoreError> {
    match only_entry(entries)? {
        Some(Entry::Events(events)) => Ok([events.first(), events.last()]),
        Some(Entry::Deleted) | None => Err(StoreError::corrupt("a message has no log")),
    }
}

/// One entry from such an answer.
pub(super) fn only_entry(entries: Value) -> Result<Option<Entry>, StoreError> {
    array(entries)?.pop().map(Entry::decode).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(micros: i64) -> Time {
        Time::from_timestamp_micros(micros).unwrap()
    }

    #[test]
    fn an_entry_holds_its_events_and_those_of_no_other_time() {
        let events = EntryEvents::sample(7..=9, time(1));
        let place = |sequence, micros| Cursor {
            sequence,
            time: time(micros),
        };
        assert_eq!([events.first(), events.last()], [place(7, 1), place(9, 1)]);
        let held = (6..=10).filter(|sequence| events.hold(place(*sequence, 1)));
        assert_eq!(held.collect::<Vec<_>>(), [7, 8, 9]);
        assert!(!events.hold(place(8, 2)));
    }

    #[test]
    fn an_entry_without_events_is_none() {
        let empty = StoredEntry::default().encode_to_vec();
        assert!(EntryEvents::decode(&empty, 1).is_err());
    }
}
