//! The one connection that waits for the bells of queues.

use std::{collections::BTreeSet, time::Duration};

use tokio::{
    sync::{mpsc::UnboundedSender, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    domain::ids::Label,
    store::{ClientId, QueueBells, Store, StoreError},
};

/// How long one wait lasts.
const WAIT: Duration = Duration::from_secs(2);
/// How long to wait before a lost connection is opened again.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);
/// A wait that is interrupted before it has reached Redis is not: so often is it
/// tried again.
const UNBLOCK_INTERVAL: Duration = Duration::from_millis(1);

/// Tells which of the awaited queues have rung, until stopped.
pub(super) async fn listen_forever(
    store: Store,
    mut awaited: watch::Receiver<BTreeSet<Label>>,
    rung: UnboundedSender<Label>,
    stop: CancellationToken,
) {
    loop {
        let error = tokio::select! {
            () = stop.cancelled() => return,
            error = listen(&store, &mut awaited, &rung) => error,
        };
        // Queues are looked at from time to time as well.
        warn!(%error, "listening for tasks failed, will reconnect");
        if stop
            .run_until_cancelled(sleep(RECONNECT_DELAY))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// Listens until the connection fails.
async fn listen(
    store: &Store,
    awaited: &mut watch::Receiver<BTreeSet<Label>>,
    rung: &UnboundedSender<Label>,
) -> StoreError {
    let mut bells = match store.queue_bells().await {
        Ok(bells) => bells,
        Err(error) => return error,
    };
    loop {
        let queues: Vec<_> = awaited.borrow_and_update().iter().cloned().collect();
        if queues.is_empty() {
            if awaited.changed().await.is_err() {
                return std::future::pending().await;
            }
            continue;
        }
        match hear(store, &mut bells, &queues, awaited).await {
            Ok(Some(queue)) => {
                // Who would look there ends when the process does.
                let _ = rung.send(queue);
            }
            Ok(None) => {}
            Err(error) => return error,
        }
    }
}

/// One wait for these queues, interrupted when somebody waits for another one.
async fn hear(
    store: &Store,
    bells: &mut QueueBells,
    queues: &[Label],
    awaited: &mut watch::Receiver<BTreeSet<Label>>,
) -> Result<Option<Label>, StoreError> {
    let client = bells.client().clone();
    let mut heard = std::pin::pin!(store.hear_queue(bells, queues, WAIT));
    let mut is_outdated = false;
    loop {
        tokio::select! {
            biased;
            heard = &mut heard => return heard,
            () = interrupt(store, &client), if is_outdated => {}
            Ok(()) = awaited.changed(), if !is_outdated => {
                is_outdated = awaited.borrow_and_update().iter().any(|queue| !queues.contains(queue));
            }
        }
    }
}

async fn interrupt(store: &Store, client: &ClientId) {
    if let Err(error) = store.unblock(client).await {
        debug!(%error, "interrupting a wait failed");
    }
    sleep(UNBLOCK_INTERVAL).await;
}
