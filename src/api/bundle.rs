//! What the streams of one connection send at the same time.
//!
//! News wake many watches at once, and many of a connection; one journey to Redis
//! brings the answers of many streams of writes. Each would have the connection call
//! the system for its own few bytes. So a stream says that others probably have
//! something to send as well, and the connection lets them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The streams of a connection, among the extensions of each of its requests.
/// Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Bundle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Of each kind.
    streams: [AtomicUsize; 2],
    is_more_expected: AtomicBool,
}

/// Streams that have something to send at the same time.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// They tell of events.
    Watch,
    /// They answer writes.
    Writes,
}

impl Bundle {
    /// Adds a stream, until it is dropped.
    pub fn join(&self, kind: Kind) -> Member {
        let member = Member {
            state: self.0.clone(),
            kind,
        };
        member.streams().fetch_add(1, Ordering::Relaxed);
        member
    }

    /// Whether a stream with others of its kind beside it has something to send,
    /// since that was asked the last time.
    pub fn take_expected(&self) -> bool {
        self.0.is_more_expected.swap(false, Ordering::Relaxed)
    }
}

/// One of the streams of a connection.
#[derive(Debug)]
pub struct Member {
    state: Arc<State>,
    kind: Kind,
}

impl Member {
    /// It has something to send: others probably will, as soon as they run.
    pub fn sends(&self) {
        if self.streams().load(Ordering::Relaxed) > 1 {
            self.state.is_more_expected.store(true, Ordering::Relaxed);
        }
    }

    /// How many there are of its kind.
    fn streams(&self) -> &AtomicUsize {
        &self.state.streams[self.kind as usize]
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.streams().fetch_sub(1, Ordering::Relaxed);
    }
}
