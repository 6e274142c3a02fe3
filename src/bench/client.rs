//! The service as a product's program would call it, and the calls that several
//! measurements make.

use std::time::Duration;

use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::BenchError;
use crate::{
    proto::{
        self as v1, message_service_client::MessageServiceClient,
        session_service_client::SessionServiceClient, task_service_client::TaskServiceClient,
        watch_message_response::Frame,
    },
    wire::values::duration_to_v1,
};

/// What a model's token is about: 24 bytes.
pub(super) const DELTA: &str = "twenty-four bytes a time";
/// The session that everything is written in.
pub(super) const SESSION: &str = "bench";
/// Largest delta that one append takes.
const DELTA_BYTES_MAX: usize = 256 * 1024;

/// One connection.
#[derive(Clone)]
pub(super) struct Client {
    sessions: SessionServiceClient<Channel>,
    messages: MessageServiceClient<Channel>,
    pub(super) tasks: TaskServiceClient<Channel>,
    health: HealthClient<Channel>,
}

impl Client {
    pub(super) async fn connect(address: &str) -> Result<Self, BenchError> {
        let channel = Endpoint::from_shared(address.to_owned())?
            .tcp_nodelay(true)
            .connect()
            .await?;
        Ok(Self {
            sessions: SessionServiceClient::new(channel.clone()),
            messages: MessageServiceClient::new(channel.clone()),
            tasks: TaskServiceClient::new(channel.clone()),
            health: HealthClient::new(channel),
        })
    }

    pub(super) async fn create_session(&self) -> Result<(), BenchError> {
        let request = v1::CreateSessionRequest {
            session_id: SESSION.to_owned(),
            user_id: SESSION.to_owned(),
            ..Default::default()
        };
        self.sessions.clone().create_session(request).await?;
        Ok(())
    }

    /// A new message, open to be written, by its id.
    pub(super) async fn create_message(&self) -> Result<String, BenchError> {
        let request = v1::CreateMessageRequest {
            session_id: SESSION.to_owned(),
            role: v1::Role::Assistant.into(),
            ..Default::default()
        };
        let response = self.messages.clone().create_message(request).await?;
        let message = response.into_inner().message.unwrap_or_default();
        Ok(message.message_id)
    }

    /// A new message whose open text has at least one byte, and about so many.
    pub(super) async fn create_message_of(&self, bytes: usize) -> Result<String, BenchError> {
        let message = self.create_message().await?;
        self.fill(&message, bytes).await?;
        Ok(message)
    }

    /// Appends at least one byte, and about so many.
    pub(super) async fn fill(&self, message: &str, bytes: usize) -> Result<(), BenchError> {
        let text = "x".repeat(bytes.max(1));
        for delta in text.as_bytes().chunks(DELTA_BYTES_MAX) {
            self.append(message, &String::from_utf8_lossy(delta))
                .await?;
        }
        Ok(())
    }

    pub(super) async fn append(&self, message: &str, delta: &str) -> Result<(), BenchError> {
        let request = v1::AppendTextRequest {
            message_id: message.to_owned(),
            delta: delta.to_owned(),
            ..Default::default()
        };
        self.messages.clone().append_text(request).await?;
        Ok(())
    }

    /// Submits a task, with the message that it answers in.
    pub(super) async fn submit_task(&self, queue: &str, task: &str) -> Result<(), BenchError> {
        let request = v1::SubmitTaskRequest {
            session_id: SESSION.to_owned(),
            task_description: "do it".to_owned(),
            task_id: task.to_owned(),
            queue: queue.to_owned(),
            ..Default::default()
        };
        self.tasks.clone().submit_task(request).await?;
        Ok(())
    }

    /// Waits so long for a task.
    pub(super) async fn claim_task(
        &self,
        queue: &str,
        wait: Duration,
    ) -> Result<Option<v1::Task>, BenchError> {
        let request = v1::ClaimTaskRequest {
            queues: vec![queue.to_owned()],
            worker_id: "bench".to_owned(),
            wait: Some(duration_to_v1(wait)),
            ..Default::default()
        };
        let response = self.tasks.clone().claim_task(request).await?;
        Ok(response.into_inner().task)
    }

    pub(super) async fn finish_task(&self, task: &v1::Task) -> Result<(), BenchError> {
        let request = v1::UpdateTaskRequest {
            message_id: task.message_id.clone(),
            task_id: task.task_id.clone(),
            attempt: task.attempt,
            status: v1::TaskStatus::Completed.into(),
            ..Default::default()
        };
        self.tasks.clone().update_task(request).await?;
        Ok(())
    }

    pub(super) async fn load(&self, message: &str) -> Result<v1::Message, BenchError> {
        let request = v1::GetMessageRequest {
            message_id: message.to_owned(),
            ..Default::default()
        };
        let response = self.messages.clone().get_message(request).await?;
        Ok(response.into_inner().message.unwrap_or_default())
    }

    /// Watches what comes from now on. Returns when nothing can be missed any
    /// more.
    pub(super) async fn watch(&self, message: &str) -> Result<Watch, BenchError> {
        let request = v1::WatchMessageRequest {
            message_id: message.to_owned(),
            cursor: "$".to_owned(),
            ..Default::default()
        };
        let response = self.messages.clone().watch_message(request).await?;
        let mut watch = Watch(response.into_inner());
        while !matches!(watch.frame().await?, Frame::CaughtUp(_)) {}
        Ok(watch)
    }

    /// A call on which the service does nothing.
    pub(super) async fn noop(&self) -> Result<(), BenchError> {
        let request = HealthCheckRequest::default();
        self.health.clone().check(request).await?;
        Ok(())
    }
}

/// An open watch.
pub(super) struct Watch(Streaming<v1::WatchMessageResponse>);

impl Watch {
    async fn frame(&mut self) -> Result<Frame, BenchError> {
        let ended = || BenchError::Unexpected("a watch ended");
        let response = self.0.message().await?.ok_or_else(ended)?;
        response.frame.ok_or_else(ended)
    }

    /// The next event.
    pub(super) async fn event(&mut self) -> Result<v1::Event, BenchError> {
        loop {
            match self.frame().await? {
                Frame::Event(event) => return Ok(event),
                Frame::Gap(_) => return Err(BenchError::Unexpected("a watch has a gap")),
                _ => {}
            }
        }
    }
}
