//! How much there may be of everything.

use prost::Message as _;
use throughline::proto::{self as v1, content_block::Content};
use tonic::Code;

use crate::support::{
    Rpc, World, image_block, largest_object, media_blocks, named, object, open, reference, refusal,
    text_block, textual_blocks,
};

const DELTA_BYTES_MAX: usize = 256 * 1024;
const BLOCK_BYTES_MAX: usize = 16 * 1024 * 1024;
const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;

fn exceeded() -> (Code, String) {
    (Code::FailedPrecondition, "LIMIT_EXCEEDED".to_owned())
}

/// An object that is nested as deep as it may be.
fn deepest_object() -> prost_types::Struct {
    let mut json = serde_json::json!({});
    for level in 1..23 {
        json = match level % 2 {
            0 => serde_json::json!({ "deeper": json }),
            _ => serde_json::json!([json]),
        };
    }
    object(serde_json::json!({ "deeper": json }))
}

#[tokio::test]
async fn a_request_of_very_many_small_things_is_refused_before_it_is_read() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let create = v1::CreateMessageRequest {
        session_id: "s".into(),
        role: v1::Role::User.into(),
        blocks: vec![v1::ContentBlock::default(); 1_000_000],
        ..Default::default()
    };
    let refused = clients.messages.clone().create_message(create).await;
    let status = refused.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("200000 fields"), "{status:?}");
}

#[tokio::test]
async fn what_is_just_within_the_limits_is_accepted_and_kept() {
    let world = World::start().await;
    let id = |character: &str| character.repeat(128);
    let metadata = Some(largest_object());
    let create_session = v1::CreateSessionRequest {
        session_id: id("s"),
        user_id: id("u"),
        metadata: metadata.clone(),
    };
    let create_message = v1::CreateMessageRequest {
        session_id: id("s"),
        message_id: id("m"),
        role: v1::Role::Tool.into(),
        metadata: metadata.clone(),
        parent_message_id: id("p"),
        ..Default::default()
    };
    let append = v1::AppendTextRequest {
        message_id: id("m"),
        delta: "x".repeat(DELTA_BYTES_MAX),
        request_id: id("r"),
        ..Default::default()
    };
    let publish = v1::PublishEventRequest {
        message_id: id("m"),
        name: id("n"),
        data: metadata.clone(),
        ..Default::default()
    };
    let start = v1::StartTaskRequest {
        message_id: id("m"),
        task_id: id("t"),
        task_type: id("k"),
        params: metadata.clone(),
        placeholder: Some(v1::ContentBlock {
            block_id: id("b"),
            metadata: metadata.clone(),
            ..Default::default()
        }),
        max_attempts: u32::MAX,
        ..Default::default()
    };
    let update = v1::UpdateTaskRequest {
        message_id: id("m"),
        task_id: id("t"),
        status: v1::TaskStatus::Failed.into(),
        progress: Some(1.0),
        status_text: Some("x".repeat(1_024)),
        error: "x".repeat(4_096),
        ..Default::default()
    };
    let end = v1::EndMessageRequest {
        message_id: id("m"),
        state: v1::MessageState::Failed.into(),
        error: "x".repeat(4_096),
        ..Default::default()
    };
    let clients = world.a();
    create_session.send(&clients).await.unwrap();
    create_message.send(&clients).await.unwrap();
    append.send(&clients).await.unwrap();
    publish.send(&clients).await.unwrap();
    start.send(&clients).await.unwrap();
    for block in longest_descriptions() {
        let block = v1::ContentBlock {
            metadata: metadata.clone(),
            ..block
        };
        clients.add(&id("m"), block).await.unwrap();
    }
    update.send(&clients).await.unwrap();
    end.send(&clients).await.unwrap();

    let message = world.b().get(&id("m")).await.unwrap();
    assert_eq!(message.text.len(), DELTA_BYTES_MAX + "\"x\"".len());
    assert_eq!(message.metadata, metadata);
    assert_eq!(message.tasks[0].params, metadata);
    assert_eq!(message.error.len(), 4_096);
    for block in &message.blocks[1..] {
        assert_eq!(block.metadata, metadata);
    }
    assert!(message.encoded_len() < FRAME_BYTES_MAX);
}

