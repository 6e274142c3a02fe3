//! One log that is followed here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::{
    ahead::Ahead,
    batch::Batch,
    crowd::{Crowd, FEW_FOLLOWERS},
    recent::Recent,
};
use crate::{
    domain::cursor::Cursor,
    store::{Entry, EntryEvents, Log, Placed, Published, Read, StoreError},
    wire::frame::WatchEnd,
};

/// What followers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// The last event that can be had.
    pub tip: Cursor,
    /// Counts heartbeats.
    pub beat: u64,
    /// Whether the log goes on.
    pub standing: Standing,
}

/// Whether a log goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Live,
    /// It is another log than was read: look again from one's own cursor.
    Changed,
    /// Nothing follows.
    Over(WatchEnd),
}

/// What a topic has for a follower.
#[derive(Debug, Clone)]
pub enum Ready {
    /// What comes after its cursor, or the first part of it.
    Batch(Batch),
    /// Nothing yet.
    Nothing,
    /// Less than it needs: what is missing is in the store.
    Behind,
}

/// The last events of a log that is followed here.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) log: Log,
    events: Mutex<Events>,
    news: watch::Sender<News>,
}

#[derive(Debug)]
struct Events {
    recent: Recent,
    /// What was written here behind events that are not known.
    ahead: Ahead,
    /// Those who are told.
    crowd: Crowd,
    /// When they may be told again.
    rested: Instant,
    /// Somebody waits to tell them.
    is_telling: bool,
}

impl Events {
    /// Takes in events that are not known. False where one that should be is
    /// another: what was there before is something else.
    fn take_in(&mut self, events: Vec<Placed>, joins: bool) -> bool {
        for placed in events {
            if placed.cursor.sequence > self.recent.tip().sequence {
                self.recent.push(placed, joins);
            } else if !self.recent.may_hold(placed.cursor) {
                return false;
            }
        }
        true
    }

    /// The same of an entry, of which all is known or nothing.
    fn take_in_entry(&mut self, entry: EntryEvents, log: &Log, joins: bool) -> bool {
        if entry.last().sequence <= self.recent.tip().sequence {
            return self.recent.may_hold(entry.first()) && self.recent.may_hold(entry.last());
        }
        self.take_in(log.place(entry), joins)
    }

    /// The same of what was kept, as far as nothing is missing any more.
    fn take_in_ahead(&mut self, joins: bool) -> bool {
        while let Some(events) = self.ahead.next(self.recent.tip().sequence) {
            if !self.take_in(events, joins) {
                return false;
            }
        }
        true
    }
}

