//! What a producer hears between the answers of its WriteMessage stream.

use throughline::proto::{
    self as v1, write_ack::Outcome, write_message_request::Write, write_message_response::Response,
};

use crate::{
    support::{Clients, World, soon},
    write_stream::{WriteStream, append},
};

/// A stream on which some text was written to each of these messages.
async fn stream_that_wrote(clients: &Clients, messages: &[&str]) -> WriteStream {
    let mut stream = WriteStream::open(clients).await;
    for message in messages {
        clients.message(message).await;
        stream.send(Write::AppendText(append(message, "a"))).await;
        stream.sequences(1).await;
    }
    stream
}

/// The next that the stream tells, which must be a notice.
pub(crate) async fn notice(stream: &mut WriteStream) -> v1::WriteNotice {
    let response = soon("a notice", stream.acks.message()).await.unwrap();
    match response.expect("the stream goes on").response {
        Some(Response::Notice(notice)) => notice,
        other => panic!("a notice was expected, not {other:?}"),
    }
}

fn ended(message: &str, state: v1::MessageState) -> v1::WriteNotice {
    v1::WriteNotice {
        message_id: message.into(),
        ended: state.into(),
        ..Default::default()
    }
}

fn gone(message: &str) -> v1::WriteNotice {
    v1::WriteNotice {
        message_id: message.into(),
        gone: true,
        ..Default::default()
    }
}

fn end(message: &str) -> Write {
    Write::EndMessage(v1::EndMessageRequest {
        message_id: message.into(),
        ..Default::default()
    })
}

#[tokio::test]
async fn a_silent_producer_hears_that_another_instance_ended_its_message() {
    let world = World::start().await;
    let mut stream = stream_that_wrote(&world.a(), &["m"]).await;
    let failed = v1::MessageState::Failed;
    world.b().end("m", failed).await.unwrap();
    assert_eq!(notice(&mut stream).await, ended("m", failed));

    // Once: what comes next is the answer to the next write.
    stream.send(Write::AppendText(append("m", "b"))).await;
    match stream.ack().await.outcome {
        Some(Outcome::Error(error)) => assert_eq!(error.reason, "MESSAGE_TERMINAL"),
        other => panic!("a refusal was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn a_producer_hears_that_its_message_was_deleted() {
    let world = World::start().await;
    let mut stream = stream_that_wrote(&world.a(), &["m"]).await;
    world.b().delete("m").await.unwrap();
    assert_eq!(notice(&mut stream).await, gone("m"));
}

#[tokio::test]
async fn a_producer_is_not_told_of_an_end_that_it_wrote_itself() {
    let world = World::start().await;
    let mut stream = stream_that_wrote(&world.a(), &["m", "other"]).await;
    stream.send(end("m")).await;
    stream.sequences(1).await;
    stream
        .send(Write::CreateMessage(v1::CreateMessageRequest {
            session_id: "s".into(),
            message_id: "whole".into(),
            role: v1::Role::User.into(),
            complete: true,
            ..Default::default()
        }))
        .await;
    stream.sequences(1).await;
    let completed = world.b().complete("other").await;
    assert!(!completed.deduplicated);
    let state = v1::MessageState::Completed;
    assert_eq!(notice(&mut stream).await, ended("other", state));
}

#[tokio::test]
async fn each_producer_of_a_message_hears_of_its_end_but_the_one_who_wrote_it() {
    let world = World::start().await;
    let mut first = stream_that_wrote(&world.a(), &["m"]).await;
    let mut second = WriteStream::open(&world.b()).await;
    second.send(Write::AppendText(append("m", "b"))).await;
    second.send(end("m")).await;
    second.sequences(2).await;
    let state = v1::MessageState::Completed;
    assert_eq!(notice(&mut first).await, ended("m", state));
    second.send(Write::AppendText(append("m", "c"))).await;
    second.ack().await;
}

#[tokio::test]
async fn a_producer_hears_of_a_message_that_it_creates_anew_as_of_a_new_one() {
    let world = World::start().await;
    let mut stream = stream_that_wrote(&world.a(), &["m"]).await;
    world.b().delete("m").await.unwrap();
    assert_eq!(notice(&mut stream).await, gone("m"));
    stream
        .send(Write::CreateMessage(v1::CreateMessageRequest {
            session_id: "s".into(),
            message_id: "m".into(),
            role: v1::Role::Assistant.into(),
            ..Default::default()
        }))
        .await;
    stream.sequences(1).await;
    world.b().complete("m").await;
    let state = v1::MessageState::Completed;
    assert_eq!(notice(&mut stream).await, ended("m", state));
}

#[tokio::test]
async fn a_notice_comes_though_the_connection_that_tells_of_it_was_killed() {
    let world = World::start().await;
    let mut stream = stream_that_wrote(&world.a(), &["m"]).await;
    let killed: u64 = world.redis.run(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert!(killed >= 2, "each instance listens: {killed}");
    world.b().complete("m").await;
    let state = v1::MessageState::Completed;
    assert_eq!(notice(&mut stream).await, ended("m", state));
}

#[tokio::test]
async fn a_producer_of_very_many_messages_hears_of_the_last_ones() {
    const MESSAGES: usize = 1_100;
    let world = World::start().await;
    world.a().session("s").await;
    let mut stream = WriteStream::open(&world.a()).await;
    for number in 0..MESSAGES {
        stream
            .send(Write::CreateMessage(v1::CreateMessageRequest {
                session_id: "s".into(),
                message_id: format!("m{number}"),
                role: v1::Role::Assistant.into(),
                ..Default::default()
            }))
            .await;
    }
    stream.sequences(MESSAGES).await;
    // The first is too long ago.
    for message in ["m0", "m1099"] {
        world.b().complete(message).await;
    }
    let state = v1::MessageState::Completed;
    assert_eq!(notice(&mut stream).await, ended("m1099", state));
}
