//! Long content, which is brought to Redis and read from it in parts.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use throughline::proto as v1;
use tonic::Code;

use crate::support::{
    Clients, Redis, World, image_block, named, reason, reference, refusal, start_of, text_block,
    update_of,
};

const PART: usize = 256 * 1024;
const MIB: usize = 1024 * 1024;

fn bytes(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

async fn open_content(
    clients: &Clients,
    content_id: &str,
) -> tonic::Result<tonic::Streaming<v1::ReadContentResponse>> {
    let request = v1::ReadContentRequest {
        content_id: content_id.into(),
        ..Default::default()
    };
    let answer = clients.messages.clone().read_content(request).await?;
    Ok(answer.into_inner())
}

async fn read(clients: &Clients, content_id: &str) -> tonic::Result<Vec<u8>> {
    let mut chunks = open_content(clients, content_id).await?;
    let mut data = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        data.extend_from_slice(&chunk.data);
    }
    Ok(data)
}

async fn content_ids(clients: &Clients, message: &str) -> Vec<String> {
    let blocks = clients.get(message).await.unwrap().blocks;
    let ids = blocks.iter().filter_map(reference);
    ids.map(|reference| reference.content_id.clone()).collect()
}

async fn content_keys(redis: &Redis) -> Vec<String> {
    let mut keys = redis.keys().await;
    keys.retain(|key| key.starts_with("content:"));
    keys
}

/// A message in session `s` that has an image of each of these lengths.
fn message_of(lengths: &[usize]) -> v1::CreateMessageRequest {
    let blocks = lengths.iter().map(|length| image_block(bytes(*length)));
    v1::CreateMessageRequest {
        session_id: "s".into(),
        message_id: "m".into(),
        role: v1::Role::User.into(),
        blocks: blocks.collect(),
        complete: true,
        ..Default::default()
    }
}

#[tokio::test]
async fn long_content_is_in_parts_that_live_as_long_as_it() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let image = image_block(bytes(2 * PART + 1));
    clients.add("m", image).await.unwrap();
    let [id] = &content_ids(&world.b(), "m").await[..] else {
        panic!("one content was expected")
    };
    let key = format!("content:{id}");
    for (part, length) in [("0000", PART), ("0001", PART), ("0002", 1)] {
        let field = format!("data:{part}");
        let found: usize = world.redis.run(&["HSTRLEN", &key, &field]).await;
        assert_eq!(found, length, "{part}");
    }
    let whole: bool = world.redis.run(&["HEXISTS", &key, "data"]).await;
    assert!(!whole);
    let left = world.redis.ttl(&key).await;
    assert!(left > Duration::from_secs(24 * 60 * 60), "{left:?}");
    assert_eq!(read(&world.b(), id).await.unwrap(), bytes(2 * PART + 1));
}

#[tokio::test]
async fn much_content_in_one_write_is_whole_however_it_is_divided() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let lengths = [
        100_000, 200_000, 100_000, PART, 20_000, 3_000_000, 30_000, PART, 30_000,
    ];
    let request = message_of(&lengths);
    clients
        .messages
        .clone()
        .create_message(request)
        .await
        .unwrap();
    let ids = content_ids(&world.b(), "m").await;
    assert_eq!(ids.len(), lengths.len());
    for (id, length) in ids.iter().zip(lengths) {
        assert_eq!(read(&world.b(), id).await.unwrap(), bytes(length));
    }
}

#[tokio::test]
async fn a_long_text_that_is_streamed_is_in_parts_once_it_has_ended() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    // Three bytes a character: parts end within one.
    let text = "€".repeat(40_000);
    for index in 0..10 {
        world.either(index).append("m", &text).await.unwrap();
    }
    clients.complete("m").await;
    let message = world.b().get("m").await.unwrap();
    assert_eq!(message.text, text.repeat(10));
    let id = &reference(&message.blocks[0]).unwrap().content_id;
    let held = read(&clients, id).await.unwrap();
    assert_eq!(held, text.repeat(10).as_bytes());
    let field: bool = world
        .redis
        .run(&["HEXISTS", &format!("content:{id}"), "data:0004"])
        .await;
    assert!(field);
}

