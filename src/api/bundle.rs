//! What the streams of one connection send at the same time.
//!
//! News wake many watches at once, and many of a connection. Each would have the
//! connection call the system for its own few bytes. So a watch says that others
//! probably have something to send as well, and the connection lets them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Whether more is on its way to a connection, among the extensions of each of its
/// requests. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Bundle(Arc<AtomicBool>);

impl Bundle {
    /// Others will probably send as well, as soon as they run.
    pub fn expect_more(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether that was said since it was asked the last time.
    pub fn take_expected(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}
