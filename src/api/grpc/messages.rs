//! MessageService.

use std::pin::Pin;

use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Answer,
    answers::Answers,
    fields, open, page_token,
    read_mask::ReadMask,
    result,
    servers::message_service_server::MessageService,
    watch::{self, Frames},
    write_stream::{self, Acks},
    writes::{self, Write},
};
use crate::{
    api::status::{from_engine, invalid},
    domain::{
        cursor::{Position, Start},
        ids::{BlockId, ContentId, MessageId, SessionId},
    },
    engine::{Cleanup, ContentReader, ContentSource, Engine, PageRequest, Written},
    proto as v1,
    wire::{
        content::reference_to_v1,
        message::state_to_v1,
        values::{duration_from_v1, time_to_v1},
    },
};

pub(super) struct Messages {
    pub(super) engine: Engine,
    pub(super) answers: Answers,
}

type Chunks = Pin<Box<dyn Stream<Item = Result<v1::ReadContentResponse, Status>> + Send>>;

impl Messages {
    async fn write(&self, write: Write) -> Result<Written, Status> {
        let Write { request, command } = write;
        self.engine
            .write(&request, &command)
            .await
            .map_err(from_engine)
    }
}

#[tonic::async_trait]
impl MessageService for Messages {
    async fn create_message(
        &self,
        request: Request<v1::CreateMessageRequest>,
    ) -> Answer<v1::CreateMessageResponse> {
        let (principal, request) = open(request);
        let (session, message, command) = writes::create_message(request)?;
        let created = self
            .engine
            .create_message(&principal, &session, &message, &command)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::CreateMessageResponse {
            message: Some(created.view.to_v1()),
            created: created.created,
            result: Some(result(created.receipt)),
        }))
    }

    async fn get_message(
        &self,
        request: Request<v1::GetMessageRequest>,
    ) -> Answer<v1::GetMessageResponse> {
        let (principal, request) = open(request);
        let id = fields::id("message_id", &request.message_id, MessageId::parse)?;
        let mask = ReadMask::of_message(request.read_mask)?;
        if mask.is_whole() {
            return self.answers.give(&self.engine, &principal, &id).await;
        }
        let view = match mask.has("text") || mask.has("text_truncated") {
            true => self
                .engine
                .message(&principal, &id)
                .await
                .map(|(view, _)| view),
            false => self.engine.message_without_text(&principal, &id).await,
        };
        let view = view.map_err(from_engine)?;
        Ok(Response::new(v1::GetMessageResponse {
            message: Some(view.to_v1_of(|message| mask.apply(message))),
        }))
    }

    async fn list_messages(
        &self,
        request: Request<v1::ListMessagesRequest>,
    ) -> Answer<v1::ListMessagesResponse> {
        let (principal, request) = open(request);
        let session = fields::id("session_id", &request.session_id, SessionId::parse)?;
        let page = PageRequest {
            after: page_token::read(&request.page_token, MessageId::parse)?,
            size: fields::page_size(request.page_size)?,
            skip: usize::try_from(request.skip)
                .map_err(|_| invalid("skip", "must not be negative"))?,
        };
        let page = self
            .engine
            .list_messages(&principal, &session, &page)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::ListMessagesResponse {
            messages: page.messages,
            next_page_token: page_token::write(page.next),
        }))
    }

    async fn append_text(
        &self,
        request: Request<v1::AppendTextRequest>,
    ) -> Answer<v1::AppendTextResponse> {
        let (principal, request) = open(request);
        let wanted = writes::append_text(principal, request)?;
        let appended = self
            .engine
            .append_text(&wanted)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::AppendTextResponse {
            result: Some(result(appended.receipt)),
            block_id: appended.block.to_string(),
            offset: appended.offset,
        }))
    }

    async fn add_content(
        &self,
        request: Request<v1::AddContentRequest>,
    ) -> Answer<v1::AddContentResponse> {
        let (principal, request) = open(request);
        let written = self.write(writes::add_content(principal, request)?).await?;
        Ok(Response::new(v1::AddContentResponse {
            result: Some(result(written.receipt)),
            block_id: written.detail,
        }))
    }

    async fn update_content(
        &self,
        request: Request<v1::UpdateContentRequest>,
    ) -> Answer<v1::UpdateContentResponse> {
        let (principal, request) = open(request);
        let written = self
            .write(writes::update_content(principal, request)?)
            .await?;
        Ok(Response::new(v1::UpdateContentResponse {
            result: Some(result(written.receipt)),
        }))
    }

    async fn publish_event(
        &self,
        request: Request<v1::PublishEventRequest>,
    ) -> Answer<v1::PublishEventResponse> {
        let (principal, request) = open(request);
        let written = self
            .write(writes::publish_event(principal, request)?)
            .await?;
        Ok(Response::new(v1::PublishEventResponse {
            result: Some(result(written.receipt)),
        }))
    }

    async fn end_message(
        &self,
        request: Request<v1::EndMessageRequest>,
    ) -> Answer<v1::EndMessageResponse> {
        let (principal, request) = open(request);
        let written = self.write(writes::end_message(principal, request)?).await?;
        Ok(Response::new(v1::EndMessageResponse {
            result: Some(result(written.receipt)),
        }))
    }

    type WriteMessageStream = Acks;

    async fn write_message(
        &self,
        request: Request<Streaming<v1::WriteMessageRequest>>,
    ) -> Answer<Self::WriteMessageStream> {
        let bundle = request.extensions().get().cloned().unwrap_or_default();
        let (principal, requests) = open(request);
        let acks = write_stream::acks(self.engine.clone(), principal, &bundle, requests);
        Ok(Response::new(acks))
    }

    async fn request_cancel(
        &self,
        request: Request<v1::RequestCancelRequest>,
    ) -> Answer<v1::RequestCancelResponse> {
        let (principal, request) = open(request);
        let written = self
            .write(writes::request_cancel(principal, request)?)
            .await?;
        Ok(Response::new(v1::RequestCancelResponse {
            state: state_to_v1(written.message.state).into(),
            result: Some(result(written.receipt)),
        }))
    }

    async fn acquire_writer(
        &self,
        request: Request<v1::AcquireWriterRequest>,
    ) -> Answer<v1::AcquireWriterResponse> {
        let (principal, request) = open(request);
        let wanted = writes::acquire_writer(&request)?;
        let granted = self
            .engine
            .acquire_writer(&principal, &wanted)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::AcquireWriterResponse {
            fence: granted.fence,
            lease_expire_time: Some(time_to_v1(granted.lease_expire_time)),
            message: Some(granted.view.to_v1()),
        }))
    }

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Answer<v1::ListEventsResponse> {
        let (principal, request) = open(request);
        let message = fields::id("message_id", &request.message_id, MessageId::parse)?;
        let size = fields::page_size(request.page_size)?;
        let after = match request.page_token.as_str() {
            "" => place("cursor", &request.cursor)?,
            token => place("page_token", token)?,
        };
        let page = self
            .engine
            .list_events(&principal, &message, after, size)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::ListEventsResponse {
            events: page.events,
            next_page_token: page
                .next
                .map(|cursor| cursor.to_string())
                .unwrap_or_default(),
        }))
    }

    type ReadContentStream = Chunks;

    async fn read_content(
        &self,
        request: Request<v1::ReadContentRequest>,
    ) -> Answer<Self::ReadContentStream> {
        let (principal, request) = open(request);
        let source = content_source(&request)?;
        let offset =
            u64::try_from(request.offset).map_err(|_| invalid("offset", "must not be negative"))?;
        let limit =
            u64::try_from(request.limit).map_err(|_| invalid("limit", "must not be negative"))?;
        let reader = self
            .engine
            .read_content(&principal, &source, offset, limit)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(chunks(reader, request.offset)))
    }

    type WatchMessageStream = Frames;

    async fn watch_message(
        &self,
        request: Request<v1::WatchMessageRequest>,
    ) -> Answer<Self::WatchMessageStream> {
        watch::watch(&self.engine, request)
    }

    async fn delete_message(
        &self,
        request: Request<v1::DeleteMessageRequest>,
    ) -> Answer<v1::DeleteMessageResponse> {
        let (principal, request) = open(request);
        let id = fields::id("message_id", &request.message_id, MessageId::parse)?;
        self.engine
            .delete_message(&principal, &id)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::DeleteMessageResponse {}))
    }

    async fn cleanup_messages(
        &self,
        request: Request<v1::CleanupMessagesRequest>,
    ) -> Answer<v1::CleanupMessagesResponse> {
        let (principal, request) = open(request);
        let older_than = request
            .older_than
            .ok_or_else(|| invalid("older_than", "must be given"))?;
        let cleanup = Cleanup {
            older_than: duration_from_v1(&older_than, "older_than")?,
            session: fields::optional_id("session_id", &request.session_id, SessionId::parse)?,
            validate_only: request.validate_only,
        };
        let count = self
            .engine
            .cleanup(&principal, &cleanup)
            .await
            .map_err(from_engine)?;
        Ok(Response::new(v1::CleanupMessagesResponse {
            count: i64::try_from(count).unwrap_or(i64::MAX),
        }))
    }
}

