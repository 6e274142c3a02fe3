//! What becomes of messages that somebody here awaits or writes.
//!
//! Whoever makes a message begin or end, writes it from now on or wants it cancelled
//! rings a bell that all instances hear. It says of which message, no more: what
//! became of it is then looked up. Nothing depends on hearing every ring, since all
//! messages are looked up from time to time as well.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::reader::Patience;
use crate::{
    domain::ids::MessageId,
    store::{Store, StoreError, Vitals},
};

/// How often all of them are looked up, whether the bell was heard or not.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Messages that are looked up in one call.
const LOOK_BATCH: usize = 256;

/// What is known of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fate {
    /// Nothing yet.
    #[default]
    Unknown,
    /// It does not exist, not yet or no more.
    Missing,
    /// It exists, and stands so.
    There(Vitals),
}

/// What somebody who asked for the fate of a message is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tidings {
    /// What is known: found out after it was asked for.
    pub fate: Fate,
    /// Counts heartbeats.
    pub beat: u64,
}

/// The messages whose fate somebody wants to know.
#[derive(Debug, Default)]
pub(super) struct Fates {
    asked: Mutex<Asked>,
    /// There are messages to be looked up at once.
    is_due: Notify,
}

#[derive(Debug, Default)]
struct Asked {
    messages: HashMap<MessageId, Question>,
    /// Those that are to be looked up at once.
    due: HashSet<MessageId>,
    /// Number of the last look that has begun.
    look: u64,
}

#[derive(Debug, Default)]
struct Question {
    tidings: watch::Sender<Tidings>,
    /// Looks before this one began before the question was asked.
    first_look: u64,
}

impl Fates {
    /// Asks for the fate of a message. It is told, as is every change of it, as
    /// long as somebody holds the receiver.
    pub(super) fn ask(&self, message: &MessageId) -> watch::Receiver<Tidings> {
        let mut asked = self.asked();
        let first_look = asked.look + 1;
        asked.due.insert(message.clone());
        let question = asked.messages.entry(message.clone()).or_default();
        question.first_look = first_look;
        question
            .tidings
            .send_modify(|tidings| tidings.fate = Fate::Unknown);
        let tidings = question.tidings.subscribe();
        drop(asked);
        self.is_due.notify_one();
        tidings
    }

    /// Tells everybody that asked that time passes.
    pub(super) fn beat(&self) {
        for question in self.asked().messages.values() {
            question.tidings.send_modify(|tidings| tidings.beat += 1);
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out what is asked for, until stopped.
    pub(super) async fn tell_forever(self: Arc<Self>, store: Store, stop: CancellationToken) {
        let mut patience = Patience::default();
        loop {
            let Err(error) = tokio::select! {
                () = stop.cancelled() => return,
                error = self.listen(&store, &mut patience) => error,
            };
            warn!(%error, "listening for messages that begin and end failed, will reconnect");
            tokio::select! {
                () = stop.cancelled() => return,
                // Where Redis can be asked but not listened to.
                looked = self.look(&store, self.all()) => if let Err(error) = looked {
                    debug!(%error, "looking up messages failed");
                },
            }
            patience.pause(&stop).await;
        }
    }

    /// Listens to the bell until the connection fails.
    async fn listen(
        &self,
        store: &Store,
        patience: &mut Patience,
    ) -> Result<Infallible, StoreError> {
        let mut bell = store.bell().await?;
        patience.renew();
        let mut timer = interval(LOOK_INTERVAL);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let messages = tokio::select! {
                rung = bell.rung() => self.asked_among(rung?),
                () = self.is_due.notified() => self.due(),
                _ = timer.tick() => {
                    bell.check().await?;
                    self.all()
                }
            };
            self.look(store, messages).await?;
        }
    }

    fn asked_among(&self, mut rung: Vec<MessageId>) -> Vec<MessageId> {
        let asked = self.asked();
        rung.retain(|message| asked.messages.contains_key(message));
        rung
    }

    fn due(&self) -> Vec<MessageId> {
        mem::take(&mut self.asked().due).into_iter().collect()
    }

    /// All that somebody still wants to know of.
    fn all(&self) -> Vec<MessageId> {
        let mut asked = self.asked();
        asked
            .messages
            .retain(|_, question| question.tidings.receiver_count() > 0);
        asked.due.clear();
        asked.messages.keys().cloned().collect()
    }

    async fn look(&self, store: &Store, messages: Vec<MessageId>) -> Result<(), StoreError> {
        for batch in messages.chunks(LOOK_BATCH) {
            let look = self.begin_look();
            let vitals = store.vitals(batch).await?;
            let asked = self.asked();
            for (message, vitals) in batch.iter().zip(vitals) {
                let fate = vitals.map_or(Fate::Missing, Fate::There);
                let question = asked.messages.get(message);
                if let Some(question) = question.filter(|question| look >= question.first_look) {
                    question.tell(fate);
                }
            }
        }
        Ok(())
    }

    fn begin_look(&self) -> u64 {
        let mut asked = self.asked();
        asked.look += 1;
        asked.look
    }
}

impl Question {
    fn tell(&self, fate: Fate) {
        self.tidings.send_if_modified(|tidings| {
            let is_new = tidings.fate != fate;
            tidings.fate = fate;
            is_new
        });
    }
}
