//! One log that is followed here.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::{batch::Batch, recent::Recent};
use crate::{
    domain::cursor::Cursor,
    store::{Entry, Log, Published, Read, StoreError},
    wire::frame::WatchEnd,
};

/// A topic with no more followers than this tells them of every read at once.
const UNPACED_FOLLOWERS: usize = 64;
/// What telling one follower may take: those of a topic that has more of them
/// are told less often, of several events at once, for the cost is in the telling.
const PAUSE_PER_FOLLOWER: Duration = Duration::from_micros(10);
/// Nobody is told later than this.
const PAUSE_MAX: Duration = Duration::from_millis(10);

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
    /// When followers were last told.
    told: Instant,
    /// Somebody waits to tell them.
    is_telling: bool,
}

impl Topic {
    pub(super) fn new(log: Log, head: Cursor) -> Self {
        Self {
            log,
            events: Mutex::new(Events {
                recent: Recent::after(head),
                told: Instant::now(),
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

    /// Takes in what was read from the log, if it could be.
    pub(super) fn take_in_read(self: &Arc<Self>, read: Result<Vec<Entry>, StoreError>) {
        match read {
            Ok(entries) => self.take_in(entries),
            Err(error) => {
                warn!(%error, "a log cannot be read, its followers look again");
                self.set_standing(Standing::Changed);
            }
        }
    }

    /// Takes in an entry that was published, if it is the next one. False where
    /// it is not known what comes before it: the log has to be read.
    pub(super) fn take_in_published(self: &Arc<Self>, published: &Published) -> bool {
        let next = self.tip().sequence + 1;
        if published.first > next {
            return false;
        }
        let Ok(entry) = published.entry(&self.log) else {
            return false;
        };
        if published.first == next {
            self.take_in(vec![entry]);
        } else if entry.last().is_some_and(|last| !self.may_hold(last)) {
            // What was there before is something else.
            self.set_standing(Standing::Changed);
        }
        true
    }

    /// Takes in what was read, in the order it was read.
    fn take_in(self: &Arc<Self>, entries: Vec<Entry>) {
        let mut is_deleted = false;
        let is_paced = self.news.receiver_count() > UNPACED_FOLLOWERS;
        let mut events = self.events();
        for entry in entries {
            match entry {
                Entry::Deleted => is_deleted = true,
                Entry::Events(placed) => placed
                    .into_iter()
                    .for_each(|placed| events.recent.push(placed, is_paced)),
            }
        }
        drop(events);
        match is_deleted {
            true => self.set_standing(Standing::Over(WatchEnd::Deleted)),
            false => self.tell_in_time(),
        }
    }

    /// Tells followers what was read, as soon as they may be told again.
    fn tell_in_time(self: &Arc<Self>) {
        let mut events = self.events();
        let due = events.told + pause(self.news.receiver_count());
        if due <= Instant::now() {
            drop(events);
            self.tell();
        } else if !events.is_telling {
            events.is_telling = true;
            let topic = self.clone();
            tokio::spawn(async move {
                sleep_until(due).await;
                topic.tell();
            });
        }
    }

    /// Tells followers what was read.
    fn tell(&self) {
        let mut events = self.events();
        events.is_telling = false;
        events.told = Instant::now();
        events.recent.close_batch();
        let tip = events.recent.tip();
        drop(events);
        self.news.send_if_modified(|news| {
            let is_new = tip.sequence > news.tip.sequence;
            news.tip = if is_new { tip } else { news.tip };
            is_new
        });
    }

    /// Whether the log that was read here may have had this head: an earlier life
    /// of it, or a history that was lost, has another event at the place.
    pub(super) fn may_hold(&self, head: Cursor) -> bool {
        let known = self.events().recent.at(head.sequence);
        known.is_none_or(|known| known == head)
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

/// How long so many followers are left alone after they were told something.
fn pause(followers: usize) -> Duration {
    match u32::try_from(followers) {
        _ if followers <= UNPACED_FOLLOWERS => Duration::ZERO,
        Ok(followers) => PAUSE_MAX.min(PAUSE_PER_FOLLOWER * followers),
        Err(_) => PAUSE_MAX,
    }
}
