//! Bad input in a stream of writes: each is refused by its field as it would be
//! alone, and the stream goes on.

use throughline::proto::{
    self as v1, write_ack::Outcome, write_message_request::Write, write_message_response::Response,
};
use tonic::Code;

use crate::support::{World, media_blocks, named, open, text_block};

/// A bad write of every kind, with the field that is refused.
fn bad_writes() -> Vec<(&'static str, Option<Write>)> {
    let message_id = || "m".to_owned();
    let task_id = || "t".to_owned();
    let [image, ..] = media_blocks(b"x");
    vec![
        ("write", None),
        (
            "role",
            Some(Write::CreateMessage(v1::CreateMessageRequest {
                session_id: "s".into(),
                message_id: "new".into(),
                ..Default::default()
            })),
        ),
        (
            "blocks[0].state",
            Some(Write::CreateMessage(v1::CreateMessageRequest {
                session_id: "s".into(),
                message_id: "new".into(),
                role: v1::Role::User.into(),
                blocks: vec![open(image)],
                ..Default::default()
            })),
        ),
        (
            "delta",
            Some(Write::AppendText(v1::AppendTextRequest {
                message_id: message_id(),
                ..Default::default()
            })),
        ),
        (
            "request_id",
            Some(Write::AppendText(v1::AppendTextRequest {
                message_id: message_id(),
                delta: "x".into(),
                request_id: "a|b\n".into(),
                ..Default::default()
            })),
        ),
        (
            "block.block_id",
            Some(Write::AddContent(Box::new(v1::AddContentRequest {
                message_id: message_id(),
                block: Some(named("a:b", text_block("x"))),
                ..Default::default()
            }))),
        ),
        (
            "block",
            Some(Write::UpdateContent(Box::new(v1::UpdateContentRequest {
                message_id: message_id(),
                ..Default::default()
            }))),
        ),
        (
            "name",
            Some(Write::PublishEvent(v1::PublishEventRequest {
                message_id: message_id(),
                ..Default::default()
            })),
        ),
        (
            "task_type",
            Some(Write::StartTask(Box::new(v1::StartTaskRequest {
                message_id: message_id(),
                ..Default::default()
            }))),
        ),
        (
            "progress",
            Some(Write::UpdateTask(Box::new(v1::UpdateTaskRequest {
                message_id: message_id(),
                task_id: task_id(),
                progress: Some(f64::NAN),
                ..Default::default()
            }))),
        ),
        (
            "reason",
            Some(Write::CancelTask(v1::CancelTaskRequest {
                message_id: message_id(),
                task_id: task_id(),
                reason: "x".repeat(4_097),
                ..Default::default()
            })),
        ),
        (
            "state",
            Some(Write::EndMessage(v1::EndMessageRequest {
                message_id: message_id(),
                state: v1::MessageState::Streaming.into(),
                ..Default::default()
            })),
        ),
        (
            "message_id",
            Some(Write::EndMessage(v1::EndMessageRequest {
                message_id: "m\0".into(),
                ..Default::default()
            })),
        ),
    ]
}

#[tokio::test]
async fn bad_input_in_a_stream_of_writes_is_refused_by_field_and_stores_nothing() {
    let world = World::start().await;
    super::prepare(&world).await;
    let before = world.redis.contents().await;
    let (fields, writes): (Vec<_>, Vec<_>) = bad_writes().into_iter().unzip();
    let requests = writes
        .into_iter()
        .map(|write| v1::WriteMessageRequest { write });
    let requests = tokio_stream::iter(requests.collect::<Vec<_>>());
    let mut messages = world.a().messages;
    let mut answers = messages.write_message(requests).await.unwrap().into_inner();
    for (index, field) in fields.into_iter().enumerate() {
        let answer = answers.message().await.unwrap().unwrap();
        let Some(Response::Ack(ack)) = answer.response else {
            panic!("{answer:?}")
        };
        assert_eq!(ack.index, index as u64);
        let Some(Outcome::Error(error)) = ack.outcome else {
            panic!("{field} was accepted: {ack:?}")
        };
        assert_eq!(error.code, i32::from(Code::InvalidArgument), "{error:?}");
        assert_eq!(error.reason, "INVALID_FIELD");
        assert_eq!(error.metadata["field"], field);
    }
    assert!(answers.message().await.unwrap().is_none());
    assert_eq!(world.redis.contents().await, before);
}
