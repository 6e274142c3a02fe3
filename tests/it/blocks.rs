//! Where text goes, and what may become of a block.

use throughline::proto::{self as v1, content_block::Content, event::Payload};
use tonic::Code;

use crate::support::{
    Clients, World, fold, image_block, inline_text, named, object, open, refusal, text_block,
    textual_blocks,
};

/// What an append to a block is answered.
async fn append_to(
    clients: &Clients,
    block: &str,
    delta: &str,
) -> Result<v1::AppendTextResponse, tonic::Status> {
    let request = v1::AppendTextRequest {
        message_id: "m".into(),
        block_id: block.into(),
        delta: delta.into(),
        ..Default::default()
    };
    clients.append_with(request).await
}

async fn update(
    clients: &Clients,
    block: v1::ContentBlock,
) -> Result<v1::WriteResult, tonic::Status> {
    let request = v1::UpdateContentRequest {
        message_id: "m".into(),
        block: Some(block),
        ..Default::default()
    };
    let answer = clients.clone().messages.update_content(request).await?;
    Ok(answer.into_inner().result.unwrap())
}

fn kind(event: &v1::Event) -> v1::EventType {
    event.event_type()
}

#[tokio::test]
async fn an_append_opens_a_block_where_there_is_none_in_the_same_commit() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let answer = clients.append("m", "hello").await.unwrap();
    assert_eq!(answer.offset, 0);
    assert_eq!(answer.result.unwrap().sequence, 3);

    let events = clients.events("m").await;
    use v1::EventType::{ContentAdded, MessageStart, TextDelta};
    let kinds: Vec<_> = events.iter().map(kind).collect();
    assert_eq!(kinds, [MessageStart, ContentAdded, TextDelta]);
    assert_eq!(events[1].time, events[2].time, "one commit has one time");
    let Some(Payload::ContentAdded(added)) = &events[1].payload else {
        panic!("{:?}", events[1])
    };
    let block = added.block.as_ref().unwrap();
    assert_eq!(block.block_id, answer.block_id);
    assert_eq!(block.state(), v1::BlockState::Open);
    assert_eq!(inline_text(block), "");
    let Some(Payload::TextDelta(delta)) = &events[2].payload else {
        panic!("{:?}", events[2])
    };
    assert_eq!(
        (delta.block_id.as_str(), delta.offset, delta.delta.as_str()),
        (answer.block_id.as_str(), 0, "hello")
    );
}

#[tokio::test]
async fn an_append_continues_the_open_text_at_the_end() {
    let world = World::start().await;
    world.a().message("m").await;
    let first = world.a().append("m", "hé").await.unwrap();
    let second = world.b().append("m", "llo").await.unwrap();
    assert_eq!(second.block_id, first.block_id);
    assert_eq!(second.offset, 3, "offsets count bytes");
    let message = world.a().get("m").await.unwrap();
    assert_eq!(message.text, "héllo");
    assert_eq!(message.blocks.len(), 1);
}

#[tokio::test]
async fn an_append_after_an_image_opens_a_new_block() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let first = clients.append("m", "before").await.unwrap();
    clients.add("m", image_block(vec![1])).await.unwrap();
    let second = clients.append("m", "after").await.unwrap();
    assert_ne!(second.block_id, first.block_id);
    assert_eq!(second.offset, 0);
    let message = clients.get("m").await.unwrap();
    assert_eq!(message.blocks.len(), 3);
    assert_eq!(message.text, "beforeafter");
    // The first text is open all the same, to those who name it.
    let named = append_to(&clients, &first.block_id, "!").await.unwrap();
    assert_eq!(named.offset, 6);
    assert_eq!(clients.get("m").await.unwrap().text, "before!after");
}