#[tokio::test]
async fn a_text_too_long_for_an_answer_is_cut_at_a_character() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    // Neither a part ends with a character, nor what fits into a frame.
    let text = format!("x{}", "€".repeat(MIB));
    clients.add("m", text_block(&text)).await.unwrap();
    let message = world.b().get("m").await.unwrap();
    assert!(message.text_truncated);
    assert!(message.text.len() > MIB && text.starts_with(&message.text));
}

#[tokio::test]
async fn a_write_that_is_refused_leaves_nothing_of_what_it_brought() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    let mut messages = clients.messages.clone();
    let request = message_of(&[2 * PART]);
    messages.create_message(request.clone()).await.unwrap();
    let keys = content_keys(&world.redis).await;
    assert_eq!(keys.len(), 1);
    let again = messages.create_message(request.clone()).await.unwrap();
    assert!(!again.into_inner().created);
    let of_another_role = v1::CreateMessageRequest {
        role: v1::Role::System.into(),
        ..request
    };
    let refused = refusal(messages.create_message(of_another_role).await);
    assert_eq!(refused.0, Code::AlreadyExists);
    assert_eq!(content_keys(&world.redis).await, keys);
}

#[tokio::test]
async fn what_redis_has_no_memory_for_is_refused_and_nothing_of_it_written() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let before = clients.get("m").await.unwrap();
    let image = || image_block(bytes(4 * MIB));
    let set = async |bytes: &str| -> () {
        world
            .redis
            .run(&["CONFIG", "SET", "maxmemory", bytes])
            .await
    };
    let memory: String = world.redis.run(&["INFO", "memory"]).await;
    let used = memory
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let used: usize = used.unwrap().trim().parse().unwrap();
    set(&(used + MIB).to_string()).await;
    let refused = clients.add("m", image()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(content_keys(&world.redis).await, [""; 0]);
    set("0").await;
    assert_eq!(clients.get("m").await.unwrap(), before);
    clients.add("m", image()).await.unwrap();
    let ids = content_ids(&world.b(), "m").await;
    assert_eq!(read(&clients, &ids[0]).await.unwrap(), bytes(4 * MIB));
}

#[tokio::test]
async fn what_is_lost_before_it_is_referred_to_is_brought_again() {
    // Takes a content away that nothing refers to yet, as Redis might that needs
    // memory.
    const LOSE: &str = "for _, key in ipairs(redis.call('KEYS', 'content:*')) do
        if redis.call('HEXISTS', key, 'type') == 0 then return redis.call('DEL', key) end
    end
    return 0";
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let is_added = AtomicBool::new(false);
    let lose = async {
        while !is_added.load(Ordering::Relaxed) {
            if world.redis.run(&["EVAL", LOSE, "0"]).await {
                return true;
            }
        }
        false
    };
    let add = async {
        clients
            .add("m", image_block(bytes(12 * MIB)))
            .await
            .unwrap();
        is_added.store(true, Ordering::Relaxed);
    };
    let ((), is_lost) = tokio::join!(add, lose);
    assert!(is_lost, "the test came too late");
    let ids = content_ids(&world.b(), "m").await;
    assert_eq!(ids.len(), 1);
    assert!(read(&clients, &ids[0]).await.unwrap() == bytes(12 * MIB));
    assert_eq!(
        content_keys(&world.redis).await,
        [format!("content:{}", ids[0])]
    );
}

#[tokio::test]
async fn what_nothing_refers_to_yet_goes_by_itself() {
    const LEFT: &str = "for _, key in ipairs(redis.call('KEYS', 'content:*')) do
        if redis.call('HEXISTS', key, 'type') == 0 then return redis.call('PTTL', key) end
    end
    return 0";
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let left = async {
        loop {
            let left: i64 = world.redis.run(&["EVAL", LEFT, "0"]).await;
            if left != 0 {
                break left;
            }
        }
    };
    tokio::select! {
        left = left => assert!((1..=60_000).contains(&left), "{left}"),
        _ = clients.add("m", image_block(bytes(12 * MIB))) => panic!("the test came too late"),
    }
}

