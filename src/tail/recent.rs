//! The last events of a log that is followed here.

use std::collections::VecDeque;

use super::{
    batch::{Batch, Frame, Gathering},
    join::push_joined,
};
use crate::{domain::cursor::Cursor, store::Placed};

/// How many frames are kept for followers that are a little behind.
const FRAMES_MAX: usize = 512;
/// How many bytes of frames are kept.
const BYTES_MAX: usize = 1024 * 1024;
/// A batch of so many bytes gets no further frame: a follower that does not get
/// rid of one keeps it alive.
const BATCH_BYTES: usize = 64 * 1024;
/// A follower that is so many events behind gets deltas joined, where they were
/// joined.
const FAR_BEHIND: u64 = 64;

/// The last events of a log: batches that follow one another without a hole,
/// and what is gathered for the next.
#[derive(Debug)]
pub(super) struct Recent {
    batches: VecDeque<Held>,
    frames: usize,
    bytes: usize,
    gathering: Gathering,
    /// The same with deltas joined, if anybody is to get them so.
    joining: Option<Vec<Placed>>,
    tip: Cursor,
}

/// A batch, and the same with deltas joined, which followers that are far behind
/// share.
#[derive(Debug)]
struct Held {
    plain: Batch,
    joined: Option<Batch>,
}

impl Held {
    fn first(&self) -> u64 {
        self.plain.first().cursor.sequence
    }

    fn last(&self) -> u64 {
        self.plain.last().cursor.sequence
    }

    fn size(&self) -> usize {
        let joined = self
            .joined
            .as_ref()
            .map_or(0, |joined| joined.bytes().len());
        self.plain.bytes().len() + joined
    }
}

impl Recent {
    pub(super) fn after(head: Cursor) -> Self {
        Self {
            batches: VecDeque::new(),
            frames: 0,
            bytes: 0,
            gathering: Gathering::default(),
            joining: None,
            tip: head,
        }
    }

    /// The last event.
    pub(super) fn tip(&self) -> Cursor {
        self.tip
    }

    /// Adds an event. With the first of a batch, `joins` says whether its deltas are
    /// joined as well, for followers that are far behind. Those before it are of no
    /// use where one is missing between them: retention was faster than we were.
    pub(super) fn push(&mut self, placed: Placed, joins: bool) {
        if placed.cursor.sequence != self.tip.sequence + 1 {
            *self = Self::after(self.tip);
        }
        if self.gathering.size() >= BATCH_BYTES {
            self.close_batch();
        }
        self.tip = placed.cursor;
        if self.gathering.size() == 0 {
            self.joining = joins.then(Vec::new);
        }
        if let Some(joined) = &mut self.joining {
            push_joined(joined, placed.clone());
        }
        self.gathering.push(placed);
    }

