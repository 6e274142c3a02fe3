//! What is written here is told here: who follows a message at the instance that
//! writes to it need not wait until it is read. Where Redis pushes entries they come
//! as soon by themselves.
//!
//! It is a short cut and nothing depends on it. A log is read all the same, and a
//! topic takes in what is next, whichever way that comes; where others have written
//! in between, what they wrote is read first.

use crate::{
    domain::{cursor::Cursor, event::Change, message::Message},
    store::{Append, Appended, Log, Store, StoreError},
    tail::Hub,
};

/// The way from writes to those who follow them here. Cloning shares it.
#[derive(Clone)]
pub(super) struct Loopback {
    store: Store,
    hub: Hub,
}

impl Loopback {
    pub(super) fn new(store: Store, hub: Hub) -> Self {
        Self { store, hub }
    }

    /// Tells what became of an append.
    pub(super) fn appended(&self, append: &Append<'_>, appended: &Result<Appended, StoreError>) {
        let Ok(Appended::Done {
            first,
            block,
            offset,
            ..
        }) = appended
        else {
            return;
        };
        if !self.hub.wants_written() {
            return;
        }
        if let Some(log) = self.store.known_log(append.message) {
            self.hub.take_in_written(&log, first.sequence, |log| {
                log.appended(append, *first, block, *offset)
            });
        }
    }

    /// Tells which changes have made a message what it is.
    pub(super) fn committed(&self, message: &Message, changes: &[Change], last: Cursor) {
        if !self.hub.wants_written() || changes.is_empty() {
            return;
        }
        let log = self.store.message_log(&message.id, &message.session);
        let sequence = (last.sequence + 1).saturating_sub(changes.len() as u64);
        let first = Cursor { sequence, ..last };
        let events = |log: &Log| log.committed(changes, first);
        self.hub.take_in_written(log.name(), sequence, events);
    }
}
