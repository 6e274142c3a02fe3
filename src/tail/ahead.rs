//! Events that have come before those in front of them.
//!
//! Many may write to one message at a time here, and whose answer comes first from
//! Redis may be the second to tell of it.

use std::collections::BTreeMap;

use prost::Message;

use crate::store::Placed;

/// More entries are not kept: what is missing in front of them was probably written
/// elsewhere, and they are read with it.
const ENTRIES_MAX: usize = 64;
/// Nor more bytes.
const BYTES_MAX: usize = 256 * 1024;

/// Entries that wait for those in front of them, by their first sequence.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    entries: BTreeMap<u64, Vec<Placed>>,
    bytes: usize,
}

impl Ahead {
    /// Keeps an entry, if there is room.
    pub(super) fn keep(&mut self, first: u64, entry: Vec<Placed>) {
        let bytes = self.bytes + size(&entry);
        let has_room = self.entries.len() < ENTRIES_MAX && bytes <= BYTES_MAX;
        if has_room {
            // Where history was lost, another event may have had its place.
            let replaced = self.entries.insert(first, entry);
            self.bytes = bytes - replaced.map_or(0, |entry| size(&entry));
        }
    }

    /// An entry with nothing missing in front of it, where the log is known up to
    /// `tip`.
    pub(super) fn next(&mut self, tip: u64) -> Option<Vec<Placed>> {
        let first = self.entries.first_entry()?;
        (*first.key() <= tip + 1).then(|| {
            let entry = first.remove();
            self.bytes -= size(&entry);
            entry
        })
    }
}

fn size(entry: &[Placed]) -> usize {
    entry.iter().map(|placed| placed.event.encoded_len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::cursor::Cursor, proto as v1};

    fn entry(bytes: usize) -> Vec<Placed> {
        let event = v1::Event {
            message_id: "m".repeat(bytes),
            ..Default::default()
        };
        vec![Placed {
            cursor: Cursor::BEGINNING,
            event,
        }]
    }

    #[test]
    fn an_entry_waits_for_those_in_front_of_it() {
        let mut ahead = Ahead::default();
        ahead.keep(7, entry(1));
        ahead.keep(7, entry(7));
        ahead.keep(5, entry(5));
        assert_eq!(ahead.next(3), None);
        assert_eq!(ahead.next(4), Some(entry(5)));
        assert_eq!(ahead.next(5), None);
        assert_eq!(ahead.next(9), Some(entry(7)));
        assert_eq!(ahead.bytes, 0);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut ahead = Ahead::default();
        ahead.keep(1, entry(BYTES_MAX + 1));
        assert_eq!(ahead.next(1), None);
        for first in 1..=2 * ENTRIES_MAX as u64 {
            ahead.keep(first, entry(1));
        }
        assert_eq!(ahead.entries.len(), ENTRIES_MAX);
    }
}
