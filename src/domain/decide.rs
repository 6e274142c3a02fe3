//! The rules of a message: which changes a command causes, or why none.

use super::{
    Metadata, Time,
    command::{AppendText, Command, CreateMessage, NewBlock, Right, StartTask, UpdateContent},
    content::{Block, BlockState, Content, Textual},
    event::{Change, Decision},
    ids::{BlockId, TaskId},
    limits,
    message::{EndReason, Message, MessageState},
    refusal::{Refusal, within},
    task::TaskStatus,
    work,
};

/// The changes that make a message.
pub fn create(command: &CreateMessage, now: Time) -> Vec<Change> {
    let mut changes = vec![Change::Started {
        role: command.role,
        metadata: command.metadata.clone(),
        parent: command.parent.clone(),
    }];
    changes.extend(
        command
            .blocks
            .iter()
            .flat_map(|block| added(block, None, now)),
    );
    if command.complete {
        changes.push(ended(MessageState::Completed, EndReason::Client, ""));
    }
    changes
}

/// The changes that make a message with a task in it.
pub fn create_with_task(message: &CreateMessage, task: &StartTask, now: Time) -> Vec<Change> {
    let mut changes = create(message, now);
    changes.extend(work::started(task, now));
    changes
}

impl Message {
    /// The changes that `command` causes; none where it was carried out before.
    ///
    /// Repeats come first, then an ended message, the lease of the task that it
    /// is made under or else the fence, and the rules of blocks and tasks.
    pub fn decide(&self, command: &Command, right: &Right, now: Time) -> Decision {
        if self.has_carried_out(command, now) {
            return Ok(Vec::new());
        }
        if self.is_terminal() {
            return Err(Refusal::MessageTerminal { state: self.state });
        }
        let task = match &right.attempt {
            Some(attempt) => Some(&self.leased_task(attempt)?.id),
            None if command.is_of_writer() && right.fence != self.fence => {
                return Err(Refusal::WriterFenced { fence: right.fence });
            }
            None => None,
        };
        match command {
            Command::AppendText(append) => self.append(append, task, now),
            Command::AddContent(block) => self.add(block, task, now),
            Command::UpdateContent(update) => self.update(update, task, now),
            Command::Publish { name, data } => Ok(vec![Change::Custom {
                name: name.clone(),
                data: data.clone(),
            }]),
            Command::End { state, error } => Ok(self.end(*state, EndReason::Client, error, now)),
            Command::StartTask(start) => self.start_task(start, now),
            Command::UpdateTask(update) => self.update_task(update, now),
            Command::CancelTask { id, reason } => self.cancel_task(id, reason, now),
            Command::RequestCancel { reason, grace } => Ok(vec![Change::CancelRequested {
                reason: reason.clone(),
                deadline: now + *grace,
            }]),
        }
    }

    /// Whether the message shows that the command was carried out: only for
    /// those that end something, which need no request id for it.
    fn has_carried_out(&self, command: &Command, now: Time) -> bool {
        match command {
            Command::End { state, .. } => self.state == *state,
            Command::CancelTask { id, .. } => self
                .task(id)
                .is_some_and(|task| task.status == TaskStatus::Cancelled),
            // Another request can only bring the deadline forward.
            Command::RequestCancel { grace, .. } => {
                let deadline = self.cancel_deadline;
                self.is_terminal() || deadline.is_some_and(|deadline| deadline <= now + *grace)
            }
            Command::UpdateTask(update) => self.has_updated(update),
            _ => false,
        }
    }

    fn append(&self, append: &AppendText, task: Option<&TaskId>, now: Time) -> Decision {
        let tail = match &append.block {
            None => self.tail_of(task),
            Some(id) => Some(self.block_of(id, task)?),
        };
        let content = tail.and_then(|block| block.content.as_ref());
        let text = content.and_then(Content::text);
        let length = content.map_or(0, Content::size);
        match append.expected_offset {
            Some(offset) if text.is_some_and(|text| holds(text, offset, &append.delta)) => {
                return Ok(Vec::new());
            }
            Some(offset) if offset != length => {
                return Err(Refusal::OffsetMismatch { offset, length });
            }
            _ => {}
        }
        let (mut changes, block, text) = match tail {
            None => {
                within("blocks", self.blocks.len() + 1, limits::BLOCKS_MAX)?;
                let text = open_block(&append.new_block, task, now);
                (vec![Change::ContentAdded(text)], &append.new_block, "")
            }
            Some(block) if append.block.is_none() && block.state == BlockState::Placeholder => {
                let text = open_in_place(block, now);
                (vec![Change::ContentUpdated(text)], &block.id, "")
            }
            Some(block) => {
                let text = block.open_text().ok_or_else(|| closed(block))?;
                (Vec::new(), &block.id, text)
            }
        };
        within(
            "bytes of the block",
            text.len() + append.delta.len(),
            limits::BLOCK_BYTES_MAX,
        )?;
        changes.push(Change::TextAppended {
            block: block.clone(),
            offset: length,
            delta: append.delta.clone(),
        });
        Ok(changes)
    }

    /// A block that a write may name: under a lease one of the task.
    fn block_of(&self, id: &BlockId, task: Option<&TaskId>) -> Result<&Block, Refusal> {
        let block = self.block(id).ok_or(Refusal::BlockUnknown(id.clone()))?;
        match task {
            Some(_) if block.task.as_ref() != task => Err(Refusal::BlockNotLeased(id.clone())),
            _ => Ok(block),
        }
    }

