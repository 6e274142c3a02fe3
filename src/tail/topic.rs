//! One log that is followed here.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use tracing::warn;

use crate::{
    domain::{cursor::Cursor, message::MessageState},
    proto::{self as v1, event::Payload},
    store::{Entry, Log, Placed, Published, Read, StoreError},
    wire::{
        frame::{EncodedFrame, WatchEnd},
        message::state_from_v1,
    },
};

/// How many frames a topic keeps for followers that are a little behind.
const FRAMES_MAX: usize = 512;
/// How many bytes of frames a topic keeps.
const BYTES_MAX: usize = 1024 * 1024;
/// About how many bytes a follower is given at once: one that does not get rid
/// of them holds no more than these.
const TAKEN_BYTES_MAX: usize = 64 * 1024;

/// An event, ready to be sent to everybody.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its place.
    pub cursor: Cursor,
    /// What happened.
    pub event_type: v1::EventType,
    /// To which message.
    pub message: String,
    /// The final state, where the event ended the message.
    pub ended: Option<MessageState>,
    /// What is sent.
    pub encoded: EncodedFrame,
}

impl From<Placed> for Frame {
    fn from(Placed { cursor, event }: Placed) -> Self {
        let ended = match &event.payload {
            Some(Payload::MessageEnd(end)) => state_from_v1(end.state()),
            _ => None,
        };
        Self {
            cursor,
            event_type: event.event_type(),
            message: event.message_id.clone(),
            ended,
            encoded: EncodedFrame::event(event),
        }
    }
}

/// What followers are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct News {
    /// The last event that was read.
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
    /// What comes after its cursor, or the first part of it; at least one.
    Frames(Vec<Frame>),
    /// Nothing yet.
    Nothing,
    /// Less than it needs: what is missing is in the store.
    Behind,
}

/// The last events of a log that is followed here.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) log: Log,
    recent: Mutex<Recent>,
    news: watch::Sender<News>,
}

#[derive(Debug, Default)]
struct Recent {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Topic {
    pub(super) fn new(log: Log, head: Cursor) -> Self {
        Self {
            log,
            recent: Mutex::default(),
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

    pub(super) fn tip(&self) -> Cursor {
        self.news.borrow().tip
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
        self.news.send_modify(|news| news.standing = standing);
    }

    /// Takes in what was read from the log, if it could be.
    pub(super) fn take_in_read(&self, read: Result<Vec<Entry>, StoreError>) {
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
    pub(super) fn take_in_published(&self, published: &Published) -> bool {
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
    fn take_in(&self, entries: Vec<Entry>) {
        let mut is_deleted = false;
        let mut tip = self.tip();
        let mut recent = self.recent();
        for entry in entries {
            match entry {
                Entry::Deleted => is_deleted = true,
                Entry::Events(events) => {
                    for placed in events {
                        if placed.cursor.sequence != tip.sequence + 1 {
                            // Retention was faster than we were.
                            recent.clear();
                        }
                        tip = placed.cursor;
                        recent.push(Frame::from(placed));
                    }
                }
            }
        }
        drop(recent);
        self.news.send_modify(|news| {
            news.tip = tip;
            if is_deleted {
                news.standing = Standing::Over(WatchEnd::Deleted);
            }
        });
    }

    /// Whether the log that was read here may have had this head: an earlier life
    /// of it, or a history that was lost, has another event at the place.
    pub(super) fn may_hold(&self, head: Cursor) -> bool {
        let recent = self.recent();
        let first = recent.frames.front().map(|first| first.cursor.sequence);
        let at = first.and_then(|first| head.sequence.checked_sub(first));
        let known = at.and_then(|at| recent.frames.get(usize::try_from(at).ok()?));
        known.is_none_or(|known| known.cursor == head)
    }

    /// What comes after `seen`.
    pub(super) fn after(&self, seen: Cursor) -> Ready {
        let recent = self.recent();
        let tip = self.tip();
        if seen.sequence >= tip.sequence {
            return Ready::Nothing;
        }
        match recent.frames.front() {
            Some(first) if first.cursor.sequence <= seen.sequence + 1 => {
                let known = seen.sequence + 1 - first.cursor.sequence;
                let skip = usize::try_from(known).unwrap_or(usize::MAX);
                Ready::Frames(taken(recent.frames.iter().skip(skip)))
            }
            _ => Ready::Behind,
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first of some frames, as many as are given at once.
fn taken<'a>(frames: impl Iterator<Item = &'a Frame>) -> Vec<Frame> {
    let mut bytes = 0;
    let fits = |frame: &&Frame| {
        let fits = bytes < TAKEN_BYTES_MAX;
        bytes += frame.encoded.len();
        fits
    };
    frames.take_while(fits).cloned().collect()
}

impl Recent {
    fn push(&mut self, frame: Frame) {
        self.bytes += frame.encoded.len();
        self.frames.push_back(frame);
        while self.frames.len() > FRAMES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.frames.pop_front() else {
                return;
            };
            self.bytes -= oldest.encoded.len();
        }
    }

    fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}