/// Blocks with the longest names, captions and the like.
fn longest_descriptions() -> Vec<v1::ContentBlock> {
    let mut blocks = media_blocks(b"x").to_vec();
    blocks.extend(textual_blocks("\"x\""));
    for block in &mut blocks {
        match block.content.as_mut().unwrap() {
            Content::Image(image) => {
                let url = v1::image_content::Source::Url("x".repeat(8_192));
                image.source = Some(url);
                image.media_type = "x".repeat(128);
                image.caption = "x".repeat(4_096);
                (image.width, image.height) = (u32::MAX, u32::MAX);
                image.size = i64::MAX;
            }
            Content::Audio(audio) => {
                audio.duration = Some(prost_types::Duration {
                    seconds: 315_576_000_000,
                    nanos: 999_999_999,
                });
            }
            Content::File(file) => file.filename = "x".repeat(1_024),
            Content::Code(code) => {
                code.language = "x".repeat(128);
                code.filename = "x".repeat(1_024);
            }
            Content::ToolCall(call) => {
                call.call_id = "x".repeat(128);
                call.name = "x".repeat(128);
            }
            Content::ToolResult(result) => result.call_id = "x".repeat(128),
            _ => {}
        }
    }
    blocks
}

#[tokio::test]
async fn metadata_as_deep_as_it_may_be_is_read_by_everybody() {
    let world = World::start().await;
    let clients = world.a();
    let metadata = Some(deepest_object());
    let create = v1::CreateSessionRequest {
        session_id: "s".into(),
        user_id: "user_1".into(),
        metadata: metadata.clone(),
    };
    create.send(&clients).await.unwrap();
    let create = v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "m".into(),
        role: v1::Role::User.into(),
        metadata: metadata.clone(),
        ..Default::default()
    };
    create.send(&clients).await.unwrap();
    let block = v1::ContentBlock {
        metadata: metadata.clone(),
        ..text_block("x")
    };
    clients.add("m", block).await.unwrap();
    let start = v1::StartTaskRequest {
        message_id: "m".into(),
        task_type: "search".into(),
        params: metadata.clone(),
        ..Default::default()
    };
    start.send(&clients).await.unwrap();
    let publish = v1::PublishEventRequest {
        message_id: "m".into(),
        name: "noticed".into(),
        data: metadata.clone(),
        ..Default::default()
    };
    publish.send(&clients).await.unwrap();

    let message = world.b().get("m").await.unwrap();
    assert_eq!(message.blocks[0].metadata, metadata);
    let snapshot = world.b().watch("m", "").await.snapshot().await;
    assert_eq!(snapshot, message);
    assert_eq!(clients.events("m").await.len(), 5);
    let mut watch = world.b().watch("m", "0").await;
    watch
        .events_until(|event| event.event_type() == v1::EventType::Custom)
        .await;
    let list = v1::ListMessagesRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    let listed = clients.clone().messages.list_messages(list).await.unwrap();
    assert_eq!(listed.into_inner().messages, [message]);
    let inspect = v1::InspectMessageRequest {
        message_id: "m".into(),
    };
    inspect.send(&clients).await.unwrap();
}

#[tokio::test]
async fn a_block_may_be_16_mib() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let bytes = vec![7; BLOCK_BYTES_MAX];
    let text = "x".repeat(BLOCK_BYTES_MAX);
    for block in [image_block(bytes), text_block(&text)] {
        clients.add("m", block).await.unwrap();
    }
    let message = world.b().get("m").await.unwrap();
    for block in &message.blocks {
        assert_eq!(reference(block).unwrap().size, BLOCK_BYTES_MAX as i64);
    }
    assert!(message.text_truncated);
}

