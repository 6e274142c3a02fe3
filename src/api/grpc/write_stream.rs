//! WriteMessage: writes one after the other, answered in order.
//!
//! While Redis is busy with what was gathered, what arrives is gathered for the next
//! time.
//! Nothing is read ahead beyond that, so HTTP/2's own flow control is the bound
//! on what a producer can have under way.

use std::{future::poll_fn, pin::Pin, task::Poll};

use futures_util::stream::{self, StreamExt as _};
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use super::{
    notices::{Effect, Target, WriteNotices},
    write_answer::WriteAnswer,
    writes::{self, Write},
};
use crate::{
    api::{
        bundle::{Bundle, Kind},
        status::{draining, from_engine, invalid},
    },
    domain::{
        command::{Command, CreateMessage},
        ids::{MessageId, SessionId},
        limits,
        principal::Principal,
    },
    engine::{AppendBatch, Engine, Receipt},
    proto::{self as v1, write_message_request::Write as V1},
};

/// Writes that are gathered at most before they are made.
const GATHERED_MAX: usize = 256;

pub(super) type Acks = Pin<Box<dyn Stream<Item = Result<WriteAnswer, Status>> + Send>>;

/// Answers the writes of a stream, one of those of its connection.
pub(super) fn acks(
    engine: Engine,
    principal: Principal,
    bundle: &Bundle,
    mut requests: Streaming<v1::WriteMessageRequest>,
) -> Acks {
    let member = bundle.join(Kind::Writes);
    let answers = async_stream::stream! {
        let mut notices = WriteNotices::new(&engine);
        let drain = engine.hub().drain().clone();
        let mut writer = Writer { engine, principal, index: 0 };
        loop {
            let (gathered, end, notice) = tokio::select! {
                biased;
                Some(notice) = notices.next() => (Gathered::default(), None, Some(notice)),
                // What was not answered was not made: the producer goes on at
                // another instance. It may never pause, so this comes before what
                // it sends.
                () = drain.cancelled() => (Gathered::default(), Some(Err(draining())), None),
                (gathered, end) = writer.gather(&mut requests) => (gathered, end, None),
            };
            if let Some(notice) = notice {
                yield vec![Ok(WriteAnswer::notice(notice))];
            }
            if gathered.count > 0 {
                yield writer.write(gathered, &mut notices).await;
            }
            match end {
                Some(Ok(())) => return,
                Some(Err(status)) => {
                    yield vec![Err(status)];
                    return;
                }
                None => {}
            }
        }
    };
    // To yield an answer by itself would cost a turn of the generator each.
    Box::pin(answers.flat_map(move |answers| {
        member.sends();
        stream::iter(answers)
    }))
}

/// How a stream of requests ended.
type End = Option<Result<(), Status>>;

/// Writes that have arrived, in order.
#[derive(Default)]
struct Gathered {
    count: usize,
    writes: Vec<Asked>,
}

/// What one or several requests of the stream ask for.
enum Asked {
    Appends(AppendBatch),
    Single(Single),
}

/// What a request asks for that is no append.
enum Single {
    Write(Box<Write>),
    Create(SessionId, MessageId, CreateMessage),
    Refused(Status),
}

impl Single {
    fn write(write: Write) -> Self {
        Self::Write(Box::new(write))
    }

    /// What it is about.
    fn target(&self) -> Target<'_> {
        match self {
            Self::Write(write) => {
                let Write { request, command } = write.as_ref();
                let effect = match command {
                    Command::End { .. } => Effect::Ends,
                    _ => Effect::Nothing,
                };
                let fence = request.right.needed_fence();
                Target {
                    message: Some(&request.message),
                    fence: fence.filter(|_| command.is_of_writer()),
                    effect,
                }
            }
            Self::Create(_, message, command) => Target {
                message: Some(message),
                fence: Some(0),
                effect: match command.complete {
                    true => Effect::Ends,
                    false => Effect::Begins,
                },
            },
            Self::Refused(_) => Target {
                message: None,
                fence: None,
                effect: Effect::Nothing,
            },
        }
    }
}

impl Gathered {
    fn add(&mut self, principal: &Principal, request: v1::WriteMessageRequest) {
        self.count += 1;
        let who = || principal.clone();
        let asked = match request.write {
            None => Err(invalid("write", "must be given")),
            Some(V1::AppendText(append)) => return self.add_append(principal, append),
            Some(V1::CreateMessage(create)) => writes::create_message(create)
                .map(|(session, message, command)| Single::Create(session, message, command)),
            Some(V1::AddContent(add)) => writes::add_content(who(), *add).map(Single::write),
            Some(V1::UpdateContent(update)) => {
                writes::update_content(who(), *update).map(Single::write)
            }
            Some(V1::PublishEvent(event)) => writes::publish_event(who(), event).map(Single::write),
            Some(V1::StartTask(start)) => writes::start_task(who(), *start).map(Single::write),
            Some(V1::UpdateTask(update)) => writes::update_task(who(), *update).map(Single::write),
            Some(V1::CancelTask(cancel)) => writes::cancel_task(who(), cancel).map(Single::write),
            Some(V1::EndMessage(end)) => writes::end_message(who(), end).map(Single::write),
        };
        let single = asked.unwrap_or_else(Single::Refused);
        self.writes.push(Asked::Single(single));
    }

