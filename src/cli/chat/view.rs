//! A message as a person sees it come: its text as it is written, and of all else a
//! line each.
//!
//! Where nobody looks on, since stdout is a file or another program, the text is
//! written when the message has ended: by then it is what the message says, and not
//! what it began to say and took back.

use std::io;

use super::block::{Block, Source, is_tellable, source};
use crate::{
    cli::{
        terminal::{Look, Terminal, printable},
        words,
    },
    proto::{ContentBlock, Event, Message, Role, Task, TaskStatus, TextDelta, event::Payload},
};

/// What has been seen of one message.
#[derive(Default)]
pub(super) struct View {
    role: Role,
    blocks: Vec<Block>,
    /// A task that no worker has taken yet.
    is_waiting: bool,
    /// Why its task failed: its message says the same once more.
    failure: String,
}

impl View {
    /// Whether no worker has taken its task yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Shows what happened.
    pub(super) fn event(&mut self, event: &Event, terminal: &mut Terminal) -> io::Result<()> {
        match &event.payload {
            Some(Payload::MessageStart(start)) => {
                self.role = start.role();
                Ok(())
            }
            Some(Payload::TextDelta(delta)) => self.delta(delta, terminal),
            Some(Payload::ContentAdded(added)) => self.some(added.block.as_ref(), terminal),
            Some(Payload::ContentUpdated(updated)) => self.some(updated.block.as_ref(), terminal),
            Some(Payload::TaskStarted(started)) => self.task(started.task.as_ref(), terminal),
            Some(Payload::TaskProgress(progress)) => self.task(progress.task.as_ref(), terminal),
            Some(Payload::TaskCompleted(done)) => self.task(done.task.as_ref(), terminal),
            Some(Payload::TaskFailed(failed)) => self.task(failed.task.as_ref(), terminal),
            Some(Payload::TaskCancelled(done)) => self.task(done.task.as_ref(), terminal),
            Some(Payload::CancelRequested(_)) => terminal.aside(Look::Dim, "  cancelling"),
            Some(Payload::Error(error)) if error.message == self.failure => Ok(()),
            Some(Payload::Error(error)) => {
                terminal.aside(Look::Bad, format!("  {}", printable(&error.message)))
            }
            Some(Payload::MessageEnd(_) | Payload::Custom(_)) | None => Ok(()),
        }
    }

    /// Shows what is new in the message as it stands.
    pub(super) fn snapshot(
        &mut self,
        message: &Message,
        terminal: &mut Terminal,
    ) -> io::Result<()> {
        self.role = message.role();
        for block in &message.blocks {
            self.block(block, terminal)?;
        }
        for task in message.tasks.iter().filter(|task| task.end_time.is_none()) {
            self.task(Some(task), terminal)?;
        }
        Ok(())
    }

    /// The TEXT blocks of which something is missing, since it was not sent along.
    pub(super) fn missing(&self) -> Vec<String> {
        let is_short = |block: &&Block| {
            block.is_text
                && block
                    .size_elsewhere
                    .is_some_and(|size| size > block.text.len())
        };
        let short = self.blocks.iter().filter(is_short);
        short.map(|block| block.id.clone()).collect()
    }

    /// Shows what was missing of a block.
    pub(super) fn fill(
        &mut self,
        block_id: &str,
        text: &str,
        terminal: &mut Terminal,
    ) -> io::Result<()> {
        match self.find(block_id) {
            Some(at) => self.replace(at, text, terminal),
            None => Ok(()),
        }
    }

    /// Shows what is shown of a message that has ended.
    pub(super) fn finish(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        // What was not sealed before has been by the end.
        for at in 0..self.blocks.len() {
            if !self.blocks[at].text.is_empty() {
                self.tell(at, terminal)?;
            }
        }
        let texts = self.blocks.iter().filter(|block| block.is_text);
        let text: String = texts.map(|block| block.text.as_str()).collect();
        if self.role == Role::User {
            let line = terminal.paint(Look::Bold, format!("> {}", printable(&text)));
            return terminal.line(line);
        }
        if !terminal.is_live() {
            terminal.text(&text)?;
        }
        terminal.end_text()
    }

    fn delta(&mut self, delta: &TextDelta, terminal: &mut Terminal) -> io::Result<()> {
        let Some(at) = self.find(&delta.block_id) else {
            return Ok(());
        };
        let block = &mut self.blocks[at];
        // Several deltas in one may begin with what was seen.
        let offset = usize::try_from(delta.offset).unwrap_or(usize::MAX);
        let seen = block.text.len().saturating_sub(offset);
        let Some(new) = delta.delta.get(seen..) else {
            return Ok(());
        };
        block.text += new;
        match block.is_text {
            true => self.say(new, terminal),
            false => terminal.status(&block.status()),
        }
    }

