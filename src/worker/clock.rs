//! The home of what is not determined: the time, and fresh ids.

use std::time::SystemTime;

use uuid::Uuid;

/// The time.
#[allow(clippy::disallowed_methods, reason = "this is the worker's clock")]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// A fresh id (UUIDv7) as text: of a write, so that it can be repeated, or of a worker.
#[allow(
    clippy::disallowed_methods,
    reason = "this is where the worker draws ids"
)]
pub(super) fn fresh_id() -> String {
    Uuid::now_v7().to_string()
}

/// A fresh id for a block. Short, since a checkpoint names hundreds; 48 random bits are
/// enough for the 1,000 blocks of a message.
pub(super) fn fresh_block() -> String {
    let id = fresh_id();
    format!("b{}", &id[id.len() - 12..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_blocks_are_short_and_differ() {
        let (one, other) = (fresh_block(), fresh_block());
        assert_eq!(one.len(), 13);
        assert_ne!(one, other);
    }
}
