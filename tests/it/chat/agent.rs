//! An agent that does what the test says, by the public API alone.

use prost_types::{Struct, Value, value::Kind};
use throughline::proto::{self as v1, TaskStatus, content_block::Content};

use crate::support::{
    Clients, World, block, failure_of, lease_of, named, open, result_of, text_block, text_of,
    update_of,
};

/// A task that was claimed, and what is done for it.
pub struct Agent {
    pub task: v1::Task,
    clients: Clients,
}

impl Agent {
    /// Waits for a task of this workflow, at the second instance.
    pub async fn takes(world: &World, workflow: &str) -> Self {
        let clients = world.b();
        Self {
            task: clients.claim(workflow).await,
            clients,
        }
    }

    /// Writes to the answer.
    pub async fn says(&self, text: &str) {
        let append = text_of(&self.task, text);
        self.clients.append_with(append).await.unwrap();
    }

    /// Empties the answer: it was none yet.
    pub async fn takes_back(&self) {
        let update = v1::UpdateContentRequest {
            message_id: self.task.message_id.clone(),
            block: Some(named(&self.task.block_id, open(text_block("")))),
            lease: lease_of(&self.task),
            ..Default::default()
        };
        let mut messages = self.clients.messages.clone();
        messages.update_content(update).await.unwrap();
    }

    /// Adds a thought of this stage.
    pub async fn thinks(&self, stage: &str, text: &str) {
        let source = v1::thinking_content::Source::Text(text.to_owned());
        let thought = v1::ThinkingContent {
            source: Some(source),
        };
        let stage = Value {
            kind: Some(Kind::StringValue(stage.to_owned())),
        };
        let metadata = Struct {
            fields: [("stage".to_owned(), stage)].into(),
        };
        self.adds(v1::ContentBlock {
            metadata: Some(metadata),
            ..block(Content::Thinking(thought))
        })
        .await;
    }

    /// Calls a tool, which answers.
    pub async fn calls(&self, name: &str, arguments: &str, answer: &str) {
        let source = v1::tool_call_content::Source::Text(arguments.to_owned());
        let call = v1::ToolCallContent {
            source: Some(source),
            call_id: "call".to_owned(),
            name: name.to_owned(),
        };
        self.adds(block(Content::ToolCall(call))).await;
        let source = v1::tool_result_content::Source::Text(answer.to_owned());
        let result = v1::ToolResultContent {
            source: Some(source),
            call_id: "call".to_owned(),
            is_error: false,
        };
        self.adds(block(Content::ToolResult(result))).await;
    }

    /// Says what it is doing.
    pub async fn is_at(&self, status_text: &str, progress: f64) {
        self.updates(v1::UpdateTaskRequest {
            status_text: Some(status_text.to_owned()),
            progress: Some(progress),
            ..update_of(&self.task, TaskStatus::Processing)
        })
        .await;
    }

    /// Has answered.
    pub async fn is_done(&self) {
        self.updates(update_of(&self.task, TaskStatus::Completed))
            .await;
    }

    /// Has answered, all at once.
    pub async fn is_done_with(&self, text: &str) {
        self.updates(result_of(&self.task, text)).await;
    }

    /// Can't answer.
    pub async fn fails(&self, error: &str) {
        self.updates(v1::UpdateTaskRequest {
            retryable: false,
            retry_delay: None,
            ..failure_of(&self.task, error)
        })
        .await;
    }

    /// Can't answer this time.
    pub async fn fails_for_now(&self, error: &str) {
        self.updates(failure_of(&self.task, error)).await;
    }

    /// Stops, since it was asked to.
    pub async fn is_cancelled(&self) {
        self.updates(update_of(&self.task, TaskStatus::Cancelled))
            .await;
    }

    async fn adds(&self, block: v1::ContentBlock) {
        let add = v1::AddContentRequest {
            message_id: self.task.message_id.clone(),
            block: Some(block),
            lease: lease_of(&self.task),
            ..Default::default()
        };
        self.clients
            .messages
            .clone()
            .add_content(add)
            .await
            .unwrap();
    }

    async fn updates(&self, update: v1::UpdateTaskRequest) {
        self.clients.update_task(update).await.unwrap();
    }
}