    fn some(&mut self, block: Option<&ContentBlock>, terminal: &mut Terminal) -> io::Result<()> {
        match block {
            Some(block) => self.block(block, terminal),
            None => Ok(()),
        }
    }

    fn block(&mut self, block: &ContentBlock, terminal: &mut Terminal) -> io::Result<()> {
        let at = self.find(&block.block_id).unwrap_or_else(|| {
            self.blocks.push(Block::new(block));
            self.blocks.len() - 1
        });
        self.blocks[at].describe(block);
        match source(block) {
            Source::Elsewhere(size) => self.blocks[at].size_elsewhere = Some(size),
            Source::Here(text) if self.blocks[at].is_text => self.replace(at, text, terminal)?,
            Source::Nowhere if self.blocks[at].is_text => self.replace(at, "", terminal)?,
            Source::Here(text) => self.blocks[at].text = text.to_owned(),
            Source::Nowhere => self.blocks[at].text.clear(),
        }
        match is_tellable(block) {
            true => self.tell(at, terminal),
            false => Ok(()),
        }
    }

    /// The text of a block is now this.
    fn replace(&mut self, at: usize, text: &str, terminal: &mut Terminal) -> io::Result<()> {
        let before = std::mem::replace(&mut self.blocks[at].text, text.to_owned());
        self.blocks[at].size_elsewhere = None;
        let new = match text.strip_prefix(before.as_str()) {
            Some(new) => new,
            None => {
                if terminal.is_live() {
                    terminal.aside(Look::Dim, "  (taken back)")?;
                }
                text
            }
        };
        self.say(new, terminal)
    }

    /// Shows text of the message itself. What a person said is shown as a whole.
    fn say(&self, text: &str, terminal: &mut Terminal) -> io::Result<()> {
        match terminal.is_live() && self.role != Role::User && !text.is_empty() {
            true => terminal.text(text),
            false => Ok(()),
        }
    }

    /// Shows a line about a block, once. Not where it says what is on the screen
    /// already: a worker moves what it took for the answer out of the way.
    fn tell(&mut self, at: usize, terminal: &mut Terminal) -> io::Result<()> {
        let block = &self.blocks[at];
        if block.is_text || block.is_told {
            return Ok(());
        }
        let is_same = |other: &Block| other.is_text && other.text.trim() == block.text.trim();
        let is_shown = !block.text.is_empty() && self.blocks.iter().any(is_same);
        let line = block.line();
        self.blocks[at].is_told = true;
        match terminal.is_live() && is_shown {
            true => Ok(()),
            false => terminal.aside(Look::Dim, line),
        }
    }

    fn task(&mut self, task: Option<&Task>, terminal: &mut Terminal) -> io::Result<()> {
        let Some(task) = task else { return Ok(()) };
        self.is_waiting = task.status() == TaskStatus::Pending && task.attempt == 0;
        let outcome = task.outcome.as_ref().map(words::outcome);
        let outcome = outcome.unwrap_or_default();
        let line = |words: &[&str]| format!("  {}", printable(&words::joined(words)));
        match task.status() {
            TaskStatus::Unspecified => Ok(()),
            TaskStatus::Pending if task.error.is_empty() => terminal.status("waiting for a worker"),
            TaskStatus::Pending => terminal.aside(
                Look::Bad,
                line(&["attempt", &task.attempt.to_string(), "failed:", &task.error]),
            ),
            TaskStatus::Processing => {
                let progress = format!("{:.0} %", task.progress * 100.0);
                let doing = match task.status_text.as_str() {
                    "" => "working",
                    doing => doing,
                };
                terminal.status(&printable(&words::joined(&[doing, &progress])))
            }
            TaskStatus::Completed if outcome.is_empty() => Ok(()),
            TaskStatus::Completed => terminal.aside(Look::Dim, line(&[&outcome])),
            TaskStatus::Failed => {
                self.failure.clone_from(&task.error);
                terminal.aside(Look::Bad, line(&["failed:", &task.error, &outcome]))
            }
            TaskStatus::Cancelled if outcome.is_empty() => {
                terminal.aside(Look::Dim, "  (cancelled)")
            }
            TaskStatus::Cancelled => terminal.aside(Look::Dim, line(&[&outcome])),
        }
    }

    fn find(&self, block_id: &str) -> Option<usize> {
        self.blocks.iter().position(|block| block.id == block_id)
    }
}
