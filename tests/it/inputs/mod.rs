//! Bad input: a table over every RPC and field. Each row is refused with
//! INVALID_ARGUMENT, names its field, and stores nothing.

mod blocks;
mod kinds;
mod messages;
mod queue;
mod sessions;
mod stream;
mod table;
mod tasks;
mod writes;

use throughline::proto as v1;

use self::table::Table;
use crate::support::{World, named, object, open, text_block};

#[tokio::test]
async fn bad_input_is_refused_by_field_and_stores_nothing() {
    let world = World::start().await;
    prepare(&world).await;
    let before = world.redis.contents().await;

    let mut table = Table::new(world.a());
    sessions::rows(&mut table).await;
    messages::rows(&mut table).await;
    writes::rows(&mut table).await;
    blocks::rows(&mut table).await;
    tasks::rows(&mut table).await;
    assert!(table.rows > 2_000, "only {} rows", table.rows);
    table.check();
    assert_eq!(world.redis.contents().await, before, "nothing was stored");
}

/// What the rows would change if they were not refused.
async fn prepare(world: &World) {
    let a = world.a();
    a.message("m").await;
    a.add("m", named("b", open(text_block("text"))))
        .await
        .unwrap();
    a.start_task("m", "t").await.unwrap();
}

#[tokio::test]
async fn what_is_nested_too_deep_to_be_read_is_refused_by_its_outermost_field() {
    let world = World::start().await;
    let before = world.redis.contents().await;
    let mut json = serde_json::json!({});
    for _ in 0..100 {
        json = serde_json::json!({ "deeper": json });
    }
    let metadata = Some(object(json));

    let mut table = Table::new(world.a());
    let request = v1::CreateSessionRequest {
        session_id: "s".into(),
        user_id: "user_1".into(),
        metadata: metadata.clone(),
    };
    table.row("metadata", "too deep", request).await;
    let request = v1::AddContentRequest {
        message_id: "m".into(),
        block: Some(v1::ContentBlock {
            metadata,
            ..text_block("x")
        }),
        ..Default::default()
    };
    table.row("block", "too deep", request).await;
    table.check();
    assert_eq!(world.redis.contents().await, before);
}
