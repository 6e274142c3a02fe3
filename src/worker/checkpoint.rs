//! What an attempt leaves for the next one: which blocks hold finished work, and what
//! the task has used. The work itself lies in the blocks.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tracing::warn;

use super::{
    budget::Meter,
    client::{CallError, Client},
    values::{from_struct, to_struct},
};
use crate::proto::{
    self as v1, BlockState, ContentBlock, TaskUsage, content_block::Content, json_content,
    text_content, thinking_content, tool_call_content, tool_result_content,
};

/// What a workflow's state may have, in bytes of JSON. The service takes 16 KiB; the
/// rest is for what was used, and for numbers that it writes longer.
const STATE_BYTES_MAX: usize = 16 * 1024 - 256;
/// What a checkpoint may name.
const BLOCKS_MAX: usize = 1_000;

/// What is in a checkpoint, beside the workflow's own state.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Saved {
    #[serde(default)]
    usage: SavedUsage,
    #[serde(default)]
    state: Value,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct SavedUsage {
    model_calls: u32,
    input_tokens: u64,
    output_tokens: u64,
    tool_calls: u32,
}

/// What the attempts before have left.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) usage: TaskUsage,
    state: Value,
}

impl Left {
    /// One that can't be read is as if there were none.
    pub(super) fn read(checkpoint: Option<&prost_types::Struct>) -> Self {
        let saved = checkpoint.map(|checkpoint| serde_json::from_value(from_struct(checkpoint)));
        let saved: Saved = match saved {
            Some(Ok(saved)) => saved,
            Some(Err(error)) => {
                warn!(%error, "ignoring a checkpoint that can't be read");
                Saved::default()
            }
            None => Saved::default(),
        };
        Self {
            usage: TaskUsage {
                model_calls: saved.usage.model_calls,
                input_tokens: saved.usage.input_tokens,
                output_tokens: saved.usage.output_tokens,
                tool_calls: saved.usage.tool_calls,
            },
            state: saved.state,
        }
    }

    /// The workflow's state, where there is one: an empty one where it is not understood.
    pub(super) fn state<S: Default + DeserializeOwned>(&self) -> Option<S> {
        let is_there = !self.state.is_null();
        is_there.then(|| serde_json::from_value(self.state.clone()).unwrap_or_default())
    }
}

/// Saves the progress of one attempt.
pub(super) struct Checkpoints {
    client: Client,
    worker_id: String,
    task: v1::Task,
    /// The workflow's state and the blocks that it names; none as long as nobody has
    /// looked at what the attempts before have left.
    last: Mutex<Option<(Value, Vec<String>)>>,
}

impl Checkpoints {
    pub(super) fn new(client: &Client, worker_id: &str, task: &v1::Task, left: &Left) -> Self {
        let nothing = left.state.is_null().then(Default::default);
        Self {
            client: client.clone(),
            worker_id: worker_id.to_owned(),
            task: task.clone(),
            last: Mutex::new(nothing),
        }
    }

    /// Goes on from a state that the attempts before have left, perhaps an empty one
    /// where theirs could not be read. It is saved with the next that is used.
    pub(super) fn adopt<S: Serialize>(&self, state: &S, kept: Vec<String>) {
        let state = serde_json::to_value(state).unwrap_or_default();
        *self.last() = Some((state, kept));
    }

    /// Saves a state, and keeps the blocks that it names. One that is too large is not
    /// saved, and the one before stays: then the next attempt has more to do.
    pub(super) async fn save<S: Serialize>(
        &self,
        state: &S,
        kept: Vec<String>,
        meter: &Meter,
    ) -> Result<(), CallError> {
        let state = serde_json::to_value(state).unwrap_or_default();
        match fits(&state, &kept) {
            true => *self.last() = Some((state, kept)),
            false => warn!(
                task.id = self.task.task_id,
                "a checkpoint is too large to save"
            ),
        }
        self.save_usage(meter).await
    }

    /// The same state as before, with what was used since.
    pub(super) async fn save_usage(&self, meter: &Meter) -> Result<(), CallError> {
        let Some((state, kept)) = self.last().clone() else {
            return Ok(());
        };
        let used = meter.used();
        let checkpoint = json!({
            "usage": SavedUsage {
                model_calls: used.model_calls,
                input_tokens: used.input_tokens,
                output_tokens: used.output_tokens,
                tool_calls: used.tool_calls,
            },
            "state": state,
        });
        let renewal = v1::TaskRenewal {
            message_id: self.task.message_id.clone(),
            task_id: self.task.task_id.clone(),
            attempt: self.task.attempt,
            checkpoint: Some(to_struct(checkpoint)),
            kept_block_ids: kept,
            ..Default::default()
        };
        let request = v1::RenewTaskRequest {
            worker_id: self.worker_id.clone(),
            renewals: vec![renewal],
        };
        self.client.renew(request).await.map(drop)
    }