#[tokio::test]
async fn an_append_without_a_block_passes_over_open_blocks_of_other_kinds_and_sealed_texts() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let [text, markdown, ..] = textual_blocks("x");
    for last in [text, open(markdown)] {
        clients.add("m", last).await.unwrap();
        let count = clients.get("m").await.unwrap().blocks.len();
        clients.append("m", "y").await.unwrap();
        let blocks = clients.get("m").await.unwrap().blocks;
        assert_eq!(blocks.len(), count + 1, "a new block was opened");
    }
}

#[tokio::test]
async fn open_blocks_of_every_textual_kind_grow() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    for (index, block) in textual_blocks("be").into_iter().enumerate() {
        let id = format!("b{index}");
        clients.add("m", open(named(&id, block))).await.unwrap();
    }
    for index in 0..8 {
        let answer = append_to(&world.b(), &format!("b{index}"), "gin").await;
        let answer = answer.unwrap();
        assert_eq!(answer.block_id, format!("b{index}"));
        assert_eq!(answer.offset, 2);
    }
    let message = clients.get("m").await.unwrap();
    for block in &message.blocks {
        assert_eq!(inline_text(block), "begin");
        assert_eq!(block.state(), v1::BlockState::Open);
    }
    assert_eq!(message.text, "begin", "only TEXT blocks are the text");
    let Some(Content::Code(code)) = &message.blocks[5].content else {
        panic!("{:?}", message.blocks[5])
    };
    assert_eq!(
        (code.language.as_str(), code.filename.as_str()),
        ("rust", "main.rs")
    );
}

#[tokio::test]
async fn what_cannot_grow_says_why() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients
        .add("m", named("sealed", text_block("x")))
        .await
        .unwrap();
    clients
        .add("m", named("image", image_block(vec![1])))
        .await
        .unwrap();
    let started = clients.start_task("m", "t").await.unwrap();
    let placeholder = started.task.unwrap().block_id;
    let before = world.redis.contents().await;
    for (block, code, reason) in [
        ("sealed", Code::FailedPrecondition, "BLOCK_SEALED"),
        ("image", Code::FailedPrecondition, "BLOCK_SEALED"),
        (&placeholder, Code::FailedPrecondition, "BLOCK_PLACEHOLDER"),
        ("unknown", Code::NotFound, "BLOCK_NOT_FOUND"),
    ] {
        let answer = append_to(&clients, block, "x").await;
        assert_eq!(refusal(answer), (code, reason.into()), "append to {block}");
        let answer = update(&clients, named(block, text_block("y"))).await;
        assert_eq!(refusal(answer), (code, reason.into()), "update of {block}");
    }
    assert_eq!(world.redis.contents().await, before);
}

#[tokio::test]
async fn a_block_id_is_taken_once() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let answer = clients.add("m", named("b", text_block("x"))).await.unwrap();
    assert_eq!(answer.block_id, "b");
    let exists = (Code::AlreadyExists, "BLOCK_EXISTS".to_owned());
    let again = clients.add("m", named("b", image_block(vec![1]))).await;
    assert_eq!(refusal(again), exists);
    let placeholder = v1::StartTaskRequest {
        message_id: "m".into(),
        task_type: "search".into(),
        placeholder: Some(v1::ContentBlock {
            block_id: "b".into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let again = clients.clone().tasks.start_task(placeholder).await;
    assert_eq!(refusal(again), exists);
    assert_eq!(clients.get("m").await.unwrap().blocks.len(), 1);
}

#[tokio::test]
async fn an_update_seals_an_open_block_with_the_text_it_has() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let block = clients.append("m", "hello").await.unwrap().block_id;
    let seal = v1::ContentBlock {
        block_id: block.clone(),
        ..Default::default()
    };
    update(&world.b(), seal).await.unwrap();
    let message = clients.get("m").await.unwrap();
    assert_eq!(message.blocks[0].state(), v1::BlockState::Sealed);
    assert_eq!(inline_text(&message.blocks[0]), "hello");
    assert_eq!(message.text, "hello");
    let sealed = (Code::FailedPrecondition, "BLOCK_SEALED".to_owned());
    assert_eq!(refusal(append_to(&clients, &block, "x").await), sealed);
    // Appends that name no block go on in a new one.
    clients.append("m", " again").await.unwrap();
    assert_eq!(clients.get("m").await.unwrap().text, "hello again");
}

#[tokio::test]
async fn an_update_replaces_the_text_of_a_block_that_stays_open() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let block = clients.append("m", "a first draft").await.unwrap().block_id;
    let replacement = open(named(&block, text_block("a second")));
    update(&world.b(), replacement).await.unwrap();
    let answer = clients.append("m", " draft").await.unwrap();
    assert_eq!(answer.offset, 8);
    let message = clients.get("m").await.unwrap();
    assert_eq!(message.text, "a second draft");
    assert_eq!(message.blocks[0].state(), v1::BlockState::Open);

    let events = clients.events("m").await;
    use v1::EventType::{ContentUpdated, TextDelta};
    assert_eq!(kind(&events[3]), ContentUpdated);
    assert_eq!(kind(&events[4]), TextDelta);
    assert_eq!(events[3].time, events[4].time);
    assert_eq!(fold(&events).blocks[0].open_text(), Some("a second draft"));
}

