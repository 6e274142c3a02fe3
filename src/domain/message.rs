//! A message: the state that its log adds up to.
//!
//! `apply` is the only place where state follows from a change. What is stored
//! is what `apply` made; folding the log gives the same.

use std::time::Duration;

use super::{
    Metadata, Time,
    content::{Block, BlockState, Content, ContentKind},
    cursor::Cursor,
    event::{Change, Event},
    ids::{BlockId, Label, MessageId, SessionId, TaskId, UserId},
    task::Task,
};

pub use super::state::{EndReason, MessageState, Role};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Unique in the service.
    pub id: MessageId,
    /// The conversation it belongs to.
    pub session: SessionId,
    /// Who owns that conversation.
    pub user: UserId,
    /// Who speaks.
    pub role: Role,
    /// Whether it is still being written.
    pub state: MessageState,
    /// What it says, in order.
    pub blocks: Vec<Block>,
    /// Work started in it, in order.
    pub tasks: Vec<Task>,
    /// What the product keeps with it.
    pub metadata: Metadata,
    /// The message that it answers or replaces.
    pub parent: Option<MessageId>,
    /// When it was created.
    pub create_time: Time,
    /// When and why it ended.
    pub ending: Option<Ending>,
    /// Which writer may write; 0 where anybody may.
    pub fence: u64,
    /// Who that is; none where anybody may, or nobody. A right, no part of the
    /// conversation: neither it nor the fence is in the log.
    pub lease: Option<Lease>,
    /// When the message is cancelled, where somebody asked for that.
    pub cancel_deadline: Option<Time>,
    /// The last event.
    pub head: Cursor,
}

/// The right of one writer to write a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who has it.
    pub writer: Label,
    /// How long it lasts after the writer's last sign of life.
    pub ttl: Duration,
    /// How long it can still be renewed after that.
    pub grace: Duration,
    /// When it was taken or renewed. Events that were written since renew it as
    /// well.
    pub renewed: Time,
    /// Time of the last event that somebody else wrote, which does not.
    pub others: Option<Time>,
}

/// When and why a message ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// When.
    pub time: Time,
    /// Why.
    pub reason: EndReason,
    /// What went wrong.
    pub error: String,
}

impl Message {
    /// The message that its first event makes.
    ///
    /// Session and user are not in the log of a message, since every event
    /// would repeat them.
    pub fn started(id: MessageId, session: SessionId, user: UserId, first: &Event) -> Option<Self> {
        let Change::Started {
            role,
            metadata,
            parent,
        } = &first.change
        else {
            return None;
        };
        Some(Self {
            id,
            session,
            user,
            role: *role,
            state: MessageState::Streaming,
            blocks: Vec::new(),
            tasks: Vec::new(),
            metadata: metadata.clone(),
            parent: parent.clone(),
            create_time: first.time,
            ending: None,
            fence: 0,
            lease: None,
            cancel_deadline: None,
            head: first.cursor(),
        })
    }

    /// Takes in the next event of the log.
    pub fn apply(&mut self, event: &Event) {
        self.head = event.cursor();
        match &event.change {
            Change::Started { .. } | Change::Failed { .. } | Change::Custom { .. } => {}
            Change::TextAppended { block, delta, .. } => {
                if let Some(text) = self.text_mut(block) {
                    text.push_str(delta);
                }
            }
            Change::ContentAdded(block) => self.blocks.push(block.clone()),
            Change::ContentUpdated(block) => {
                if let Some(old) = self.blocks.iter_mut().find(|old| old.id == block.id) {
                    *old = block.clone();
                }
            }
            Change::TaskStarted(task) => self.tasks.push(task.clone()),
            Change::TaskProgressed(task)
            | Change::TaskCompleted(task)
            | Change::TaskFailed(task)
            | Change::TaskCancelled(task) => {
                if let Some(old) = self.tasks.iter_mut().find(|old| old.id == task.id) {
                    *old = task.clone();
                }
            }
            Change::CancelRequested { deadline, .. } => self.cancel_deadline = Some(*deadline),
            Change::Ended {
                state,
                reason,
                error,
                sealed,
            } => {
                self.state = *state;
                self.ending = Some(Ending {
                    time: event.time,
                    reason: *reason,
                    error: error.clone(),
                });
                self.seal_open_blocks(sealed);
            }
        }
    }

    fn seal_open_blocks(&mut self, stored: &[(BlockId, super::content::ContentRef)]) {
        let open = self
            .blocks
            .iter_mut()
            .filter(|block| block.state == BlockState::Open);
        for block in open {
            block.state = BlockState::Sealed;
            let reference = stored.iter().find(|(id, _)| *id == block.id);
            if let (Some((_, reference)), Some(content)) = (reference, &mut block.content) {
                content.store_at(reference.clone());
            }
        }
    }

    fn text_mut(&mut self, id: &BlockId) -> Option<&mut String> {
        let block = self.blocks.iter_mut().find(|block| block.id == *id)?;
        block.content.as_mut().and_then(Content::text_mut)
    }

    /// Whether nothing can follow.
    pub fn is_terminal(&self) -> bool {
        self.state != MessageState::Streaming
    }

    /// Whether somebody asked that it be cancelled.
    pub fn cancel_requested(&self) -> bool {
        self.cancel_deadline.is_some()
    }

    /// The block of this id.
    pub fn block(&self, id: &BlockId) -> Option<&Block> {
        self.blocks.iter().find(|block| block.id == *id)
    }

    /// The task of this id.
    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == *id)
    }

    /// Tasks that have not ended.
    pub fn open_tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| !task.status.is_terminal())
    }

    /// The blocks that text can be appended to.
    pub fn open_blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks
            .iter()
            .filter(|block| block.state == BlockState::Open)
    }

    /// The block that text goes to where an append names none.
    pub fn tail(&self) -> Option<&Block> {
        let last = self.blocks.last()?;
        (last.is_open_text() && last.task.is_none()).then_some(last)
    }

    /// The same under the lease of a task: the task's last block, or else its
    /// result, which takes the placeholder's place.
    pub fn task_tail(&self, task: &TaskId) -> Option<&Block> {
        let mut blocks = self.blocks.iter().rev();
        let last = blocks.find(|block| block.task.as_ref() == Some(task))?;
        let result = || self.block(&self.task(task)?.block);
        [Some(last), result()]
            .into_iter()
            .flatten()
            .find(|block| block.is_open_text())
    }

    /// The blocks whose texts, joined, are the message's text.
    pub fn text_blocks(&self) -> impl Iterator<Item = &Block> {
        self.blocks
            .iter()
            .filter(|block| block.kind == Some(ContentKind::Text))
    }
}