    /// Adds an append to those before it where it can share their call.
    fn add_append(&mut self, principal: &Principal, mut request: v1::AppendTextRequest) {
        let mut batch = match self.writes.last_mut() {
            Some(Asked::Appends(batch)) => Some(batch),
            _ => None,
        };
        if let Some(batch) = &mut batch
            && add_delta(batch, &mut request)
        {
            return;
        }
        let asked = match writes::append_text(principal.clone(), request) {
            Ok(append) => match batch {
                Some(batch) => match batch.add(append) {
                    Ok(()) => return,
                    Err(append) => Asked::Appends((*append).into()),
                },
                None => Asked::Appends(append.into()),
            },
            Err(status) => Asked::Single(Single::Refused(status)),
        };
        self.writes.push(asked);
    }
}

/// Adds a request that says nothing that those before it do not say.
fn add_delta(batch: &mut AppendBatch, request: &mut v1::AppendTextRequest) -> bool {
    let is_plain = request.request_id.is_empty() && request.lease.is_none();
    let is_sound = (1..=limits::DELTA_BYTES_MAX).contains(&request.delta.len());
    is_plain
        && is_sound
        && batch.add_delta(
            &request.message_id,
            &request.block_id,
            request.fence,
            request.expected_offset,
            &mut request.delta,
        )
}

struct Writer {
    engine: Engine,
    principal: Principal,
    /// Number of the next write of the stream.
    index: u64,
}

type Answers = Vec<Result<WriteAnswer, Status>>;

impl Writer {
    /// Waits for a request, and takes those that have arrived behind it.
    async fn gather(&self, requests: &mut Streaming<v1::WriteMessageRequest>) -> (Gathered, End) {
        let mut gathered = Gathered::default();
        let end = poll_fn(|context| {
            while gathered.count < GATHERED_MAX {
                match Pin::new(&mut *requests).poll_next(context) {
                    Poll::Ready(Some(Ok(request))) => gathered.add(&self.principal, request),
                    Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(status))),
                    Poll::Ready(None) => return Poll::Ready(Some(Ok(()))),
                    Poll::Pending if gathered.count == 0 => return Poll::Pending,
                    Poll::Pending => break,
                }
            }
            Poll::Ready(None)
        });
        let end = end.await;
        (gathered, end)
    }

    /// Makes writes in order. Appends that follow one another go together, also
    /// where they are to different messages.
    async fn write(&mut self, gathered: Gathered, notices: &mut WriteNotices) -> Answers {
        let mut answers = Vec::with_capacity(gathered.count);
        let mut appends = Vec::new();
        for asked in gathered.writes {
            let single = match asked {
                Asked::Appends(batch) => {
                    notices.expect(target_of(&batch), batch.count());
                    appends.push(batch);
                    continue;
                }
                Asked::Single(single) => single,
            };
            let before = std::mem::take(&mut appends);
            self.append(before, notices, &mut answers).await;
            notices.expect(single.target(), 1);
            let made = self.make(single).await;
            notices.answered(made.as_ref().ok().map(|(receipt, _)| receipt));
            answers.push(Ok(WriteAnswer::ack(self.next_index(), made)));
        }
        self.append(appends, notices, &mut answers).await;
        answers
    }

    async fn append(
        &mut self,
        batches: Vec<AppendBatch>,
        notices: &mut WriteNotices,
        answers: &mut Answers,
    ) {
        for outcome in self.engine.append_batches(batches).await {
            notices.answered(outcome.as_ref().ok().map(|outcome| &outcome.receipt));
            let index = self.next_index();
            answers.push(Ok(match outcome {
                Ok(outcome) => WriteAnswer::Appended { index, outcome },
                Err(error) => WriteAnswer::ack(index, Err(from_engine(error))),
            }));
        }
    }

    fn next_index(&mut self) -> u64 {
        let index = self.index;
        self.index += 1;
        index
    }

    /// Makes a write that is no append. Returns its place, and the block that it
    /// added.
    async fn make(&self, single: Single) -> Result<(Receipt, String), Status> {
        let (engine, principal) = (&self.engine, &self.principal);
        let made = match single {
            Single::Refused(status) => return Err(status),
            Single::Create(session, message, command) => {
                let created = engine.create_message(principal, &session, &message, &command);
                created
                    .await
                    .map(|created| (created.receipt, String::new()))
            }
            Single::Write(write) => {
                let adds = matches!(&write.command, Command::AddContent(_));
                let written = engine.write(&write.request, &write.command);
                written.await.map(|written| {
                    let block_id = if adds { written.detail } else { String::new() };
                    (written.receipt, block_id)
                })
            }
        };
        made.map_err(from_engine)
    }
}

fn target_of(batch: &AppendBatch) -> Target<'_> {
    let request = batch.request();
    Target {
        message: Some(&request.message),
        fence: request.right.needed_fence(),
        effect: Effect::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(message: &str, delta: &str) -> v1::WriteMessageRequest {
        v1::WriteMessageRequest {
            write: Some(V1::AppendText(v1::AppendTextRequest {
                message_id: message.to_owned(),
                delta: delta.to_owned(),
                ..Default::default()
            })),
        }
    }

    #[test]
    fn appends_are_gathered_and_those_that_are_wrong_refused_in_their_place() {
        let mut gathered = Gathered::default();
        let too_long = "x".repeat(limits::DELTA_BYTES_MAX + 1);
        for (message, delta) in [
            ("m", "a"),
            ("m", "b"),
            ("m", ""),
            ("m", "c"),
            ("m", too_long.as_str()),
            ("n", "d"),
            ("n", &too_long[2..]),
            ("m", "e"),
        ] {
            gathered.add(&Principal::Anonymous, append(message, delta));
        }
        assert_eq!(gathered.count, 8);
        let counts = gathered.writes.iter().map(|asked| match asked {
            Asked::Appends(batch) => batch.count(),
            Asked::Single(_) => 0,
        });
        assert_eq!(counts.collect::<Vec<_>>(), [2, 0, 1, 0, 2, 1]);
    }
}
