//! WriteMessage: writes one after the other, answered in order.
//!
//! While one call to Redis is under way, what arrives is gathered for the next.
//! Nothing is read ahead beyond that, so HTTP/2's own flow control is the bound
//! on what a producer can have under way.

use std::{future::poll_fn, pin::Pin, task::Poll};

use async_stream::stream;
use tokio_stream::Stream;
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

use super::{
    notices::{Effect, Target, WriteNotices},
    result,
    writes::{self, Write},
};
use crate::{
    api::status::{draining, from_engine, invalid},
    domain::{
        command::{Command, CreateMessage},
        ids::{MessageId, SessionId},
        principal::Principal,
    },
    engine::{AppendRequest, Engine, Receipt},
    proto::{
        self as v1, write_ack::Outcome, write_message_request::Write as V1,
        write_message_response::Response,
    },
};

/// Writes that are gathered for one call at most.
const GATHERED_MAX: usize = 256;

pub(super) type Acks = Pin<Box<dyn Stream<Item = Result<v1::WriteMessageResponse, Status>> + Send>>;

/// Answers the writes of a stream.
pub(super) fn acks(
    engine: Engine,
    principal: Principal,
    mut requests: Streaming<v1::WriteMessageRequest>,
) -> Acks {
    Box::pin(stream! {
        let mut writer = Writer { engine, principal, index: 0 };
        let mut notices = WriteNotices::new(&writer.engine);
        let drain = writer.engine.hub().drain().clone();
        loop {
            let (gathered, end, notice) = tokio::select! {
                biased;
                Some(notice) = notices.next() => (Vec::new(), None, Some(notice)),
                (gathered, end) = writer.gather(&mut requests) => (gathered, end, None),
                // What was not answered was not made: the producer goes on at
                // another instance.
                () = drain.cancelled() => (Vec::new(), Some(Err(draining())), None),
            };
            if let Some(notice) = notice {
                yield Ok(notice);
            }
            notices.expect(gathered.iter().map(target));
            for ack in writer.write(gathered).await {
                notices.answered(&ack);
                yield Ok(v1::WriteMessageResponse { response: Some(Response::Ack(ack)) });
            }
            match end {
                Some(Ok(())) => return,
                Some(Err(status)) => {
                    yield Err(status);
                    return;
                }
                None => {}
            }
        }
    })
}

/// How a stream of requests ended.
type End = Option<Result<(), Status>>;

/// What a request of the stream asks for.
enum Parsed {
    Append(AppendRequest),
    Write(Box<Write>),
    Create(SessionId, MessageId, CreateMessage),
}

/// What a write is about.
fn target(asked: &Asked) -> Target<'_> {
    let (message, fence, effect) = match asked {
        Ok(Parsed::Append(append)) => {
            let request = &append.request;
            (
                &request.message,
                request.right.needed_fence(),
                Effect::Nothing,
            )
        }
        Ok(Parsed::Write(write)) => {
            let Write { request, command } = write.as_ref();
            let effect = match command {
                Command::End { .. } => Effect::Ends,
                _ => Effect::Nothing,
            };
            let fence = request.right.needed_fence();
            let fence = fence.filter(|_| command.is_of_writer());
            (&request.message, fence, effect)
        }
        Ok(Parsed::Create(_, message, command)) => {
            let effect = match command.complete {
                true => Effect::Ends,
                false => Effect::Begins,
            };
            (message, Some(0), effect)
        }
        Err(_) => {
            return Target {
                message: None,
                fence: None,
                effect: Effect::Nothing,
            };
        }
    };
    Target {
        message: Some(message),
        fence,
        effect,
    }
}

/// A request as it was understood, or why it was not.
type Asked = Result<Parsed, Status>;

impl Parsed {
    fn write(write: Write) -> Self {
        Self::Write(Box::new(write))
    }
}

/// What a write is answered, without its number.
struct Answer {
    outcome: Result<Receipt, Status>,
    block_id: String,
    offset: u64,
}

struct Writer {
    engine: Engine,
    principal: Principal,
    /// Number of the next write of the stream.
    index: u64,
}

impl Writer {
    /// Waits for a request, and takes those that have arrived behind it.
    async fn gather(&self, requests: &mut Streaming<v1::WriteMessageRequest>) -> (Vec<Asked>, End) {
        let mut gathered = Vec::new();
        let end = poll_fn(|context| {
            while gathered.len() < GATHERED_MAX {
                match Pin::new(&mut *requests).poll_next(context) {
                    Poll::Ready(Some(Ok(request))) => gathered.push(self.parse(request)),
                    Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(status))),
                    Poll::Ready(None) => return Poll::Ready(Some(Ok(()))),
                    Poll::Pending if gathered.is_empty() => return Poll::Pending,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(None)
        });
        let end = end.await;
        (gathered, end)
    }