#[tokio::test]
async fn a_block_does_not_grow_over_16_mib() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients
        .add("m", open(named("b", text_block("x"))))
        .await
        .unwrap();
    // To stream so much takes long.
    let key = "message:m:text:b";
    let length = BLOCK_BYTES_MAX - 10;
    let end = (length - 1).to_string();
    let _: i64 = world.redis.run(&["SETRANGE", key, &end, "x"]).await;
    assert_eq!(
        refusal(clients.append("m", &"y".repeat(11)).await),
        exceeded()
    );
    let answer = clients.append("m", &"y".repeat(9)).await.unwrap();
    assert_eq!(answer.offset, length as u64, "nothing was left behind");
    clients.append("m", "z").await.unwrap();
    for _ in 0..20 {
        assert_eq!(refusal(clients.append("m", "z").await), exceeded());
    }
    // What was appended too much has to be copied to take it away again.
    let copies = world.redis.calls("getrange").await;
    assert!(copies <= 2, "{copies} times all of the text was copied");
    let length: usize = world.redis.run(&["STRLEN", key]).await;
    assert_eq!(length, BLOCK_BYTES_MAX);
}

#[tokio::test]
async fn a_message_has_at_most_1_000_blocks() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let create = v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "m".into(),
        role: v1::Role::User.into(),
        blocks: vec![text_block("x"); 999],
        ..Default::default()
    };
    create.send(&clients).await.unwrap();
    clients.append("m", "the last").await.unwrap();
    clients.append("m", " one").await.unwrap();
    assert_eq!(refusal(clients.add("m", text_block("x")).await), exceeded());
    assert_eq!(refusal(clients.start_task("m", "t").await), exceeded());
    let seal = v1::UpdateContentRequest {
        message_id: "m".into(),
        block: Some(v1::ContentBlock {
            block_id: clients.get("m").await.unwrap().blocks[999].block_id.clone(),
            ..Default::default()
        }),
        ..Default::default()
    };
    seal.send(&clients).await.unwrap();
    assert_eq!(refusal(clients.append("m", "x").await), exceeded());
    let message = world.b().get("m").await.unwrap();
    assert_eq!(message.blocks.len(), 1_000);
    assert_eq!(message.text.len(), 999 + "the last one".len());
}

#[tokio::test]
async fn a_message_has_at_most_100_open_tasks() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    for index in 0..100 {
        clients.start_task("m", &format!("t{index}")).await.unwrap();
    }
    assert_eq!(refusal(clients.start_task("m", "more").await), exceeded());
    let cancel = v1::CancelTaskRequest {
        message_id: "m".into(),
        task_id: "t50".into(),
        ..Default::default()
    };
    cancel.send(&clients).await.unwrap();
    clients.start_task("m", "more").await.unwrap();
    let another = clients.start_task("m", "another").await;
    assert_eq!(refusal(another), exceeded());
}

#[tokio::test]
async fn what_a_message_keeps_beside_its_content_always_fits_into_an_answer() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let metadata = prost_types::Struct {
        fields: [(
            "note".to_owned(),
            prost_types::Value {
                kind: Some(prost_types::value::Kind::StringValue("x".repeat(16_000))),
            },
        )]
        .into(),
    };
    let block = |text: &str| v1::ContentBlock {
        metadata: Some(metadata.clone()),
        ..text_block(text)
    };
    for task in 0..20 {
        clients.start_task("m", &format!("t{task}")).await.unwrap();
    }
    let mut added = 0;
    let refused = loop {
        match clients.add("m", block("t")).await {
            Ok(_) => added += 1,
            refused => break refusal(refused),
        }
    };
    assert_eq!(
        refused,
        (Code::FailedPrecondition, "LIMIT_EXCEEDED".to_owned())
    );
    assert!(added > 60, "{added} blocks");
    // What ends it fits nevertheless, however little room there is.
    for length in [8_000, 4_000, 2_000, 1_000, 500, 250, 100, 50, 25, 10, 1] {
        let mut small = block("t");
        let note = prost_types::value::Kind::StringValue("x".repeat(length));
        let note = prost_types::Value { kind: Some(note) };
        small.metadata.as_mut().unwrap().fields = [("n".to_owned(), note)].into();
        added += usize::from(clients.add("m", small).await.is_ok());
    }
    assert_eq!(clients.get("m").await.unwrap().text, "t".repeat(added));
    let at_once = v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "at_once".into(),
        role: v1::Role::User.into(),
        blocks: vec![block("t"); 100],
        ..Default::default()
    };
    let answer = clients.clone().messages.create_message(at_once).await;
    assert_eq!(refusal(answer), refused);
    clients.complete("m").await;
    let ended = clients.get("m").await.unwrap();
    assert_eq!(ended.text, "t".repeat(added));
}
