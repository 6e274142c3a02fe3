//! Times to wait that differ, so that those who failed together do not come back
//! together.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    time::Duration,
};

/// Between half of `delay` and all of it.
pub(super) fn spread(delay: Duration) -> Duration {
    // The keys of a hasher are random; there is no need for better here.
    let random = RandomState::new().build_hasher().finish() % 1_000;
    let part = u32::try_from(random).unwrap_or_default();
    delay / 2 + delay / 2 * part / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_never_longer_nor_less_than_half() {
        let whole = Duration::from_millis(100);
        for _ in 0..1_000 {
            assert!((whole / 2..=whole).contains(&spread(whole)));
        }
    }
}
