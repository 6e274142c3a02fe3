//! Chunks of frames that many watch are written as events once for all of them.
//!
//! None is kept for long: what was erased shall not stay in memory.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// What is kept at most, twice: chunks and their events.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Larger ones are rare, and would leave little room for others.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// So long is a chunk kept, and at most twice as long: until all who watch have had it.
const KEPT_FOR: Duration = Duration::from_secs(15);

/// A chunk's place in memory, which is its own while we hold it.
type Place = (usize, usize);

static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Shared {
    young: HashMap<Place, Written>,
    /// What was young before: all of it goes when the next generation is full, or old.
    old: HashMap<Place, Written>,
    young_bytes: usize,
}

#[derive(Clone)]
struct Written {
    _chunk: Bytes,
    events: Bytes,
}

/// What a chunk was written as, or is now.
pub(super) fn find_or_make(chunk: Bytes, make: impl FnOnce(Bytes) -> Bytes) -> Bytes {
    if chunk.len() > CHUNK_BYTES_MAX {
        return make(chunk);
    }
    if let Some(events) = lock(&SHARED).find(&chunk) {
        return events;
    }
    let events = make(chunk.clone());
    lock(&SHARED).keep(chunk, events.clone());
    events
}

/// Forgets those that were kept for long enough, until stopped.
pub async fn forget_forever(stop: CancellationToken) {
    age_forever(&SHARED, stop).await;
}

async fn age_forever(kept: &Mutex<Shared>, stop: CancellationToken) {
    while stop.run_until_cancelled(sleep(KEPT_FOR)).await.is_some() {
        lock(kept).age();
    }
}

fn lock(kept: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(chunk: &Bytes) -> Place {
    (chunk.as_ptr() as usize, chunk.len())
}

impl Shared {
    fn find(&self, chunk: &Bytes) -> Option<Bytes> {
        let place = place(chunk);
        let written = self.young.get(&place).or_else(|| self.old.get(&place))?;
        Some(written.events.clone())
    }

    fn keep(&mut self, chunk: Bytes, events: Bytes) {
        self.young_bytes += chunk.len() + events.len();
        let place = place(&chunk);
        self.young.insert(
            place,
            Written {
                _chunk: chunk,
                events,
            },
        );
        if self.young_bytes > KEPT_BYTES {
            self.age();
        }
    }

    fn age(&mut self) {
        self.old = std::mem::take(&mut self.young);
        self.young_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_written_once_for_all_who_share_it() {
        let chunk = Bytes::from(vec![7; 100]);
        let first = find_or_make(chunk.clone(), |_| Bytes::from(vec![1]));
        let second = find_or_make(chunk, |_| panic!("it was written before"));
        assert_eq!(first, second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_chunk_is_forgotten_after_a_while_though_nothing_new_comes() {
        let kept = Mutex::<Shared>::default();
        let (chunk, stop) = (Bytes::from(vec![7; 100]), CancellationToken::new());
        lock(&kept).keep(chunk.clone(), Bytes::from(vec![1]));
        let look = async {
            sleep(KEPT_FOR / 2).await;
            assert!(lock(&kept).find(&chunk).is_some());
            sleep(2 * KEPT_FOR).await;
            assert!(chunk.is_unique());
            stop.cancel();
        };
        tokio::join!(age_forever(&kept, stop.clone()), look);
    }

    #[test]
    fn equal_chunks_in_other_places_are_others() {
        let [one, two] = [(); 2].map(|()| Bytes::from(vec![7; 100]));
        let first = find_or_make(one, |_| Bytes::from(vec![1]));
        let second = find_or_make(two, |_| Bytes::from(vec![2]));
        assert_ne!(first, second);
    }

    #[test]
    fn what_is_kept_has_an_end() {
        let mut shared = Shared::default();
        for _ in 0..1_000 {
            let chunk = Bytes::from(vec![0; CHUNK_BYTES_MAX / 8]);
            shared.keep(chunk.clone(), chunk);
        }
        let kept = shared.young.values().chain(shared.old.values());
        let kept: usize = kept.map(|written| 2 * written.events.len()).sum();
        assert!(kept <= 2 * (KEPT_BYTES + CHUNK_BYTES_MAX), "{kept}");
    }
}
