//! Clients, and the calls that many tests make.

use std::time::Duration;

use throughline::{
    domain::{
        ids::{MessageId, SessionId, UserId},
        message::Message,
    },
    proto::{
        self as v1, admin_service_client::AdminServiceClient,
        message_service_client::MessageServiceClient, session_service_client::SessionServiceClient,
        task_service_client::TaskServiceClient,
    },
    wire::{event::event_from_v1, values::duration_to_v1},
};
use tonic::{Code, Status, transport::Channel};
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use super::{Watch, text_block};

/// Clients of one instance.
#[derive(Clone)]
pub struct Clients {
    pub sessions: SessionServiceClient<Channel>,
    pub messages: MessageServiceClient<Channel>,
    pub tasks: TaskServiceClient<Channel>,
    pub admin: AdminServiceClient<Channel>,
    pub health: HealthClient<Channel>,
}

/// A connection whose streams take in little unasked.
pub async fn slow_channel(address: &str, window_bytes: u32) -> Channel {
    Channel::from_shared(address.to_owned())
        .unwrap()
        .tcp_nodelay(true)
        .initial_stream_window_size(window_bytes)
        // One stream that is not read shall not stop the others.
        .initial_connection_window_size(64 * 1024 * 1024)
        .connect()
        .await
        .unwrap()
}

type Result<T> = std::result::Result<T, Status>;

impl Clients {
    pub async fn connect(address: &str) -> Self {
        let channel = Channel::from_shared(address.to_owned())
            .unwrap()
            .tcp_nodelay(true)
            .connect()
            .await
            .unwrap();
        Self::of(channel)
    }

    pub fn of(channel: Channel) -> Self {
        const ANY_SIZE: usize = usize::MAX;
        Self {
            sessions: SessionServiceClient::new(channel.clone()),
            messages: MessageServiceClient::new(channel.clone())
                .max_encoding_message_size(ANY_SIZE),
            tasks: TaskServiceClient::new(channel.clone()),
            admin: AdminServiceClient::new(channel.clone()),
            health: HealthClient::new(channel),
        }
    }

    /// Makes a session of user `user_1`.
    pub async fn session(&self, session: &str) {
        let request = v1::CreateSessionRequest {
            session_id: session.into(),
            user_id: "user_1".into(),
            ..Default::default()
        };
        self.sessions.clone().create_session(request).await.unwrap();
    }

    /// Makes session `s` and in it an assistant's message.
    pub async fn message(&self, message: &str) {
        self.session("s").await;
        self.create(message, v1::Role::Assistant).await.unwrap();
    }

    /// Makes a message in session `s`.
    pub async fn create(&self, message: &str, role: v1::Role) -> Result<v1::CreateMessageResponse> {
        let request = v1::CreateMessageRequest {
            session_id: "s".into(),
            message_id: message.into(),
            role: role.into(),
            ..Default::default()
        };
        let response = self.messages.clone().create_message(request).await?;
        Ok(response.into_inner())
    }

    /// A whole message, sent at once.
    pub async fn say(&self, session: &str, role: v1::Role, text: &str) {
        let request = v1::CreateMessageRequest {
            session_id: session.into(),
            role: role.into(),
            blocks: vec![text_block(text)],
            complete: true,
            ..Default::default()
        };
        self.messages.clone().create_message(request).await.unwrap();
    }

    pub async fn append(&self, message: &str, delta: &str) -> Result<v1::AppendTextResponse> {
        self.append_with(v1::AppendTextRequest {
            message_id: message.into(),
            delta: delta.into(),
            ..Default::default()
        })
        .await
    }

    pub async fn append_with(
        &self,
        request: v1::AppendTextRequest,
    ) -> Result<v1::AppendTextResponse> {
        let response = self.messages.clone().append_text(request).await?;
        Ok(response.into_inner())
    }

    pub async fn add(
        &self,
        message: &str,
        block: v1::ContentBlock,
    ) -> Result<v1::AddContentResponse> {
        let request = v1::AddContentRequest {
            message_id: message.into(),
            block: Some(block),
            ..Default::default()
        };
        Ok(self
            .messages
            .clone()
            .add_content(request)
            .await?
            .into_inner())
    }

    pub async fn publish(&self, message: &str, name: &str) -> Result<v1::WriteResult> {
        let request = v1::PublishEventRequest {
            message_id: message.into(),
            name: name.into(),
            ..Default::default()
        };
        let response = self.messages.clone().publish_event(request).await?;
        Ok(response.into_inner().result.unwrap())
    }

    pub async fn end(&self, message: &str, state: v1::MessageState) -> Result<v1::WriteResult> {
        let request = v1::EndMessageRequest {
            message_id: message.into(),
            state: state.into(),
            ..Default::default()
        };
        let response = self.messages.clone().end_message(request).await?;
        Ok(response.into_inner().result.unwrap())
    }

    pub async fn complete(&self, message: &str) -> v1::WriteResult {
        self.end(message, v1::MessageState::Completed)
            .await
            .unwrap()
    }