    /// What the blocks hold that the attempts before have kept.
    pub(super) async fn kept(&self) -> Result<Kept, CallError> {
        let message = self.client.message(&self.task.message_id).await?;
        let is_kept = |block: &ContentBlock| {
            block.task_id == self.task.task_id
                && block.block_id != self.task.block_id
                && block.state() == BlockState::Sealed
                && block.content.is_some()
        };
        let blocks = message.blocks.into_iter().filter(is_kept);
        Ok(Kept {
            client: self.client.clone(),
            message_id: self.task.message_id.clone(),
            blocks: blocks
                .map(|block| (block.block_id.clone(), block))
                .collect(),
        })
    }

    fn last(&self) -> MutexGuard<'_, Option<(Value, Vec<String>)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the service takes it as a checkpoint.
fn fits(state: &Value, kept: &[String]) -> bool {
    state.to_string().len() <= STATE_BYTES_MAX && kept.len() <= BLOCKS_MAX
}

/// Blocks that the attempts before have written.
pub(super) struct Kept {
    client: Client,
    message_id: String,
    blocks: HashMap<String, ContentBlock>,
}

impl Kept {
    /// Where a block is, if it is still there.
    pub(super) fn block(&self, id: &str) -> Option<&ContentBlock> {
        self.blocks.get(id)
    }

    /// The text of a block; none where it is gone.
    pub(super) async fn text(&self, id: &str) -> Result<Option<String>, CallError> {
        let Some(block) = self.block(id) else {
            return Ok(None);
        };
        match block.content.as_ref().and_then(inline_text) {
            Some(text) => Ok(Some(text.to_owned())),
            None => match self.client.text_of(&self.message_id, id).await {
                Err(CallError::Gone(_)) => Ok(None),
                text => text.map(Some),
            },
        }
    }
}

/// The text of a block's content, where it is sent along.
pub(super) fn inline_text(content: &Content) -> Option<&str> {
    match content {
        Content::Text(content) => match content.source.as_ref()? {
            text_content::Source::Text(text) => Some(text),
            text_content::Source::ContentRef(_) => None,
        },
        Content::Json(content) => match content.source.as_ref()? {
            json_content::Source::Text(text) => Some(text),
            json_content::Source::ContentRef(_) => None,
        },
        Content::Thinking(content) => match content.source.as_ref()? {
            thinking_content::Source::Text(text) => Some(text),
            thinking_content::Source::ContentRef(_) => None,
        },
        Content::ToolCall(content) => match content.source.as_ref()? {
            tool_call_content::Source::Text(text) => Some(text),
            tool_call_content::Source::ContentRef(_) => None,
        },
        Content::ToolResult(content) => match content.source.as_ref()? {
            tool_result_content::Source::Text(text) => Some(text),
            tool_result_content::Source::ContentRef(_) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::worker::budget::Limits;

    #[tokio::test]
    async fn a_state_that_is_too_large_leaves_the_one_before() {
        let client = Client::connect("127.0.0.1:1").unwrap();
        let limits = Limits {
            tool_rounds: 1,
            parallel_tools: 1,
            parallel_subtasks: 1,
            calls: 1,
            tokens: 1,
            time: Duration::ZERO,
        };
        let meter = Meter::new(&limits, TaskUsage::default());
        let left = Left::default();
        let checkpoints = Checkpoints::new(&client, "w", &v1::Task::default(), &left);
        for (bytes, saved) in [(10, 10), (20_000, 10), (20, 20)] {
            // Nobody is there to take it, which changes nothing.
            let state = "x".repeat(bytes);
            let save = checkpoints.save(&state, Vec::new(), &meter);
            let _ = timeout(Duration::ZERO, save).await;
            let last = checkpoints.last().clone().unwrap().0;
            assert_eq!(last, json!("x".repeat(saved)), "{bytes}");
        }
    }

    #[test]
    fn a_checkpoint_that_cannot_be_read_is_none() {
        let other = to_struct(json!({"usage": 7, "state": {"rounds": "many"}}));
        let left = Left::read(Some(&other));
        assert_eq!(left.usage, TaskUsage::default());
        assert_eq!(left.state::<Vec<String>>(), None);
        let other = to_struct(json!({"state": {"rounds": "many"}}));
        let left = Left::read(Some(&other));
        assert_eq!(left.state::<Vec<String>>(), Some(Vec::new()));
    }
}