/// Where to list events from; none for the first that is retained.
fn place(field: &str, cursor: &str) -> Result<Option<Position>, Status> {
    match cursor.parse().map_err(|problem| invalid(field, problem))? {
        Start::Snapshot | Start::Earliest => Ok(None),
        Start::After(place) => Ok(Some(place)),
        Start::Latest => Err(invalid(field, "must be a place in the log")),
    }
}

fn content_source(request: &v1::ReadContentRequest) -> Result<ContentSource, Status> {
    if request.content_id.is_empty() {
        let message = fields::id("message_id", &request.message_id, MessageId::parse)?;
        let block = fields::id("block_id", &request.block_id, BlockId::parse)?;
        return Ok(ContentSource::Block(message, block));
    }
    if !request.message_id.is_empty() || !request.block_id.is_empty() {
        let problem = "must not be given beside message_id and block_id";
        return Err(invalid("content_id", problem));
    }
    let id = fields::id("content_id", &request.content_id, ContentId::parse)?;
    Ok(ContentSource::Stored(id))
}

/// At least one chunk, so that empty content says what it is.
fn chunks(mut reader: ContentReader, mut offset: i64) -> Chunks {
    let mut content = Some(reference_to_v1(&reader.reference));
    Box::pin(async_stream::try_stream! {
        loop {
            let chunk = reader.next().await.map_err(from_engine)?;
            if chunk.is_none() && content.is_none() {
                break;
            }
            let data = chunk.unwrap_or_default();
            let length = i64::try_from(data.len()).unwrap_or_default();
            yield v1::ReadContentResponse { content: content.take(), offset, data };
            offset += length;
        }
    })
}
