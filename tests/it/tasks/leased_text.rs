//! What is written under a lease: where it goes, and what is left of it when the
//! lease is lost.

use throughline::proto::{self as v1, content_block::Content, event::Payload};
use tonic::Code;

use super::leases::{add, block_of};
use crate::support::{
    World, fold, image_block, inline_text, named, open, refusal, result_of, start_of, text_block,
    text_of, update_of,
};

use v1::TaskStatus::{Completed, Pending, Processing};

#[tokio::test]
async fn what_a_lost_attempt_wrote_is_withdrawn_in_the_commit_that_grants_the_next() {
    let world = World::start().await;
    let clients = world.a();
    clients.started("t", "render").await;
    clients.append("m", "Before. ").await.unwrap();
    let first = clients.claim("render").await;
    clients.append_with(text_of(&first, "A cat")).await.unwrap();
    let picture = block_of(&first, named("picture", image_block(vec![7; 20_000])));
    add(&clients, picture).await.unwrap();
    let thought = block_of(&first, open(named("thought", text_block("Hm"))));
    add(&clients, thought).await.unwrap();
    clients
        .update_task(update_of(&first, Pending))
        .await
        .unwrap();

    let mut watch = world.b().watch("m", "$").await;
    watch.caught_up().await;
    let second = world.b().claim("render").await;
    let mut emptied = Vec::new();
    loop {
        let event = watch.event().await;
        match event.payload.unwrap() {
            Payload::ContentUpdated(updated) => emptied.push(updated.block.unwrap()),
            Payload::TaskProgress(granted) => {
                assert_eq!(granted.task.unwrap().attempt, 2);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(emptied.len(), 3);
    assert!(emptied.iter().all(|block| block.content.is_none()));
    let message = clients.get("m").await.unwrap();
    assert_eq!(message.text, "Before. ");
    let states: Vec<_> = message.blocks.iter().map(v1::ContentBlock::state).collect();
    use v1::BlockState::{Open, Placeholder, Sealed};
    assert_eq!(states, [Placeholder, Open, Sealed, Sealed]);
    assert_eq!(message.blocks[2].error, "attempt 1 was lost");

    clients
        .append_with(text_of(&second, "A dog"))
        .await
        .unwrap();
    clients
        .update_task(update_of(&second, Completed))
        .await
        .unwrap();
    clients.complete("m").await;
    let message = clients.get("m").await.unwrap();
    assert_eq!(message.text, "A dogBefore. ");
    let events = clients.events("m").await;
    let folded: Vec<_> = fold(&events).blocks;
    assert_eq!(folded.len(), message.blocks.len());
}

#[tokio::test]
async fn text_goes_to_blocks_of_the_task_only_and_of_nobody_else() {
    let world = World::start().await;
    let clients = world.a();
    clients.started("t", "render").await;
    clients.start(start_of("m", "u", "render")).await.unwrap();
    clients.append("m", "mine").await.unwrap();
    let foreign = clients.get("m").await.unwrap().blocks[2].block_id.clone();
    let t = clients.claim("render").await;
    let u = clients.claim("render").await;
    let stranger = v1::AppendTextRequest {
        block_id: foreign.clone(),
        ..text_of(&t, "x")
    };
    let refused = (Code::FailedPrecondition, "BLOCK_NOT_LEASED".to_owned());
    assert_eq!(refusal(clients.append_with(stranger).await), refused);
    // Each of them streams in its own place, whoever comes in between.
    for (clients, turn) in [(world.a(), 0), (world.b(), 1), (world.a(), 2)] {
        clients
            .append_with(text_of(&t, &format!("t{turn} ")))
            .await
            .unwrap();
        clients.append("m", &format!(" m{turn}")).await.unwrap();
        clients
            .append_with(text_of(&u, &format!("u{turn} ")))
            .await
            .unwrap();
    }
    let message = clients.get("m").await.unwrap();
    let texts: Vec<_> = message.blocks.iter().map(inline_text).collect();
    assert_eq!(texts, ["t0 t1 t2 ", "u0 u1 u2 ", "mine m0 m1 m2"]);
    // After its own thought it goes on with its answer.
    let thought = v1::ContentBlock {
        content: Some(Content::Thinking(v1::ThinkingContent::default())),
        ..text_block("")
    };
    add(&clients, block_of(&t, thought)).await.unwrap();
    let appended = clients.append_with(text_of(&t, "t3")).await.unwrap();
    assert_eq!(appended.block_id, message.blocks[0].block_id);
    // What is last and not the writer's is not written to by accident.
    add(&clients, block_of(&u, open(text_block("aside"))))
        .await
        .unwrap();
    let own = clients.append("m", "new").await.unwrap();
    let message = clients.get("m").await.unwrap();
    assert_eq!(own.block_id, message.blocks.last().unwrap().block_id);
    assert_eq!(inline_text(message.blocks.last().unwrap()), "new");
}

#[tokio::test]
async fn a_lease_stands_in_for_the_fence_of_the_writer() {
    let world = World::start().await;
    let clients = world.a();
    clients.started("t", "render").await;
    let acquire = v1::AcquireWriterRequest {
        message_id: "m".into(),
        writer_id: "producer".into(),
        ttl: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        ..Default::default()
    };
    clients
        .messages
        .clone()
        .acquire_writer(acquire)
        .await
        .unwrap();
    let fenced = (Code::Aborted, "WRITER_FENCED".to_owned());
    assert_eq!(refusal(clients.append("m", "x").await), fenced);
    let task = world.b().claim("render").await;
    for delta in ["A", " cat"] {
        world.b().append_with(text_of(&task, delta)).await.unwrap();
    }
    world
        .b()
        .update_task(update_of(&task, Completed))
        .await
        .unwrap();
    assert_eq!(clients.get("m").await.unwrap().text, "A cat");
}

#[tokio::test]
async fn text_under_a_lease_is_written_once_however_often_it_is_sent() {
    let world = World::start().await;
    let clients = world.a();
    clients.started("t", "render").await;
    let task = clients.claim("render").await;
    let mut offset = 0;
    for turn in 0..4 {
        let delta = format!("{turn} ");
        let request = v1::AppendTextRequest {
            request_id: format!("r{turn}"),
            expected_offset: (turn % 2 == 1).then_some(offset),
            ..text_of(&task, &delta)
        };
        for round in 0..3 {
            let answer = world
                .either(turn + round)
                .append_with(request.clone())
                .await;
            let answer = answer.unwrap();
            assert_eq!(answer.offset, offset);
            assert_eq!(answer.result.unwrap().deduplicated, round > 0);
        }
        offset += delta.len() as u64;
    }
    assert_eq!(clients.get("m").await.unwrap().text, "0 1 2 3 ");
}

#[tokio::test]
async fn a_preview_takes_the_place_of_what_was_streamed_there() {
    let world = World::start().await;
    let clients = world.a();
    clients.started("t", "render").await;
    let task = clients.claim("render").await;
    clients
        .append_with(text_of(&task, "A draft"))
        .await
        .unwrap();
    let preview = v1::UpdateTaskRequest {
        content: Some(text_block("A preview")),
        ..update_of(&task, Processing)
    };
    clients.update_task(preview).await.unwrap();
    assert_eq!(clients.get("m").await.unwrap().text, "A preview");
    clients
        .update_task(result_of(&task, "A result"))
        .await
        .unwrap();
    let message = clients.get("m").await.unwrap();
    assert_eq!(
        (message.text.as_str(), message.blocks.len()),
        ("A result", 1)
    );
    let left: Vec<String> = world.redis.run(&["KEYS", "message:m:text:*"]).await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn text_goes_to_any_open_block_of_the_task_that_it_names() {
    let world = World::start().await;
    let clients = world.a();
    clients.started("t", "render").await;
    let t = clients.claim("render").await;
    let thought = |id: &str| {
        let thinking = Content::Thinking(v1::ThinkingContent::default());
        let block = v1::ContentBlock {
            content: Some(thinking),
            ..text_block("")
        };
        block_of(&t, named(id, open(block)))
    };
    for id in ["one", "two"] {
        add(&clients, thought(id)).await.unwrap();
    }
    for (clients, id) in [(world.a(), "one"), (world.b(), "two"), (world.b(), "one")] {
        let text = v1::AppendTextRequest {
            block_id: id.into(),
            ..text_of(&t, "a")
        };
        assert_eq!(clients.append_with(text).await.unwrap().block_id, id);
    }
    clients.append_with(text_of(&t, "answer")).await.unwrap();
    let message = clients.get("m").await.unwrap();
    let texts: Vec<_> = message.blocks.iter().map(inline_text).collect();
    assert_eq!(texts, ["answer", "aa", "a"]);
}
