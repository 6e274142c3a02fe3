//! What an attempt writes into the task's message, under its lease.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{
    client::{CallError, Client},
    clock::{fresh_block, fresh_id},
    llm::request::ToolCall,
    stop::{Stop, StopSignal},
    tools::ToolAnswer,
    values::to_struct,
};
use crate::proto::{
    self as v1, BlockState, ContentBlock, WriteResult, content_block::Content, image_content,
    json_content, text_content, thinking_content, tool_call_content, tool_result_content,
};

/// What of a name fits into a block.
const NAME_BYTES_MAX: usize = 128;

/// Writes for one attempt. Its clones are the same attempt's.
#[derive(Clone)]
pub(super) struct Output(Arc<Inner>);

struct Inner {
    client: Client,
    task: v1::Task,
    signal: StopSignal,
    answer: Mutex<Answer>,
}

/// The answer as far as it has been streamed.
#[derive(Default)]
struct Answer {
    /// The block that it is streamed into, once it is.
    block_id: Option<String>,
    /// There is more in it than whitespace.
    has_words: bool,
}

impl Output {
    pub(super) fn new(client: &Client, task: &v1::Task, signal: &StopSignal) -> Self {
        Self(Arc::new(Inner {
            client: client.clone(),
            task: task.clone(),
            signal: signal.clone(),
            answer: Mutex::default(),
        }))
    }

    /// Adds to the answer; the first text takes the placeholder's place.
    pub(super) async fn append_answer(&self, delta: String) -> Result<(), CallError> {
        let has_words = !delta.trim().is_empty();
        let known = self.answer().block_id.clone().unwrap_or_default();
        let block_id = self.append_to(known, delta).await?;
        let mut answer = self.answer();
        answer.block_id = Some(block_id);
        answer.has_words |= has_words;
        Ok(())
    }

    pub(super) async fn append(&self, block_id: &str, delta: String) -> Result<(), CallError> {
        self.append_to(block_id.to_owned(), delta).await.map(drop)
    }

    async fn append_to(&self, block_id: String, delta: String) -> Result<String, CallError> {
        let append = v1::AppendTextRequest {
            message_id: self.0.task.message_id.clone(),
            block_id,
            delta,
            request_id: fresh_id(),
            lease: self.lease(),
            ..Default::default()
        };
        let answer = self.0.client.append(append).await?;
        self.heard(answer.result.as_ref());
        Ok(answer.block_id)
    }

    /// Whether some words of the answer have been streamed, and not taken back.
    pub(super) fn has_answer(&self) -> bool {
        self.answer().has_words
    }

    /// Moves what was streamed as the answer to a THINKING block of its own, since
    /// more is to come. Gives that block's id.
    pub(super) async fn withdraw_answer(
        &self,
        text: &str,
        stage: &str,
    ) -> Result<Option<String>, CallError> {
        let block_id = self.answer().block_id.clone();
        let Some(block_id) = block_id.filter(|_| !text.is_empty()) else {
            return Ok(None);
        };
        let moved = self.add(thinking(text), json!({"stage": stage})).await?;
        let empty = text_content::Source::Text(String::new());
        let block = ContentBlock {
            block_id,
            state: BlockState::Open.into(),
            content: Some(Content::Text(v1::TextContent {
                source: Some(empty),
            })),
            ..Default::default()
        };
        self.update(block).await?;
        self.answer().has_words = false;
        Ok(Some(moved))
    }

    /// Adds a THINKING block that grows. Gives its id.
    pub(super) async fn open_thinking(
        &self,
        stage: &str,
        text: String,
    ) -> Result<String, CallError> {
        let state = BlockState::Open;
        self.add_block(state, thinking(&text), json!({"stage": stage}))
            .await
    }

    pub(super) async fn seal(&self, block_id: &str) -> Result<(), CallError> {
        let block = ContentBlock {
            block_id: block_id.to_owned(),
            ..Default::default()
        };
        self.update(block).await
    }

    /// Adds a JSON document. Gives the block's id.
    pub(super) async fn add_json(&self, stage: &str, value: &Value) -> Result<String, CallError> {
        let source = json_content::Source::Text(value.to_string());
        let content = v1::JsonContent {
            source: Some(source),
        };
        self.add(Content::Json(content), json!({"stage": stage}))
            .await
    }

    /// Adds a model's wish to call a tool. Gives the block's id.
    pub(super) async fn add_call(&self, call: &ToolCall) -> Result<String, CallError> {
        let content = v1::ToolCallContent {
            source: Some(tool_call_content::Source::Text(call.arguments.clone())),
            call_id: call.id.clone(),
            name: cut(&call.name, NAME_BYTES_MAX).to_owned(),
        };
        self.add(Content::ToolCall(content), Value::Null).await
    }

    /// Adds what a tool answered, its images after its text. Gives the blocks' ids in
    /// that order.
    pub(super) async fn add_result(
        &self,
        call: &ToolCall,
        answer: &ToolAnswer,
    ) -> Result<Vec<String>, CallError> {
        let content = v1::ToolResultContent {
            source: Some(tool_result_content::Source::Text(answer.text.clone())),
            call_id: call.id.clone(),
            is_error: answer.is_error,
        };
        let mut ids = vec![self.add(Content::ToolResult(content), Value::Null).await?];
        for image in &answer.images {
            let content = v1::ImageContent {
                source: Some(image_content::Source::Data(image.data.clone())),
                media_type: cut(&image.media_type, NAME_BYTES_MAX).to_owned(),
                ..Default::default()
            };
            let of = json!({"call_id": call.id});
            ids.push(self.add(Content::Image(content), of).await?);
        }
        Ok(ids)
    }

    async fn add(&self, content: Content, metadata: Value) -> Result<String, CallError> {
        self.add_block(BlockState::Sealed, content, metadata).await
    }

    async fn add_block(
        &self,
        state: BlockState,
        content: Content,
        metadata: Value,
    ) -> Result<String, CallError> {
        let block = ContentBlock {
            block_id: fresh_block(),
            state: state.into(),
            metadata: metadata.is_object().then(|| to_struct(metadata)),
            content: Some(content),
            ..Default::default()
        };
        let add = v1::AddContentRequest {
            message_id: self.0.task.message_id.clone(),
            block: Some(block),
            request_id: fresh_id(),
            lease: self.lease(),
            ..Default::default()
        };
        let answer = self.0.client.add(add).await?;
        self.heard(answer.result.as_ref());
        Ok(answer.block_id)
    }

    async fn update(&self, block: ContentBlock) -> Result<(), CallError> {
        let update = v1::UpdateContentRequest {
            message_id: self.0.task.message_id.clone(),
            block: Some(block),
            request_id: fresh_id(),
            lease: self.lease(),
            ..Default::default()
        };
        let answer = self.0.client.update(update).await?;
        self.heard(answer.result.as_ref());
        Ok(())
    }

    fn lease(&self) -> Option<v1::TaskLease> {
        Some(v1::TaskLease {
            task_id: self.0.task.task_id.clone(),
            attempt: self.0.task.attempt,
        })
    }

    /// An answer to a write says whether to go on.
    fn heard(&self, result: Option<&WriteResult>) {
        if result.is_some_and(|result| result.cancel_requested) {
            self.0.signal.stop(Stop::CancelRequested);
        }
    }

    fn answer(&self) -> MutexGuard<'_, Answer> {
        self.0.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn thinking(text: &str) -> Content {
    let source = thinking_content::Source::Text(text.to_owned());
    Content::Thinking(v1::ThinkingContent {
        source: Some(source),
    })
}

/// As much of `text` as `bytes_max` bytes hold.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