    pub async fn get(&self, message: &str) -> Result<v1::Message> {
        let request = v1::GetMessageRequest {
            message_id: message.into(),
            ..Default::default()
        };
        let response = self.messages.clone().get_message(request).await?;
        Ok(response.into_inner().message.unwrap())
    }

    pub async fn delete(&self, message: &str) -> Result<()> {
        let request = v1::DeleteMessageRequest {
            message_id: message.into(),
        };
        self.messages
            .clone()
            .delete_message(request)
            .await
            .map(drop)
    }

    /// Takes the right to write a message.
    pub async fn acquire(
        &self,
        message: &str,
        writer: &str,
        ttl: Duration,
    ) -> Result<v1::AcquireWriterResponse> {
        self.acquire_with(v1::AcquireWriterRequest {
            message_id: message.into(),
            writer_id: writer.into(),
            ttl: Some(duration_to_v1(ttl)),
            takeover: false,
        })
        .await
    }

    pub async fn acquire_with(
        &self,
        request: v1::AcquireWriterRequest,
    ) -> Result<v1::AcquireWriterResponse> {
        let response = self.messages.clone().acquire_writer(request).await?;
        Ok(response.into_inner())
    }

    /// Asks that a message be cancelled.
    pub async fn cancel(
        &self,
        message: &str,
        grace: Duration,
    ) -> Result<v1::RequestCancelResponse> {
        self.cancel_with(v1::RequestCancelRequest {
            message_id: message.into(),
            grace: Some(duration_to_v1(grace)),
            ..Default::default()
        })
        .await
    }

    pub async fn cancel_with(
        &self,
        request: v1::RequestCancelRequest,
    ) -> Result<v1::RequestCancelResponse> {
        let response = self.messages.clone().request_cancel(request).await?;
        Ok(response.into_inner())
    }

    /// The whole retained log.
    pub async fn events(&self, message: &str) -> Vec<v1::Event> {
        let mut events = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListEventsRequest {
                message_id: message.into(),
                page_size: 1_000,
                page_token,
                ..Default::default()
            };
            let page = self.messages.clone().list_events(request).await.unwrap();
            let page = page.into_inner();
            events.extend(page.events);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return events;
            }
        }
    }

    pub async fn start_task(&self, message: &str, task: &str) -> Result<v1::StartTaskResponse> {
        let request = v1::StartTaskRequest {
            message_id: message.into(),
            task_id: task.into(),
            task_type: "image_generation".into(),
            placeholder: Some(v1::ContentBlock {
                content_type: v1::ContentType::Image.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        Ok(self.tasks.clone().start_task(request).await?.into_inner())
    }

    pub async fn update_task(
        &self,
        request: v1::UpdateTaskRequest,
    ) -> Result<v1::UpdateTaskResponse> {
        Ok(self.tasks.clone().update_task(request).await?.into_inner())
    }

    /// Watches a message from a cursor.
    pub async fn watch(&self, message: &str, cursor: &str) -> Watch {
        self.watch_with(v1::WatchMessageRequest {
            message_id: message.into(),
            cursor: cursor.into(),
            ..Default::default()
        })
        .await
        .unwrap()
    }

    /// A watch that has sent all that there is.
    pub async fn watch_live(&self, message: &str) -> Watch {
        let mut watch = self.watch(message, "").await;
        watch.snapshot().await;
        watch.caught_up().await;
        watch
    }

    pub async fn watch_with(&self, request: v1::WatchMessageRequest) -> Result<Watch> {
        let response = self.messages.clone().watch_message(request).await?;
        Ok(Watch::new(response.into_inner()))
    }
}

/// Why a call was refused: its code and its reason.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), reason(&status))
}

/// The reason of a status, which every one has.
pub fn reason(status: &Status) -> String {
    let info = status.get_details_error_info();
    let info = info.unwrap_or_else(|| panic!("{status:?} has no ErrorInfo"));
    assert_eq!(info.domain, "throughline");
    info.reason
}

/// The field that a status names as invalid.
pub fn invalid_field(status: &Status) -> String {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let request = status.get_details_bad_request().unwrap();
    request.field_violations[0].field.clone()
}

/// The message that its log adds up to, by the service's own rules.
pub fn fold(events: &[v1::Event]) -> Message {
    let parsed: Vec<_> = events
        .iter()
        .map(|event| event_from_v1(event.clone()).unwrap())
        .collect();
    let mut message = Message::started(
        MessageId::parse(&events[0].message_id).unwrap(),
        SessionId::parse(&events[0].session_id).unwrap(),
        UserId::parse("user_1").unwrap(),
        &parsed[0],
    )
    .unwrap();
    for event in &parsed[1..] {
        message.apply(event);
    }
    assert!(are_dense(events), "there is no silent hole");
    message
}

/// The first of the events that an event stands for: it itself, unless a watch
/// has joined it with others.
pub fn first_sequence(event: &v1::Event) -> u64 {
    match event.first_sequence {
        0 => event.sequence,
        first => first,
    }
}

/// Whether each event follows the one before.
pub fn are_dense(events: &[v1::Event]) -> bool {
    let mut pairs = events.iter().zip(events.iter().skip(1));
    pairs.all(|(event, next)| first_sequence(next) == event.sequence + 1)
}
