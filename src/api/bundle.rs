//! What the watches of one connection send at the same time.
//!
//! News wake many watches at once, and many of a connection. Each would have the
//! connection call the system for its own few bytes. So a watch says that others
//! probably have something to send as well, and the connection lets them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The watches of a connection, among the extensions of each of its requests.
/// Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Bundle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    watches: AtomicUsize,
    is_more_expected: AtomicBool,
}

impl Bundle {
    /// Adds a watch, until it is dropped.
    pub fn join(&self) -> Member {
        self.0.watches.fetch_add(1, Ordering::Relaxed);
        Member(self.0.clone())
    }

    /// Whether a watch with others beside it has something to send, since that was
    /// asked the last time.
    pub fn take_expected(&self) -> bool {
        self.0.is_more_expected.swap(false, Ordering::Relaxed)
    }
}

/// One of the watches of a connection.
#[derive(Debug)]
pub struct Member(Arc<State>);

impl Member {
    /// It has something to send: others probably will, as soon as they run.
    pub fn sends(&self) {
        if self.0.watches.load(Ordering::Relaxed) > 1 {
            self.0.is_more_expected.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, Ordering::Relaxed);
    }
}