#[tokio::test]
async fn what_is_referred_to_is_not_touched_by_what_comes_late() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients
        .add("m", image_block(bytes(2 * PART)))
        .await
        .unwrap();
    let ids = content_ids(&clients, "m").await;
    let key = format!("content:{}", ids[0]);
    for (function, arguments) in [("stage", &["data:0000", "late"][..]), ("unstage", &[])] {
        let name = world.redis.function(function).await;
        let call = [&["FCALL", &name, "1", &key], arguments].concat();
        let _: redis::Value = world.redis.run(&call).await;
        assert_eq!(read(&clients, &ids[0]).await.unwrap(), bytes(2 * PART));
        assert!(world.redis.ttl(&key).await > Duration::from_secs(24 * 60 * 60));
    }
}

#[tokio::test]
async fn what_another_write_overtakes_is_not_brought_again() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let added = AtomicBool::new(false);
    let disturb = async {
        let mut events = 0;
        while !added.load(Ordering::Relaxed) {
            world.b().publish("m", "custom").await.unwrap();
            events += 1;
        }
        events
    };
    let add = async {
        clients
            .add("m", image_block(bytes(12 * MIB)))
            .await
            .unwrap();
        added.store(true, Ordering::Relaxed);
    };
    let ((), events) = tokio::join!(add, disturb);
    assert!(events > 1, "nothing has overtaken it");
    let stats: redis::InfoDict = world.redis.run(&["INFO", "stats"]).await;
    let received: usize = stats.get("total_net_input_bytes").unwrap();
    assert!(received < 2 * 12 * MIB, "{received} for {events} events");
    let ids = content_ids(&world.b(), "m").await;
    assert!(read(&clients, &ids[0]).await.unwrap() == bytes(12 * MIB));
    assert_eq!(content_keys(&world.redis).await.len(), 1);
}

#[tokio::test]
async fn a_read_that_content_is_deleted_under_says_so() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    let image = named("image", image_block(bytes(12 * MIB)));
    clients.add("m", image).await.unwrap();
    let ids = content_ids(&clients, "m").await;
    let mut chunks = open_content(&world.b(), &ids[0]).await.unwrap();
    let first = chunks.message().await.unwrap().unwrap();
    assert!(bytes(12 * MIB).starts_with(&first.data));
    clients.delete("m").await.unwrap();
    let mut length = first.data.len();
    let end = loop {
        match chunks.message().await {
            Ok(chunk) => length += chunk.expect("the end is cut off").data.len(),
            Err(status) => break status,
        }
    };
    assert!(length < 12 * MIB);
    assert_eq!(end.code(), Code::NotFound);
    assert_eq!(reason(&end), "CONTENT_NOT_FOUND");
}

fn preview(task: &v1::Task, byte: u8) -> v1::UpdateTaskRequest {
    v1::UpdateTaskRequest {
        content: Some(image_block(vec![byte; 20_000])),
        ..update_of(task, v1::TaskStatus::Processing)
    }
}

#[tokio::test]
async fn of_content_that_is_replaced_again_and_again_the_last_is_kept() {
    let world = World::start().await;
    let clients = world.a();
    clients.started("t", "render").await;
    let task = clients.claim("render").await;
    let mut ids = Vec::new();
    for number in 0..30 {
        clients.update_task(preview(&task, number)).await.unwrap();
        ids.extend(content_ids(&clients, "m").await);
    }
    assert_eq!(content_keys(&world.redis).await.len(), 17);
    for (number, id) in (0..30).zip(&ids).skip(13) {
        assert_eq!(read(&clients, id).await.unwrap(), vec![number; 20_000]);
    }
    let gone = read(&clients, &ids[12]).await;
    assert_eq!(refusal(gone).1, "CONTENT_NOT_FOUND");

    // What has been there for long, and was replaced a moment ago.
    clients.delete("m").await.unwrap();
    let first = clients.started("t1", "render").await;
    let first = clients.claim(&first.task_type).await;
    clients.update_task(preview(&first, 100)).await.unwrap();
    let old = content_ids(&clients, "m").await.remove(0);
    clients.start(start_of("m", "t2", "render")).await.unwrap();
    let second = clients.claim("render").await;
    for number in 0..20 {
        clients.update_task(preview(&second, number)).await.unwrap();
    }
    clients.update_task(preview(&first, 101)).await.unwrap();
    assert_eq!(read(&clients, &old).await.unwrap(), vec![100; 20_000]);
    clients.delete("m").await.unwrap();
    assert!(content_keys(&world.redis).await.is_empty());
}