#[tokio::test]
async fn an_update_replaces_metadata_where_it_has_some_and_keeps_it_otherwise() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let one = object(serde_json::json!({ "n": 1 }));
    let two = object(serde_json::json!({ "n": 2 }));
    let block = v1::ContentBlock {
        metadata: Some(one.clone()),
        ..open(named("b", text_block("x")))
    };
    clients.add("m", block).await.unwrap();
    let metadata = || async { clients.get("m").await.unwrap().blocks[0].metadata.clone() };

    update(&clients, open(named("b", text_block("y"))))
        .await
        .unwrap();
    assert_eq!(metadata().await, Some(one));
    let block = v1::ContentBlock {
        block_id: "b".into(),
        state: v1::BlockState::Open.into(),
        metadata: Some(two.clone()),
        ..Default::default()
    };
    update(&clients, block).await.unwrap();
    assert_eq!(metadata().await, Some(two));
    assert_eq!(clients.get("m").await.unwrap().text, "y", "the text stays");
    let block = v1::ContentBlock {
        block_id: "b".into(),
        metadata: Some(Default::default()),
        ..Default::default()
    };
    update(&clients, block).await.unwrap();
    assert_eq!(metadata().await, None, "an empty object replaces as well");
}

#[tokio::test]
async fn a_block_keeps_its_kind() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients
        .add("m", open(named("b", text_block("x"))))
        .await
        .unwrap();
    let another = (Code::FailedPrecondition, "BLOCK_KIND".to_owned());
    let [_, markdown, ..] = textual_blocks("y");
    for block in [markdown, image_block(vec![1])] {
        let answer = update(&clients, named("b", block)).await;
        assert_eq!(refusal(answer), another);
    }
    assert_eq!(clients.get("m").await.unwrap().text, "x");
}

#[tokio::test]
async fn json_is_checked_when_it_is_sealed() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let [_, _, _, json, ..] = textual_blocks("{\"a\":");
    clients.add("m", open(named("b", json))).await.unwrap();
    let seal = v1::ContentBlock {
        block_id: "b".into(),
        ..Default::default()
    };
    let answer = update(&clients, seal.clone()).await;
    let invalid = (Code::FailedPrecondition, "BLOCK_NOT_JSON".to_owned());
    assert_eq!(refusal(answer), invalid);
    append_to(&clients, "b", "1}").await.unwrap();
    update(&clients, seal).await.unwrap();
    let block = &clients.get("m").await.unwrap().blocks[0];
    assert_eq!(inline_text(block), "{\"a\":1}");
    assert_eq!(block.state(), v1::BlockState::Sealed);
}