    /// What was gathered can be had from now on.
    pub(super) fn close_batch(&mut self) {
        let Some(plain) = self.gathering.take() else {
            return;
        };
        let joined = self.joining.take().and_then(Batch::of);
        let held = Held { plain, joined };
        self.frames += held.plain.frames().len();
        self.bytes += held.size();
        self.batches.push_back(held);
        while self.frames > FRAMES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.batches.pop_front() else {
                return;
            };
            self.frames -= oldest.plain.frames().len();
            self.bytes -= oldest.size();
        }
    }

    /// What can be had of the events after a sequence, or the first part of it,
    /// if nothing is missing between. Deltas may be joined where there are many.
    pub(super) fn next(&self, sequence: u64, may_join: bool) -> Option<Batch> {
        let next = sequence + 1;
        let held = self.batches.get(self.batch_of(next))?;
        let is_far_behind = self.last() >= sequence + FAR_BEHIND;
        match &held.joined {
            Some(joined) if may_join && is_far_behind && held.first() == next => {
                Some(joined.clone())
            }
            _ => (held.first() <= next).then(|| held.plain.after(sequence)),
        }
    }

    /// The last event that can be had.
    fn last(&self) -> u64 {
        self.batches.back().map_or(0, Held::last)
    }

    /// Whether an event may be one of these, or of those that came before.
    pub(super) fn may_hold(&self, event: Cursor) -> bool {
        self.at(event.sequence).is_none_or(|known| known == event)
    }

    /// The event at a sequence, if it is still known.
    fn at(&self, sequence: u64) -> Option<Cursor> {
        if sequence == self.tip.sequence {
            return Some(self.tip);
        }
        let frames = match self.batches.get(self.batch_of(sequence)) {
            Some(held) => held.plain.frames(),
            None => self.gathering.frames(),
        };
        let at = |frame: &Frame| frame.cursor.sequence.cmp(&sequence);
        let index = frames.binary_search_by(at).ok()?;
        Some(frames[index].cursor)
    }

    /// Which batch has a sequence, if one has: mostly the last, or none yet.
    fn batch_of(&self, sequence: u64) -> usize {
        let count = self.batches.len();
        match self.batches.back() {
            Some(held) if held.last() < sequence => count,
            Some(held) if held.first() <= sequence => count - 1,
            _ => self.batches.partition_point(|held| held.last() < sequence),
        }
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
            let event = v1::Event {
                sequence,
                ..Default::default()
            };
            let cursor = cursor(sequence);
            recent.push(Placed { cursor, event }, false);
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
            let next = recent.next(seen, false);
            assert_eq!(next.as_ref().map(sequences), expected, "after {seen}");
        }
    }

    #[test]
    fn a_part_of_a_batch_has_the_bytes_of_its_frames() {
        let mut recent = Recent::after(cursor(0));
        push(&mut recent, 1..=5);
        let all = recent.next(0, false).unwrap();
        let each: Vec<_> = all.each().map(|(_, frame)| frame).collect();
        let part = recent.next(3, false).unwrap();
        let rest: Vec<bytes::Bytes> = each[3..].iter().cloned().map(Into::into).collect();
        assert_eq!(part.bytes(), rest.concat());
        let parts: Vec<bytes::Bytes> = part.each().map(|(_, frame)| frame.into()).collect();
        assert_eq!(parts, rest);
        let only = all.only(|frame| frame.cursor.sequence > 3).unwrap();
        assert_eq!(only.bytes(), part.bytes());
        assert_eq!(sequences(&only), [4, 5]);
        assert!(all.only(|_| false).is_none());
    }

    fn delta(sequence: u64) -> Placed {
        let delta = v1::TextDelta {
            block_id: "b".to_owned(),
            offset: sequence - 1,
            delta: "x".to_owned(),
        };
        let event = v1::Event {
            sequence,
            payload: Some(v1::event::Payload::TextDelta(delta)),
            ..Default::default()
        };
        let cursor = cursor(sequence);
        Placed { cursor, event }
    }

    #[test]
    fn who_is_far_behind_gets_deltas_joined_and_who_is_near_gets_each() {
        let mut recent = Recent::after(cursor(0));
        for first in [1, 41, 81] {
            for sequence in first..first + 40 {
                recent.push(delta(sequence), true);
            }
            recent.close_batch();
        }
        // 120 and 80 events behind, at the beginning of a batch.
        assert_eq!(sequences(&recent.next(0, true).unwrap()), [40]);
        assert_eq!(sequences(&recent.next(40, true).unwrap()), [80]);
        // Not asked for; near the end; in the middle of a batch.
        for (sequence, may_join, frames) in [(0, false, 40), (80, true, 40), (10, true, 30)] {
            let each = recent.next(sequence, may_join).unwrap();
            assert_eq!(each.frames().len(), frames, "after {sequence}");
        }
    }

    #[test]
    fn what_was_not_joined_from_its_beginning_is_not_joined() {
        let mut recent = Recent::after(cursor(0));
        for sequence in 1..=100 {
            recent.push(delta(sequence), sequence > 1);
        }
        recent.close_batch();
        assert_eq!(recent.next(0, true).unwrap().frames().len(), 100);
    }

    #[test]
    fn a_hole_makes_what_came_before_it_useless() {
        let mut recent = Recent::after(cursor(0));
        push(&mut recent, 1..=3);
        push(&mut recent, 9..=10);
        assert!(recent.next(2, false).is_none());
        assert!(recent.next(3, false).is_none());
        assert_eq!(sequences(&recent.next(8, false).unwrap()), [9, 10]);
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
        assert!(recent.next(count - 1, false).is_none());
        assert_eq!(
            recent.next(count, false).unwrap().first().cursor,
            cursor(count + 1)
        );
        assert_eq!(recent.tip(), cursor(2 * count));
    }
}