    /// Where text goes that names no block.
    fn tail_of(&self, task: Option<&TaskId>) -> Option<&Block> {
        let Some(task) = task else {
            return self.tail();
        };
        self.task_tail(task).or_else(|| {
            let placeholder = self.block(&self.task(task)?.block)?;
            Some(placeholder).filter(|block| block.is_awaited_text())
        })
    }

    fn add(&self, block: &NewBlock, task: Option<&TaskId>, now: Time) -> Decision {
        if self.block(&block.id).is_some() {
            return Err(Refusal::BlockExists(block.id.clone()));
        }
        within("blocks", self.blocks.len() + 1, limits::BLOCKS_MAX)?;
        Ok(added(block, task, now))
    }

    fn update(&self, update: &UpdateContent, task: Option<&TaskId>, now: Time) -> Decision {
        let old = self.block_of(&update.id, task)?;
        let content = match (&update.content, &old.content) {
            _ if old.state != BlockState::Open => return Err(closed(old)),
            (Some(new), _) if Some(new.kind()) != old.kind => {
                return Err(Refusal::BlockKind(old.id.clone()));
            }
            (Some(new), _) => new.clone(),
            (None, Some(old)) => old.clone(),
            (None, None) => return Err(closed(old)),
        };
        let mut block = Block {
            metadata: update.metadata.clone().unwrap_or(old.metadata.clone()),
            update_time: now,
            ..old.clone()
        };
        if !update.open {
            if !content.is_sound() {
                return Err(Refusal::BlockNotJson(old.id.clone()));
            }
            block.state = BlockState::Sealed;
            block.content = Some(content);
            return Ok(vec![Change::ContentUpdated(block)]);
        }
        Ok(with_text(Change::ContentUpdated, block, content))
    }

    /// The changes that end the message.
    pub(super) fn end(
        &self,
        state: MessageState,
        reason: EndReason,
        error: &str,
        now: Time,
    ) -> Vec<Change> {
        self.end_without(None, state, reason, error, now)
    }

    /// The same, where one of the tasks has just ended.
    pub(super) fn end_without(
        &self,
        task: Option<&TaskId>,
        state: MessageState,
        reason: EndReason,
        error: &str,
        now: Time,
    ) -> Vec<Change> {
        let others = self.open_tasks().filter(|open| Some(&open.id) != task);
        let mut changes: Vec<_> = others.flat_map(|open| self.cancelled(open, now)).collect();
        if !error.is_empty() {
            let message = error.to_owned();
            changes.push(Change::Failed { message });
        }
        changes.push(ended(state, reason, error));
        changes
    }
}

/// The changes that add a block. An open one begins empty, and its first text
/// follows as any other does.
fn added(new: &NewBlock, task: Option<&TaskId>, now: Time) -> Vec<Change> {
    let block = Block {
        id: new.id.clone(),
        state: BlockState::Sealed,
        kind: Some(new.content.kind()),
        metadata: new.metadata.clone(),
        task: task.cloned(),
        error: None,
        create_time: now,
        update_time: now,
        content: Some(new.content.clone()),
    };
    if !new.open {
        return vec![Change::ContentAdded(block)];
    }
    let block = Block {
        state: BlockState::Open,
        ..block
    };
    with_text(Change::ContentAdded, block, new.content.clone())
}

/// A change that leaves `block` open and empty, and the appends that fill it.
fn with_text(change: fn(Block) -> Change, mut block: Block, mut content: Content) -> Vec<Change> {
    let text = content.text_mut().map(std::mem::take).unwrap_or_default();
    let id = block.id.clone();
    block.content = Some(content);
    let mut changes = vec![change(block)];
    let mut offset = 0;
    while offset < text.len() {
        let end = text.floor_char_boundary(offset + limits::DELTA_BYTES_MAX);
        changes.push(Change::TextAppended {
            block: id.clone(),
            offset: offset as u64,
            delta: text[offset..end].to_owned(),
        });
        offset = end;
    }
    changes
}

fn open_block(id: &BlockId, task: Option<&TaskId>, now: Time) -> Block {
    let content = Content::Textual(Textual::empty_text());
    Block {
        id: id.clone(),
        state: BlockState::Open,
        kind: Some(content.kind()),
        metadata: Metadata::new(),
        task: task.cloned(),
        error: None,
        create_time: now,
        update_time: now,
        content: Some(content),
    }
}

/// The placeholder of a task whose result is streamed.
fn open_in_place(placeholder: &Block, now: Time) -> Block {
    Block {
        state: BlockState::Open,
        update_time: now,
        content: Some(Content::Textual(Textual::empty_text())),
        ..placeholder.clone()
    }
}

fn ended(state: MessageState, reason: EndReason, error: &str) -> Change {
    Change::Ended {
        state,
        reason,
        error: error.to_owned(),
        sealed: Vec::new(),
    }
}

/// Why a block that is not open, or holds no text, takes none.
fn closed(block: &Block) -> Refusal {
    match block.state {
        BlockState::Open => Refusal::BlockKind(block.id.clone()),
        BlockState::Sealed => Refusal::BlockSealed(block.id.clone()),
        BlockState::Placeholder => Refusal::BlockPlaceholder(block.id.clone()),
    }
}

/// Whether `delta` stands in `text` at `offset` already.
fn holds(text: &str, offset: u64, delta: &str) -> bool {
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|offset| text.as_bytes().get(offset..));
    rest.is_some_and(|rest| rest.starts_with(delta.as_bytes()))
}
