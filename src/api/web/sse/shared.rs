//! Chunks of frames that many watch are written as events once for all of them.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use bytes::Bytes;

/// What is kept at most, twice: chunks and their events.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Larger ones are snapshots, which nobody else has.
const CHUNK_BYTES_MAX: usize = 256 * 1024;

/// A chunk's place in memory, which is its own while we hold it.
type Place = (usize, usize);

static SHARED: LazyLock<Mutex<Shared>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Shared {
    young: HashMap<Place, Written>,
    /// What was young before: all of it goes when the next generation is full.
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
    if let Some(events) = shared().find(&chunk) {
        return events;
    }
    let events = make(chunk.clone());
    shared().keep(chunk, events.clone());
    events
}

fn shared() -> std::sync::MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
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
