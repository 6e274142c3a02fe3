//! The last events of a log that is followed here.

use std::collections::VecDeque;

use super::batch::{Batch, Frame, Gathering};
use crate::{domain::cursor::Cursor, store::Placed};

/// How many frames are kept for followers that are a little behind.
const FRAMES_MAX: usize = 512;
/// How many bytes of frames are kept.
const BYTES_MAX: usize = 1024 * 1024;
/// A batch of so many bytes gets no further frame: a follower that does not get
/// rid of one keeps it alive.
const BATCH_BYTES: usize = 64 * 1024;

/// The last events of a log: batches that follow one another without a hole,
/// and what is gathered for the next.
#[derive(Debug)]
pub(super) struct Recent {
    batches: VecDeque<Batch>,
    frames: usize,
    bytes: usize,
    gathering: Gathering,
    tip: Cursor,
}

impl Recent {
    pub(super) fn after(head: Cursor) -> Self {
        Self {
            batches: VecDeque::new(),
            frames: 0,
            bytes: 0,
            gathering: Gathering::default(),
            tip: head,
        }
    }

    /// The last event.
    pub(super) fn tip(&self) -> Cursor {
        self.tip
    }

    /// Adds an event. Those before it are of no use where one is missing between
    /// them: retention was faster than we were.
    pub(super) fn push(&mut self, placed: Placed) {
        if placed.cursor.sequence != self.tip.sequence + 1 {
            *self = Self::after(self.tip);
        }
        if self.gathering.size() >= BATCH_BYTES {
            self.close_batch();
        }
        self.tip = placed.cursor;
        self.gathering.push(placed);
    }

    /// What was gathered can be had from now on.
    pub(super) fn close_batch(&mut self) {
        let Some(batch) = self.gathering.take() else {
            return;
        };
        self.frames += batch.frames().len();
        self.bytes += batch.bytes().len();
        self.batches.push_back(batch);
        while self.frames > FRAMES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.batches.pop_front() else {
                return;
            };
            self.frames -= oldest.frames().len();
            self.bytes -= oldest.bytes().len();
        }
    }

    /// What can be had of the events after a sequence, or the first part of it,
    /// if nothing is missing between.
    pub(super) fn next(&self, sequence: u64) -> Option<Batch> {
        let batch = self.batches.get(self.batch_of(sequence + 1))?;
        (batch.first().cursor.sequence <= sequence + 1).then(|| batch.after(sequence))
    }

    /// The event at a sequence, if it is still known.
    pub(super) fn at(&self, sequence: u64) -> Option<Cursor> {
        let frames = match self.batches.get(self.batch_of(sequence)) {
            Some(batch) => batch.frames(),
            None => self.gathering.frames(),
        };
        let at = |frame: &Frame| frame.cursor.sequence.cmp(&sequence);
        let index = frames.binary_search_by(at).ok()?;
        Some(frames[index].cursor)
    }

    /// Which batch has a sequence, if one has.
    fn batch_of(&self, sequence: u64) -> usize {
        self.batches
            .partition_point(|batch| batch.last().cursor.sequence < sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::Time, proto as v1};

    fn cursor(sequence: u64) -> Cursor {
        let time = Time::from_timestamp_micros(sequence.cast_signed()).unwrap();
        Cursor { sequence, time }
    }

    fn push(recent: &mut Recent, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            recent.push(Placed {
                cursor: cursor(sequence),
                event: v1::Event {
                    sequence,
                    ..Default::default()
                },
            });
        }
        recent.close_batch();
    }

    fn sequences(batch: &Batch) -> Vec<u64> {
        let frames = batch.frames().iter();
        frames.map(|frame| frame.cursor.sequence).collect()
    }

    #[test]
    fn what_follows_a_place_begins_right_after_it() {
        let mut recent = Recent::after(cursor(3));
        push(&mut recent, 4..=6);
        push(&mut recent, 7..=9);
        for (seen, expected) in [
            (3, Some(vec![4, 5, 6])),
            (5, Some(vec![6])),
            (6, Some(vec![7, 8, 9])),
            (8, Some(vec![9])),
            (9, None),
            // What came before is not known.
            (2, None),
        ] {
            let next = recent.next(seen);
            assert_eq!(next.as_ref().map(sequences), expected, "after {seen}");
        }
    }

    #[test]
    fn a_part_of_a_batch_has_the_bytes_of_its_frames() {
        let mut recent = Recent::after(cursor(0));
        push(&mut recent, 1..=5);
        let all = recent.next(0).unwrap();
        let each: Vec<_> = all.each().map(|(_, frame)| frame).collect();
        let part = recent.next(3).unwrap();
        let rest: Vec<bytes::Bytes> = each[3..].iter().cloned().map(Into::into).collect();
        assert_eq!(part.bytes(), rest.concat());
        let parts: Vec<bytes::Bytes> = part.each().map(|(_, frame)| frame.into()).collect();
        assert_eq!(parts, rest);
        let only = all.only(|frame| frame.cursor.sequence > 3).unwrap();
        assert_eq!(only.bytes(), part.bytes());
        assert_eq!(sequences(&only), [4, 5]);
        assert!(all.only(|_| false).is_none());
    }

    #[test]
    fn a_hole_makes_what_came_before_it_useless() {
        let mut recent = Recent::after(cursor(0));
        push(&mut recent, 1..=3);
        push(&mut recent, 9..=10);
        assert!(recent.next(2).is_none());
        assert!(recent.next(3).is_none());
        assert_eq!(sequences(&recent.next(8).unwrap()), [9, 10]);
        assert_eq!(recent.at(3), None);
        assert_eq!(recent.at(10), Some(cursor(10)));
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let mut recent = Recent::after(cursor(0));
        let count = FRAMES_MAX as u64;
        for first in (0..2 * count).step_by(64) {
            push(&mut recent, first + 1..=first + 64);
        }
        assert!(recent.next(count - 1).is_none());
        assert_eq!(
            recent.next(count).unwrap().first().cursor,
            cursor(count + 1)
        );
        assert_eq!(recent.tip(), cursor(2 * count));
    }
}
