//! How messages begin.

use throughline::proto as v1;
use tonic::Code;

use crate::support::{World, named, object, open, refusal, text_block};

#[tokio::test]
async fn a_message_is_read_without_what_is_not_asked_for() {
    let world = World::start().await;
    world.a().message("m").await;
    world.a().append("m", "text").await.unwrap();
    let whole = world.b().get("m").await.unwrap();
    let read = async |paths: &[&str]| {
        let request = v1::GetMessageRequest {
            message_id: "m".into(),
            read_mask: Some(prost_types::FieldMask {
                paths: paths.iter().map(|&path| path.into()).collect(),
            }),
        };
        let response = world.b().messages.clone().get_message(request).await;
        response.unwrap().into_inner().message.unwrap()
    };
    assert_eq!(read(&["*"]).await, whole);
    let expected = v1::Message {
        blocks: whole.blocks.clone(),
        cursor: whole.cursor.clone(),
        ..Default::default()
    };
    assert_eq!(read(&["cursor", "blocks"]).await, expected);
    let expected = v1::Message {
        text: whole.text.clone(),
        ..Default::default()
    };
    assert_eq!(read(&["text"]).await, expected);
}

#[tokio::test]
async fn a_message_is_created_once_and_found_after_that() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients.append("m", "hello").await.unwrap();
    let before = world.redis.contents().await;

    let repeat = v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "m".into(),
        role: v1::Role::Assistant.into(),
        metadata: Some(object(serde_json::json!({ "other": true }))),
        blocks: vec![text_block(&"other".repeat(10_000))],
        complete: true,
        ..Default::default()
    };
    let found = world.b().messages.create_message(repeat).await;
    let found = found.unwrap().into_inner();
    let (message, result) = (found.message.unwrap(), found.result.unwrap());
    assert!(!found.created && result.deduplicated);
    assert_eq!(message.text, "hello");
    assert_eq!(message.state(), v1::MessageState::Streaming);
    assert_eq!(result.cursor, message.cursor);
    assert_eq!(world.redis.contents().await, before, "nothing changes");
}

#[tokio::test]
async fn a_message_id_belongs_to_one_session_and_role() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients.session("other").await;
    let message = clients.get("m").await.unwrap();
    let before = world.redis.keys().await;

    let exists = (Code::AlreadyExists, "MESSAGE_EXISTS".to_owned());
    let another_role = clients.create("m", v1::Role::User).await;
    assert_eq!(refusal(another_role), exists);
    let another_session = v1::CreateMessageRequest {
        session_id: "other".into(),
        message_id: "m".into(),
        role: v1::Role::Assistant.into(),
        ..Default::default()
    };
    let answer = clients
        .clone()
        .messages
        .create_message(another_session)
        .await;
    assert_eq!(refusal(answer), exists);
    assert_eq!(clients.get("m").await.unwrap(), message);
    // The announcement stays, which is made first and which watchers pass over.
    let mut keys = world.redis.keys().await;
    keys.retain(|key| key != "stream:session:other");
    assert_eq!(keys, before);
}

#[tokio::test]
async fn a_message_without_an_id_gets_one() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let created = clients.create("", v1::Role::User).await.unwrap();
        assert!(created.created);
        ids.push(created.message.unwrap().message_id);
    }
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        let id = uuid::Uuid::parse_str(&id).unwrap();
        assert_eq!(id.get_version_num(), 7);
    }
}

#[tokio::test]
async fn a_message_can_be_created_whole() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let request = v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "m".into(),
        role: v1::Role::User.into(),
        blocks: vec![
            text_block("What is "),
            open(text_block("this?")),
            named("long", text_block(&"x".repeat(20_000))),
        ],
        parent_message_id: "before".into(),
        complete: true,
        ..Default::default()
    };
    let created = clients.clone().messages.create_message(request).await;
    let created = created.unwrap().into_inner();
    let message = world.b().get("m").await.unwrap();
    assert_eq!(created.message.as_ref(), Some(&message));
    assert!(message.text.starts_with("What is this?xx"));
    assert_eq!(message.parent_message_id, "before");
    assert_eq!(message.state(), v1::MessageState::Completed);
    assert_eq!(created.result.unwrap().sequence, message.sequence);
    let events = clients.events("m").await;
    assert_eq!(events.len() as u64, message.sequence);
    assert!(
        events.windows(2).all(|pair| pair[0].time == pair[1].time),
        "one commit has one time"
    );
}

#[tokio::test]
async fn a_closed_session_takes_no_new_message_and_lets_the_others_be_written() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let close = v1::CloseSessionRequest {
        session_id: "s".into(),
    };
    clients.clone().sessions.close_session(close).await.unwrap();

    let new = world.b().create("new", v1::Role::User).await;
    let closed = (Code::FailedPrecondition, "SESSION_CLOSED".to_owned());
    assert_eq!(refusal(new), closed);
    let found = world.b().create("m", v1::Role::Assistant).await.unwrap();
    assert!(!found.created, "a repeat is no new message");
    world.b().append("m", "still here").await.unwrap();
    world.b().complete("m").await;
    assert_eq!(clients.get("m").await.unwrap().text, "still here");
}

#[tokio::test]
async fn a_message_in_an_unknown_session_is_refused_and_makes_no_key() {
    let world = World::start().await;
    let answer = world.a().create("m", v1::Role::User).await;
    let unknown = (Code::NotFound, "SESSION_NOT_FOUND".to_owned());
    assert_eq!(refusal(answer), unknown);
    assert!(world.redis.contents().await.is_empty());
}
