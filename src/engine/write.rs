//! Writes: load, decide, commit.

use std::time::Duration;

use tokio::time::sleep;

use super::{Engine, EngineError, append, clock};
use crate::{
    domain::{
        Time,
        command::{Command, Right, StartTask, UpdateTask},
        content::Block,
        cursor::Cursor,
        event::{Change, Event},
        ids::{MessageId, RequestId},
        limits::BESIDE_CONTENT_BYTES_MAX,
        message::Message,
        offload::{BlobNames, offload},
        principal::Principal,
        refusal::Refusal,
        task::Task,
    },
    store::{Commit, Committed, Loaded},
    wire::message::size_beside_content,
};

/// A write whose decision others overtake is decided anew so many times. Only
/// a message that others write all the time needs more than one.
const DECISIONS_MAX: usize = 64;
/// So few blocks and tasks cannot be too large together, and need not be measured.
const ITEMS_SMALL: usize = 16;
/// From the fifth time on, so long does it wait before.
const DECISION_DELAY: Duration = Duration::from_millis(1);

/// Who writes what, and how a repeat is recognised.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who asks.
    pub principal: Principal,
    /// Which message.
    pub message: MessageId,
    /// By what right.
    pub right: Right,
    /// What a repeat is recognised by, with a digest of the request.
    pub repeat: Option<(RequestId, String)>,
}

/// What a write is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Place of its last event.
    pub cursor: Cursor,
    /// It had been made before.
    pub deduplicated: bool,
    /// Somebody asked that the message be cancelled.
    pub cancel_requested: bool,
}

impl Receipt {
    pub(super) fn new(cursor: Cursor, cancel_requested: bool) -> Self {
        Self {
            cursor,
            deduplicated: false,
            cancel_requested,
        }
    }

    pub(super) fn of(message: &Message) -> Self {
        Self::new(message.head, message.cancel_requested())
    }

    pub(super) fn of_repeat(cursor: Cursor, cancel_requested: bool) -> Self {
        Self {
            deduplicated: true,
            ..Self::new(cursor, cancel_requested)
        }
    }
}

/// A write that was made, now or before.
#[derive(Debug, Clone)]
pub struct Written {
    /// Where.
    pub receipt: Receipt,
    /// The message after it.
    pub message: Message,
    /// What the write was about, as its first answer said it: the block, with
    /// the offset for appended text, or the task.
    pub detail: String,
}

impl Engine {
    /// Makes a write, once.
    pub async fn write(
        &self,
        request: &Request,
        command: &Command,
    ) -> Result<Written, EngineError> {
        let written = self.write_if(request, command, |_| true).await?;
        written.ok_or(EngineError::Contended)
    }

    /// Makes a write, once, if the changes that it comes to are wanted.
    pub(super) async fn write_if(
        &self,
        request: &Request,
        command: &Command,
        are_wanted: impl Fn(&[Change]) -> bool,
    ) -> Result<Option<Written>, EngineError> {
        let mut names = clock::blob_names();
        let written = self.write_named(request, command, are_wanted, &mut names);
        let written = written.await;
        self.leave(names, &written).await;
        written
    }

    /// The same, with names for the content in it.
    async fn write_named(
        &self,
        request: &Request,
        command: &Command,
        are_wanted: impl Fn(&[Change]) -> bool,
        names: &mut BlobNames,
    ) -> Result<Option<Written>, EngineError> {
        for round in 0..DECISIONS_MAX {
            if round > 4 {
                sleep(DECISION_DELAY).await;
            }
            let loaded = self.load_for(&request.principal, &request.message).await?;
            if let Some(written) = recall(request, &loaded)? {
                return Ok(Some(written));
            }
            let now = clock::now();
            let changes = loaded.message.decide(command, &request.right, now)?;
            let detail = detail(command, &request.right, &loaded.message, &changes);
            if changes.is_empty() {
                return Ok(Some(repeated(loaded.message, detail)));
            }
            if !are_wanted(&changes) {
                return Ok(None);
            }
            self.check_room(&changes).await?;
            if command.adds() {
                check_fits(&loaded.message, &changes, now)?;
            }
            let mut before = loaded.message.clone();
            if !command.is_of_writer() || request.right.attempt.is_some() {
                before.visited(now);
            }
            let repeat = request.repeat.as_ref();
            let repeat = repeat.map(|(id, print)| (id, print.as_str(), detail.as_str()));
            let committed = self
                .commit_named(&loaded, before, changes, repeat, now, names)
                .await?;
            if let Some(message) = committed {
                return Ok(Some(Written {
                    receipt: Receipt::of(&message),
                    message,
                    detail,
                }));
            }
        }
        Err(EngineError::Contended)
    }

    /// Writes what was decided on a loaded message: `before`, in which only the
    /// right to write may be another, with these changes. None where the decision
    /// no longer stands.
    pub(super) async fn commit(
        &self,
        loaded: &Loaded,
        before: Message,
        changes: Vec<Change>,
        request: Option<(&RequestId, &str, &str)>,
        now: Time,
    ) -> Result<Option<Message>, EngineError> {
        let mut names = clock::blob_names();
        let committed = self
            .commit_named(loaded, before, changes, request, now, &mut names)
            .await;
        self.leave(names, &committed).await;
        committed
    }