impl Topic {
    pub(super) fn new(log: Log, head: Cursor) -> Self {
        Self {
            log,
            events: Mutex::new(Events {
                recent: Recent::after(head),
                ahead: Ahead::default(),
                crowd: Crowd::new(),
                rested: Instant::now(),
                is_telling: false,
            }),
            news: watch::Sender::new(News {
                tip: head,
                beat: 0,
                standing: Standing::Live,
            }),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Whether somebody follows it, and its log goes on.
    pub(super) fn is_needed(&self) -> bool {
        self.news.receiver_count() > 0 && self.is_live()
    }

    /// The last event that was read.
    pub(super) fn tip(&self) -> Cursor {
        self.events().recent.tip()
    }

    /// What of the log is to be read next.
    pub(super) fn unread(&self) -> Read<'_> {
        Read {
            log: &self.log,
            after: self.tip().sequence,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.news.borrow().standing == Standing::Live
    }

    pub(super) fn beat(&self) {
        self.news.send_modify(|news| news.beat += 1);
    }

    pub(super) fn set_standing(&self, standing: Standing) {
        self.tell();
        self.news.send_modify(|news| news.standing = standing);
    }

    /// Takes in what was read from the log, if it could be. True where any of it
    /// was not known.
    pub(super) fn take_in_read(self: &Arc<Self>, read: Result<Vec<Entry>, StoreError>) -> bool {
        match read {
            Ok(entries) => self.take_in_entries(entries),
            Err(error) => {
                warn!(%error, "a log cannot be read, its followers look again");
                self.set_standing(Standing::Changed);
                true
            }
        }
    }

    /// Takes in an entry that was published, if it is the next one. False where
    /// it is not known what comes before it: the log has to be read.
    pub(super) fn take_in_published(self: &Arc<Self>, published: &Published) -> bool {
        let entry = || published.entry().ok();
        self.is_next(published.first)
            && entry().is_some_and(|entry| {
                self.take_in_entries(vec![entry]);
                true
            })
    }

    /// Takes in events that were added by this process, `first` and what follows
    /// it, as soon as nothing is missing before them.
    pub(super) fn take_in_written(
        self: &Arc<Self>,
        first: u64,
        events: impl FnOnce(&Log) -> Vec<Placed>,
    ) {
        let written = events(&self.log);
        let mut events = self.events();
        if first <= events.recent.tip().sequence + 1 {
            drop(events);
            self.take_in(|events, joins| {
                let is_known = events.take_in(written, joins);
                (!is_known).then_some(Standing::Changed)
            });
        } else {
            events.ahead.keep(first, written);
        }
    }

    /// Whether nothing is missing before an event; then nothing ever will be.
    fn is_next(&self, sequence: u64) -> bool {
        sequence <= self.tip().sequence + 1
    }

    /// Takes in what follows what is known, in this order. True where any of it
    /// does.
    fn take_in_entries(self: &Arc<Self>, entries: Vec<Entry>) -> bool {
        self.take_in(|events, joins| {
            for entry in entries {
                match entry {
                    Entry::Deleted => return Some(Standing::Over(WatchEnd::Deleted)),
                    Entry::Events(entry) => {
                        if !events.take_in_entry(entry, &self.log, joins) {
                            return Some(Standing::Changed);
                        }
                    }
                }
            }
            None
        })
    }

    /// Takes in what `add` adds, which says whether the log goes on no longer. True
    /// where anything is new.
    fn take_in(self: &Arc<Self>, add: impl FnOnce(&mut Events, bool) -> Option<Standing>) -> bool {
        let joins = self.news.receiver_count() > FEW_FOLLOWERS;
        let mut events = self.events();
        let known = events.recent.tip().sequence;
        let mut standing = add(&mut events, joins);
        if !events.take_in_ahead(joins) {
            standing = Some(Standing::Changed);
        }
        let is_new = events.recent.tip().sequence > known;
        drop(events);
        match standing {
            Some(standing) => self.set_standing(standing),
            None if is_new => self.tell_in_time(),
            None => {}
        }
        is_new
    }

    /// Tells followers what was read, as soon as they may be told again.
    fn tell_in_time(self: &Arc<Self>) {
        let mut events = self.events();
        let due = events.rested;
        if due <= Instant::now() {
            drop(events);
            self.tell();
        } else if !events.is_telling {
            events.is_telling = true;
            let topic = self.clone();
            tokio::spawn(async move {
                sleep_until(due).await;
                if topic.is_to_be_told() {
                    topic.tell();
                }
            });
        }
    }

    /// Whether somebody waits to tell followers, and it is time. Others may have told
    /// them since, and wait to tell them again.
    fn is_to_be_told(&self) -> bool {
        let events = self.events();
        events.is_telling && events.rested <= Instant::now()
    }

    /// Tells followers what was read.
    fn tell(&self) {
        let mut events = self.events();
        events.is_telling = false;
        events.recent.close_batch();
        let tip = events.recent.tip();
        if tip.sequence == self.news.borrow().tip.sequence {
            return;
        }
        events.rested = Instant::now() + events.crowd.told();
        drop(events);
        self.news.send_if_modified(|news| {
            let is_new = tip.sequence > news.tip.sequence;
            news.tip = if is_new { tip } else { news.tip };
            is_new
        });
    }

    /// A follower has come to wait, the last time in this round of the crowd.
    pub(super) fn come(&self, last: &mut u64) {
        self.events().crowd.come(last);
    }

    /// Whether the log that was read here may have had this head: an earlier life
    /// of it, or a history that was lost, has another event at the place.
    pub(super) fn may_hold(&self, head: Cursor) -> bool {
        self.events().recent.may_hold(head)
    }

    /// What comes after `seen`, where there is much of it perhaps with deltas joined.
    pub(super) fn after(&self, seen: Cursor, may_join: bool) -> Ready {
        // What was told before can be had after.
        let told = self.news.borrow().tip;
        match self.events().recent.next(seen.sequence, may_join) {
            Some(batch) => Ready::Batch(batch),
            None if seen.sequence < told.sequence => Ready::Behind,
            None => Ready::Nothing,
        }
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ops::RangeInclusive,
        pin::pin,
        task::{Context, Waker},
    };

    use tokio::time::sleep;

    use super::*;
    use crate::{
        domain::Time,
        proto as v1,
        tail::{crowd::PAUSE_MAX, follower::Follower},
    };

    fn cursor(sequence: u64, micros: i64) -> Cursor {
        let time = Time::from_timestamp_micros(micros).unwrap();
        Cursor { sequence, time }
    }

    /// Events of a moment each, all of one life of the log.
    fn events(sequences: impl IntoIterator<Item = u64>, life: i64) -> Vec<Placed> {
        let placed = |sequence| Placed {
            cursor: cursor(sequence, life),
            event: v1::Event::default(),
        };
        sequences.into_iter().map(placed).collect()
    }

    fn read(sequences: RangeInclusive<u64>, life: i64) -> Result<Vec<Entry>, StoreError> {
        let time = cursor(0, life).time;
        Ok(vec![Entry::Events(EntryEvents::sample(sequences, time))])
    }

    fn topic() -> Arc<Topic> {
        Arc::new(Topic::new(Log::sample(), cursor(3, 1)))
    }

    fn write(topic: &Arc<Topic>, first: u64, last: u64, life: i64) {
        topic.take_in_written(first, |_| events(first..=last, life));
    }

    fn write_one(topic: &Arc<Topic>, sequence: u64) {
        write(topic, sequence, sequence, 1);
    }

    /// The sequences that a follower gets who has seen the third event.
    fn had(topic: &Topic) -> Vec<u64> {
        let mut seen = cursor(3, 1);
        let mut had = Vec::new();
        while let Ready::Batch(batch) = topic.after(seen, false) {
            had.extend(batch.frames().iter().map(|frame| frame.cursor.sequence));
            seen = batch.last().cursor;
        }
        had
    }

    #[tokio::test]
    async fn what_is_next_is_taken_in_once_whichever_way_it_comes() {
        let topic = topic();
        write(&topic, 4, 5, 1);
        assert!(!topic.take_in_read(read(4..=5, 1)), "it was known");
        assert!(topic.take_in_read(read(5..=7, 1)));
        write(&topic, 6, 7, 1);
        write(&topic, 8, 8, 1);
        assert_eq!(had(&topic), [4, 5, 6, 7, 8]);
        assert!(topic.is_live());
    }

    #[tokio::test]
    async fn what_was_written_behind_a_gap_waits_until_that_comes() {
        for is_read in [false, true] {
            let topic = topic();
            write(&topic, 7, 7, 1);
            write(&topic, 5, 6, 1);
            assert_eq!(had(&topic), [0; 0]);
            match is_read {
                false => write(&topic, 4, 4, 1),
                true => assert!(topic.take_in_read(read(4..=5, 1))),
            }
            assert_eq!(had(&topic), [4, 5, 6, 7]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_told_of_several_events_at_once() {
        let topic = topic();
        let mut followers: Vec<_> = (0..100).map(|_| Follower::new(topic.clone())).collect();
        write_one(&topic, 4);
        write_one(&topic, 5);
        assert_eq!(had(&topic), [4, 5], "nobody waits");

        for follower in &mut followers {
            follower.news();
            let mut wait = pin!(follower.changed());
            let mut context = Context::from_waker(Waker::noop());
            assert!(wait.as_mut().poll(&mut context).is_pending());
        }
        write_one(&topic, 6);
        write_one(&topic, 7);
        assert_eq!(had(&topic), [4, 5, 6], "who was just told is left alone");
        sleep(PAUSE_MAX).await;
        assert_eq!(had(&topic), [4, 5, 6, 7]);
    }

    #[tokio::test]
    async fn another_event_at_a_place_that_is_known_makes_followers_look_again() {
        for is_read in [false, true] {
            let topic = topic();
            write(&topic, 4, 5, 1);
            match is_read {
                false => write(&topic, 5, 5, 2),
                true => drop(topic.take_in_read(read(5..=6, 2))),
            }
            assert_eq!(topic.news.borrow().standing, Standing::Changed);
            assert_eq!(topic.tip(), cursor(5, 1));
        }
    }
}
