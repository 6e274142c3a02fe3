//! What this process remembers of the messages that it writes to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{StoreError, keys::Keys};
use crate::domain::{
    ids::{BlockId, MessageId, SessionId, TaskId, UserId},
    message::{Message, MessageState},
    task::Attempt,
};

/// Where text is appended, and everything that this depends on.
#[derive(Debug)]
pub(super) struct Target {
    /// The guard that says all of this; the message has another as soon as any
    /// of it changes.
    pub(super) guard: String,
    pub(super) fence: u64,
    pub(super) cancel_requested: bool,
    pub(super) user: UserId,
    /// Under the lease of which task it is appended.
    attempt: Option<Attempt>,
    /// The block that an append goes to which names none, and whose text is the
    /// third key.
    pub(super) block: BlockId,
    /// Hash, log, text.
    pub(super) keys: [String; 3],
}

impl Target {
    /// What the field `guard` of a message says: where text is appended that
    /// names no block, by the writer and by those who hold tasks.
    pub(super) fn all_of(guard: &str, message: &MessageId, keys: &Keys) -> Vec<Self> {
        let mut parts = guard.split(' ');
        let mut next = || parts.next().unwrap_or_default();
        let (fence, tail, session, user) = (next(), next(), next(), next());
        let target = |attempt: Option<Attempt>, block: &str| {
            let block = BlockId::parse(block).ok()?;
            let session = SessionId::parse(session).ok()?;
            Some(Self {
                cancel_requested: says_cancel(guard),
                keys: [
                    keys.message(message),
                    keys.log(&session, message),
                    keys.text(message, &block),
                ],
                guard: guard.to_owned(),
                fence: fence.parse().ok()?,
                user: UserId::parse(user).ok()?,
                attempt,
                block,
            })
        };
        let leases = parts.filter_map(|part| {
            let (lease, tail) = part.rsplit_once(':')?;
            let (task, number) = lease.split_once(':')?;
            let attempt = Attempt {
                task: TaskId::parse(task).ok()?,
                number: number.parse().ok()?,
            };
            target(Some(attempt), tail)
        });
        target(None, tail).into_iter().chain(leases).collect()
    }
}

/// The field `guard` of a message: on what an append depends that loads nothing.
pub(super) fn guard(message: &Message) -> String {
    if message.state != MessageState::Streaming {
        return String::new();
    }
    let tail = message.tail().map_or("", |block| block.id.as_str());
    let Message {
        fence,
        session,
        user,
        ..
    } = message;
    let cancel = cancel(message);
    let mut guard = format!("{fence} {tail} {session} {user}{cancel}");
    for task in message.open_tasks().filter(|task| task.held().is_some()) {
        let lease = format!("{}:{}", task.id, task.attempt);
        let tail = message.task_tail(&task.id).map(|tail| &tail.id);
        if let Some(tail) = tail {
            guard.push_str(&format!(" {lease}:{tail}"));
        }
        let open = message
            .blocks
            .iter()
            .filter(|block| block.open_text().is_some());
        let own = open.filter(|block| block.task.as_ref() == Some(&task.id));
        for other in own.filter(|block| Some(&block.id) != tail) {
            guard.push_str(&format!(" {lease}/{}", other.id));
        }
    }
    guard
}

/// How the field `guard` names a lease; a colon and the block follow where text goes
/// that names none, a slash and the block where only text goes that names it.
pub(super) fn lease_name(attempt: &Attempt) -> String {
    format!("{}:{}", attempt.task, attempt.number)
}

/// Whether a field `guard` says that a cancel was requested.
pub(super) fn says_cancel(guard: &str) -> bool {
    guard.split(' ').nth(4) == Some("cancel")
}

/// The field `fence` of a message: on what an append depends that knows nothing
/// of it.
pub(super) fn fence(message: &Message) -> String {
    format!("{}{}", message.fence, cancel(message))
}

/// How the field `fence` ends, and `guard`, once a cancel was requested.
fn cancel(message: &Message) -> &'static str {
    match message.cancel_deadline {
        None => "",
        Some(_) => " cancel",
    }
}

/// What the field `fence` of a message says: the fence, and whether a cancel was
/// requested.
pub(super) fn parse_fence(field: &str) -> Result<(u64, bool), StoreError> {
    let (fence, cancel) = match field.split_once(' ') {
        None => (field, false),
        Some((fence, _)) => (fence, true),
    };
    Ok((fence.parse().map_err(StoreError::corrupt)?, cancel))
}

/// The messages that this process writes to.
pub(super) struct Known {
    /// A minute, or less where messages live shortly.
    interval: Duration,
    messages: Mutex<HashMap<MessageId, Entry>>,
}

struct Entry {
    /// When it was last made to live on, so that appends need not say so every
    /// time.
    refreshed: Instant,
    /// Name of its log, while it is being written.
    log: Option<String>,
    targets: Vec<Arc<Target>>,
}

impl Known {
    /// More messages than this are forgotten at once: what that costs is one
    /// refresh each.
    const ENTRIES_MAX: usize = 100_000;

    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            interval: Duration::from_secs(60).min(ttl / 4),
            messages: Mutex::default(),
        }
    }

    fn messages(&self) -> MutexGuard<'_, HashMap<MessageId, Entry>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the message should be made to live on now; the next time is an
    /// interval later.
    pub(super) fn is_due(&self, message: &MessageId) -> bool {
        let now = Instant::now();
        let mut messages = self.messages();
        match messages.get_mut(message) {
            Some(entry) if now.duration_since(entry.refreshed) < self.interval => false,
            Some(entry) => {
                entry.refreshed = now;
                true
            }
            None => {
                insert(&mut messages, message, None, Vec::new());
                true
            }
        }
    }

    /// Name of the log of a message that is being written.
    pub(super) fn log(&self, message: &MessageId) -> Option<String> {
        self.messages().get(message)?.log.clone()
    }

    /// Where text of the message is appended under this lease, or under none,
    /// unless it should be made to live on now.
    pub(super) fn target(
        &self,
        message: &MessageId,
        attempt: Option<&Attempt>,
    ) -> Option<Arc<Target>> {
        let messages = self.messages();
        let entry = messages.get(message)?;
        let is_fresh = entry.refreshed.elapsed() < self.interval;
        let mut targets = entry.targets.iter().filter(|_| is_fresh);
        targets
            .find(|target| target.attempt.as_ref() == attempt)
            .cloned()
    }

    /// Remembers what the field `guard` of a message says.
    pub(super) fn learn(&self, message: &MessageId, guard: &str, keys: &Keys) {
        let session = guard.split(' ').nth(2).map(SessionId::parse);
        let log = session.and_then(|session| Some(keys.log(&session.ok()?, message)));
        let targets = Target::all_of(guard, message, keys).into_iter();
        let targets = targets.map(Arc::new).collect();
        let mut messages = self.messages();
        match messages.get_mut(message) {
            Some(entry) => (entry.log, entry.targets) = (log, targets),
            None => insert(&mut messages, message, log, targets),
        }
    }

    pub(super) fn forget(&self, message: &MessageId) {
        self.messages().remove(message);
    }
}

fn insert(
    messages: &mut HashMap<MessageId, Entry>,
    message: &MessageId,
    log: Option<String>,
    targets: Vec<Arc<Target>>,
) {
    if messages.len() >= Known::ENTRIES_MAX {
        messages.clear();
    }
    let entry = Entry {
        refreshed: Instant::now(),
        log,
        targets,
    };
    messages.insert(message.clone(), entry);
}