    /// Throws away what was brought to Redis under these names and is not referred
    /// to, now that a write is over.
    pub(super) async fn leave<T>(&self, names: BlobNames, outcome: &Result<T, EngineError>) {
        // Who waits for a Redis that is away has waited long enough.
        let is_away = matches!(outcome, Err(EngineError::Store(error)) if error.is_absence());
        if !is_away {
            self.store.unstage(&names.into_left()).await;
        }
    }

    /// The same, with names for the content in it.
    pub(super) async fn commit_named(
        &self,
        loaded: &Loaded,
        before: Message,
        mut changes: Vec<Change>,
        request: Option<(&RequestId, &str, &str)>,
        now: Time,
        names: &mut BlobNames,
    ) -> Result<Option<Message>, EngineError> {
        let blobs = offload(Some(&loaded.message), &mut changes, names);
        let mut after = before;
        apply_all(&mut after, &changes, now);
        let commit = Commit {
            before: Some(loaded),
            after: &after,
            changes: &changes,
            time: now,
            blobs: &blobs,
            request,
        };
        match self.store.commit(commit).await? {
            Committed::Done(sequence) => {
                names.keep();
                // Text that others appended meanwhile has moved our events on.
                after.head.sequence = sequence.max(after.head.sequence);
                self.loopback.committed(
                    &after,
                    &changes,
                    Cursor {
                        sequence,
                        time: now,
                    },
                );
                self.follow_tickets(Some(&loaded.message), &after).await;
                Ok(Some(after))
            }
            Committed::Conflict | Committed::Exists => Ok(None),
            Committed::Missing => Err(Refusal::MessageUnknown(after.id).into()),
        }
    }

    /// Loads a message that `principal` may touch.
    pub(super) async fn load_for(
        &self,
        principal: &Principal,
        id: &MessageId,
    ) -> Result<Loaded, EngineError> {
        let unknown = || Refusal::MessageUnknown(id.clone());
        let loaded = self.store.load(id).await?.ok_or_else(unknown)?;
        principal.authorize(&loaded.message.user, unknown())?;
        Ok(loaded)
    }
}

fn recall(request: &Request, loaded: &Loaded) -> Result<Option<Written>, EngineError> {
    let Some((id, fingerprint)) = &request.repeat else {
        return Ok(None);
    };
    match loaded.recall(id)? {
        None => Ok(None),
        Some(repeat) if repeat.fingerprint == *fingerprint => Ok(Some(Written {
            receipt: Receipt::of_repeat(repeat.cursor, loaded.message.cancel_requested()),
            message: loaded.message.clone(),
            detail: repeat.detail,
        })),
        Some(_) => Err(Refusal::RequestIdReused.into()),
    }
}

/// What the answer to a write, and to its repeat, names besides the place: the
/// block or the task that it is about.
fn detail(command: &Command, right: &Right, message: &Message, changes: &[Change]) -> String {
    match command {
        Command::AppendText(append) => append::detail(append, right, message, changes),
        Command::AddContent(block) => block.id.to_string(),
        Command::StartTask(StartTask { id, .. })
        | Command::UpdateTask(UpdateTask { id, .. })
        | Command::CancelTask { id, .. } => id.to_string(),
        Command::UpdateContent(_)
        | Command::Publish { .. }
        | Command::End { .. }
        | Command::RequestCancel { .. } => String::new(),
    }
}

/// The answer to a write that the message itself shows to have been made.
fn repeated(message: Message, detail: String) -> Written {
    Written {
        receipt: Receipt {
            deduplicated: true,
            ..Receipt::of(&message)
        },
        message,
        detail,
    }
}

/// Refuses changes that would make a message too large to be sent. Asked only of what
/// adds to it: there is room left for what ends it, and its tasks.
pub(super) fn check_fits(message: &Message, changes: &[Change], now: Time) -> Result<(), Refusal> {
    if message.blocks.len() + message.tasks.len() + changes.len() <= ITEMS_SMALL {
        return Ok(());
    }
    let mut after = message.clone();
    apply_all(&mut after, changes, now);
    check_size(after.blocks.iter(), after.tasks.iter())
}

/// Refuses what would be too large to be sent, whatever of its content is left out.
pub(super) fn check_size<'a>(
    blocks: impl ExactSizeIterator<Item = &'a Block>,
    tasks: impl ExactSizeIterator<Item = &'a Task>,
) -> Result<(), Refusal> {
    let is_small = blocks.len() + tasks.len() <= ITEMS_SMALL;
    if !is_small && size_beside_content(blocks, tasks) > BESIDE_CONTENT_BYTES_MAX {
        return Err(Refusal::LimitExceeded {
            what: "bytes of the message beside its content",
            max: BESIDE_CONTENT_BYTES_MAX as u64,
        });
    }
    Ok(())
}

/// Applies changes as the events that follow the message's head.
pub(super) fn apply_all(message: &mut Message, changes: &[Change], time: Time) {
    for change in changes {
        message.apply(&Event {
            sequence: message.head.sequence + 1,
            time,
            change: change.clone(),
        });
    }
}
