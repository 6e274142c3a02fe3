//! Tickets follow messages: what a commit offers to workers is put into queues
//! after it, what it offers no more is thrown away. Where that is lost, the sweeper
//! offers once more what waits.

use tracing::debug;

use super::{Engine, EngineError};
use crate::{
    domain::{claim::Offer, event::Change, ids::Label, message::Message},
    store::{QueueEntry, Ticket},
};

impl Engine {
    /// Refuses tasks whose queues are full.
    pub(super) async fn check_room(&self, changes: &[Change]) -> Result<(), EngineError> {
        let limit = self.options.queue_limit;
        for change in changes {
            let Change::TaskStarted(task) = change else {
                continue;
            };
            if !self.store.has_room(&task.queue, limit).await? {
                let queue = task.queue.clone();
                return Err(EngineError::QueueFull { queue, limit });
            }
        }
        Ok(())
    }

    /// Has the queues say what a message offers that has changed. Never fails: the
    /// message says itself what waits, and is looked at again soon.
    pub(super) async fn follow_tickets(&self, before: Option<&Message>, after: &Message) {
        let is_offered = |message: Option<&Message>, offer: &Offer<'_>| {
            message.is_some_and(|message| message.offer(&offer.task.id).is_some())
        };
        let offered: Vec<_> = after
            .offers()
            .filter(|offer| !is_offered(before, offer))
            .map(|offer| entry(after, offer))
            .collect();
        let gone: Vec<_> = before
            .into_iter()
            .flat_map(Message::offers)
            .filter(|offer| !is_offered(Some(after), offer))
            .map(|offer| (offer.task.queue.clone(), ticket(after, &offer)))
            .collect();
        self.put(&offered, &gone).await;
    }

    /// Offers once more what waits in a message.
    pub(super) async fn offer_again(&self, message: &Message) {
        let offered: Vec<_> = message
            .offers()
            .map(|offer| entry(message, offer))
            .collect();
        self.put(&offered, &[]).await;
    }

    /// Offers nothing more of a message that is gone.
    pub(super) async fn discard_tickets(&self, message: &Message) {
        let offers = message.offers();
        let gone: Vec<_> = offers
            .map(|offer| (offer.task.queue.clone(), ticket(message, &offer)))
            .collect();
        self.put(&[], &gone).await;
    }

    async fn put(&self, offered: &[(Label, QueueEntry)], gone: &[(Label, Ticket)]) {
        if offered.is_empty() && gone.is_empty() {
            return;
        }
        if let Err(error) = self.store.offer(offered, gone).await {
            debug!(%error, "queues were not told of a task, it will be offered later");
        }
    }
}

fn entry(message: &Message, offer: Offer<'_>) -> (Label, QueueEntry) {
    let entry = QueueEntry {
        ticket: ticket(message, &offer),
        from: offer.from,
    };
    (offer.task.queue.clone(), entry)
}

fn ticket(message: &Message, offer: &Offer<'_>) -> Ticket {
    Ticket {
        message: message.id.clone(),
        task: offer.task.id.clone(),
    }
}
