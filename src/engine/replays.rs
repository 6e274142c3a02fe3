//! One read of a log for all who want the same of it at the same time.
//!
//! After a deployment all watchers of a message come back at once, from much the
//! same place: Redis is asked for it once, not once for each.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

type Replay = BoxFuture<'static, Result<Option<Arc<Page>>, StoreError>>;
/// Of which message, and after which sequence.
type Place = (MessageId, u64);

/// The reads that are under way. Cloning shares them.
#[derive(Clone, Default)]
pub(super) struct Replays {
    under_way: Arc<Mutex<HashMap<Place, WeakShared<Replay>>>>,
}

impl Replays {
    /// As [`Store::replay`]. What it reads may be as old as the read of another
    /// that it shares: a watch that begins with it still misses nothing, since
    /// it goes on from there.
    pub(super) async fn read(
        &self,
        store: &Store,
        message: &MessageId,
        after: u64,
    ) -> Result<Option<Page>, StoreError> {
        let page = self.begin_or_join(store, message, after).await?;
        Ok(page.map(Arc::unwrap_or_clone))
    }

    fn begin_or_join(&self, store: &Store, message: &MessageId, after: u64) -> Shared<Replay> {
        let place = (message.clone(), after);
        let mut under_way = self.under_way();
        let joined = under_way.get(&place).and_then(WeakShared::upgrade);
        if let Some(replay) = joined.filter(|replay| replay.peek().is_none()) {
            return replay;
        }
        let (store, message) = (store.clone(), message.clone());
        let entry = Entry {
            replays: self.clone(),
            place: place.clone(),
        };
        let replay = async move {
            let _entry = entry;
            let page = store.replay(&message, after, READ_ENTRIES).await?;
            Ok(page.map(Arc::new))
        };
        let replay = replay.boxed().shared();
        if let Some(weak) = replay.downgrade() {
            under_way.insert(place, weak);
        }
        replay
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Place, WeakShared<Replay>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropped when the read is over, or nobody waits for it any more.
struct Entry {
    replays: Replays,
    place: Place,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.replays.under_way().remove(&self.place);
    }
}
