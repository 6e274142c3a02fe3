//! The rules of a message: which changes a command causes, or why none.

use super::{
    Metadata, Time,
    command::{
        AppendText, Command, CreateMessage, NewBlock, StartTask, UpdateContent, UpdateTask,
        placeholder,
    },
    content::{Block, BlockState, Body, Content, Textual},
    event::Change,
    ids::{BlockId, TaskId},
    limits,
    message::{EndReason, Message, MessageState},
    offload::sha256_hex,
    refusal::Refusal,
    task::{Task, TaskStatus},
};

type Decision = Result<Vec<Change>, Refusal>;

/// The changes that make a message.
pub fn create(command: &CreateMessage, now: Time) -> Vec<Change> {
    let mut changes = vec![Change::Started {
        role: command.role,
        metadata: command.metadata.clone(),
        parent: command.parent.clone(),
    }];
    changes.extend(command.blocks.iter().flat_map(|block| added(block, now)));
    if command.complete {
        changes.push(ended(MessageState::Completed, EndReason::Client, ""));
    }
    changes
}

impl Message {
    /// The changes that `command` causes; none where it was carried out before.
    ///
    /// Repeats come first, then an ended message, the fence, and the rules of
    /// blocks and tasks.
    pub fn decide(&self, command: &Command, fence: u64, now: Time) -> Decision {
        if self.has_carried_out(command, now) {
            return Ok(Vec::new());
        }
        if self.is_terminal() {
            return Err(Refusal::MessageTerminal { state: self.state });
        }
        if command.is_of_writer() && fence != self.fence {
            return Err(Refusal::WriterFenced { fence });
        }
        match command {
            Command::AppendText(append) => self.append(append, now),
            Command::AddContent(block) => self.add(block, now),
            Command::UpdateContent(update) => self.update(update, now),
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
            Command::UpdateTask(update) => self.task(&update.id).is_some_and(|task| {
                task.status.is_terminal()
                    && update.status == Some(task.status)
                    && update.attempt == task.attempt
                    && update.error == task.error
                    && says_the_same(task, update)
                    && self.holds_result(task, update)
            }),
            _ => false,
        }
    }

    /// Whether the task's block is what `update` would make it. An update
    /// without content leaves what there is, perhaps a preview.
    fn holds_result(&self, task: &Task, update: &UpdateTask) -> bool {
        let Some((metadata, content)) = &update.content else {
            return true;
        };
        self.block(&task.block).is_some_and(|block| {
            let held = block.content.as_ref();
            held.is_some_and(|held| held.same_as(content, sha256_hex))
                && (metadata.is_empty() || block.metadata == *metadata)
        })
    }