    /// Makes writes in order. Appends that follow one another go together.
    async fn write(&mut self, gathered: Vec<Asked>) -> Vec<v1::WriteAck> {
        let mut answers = Vec::with_capacity(gathered.len());
        let mut appends = Vec::with_capacity(gathered.len());
        for asked in gathered {
            let other = match asked {
                Ok(Parsed::Append(append)) => {
                    appends.push(append);
                    continue;
                }
                other => other,
            };
            self.append(&mut appends, &mut answers).await;
            answers.push(match other {
                Ok(parsed) => self.make(parsed).await,
                Err(status) => Answer::without_block(Err(status)),
            });
        }
        self.append(&mut appends, &mut answers).await;
        answers.into_iter().map(|answer| self.ack(answer)).collect()
    }

    fn parse(&self, request: v1::WriteMessageRequest) -> Asked {
        let principal = self.principal.clone();
        let write = request
            .write
            .ok_or_else(|| invalid("write", "must be given"))?;
        Ok(match write {
            V1::AppendText(request) => Parsed::Append(writes::append_text(principal, request)?),
            V1::CreateMessage(request) => {
                let (session, message, command) = writes::create_message(request)?;
                Parsed::Create(session, message, command)
            }
            V1::AddContent(request) => Parsed::write(writes::add_content(principal, request)?),
            V1::UpdateContent(request) => {
                Parsed::write(writes::update_content(principal, request)?)
            }
            V1::PublishEvent(request) => Parsed::write(writes::publish_event(principal, request)?),
            V1::StartTask(request) => Parsed::write(writes::start_task(principal, request)?),
            V1::UpdateTask(request) => Parsed::write(writes::update_task(principal, request)?),
            V1::CancelTask(request) => Parsed::write(writes::cancel_task(principal, request)?),
            V1::EndMessage(request) => Parsed::write(writes::end_message(principal, request)?),
        })
    }

    async fn append(&self, appends: &mut Vec<AppendRequest>, answers: &mut Vec<Answer>) {
        let outcomes = self.engine.append_texts(std::mem::take(appends)).await;
        answers.extend(outcomes.into_iter().map(|outcome| match outcome {
            Ok(appended) => Answer {
                outcome: Ok(appended.receipt),
                block_id: appended.block.to_string(),
                offset: appended.offset,
            },
            Err(error) => Answer::without_block(Err(from_engine(error))),
        }));
    }

    async fn make(&self, parsed: Parsed) -> Answer {
        let outcome = match parsed {
            Parsed::Append(append) => {
                let appended = self.engine.append_text(&append).await;
                appended.map(|appended| (appended.receipt, appended.block.to_string()))
            }
            Parsed::Create(session, message, command) => {
                let (engine, principal) = (&self.engine, &self.principal);
                let created = engine.create_message(principal, &session, &message, &command);
                created
                    .await
                    .map(|created| (created.receipt, String::new()))
            }
            Parsed::Write(write) => {
                let adds = matches!(&write.command, Command::AddContent(_));
                let written = self.engine.write(&write.request, &write.command);
                written.await.map(|written| {
                    let block_id = if adds { written.detail } else { String::new() };
                    (written.receipt, block_id)
                })
            }
        };
        match outcome {
            Ok((receipt, block_id)) => Answer {
                block_id,
                ..Answer::without_block(Ok(receipt))
            },
            Err(error) => Answer::without_block(Err(from_engine(error))),
        }
    }

    fn ack(&mut self, answer: Answer) -> v1::WriteAck {
        let index = self.index;
        self.index += 1;
        v1::WriteAck {
            index,
            outcome: Some(match answer.outcome {
                Ok(receipt) => Outcome::Result(result(receipt)),
                Err(status) => Outcome::Error(write_error(&status)),
            }),
            block_id: answer.block_id,
            offset: answer.offset,
        }
    }
}

impl Answer {
    fn without_block(outcome: Result<Receipt, Status>) -> Self {
        Self {
            outcome,
            block_id: String::new(),
            offset: 0,
        }
    }
}

/// A refusal of one write, which does not end the stream.
fn write_error(status: &Status) -> v1::WriteError {
    let (reason, metadata) = match status.get_details_error_info() {
        Some(info) => (info.reason, info.metadata),
        None => Default::default(),
    };
    v1::WriteError {
        code: status.code().into(),
        reason,
        message: status.message().to_owned(),
        metadata,
    }
}
