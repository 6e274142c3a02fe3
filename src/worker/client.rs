//! The service as the worker sees it: the public gRPC API, and which of its errors
//! mean that a call is worth repeating.

use std::{error::Error, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Response, Status, transport::Channel};
use tonic_types::StatusExt;

use super::spread::spread;
use crate::{
    dial::{DialError, dial},
    proto::{
        self as v1, message_service_client::MessageServiceClient,
        task_service_client::TaskServiceClient,
    },
};

/// So long one call may take that does not wait for anything.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// So long a call is repeated. A lease is lost before by default.
const REPEAT_FOR: Duration = Duration::from_secs(25);
const REPEAT_DELAY: Duration = Duration::from_millis(100);
const REPEAT_DELAY_MAX: Duration = Duration::from_secs(2);
/// What the largest answer may have: a message with its blocks.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why the service did not do what an attempt asked of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The attempt is over: its task is another's, has ended, or is gone.
    #[error("the lease is lost: {}", .0.message())]
    LeaseLost(Status),
    /// The message takes no more.
    #[error("the message is full: {}", .0.message())]
    Full(Status),
    /// A block of the message is no longer there, or what it held.
    #[error("{}", .0.message())]
    Gone(Status),
    /// It can't be done, however often it is asked for.
    #[error("{} ({:?})", .0.message(), .0.code())]
    Refused(Status),
    /// It did not answer, or could not, for as long as it was asked.
    #[error("the service can't be reached: {}", .0.message())]
    Unreachable(Status),
}

impl CallError {
    fn of(status: Status) -> Self {
        const OVER: [&str; 3] = ["TASK_LEASE_LOST", "TASK_TERMINAL", "MESSAGE_TERMINAL"];
        const GONE: [&str; 2] = ["BLOCK_NOT_FOUND", "CONTENT_NOT_FOUND"];
        let details = status.get_error_details();
        let reason = details.error_info().map_or("", |info| info.reason.as_str());
        match status.code() {
            _ if OVER.contains(&reason) => Self::LeaseLost(status),
            _ if reason == "LIMIT_EXCEEDED" => Self::Full(status),
            Code::NotFound if GONE.contains(&reason) => Self::Gone(status),
            Code::NotFound => Self::LeaseLost(status),
            _ if is_transient(&status) => Self::Unreachable(status),
            _ => Self::Refused(status),
        }
    }
}

/// Whether a call is worth repeating. All that a worker writes carries a
/// request_id, so that it does no harm where the first was carried out.
pub(super) fn is_transient(status: &Status) -> bool {
    // What a server answers comes without a cause.
    let is_of_transport = status.source().is_some();
    let code = status.code();
    is_of_transport || matches!(code, Code::Unavailable | Code::DeadlineExceeded)
}

/// Clients of one instance, or of whatever stands before several.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) tasks: TaskServiceClient<Channel>,
    pub(super) messages: MessageServiceClient<Channel>,
}

impl Client {
    /// A connection that is made when it is first needed, and again when it breaks.
    pub(super) fn connect(server: &str) -> Result<Self, DialError> {
        let channel = dial(server)?;
        let tasks = TaskServiceClient::new(channel.clone());
        let messages = MessageServiceClient::new(channel);
        Ok(Self {
            tasks: tasks.max_decoding_message_size(ANSWER_BYTES_MAX),
            messages: messages.max_decoding_message_size(ANSWER_BYTES_MAX),
        })
    }

    pub(super) async fn append(
        &self,
        append: v1::AppendTextRequest,
    ) -> Result<v1::AppendTextResponse, CallError> {
        self.repeat(append, |client, request| async move {
            client.messages.clone().append_text(request).await
        })
        .await
    }

    pub(super) async fn add(
        &self,
        add: v1::AddContentRequest,
    ) -> Result<v1::AddContentResponse, CallError> {
        self.repeat(add, |client, request| async move {
            client.messages.clone().add_content(request).await
        })
        .await
    }

    pub(super) async fn update(
        &self,
        update: v1::UpdateContentRequest,
    ) -> Result<v1::UpdateContentResponse, CallError> {
        self.repeat(update, |client, request| async move {
            client.messages.clone().update_content(request).await
        })
        .await
    }

    pub(super) async fn update_task(
        &self,
        update: v1::UpdateTaskRequest,
    ) -> Result<v1::UpdateTaskResponse, CallError> {
        self.repeat(update, |client, request| async move {
            client.tasks.clone().update_task(request).await
        })
        .await
    }

    pub(super) async fn renew(
        &self,
        renew: v1::RenewTaskRequest,
    ) -> Result<v1::RenewTaskResponse, CallError> {
        self.repeat(renew, |client, request| async move {
            client.tasks.clone().renew_task(request).await
        })
        .await
    }

    pub(super) async fn message(&self, message_id: &str) -> Result<v1::Message, CallError> {
        let request = v1::GetMessageRequest {
            message_id: message_id.to_owned(),
            ..Default::default()
        };
        let answer = self
            .repeat(request, |client, request| async move {
                client.messages.clone().get_message(request).await
            })
            .await?;
        Ok(answer.message.unwrap_or_default())
    }

    /// The whole text of a block that is kept out of line.
    pub(super) async fn text_of(
        &self,
        message_id: &str,
        block_id: &str,
    ) -> Result<String, CallError> {
        let request = v1::ReadContentRequest {
            message_id: message_id.to_owned(),
            block_id: block_id.to_owned(),
            ..Default::default()
        };
        let bytes = self
            .repeat(request, |client, request| async move {
                let mut chunks = client.messages.clone().read_content(request).await?;
                let mut bytes = Vec::new();
                while let Some(chunk) = chunks.get_mut().message().await? {
                    bytes.extend_from_slice(&chunk.data);
                }
                Ok(Response::new(bytes))
            })
            .await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Makes a call, and makes it again as long as that may help.
    async fn repeat<'a, R, T, F>(
        &'a self,
        request: R,
        call: impl Fn(&'a Self, Request<R>) -> F,
    ) -> Result<T, CallError>
    where
        R: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let end = Instant::now() + REPEAT_FOR;
        let mut delay = REPEAT_DELAY;
        loop {
            let answer = timeout(CALL_TIMEOUT, call(self, Request::new(request.clone()))).await;
            let status = match answer {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer"),
            };
            let is_over = Instant::now() + delay >= end;
            if is_over || !is_transient(&status) {
                return Err(CallError::of(status));
            }
            sleep(spread(delay)).await;
            delay = (delay * 2).min(REPEAT_DELAY_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn error(code: Code, reason: &str) -> CallError {
        let details = ErrorDetails::with_error_info(reason, "throughline", HashMap::new());
        CallError::of(Status::with_error_details(code, "no", details))
    }

    #[test]
    fn what_is_gone_is_no_lost_lease_unless_it_is_the_message_or_the_task() {
        for reason in ["CONTENT_NOT_FOUND", "BLOCK_NOT_FOUND"] {
            let error = error(Code::NotFound, reason);
            assert!(matches!(error, CallError::Gone(_)), "{reason}");
        }
        for reason in ["MESSAGE_NOT_FOUND", "TASK_NOT_FOUND"] {
            let error = error(Code::NotFound, reason);
            assert!(matches!(error, CallError::LeaseLost(_)), "{reason}");
        }
    }
}
