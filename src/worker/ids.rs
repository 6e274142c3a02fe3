//! Fresh ids: of writes, so that they can be repeated, and of blocks.

use uuid::Uuid;

/// A fresh id (UUIDv7) as text.
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
