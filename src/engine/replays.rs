//! One read of a log for all who want the same of it at the same time.
//!
//! After a deployment all watchers of a message come back at once, from much the
//! same place: Redis is asked for it once, not once for each. Nobody shares a
//! read that had begun before they came, which might not hold what they know to
//! have happened: they share the one after it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};

use super::events::READ_ENTRIES;
use crate::{
    domain::ids::MessageId,
    store::{Page, Store, StoreError},
};

type Reading = BoxFuture<'static, Result<Option<Arc<Page>>, StoreError>>;
/// Of which message, and after which sequence.
type Place = (MessageId, u64);

/// The last read of each place. Cloning shares them.
#[derive(Clone, Default)]
pub(super) struct Replays {
    reads: Arc<Mutex<HashMap<Place, Read>>>,
}

/// A read that is under way, or waits for the one before it to be over.
struct Read {
    replay: WeakShared<Reading>,
    has_begun: Arc<AtomicBool>,
}

impl Replays {
    /// As [`Store::replay`].
    pub(super) async fn read(
        &self,
        store: &Store,
        message: &MessageId,
        after: u64,
    ) -> Result<Option<Page>, StoreError> {
        let page = self.join(store, message, after).await?;
        Ok(page.map(Arc::unwrap_or_clone))
    }

    /// Joins the read that begins next.
    fn join(&self, store: &Store, message: &MessageId, after: u64) -> Shared<Reading> {
        let place = (message.clone(), after);
        let mut reads = self.reads();
        let last = reads.get(&place);
        let under_way = last.and_then(|read| read.replay.upgrade());
        if let (Some(read), Some(replay)) = (last, &under_way)
            && !read.has_begun.load(Ordering::SeqCst)
        {
            return replay.clone();
        }
        let has_begun = Arc::new(AtomicBool::new(false));
        let entry = Entry {
            replays: self.clone(),
            place: place.clone(),
            has_begun: has_begun.clone(),
        };
        let (store, message) = (store.clone(), message.clone());
        let replay = async move {
            if let Some(before) = under_way {
                // Only for its end: what it read is too old.
                let _ = before.await;
            }
            entry.has_begun.store(true, Ordering::SeqCst);
            let page = store.replay(&message, after, READ_ENTRIES).await?;
            Ok(page.map(Arc::new))
        };
        let replay = replay.boxed().shared();
        if let Some(weak) = replay.downgrade() {
            let read = Read {
                replay: weak,
                has_begun,
            };
            reads.insert(place, read);
        }
        replay
    }

    fn reads(&self) -> MutexGuard<'_, HashMap<Place, Read>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropped when its read is over, or nobody waits for it any more.
struct Entry {
    replays: Replays,
    place: Place,
    has_begun: Arc<AtomicBool>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut reads = self.replays.reads();
        let is_ours = |read: &Read| Arc::ptr_eq(&read.has_begun, &self.has_begun);
        if reads.get(&self.place).is_some_and(is_ours) {
            reads.remove(&self.place);
        }
    }
}