    fn append(&self, append: &AppendText, now: Time) -> Decision {
        let tail = match &append.block {
            None => self.tail(),
            Some(id) => Some(self.block(id).ok_or(Refusal::BlockUnknown(id.clone()))?),
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
                let text = open_block(&append.new_block, now);
                (vec![Change::ContentAdded(text)], &append.new_block, "")
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

    fn add(&self, block: &NewBlock, now: Time) -> Decision {
        if self.block(&block.id).is_some() {
            return Err(Refusal::BlockExists(block.id.clone()));
        }
        within("blocks", self.blocks.len() + 1, limits::BLOCKS_MAX)?;
        Ok(added(block, now))
    }

    fn update(&self, update: &UpdateContent, now: Time) -> Decision {
        let old = self
            .block(&update.id)
            .ok_or(Refusal::BlockUnknown(update.id.clone()))?;
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
        let mut changes: Vec<_> = self
            .open_tasks()
            .flat_map(|task| self.cancelled(task, "message ended", now))
            .collect();
        if !error.is_empty() {
            let message = error.to_owned();
            changes.push(Change::Failed { message });
        }
        changes.push(ended(state, reason, error));
        changes
    }

    fn start_task(&self, start: &StartTask, now: Time) -> Decision {
        if self.task(&start.id).is_some() {
            return Err(Refusal::TaskExists(start.id.clone()));
        }
        if self.block(&start.block).is_some() {
            return Err(Refusal::BlockExists(start.block.clone()));
        }
        within("blocks", self.blocks.len() + 1, limits::BLOCKS_MAX)?;
        within(
            "open tasks",
            self.open_tasks().count() + 1,
            limits::OPEN_TASKS_MAX,
        )?;
        let task = Task {
            id: start.id.clone(),
            kind: start.kind.clone(),
            params: start.params.clone(),
            status: TaskStatus::Pending,
            progress: 0.0,
            status_text: String::new(),
            attempt: 0,
            max_attempts: start.max_attempts,
            error: String::new(),
            block: start.block.clone(),
            create_time: now,
            update_time: now,
            end_time: None,
        };
        Ok(vec![
            Change::ContentAdded(placeholder(start, now)),
            Change::TaskStarted(task),
        ])
    }

    fn open_task(&self, id: &TaskId) -> Result<&Task, Refusal> {
        let task = self.task(id).ok_or(Refusal::TaskUnknown(id.clone()))?;
        if task.status.is_terminal() {
            return Err(Refusal::TaskTerminal {
                status: task.status,
            });
        }
        Ok(task)
    }

    fn update_task(&self, update: &UpdateTask, now: Time) -> Decision {
        let old = self.open_task(&update.id)?;
        if update.attempt != old.attempt {
            return Err(Refusal::TaskLeaseLost {
                attempt: update.attempt,
                current: old.attempt,
            });
        }
        if (old.status, update.status) == (TaskStatus::Processing, Some(TaskStatus::Pending)) {
            return Err(Refusal::TaskProcessing);
        }
        let status = update.status.unwrap_or(old.status);
        let task = Task {
            status,
            progress: match status {
                TaskStatus::Completed => 1.0,
                _ => update.progress.unwrap_or(0.0).max(old.progress),
            },
            status_text: update
                .status_text
                .clone()
                .unwrap_or(old.status_text.clone()),
            error: update.error.clone(),
            update_time: now,
            end_time: status.is_terminal().then_some(now),
            ..old.clone()
        };
        let mut changes = self.outcome(&task, update.content.as_ref(), now)?;
        changes.push(match status {
            TaskStatus::Pending | TaskStatus::Processing => Change::TaskProgressed(task),
            TaskStatus::Completed => Change::TaskCompleted(task),
            TaskStatus::Failed => Change::TaskFailed(task),
            TaskStatus::Cancelled => Change::TaskCancelled(task),
        });
        Ok(changes)
    }

    /// What becomes of the placeholder.
    fn outcome(&self, task: &Task, content: Option<&(Metadata, Content)>, now: Time) -> Decision {
        let Some(placeholder) = self.block(&task.block) else {
            return Err(Refusal::BlockUnknown(task.block.clone()));
        };
        if content.is_none() && !task.status.is_terminal() {
            return Ok(Vec::new());
        }
        let mut block = placeholder.clone();
        block.update_time = now;
        if task.status.is_terminal() {
            block.state = BlockState::Sealed;
        }
        block.error = match task.status {
            TaskStatus::Failed | TaskStatus::Cancelled => Some(task.error.clone()),
            _ => None,
        };
        if let Some((metadata, content)) = content {
            if !metadata.is_empty() {
                block.metadata = metadata.clone();
            }
            block.kind = Some(content.kind());
            block.content = Some(content.clone());
        }
        Ok(vec![Change::ContentUpdated(block)])
    }

    fn cancel_task(&self, id: &TaskId, reason: &str, now: Time) -> Decision {
        let task = self.open_task(id)?;
        Ok(self.cancelled(task, reason, now))
    }

    fn cancelled(&self, task: &Task, reason: &str, now: Time) -> Vec<Change> {
        let task = Task {
            status: TaskStatus::Cancelled,
            error: reason.to_owned(),
            update_time: now,
            end_time: Some(now),
            ..task.clone()
        };
        let mut changes = self.outcome(&task, None, now).unwrap_or_default();
        changes.push(Change::TaskCancelled(task));
        changes
    }
}

/// The changes that add a block. An open one begins empty, and its first text
/// follows as any other does.
fn added(new: &NewBlock, now: Time) -> Vec<Change> {
    let block = Block {
        id: new.id.clone(),
        state: BlockState::Sealed,
        kind: Some(new.content.kind()),
        metadata: new.metadata.clone(),
        task: None,
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

/// Whether what an update says of a task is what the task says of itself.
fn says_the_same(task: &Task, update: &UpdateTask) -> bool {
    let status_text = update.status_text.as_ref();
    status_text.is_none_or(|text| *text == task.status_text)
        && update
            .progress
            .is_none_or(|progress| progress <= task.progress)
}

fn open_block(id: &BlockId, now: Time) -> Block {
    let content = Content::Textual(Textual {
        body: Body::Inline(String::new()),
        ..Textual::empty_text()
    });
    Block {
        id: id.clone(),
        state: BlockState::Open,
        kind: Some(content.kind()),
        metadata: Metadata::new(),
        task: None,
        error: None,
        create_time: now,
        update_time: now,
        content: Some(content),
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

fn within(what: &'static str, wanted: usize, max: usize) -> Result<(), Refusal> {
    if wanted > max {
        let max = max as u64;
        return Err(Refusal::LimitExceeded { what, max });
    }
    Ok(())
}
