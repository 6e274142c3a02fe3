//! A Redis user that may do what the README says, and nothing else, is enough.

use std::time::Duration;

use prost_types::Duration as Span;
use throughline::proto as v1;

use crate::support::{
    Clients, Rpc, World, eventually, image_block, reference, renewal_of, result_of, start_of,
};

const README: &str = include_str!("../../README.md");

/// What the README gives to redis-cli to make the user, word by word.
fn command() -> Vec<String> {
    let begin = README.find("ACL SETUSER").expect("the README makes a user");
    let (command, _) = README[begin..].split_once("```").unwrap();
    let words = command.replace("\\\n", " ").replace('\'', "");
    words.split_whitespace().map(str::to_owned).collect()
}

/// Two instances that are this user, in one of the modes of `--tail`.
async fn limited(mut world: World) -> World {
    let command = command();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let _: String = world.redis.run(&command).await;
    // What others have brought there would hide that the user may not.
    for service in world.services.drain(..) {
        service.stop().await;
    }
    world.clients.clear();
    let _: String = world.redis.run(&["FUNCTION", "FLUSH"]).await;
    let url = world.redis.url().replace("//", "//throughline:PASSWORD@");
    world.add_instance_at(&url).await;
    world.add_instance_at(&url).await;
    world
}

/// What Redis has refused to do. That a client may not say who made it is no loss.
async fn refused(world: &World) -> Vec<String> {
    let log: Vec<redis::Value> = world.redis.run(&["ACL", "LOG"]).await;
    let log = log.iter().map(|entry| format!("{entry:?}"));
    log.filter(|entry| !entry.contains("setinfo")).collect()
}

#[tokio::test]
async fn the_user_of_the_readme_may_do_what_the_service_does() {
    for world in [World::start().await, World::pushing().await] {
        let world = limited(world).await;
        stream_a_message(&world).await;
        do_a_task(&world).await;
        read_everything(&world.b()).await;
        lose_a_writer(&world).await;
        erase_everything(&world.a()).await;
        assert_eq!(refused(&world).await, [""; 0]);
    }
}

async fn stream_a_message(world: &World) {
    let (a, b) = (world.a(), world.b());
    let early = v1::WatchMessageRequest {
        message_id: "m".into(),
        wait_for_create: true,
        ..Default::default()
    };
    let mut early = b.watch_with(early).await.unwrap();
    a.message("m").await;
    early.frame().await;
    let mut watch = b.watch("m", "0").await;
    a.append("m", "text").await.unwrap();
    // In parts, since it is more than one call takes.
    a.add("m", image_block(vec![7; 300_000])).await.unwrap();
    let events = watch.events_until(|event| event.sequence == 4);
    assert_eq!(events.await.len(), 4);
}

async fn do_a_task(world: &World) {
    let (a, b) = (world.a(), world.b());
    let claim_at = |clients: &Clients, kind| {
        let clients = clients.clone();
        tokio::spawn(async move { clients.claim(kind).await })
    };
    let claim = claim_at(&b, "draw");
    eventually("a worker waits", async || {
        world.redis.calls("blpop").await > 0
    })
    .await;
    let _waits_on = claim_at(&b, "paint");
    eventually("another waits for its queue as well", async || {
        world.redis.calls("client|unblock").await > 0
    })
    .await;
    a.start(start_of("m", "t", "draw")).await.unwrap();
    let task = claim.await.unwrap();
    a.renew(vec![renewal_of(&task)]).await.unwrap();
    a.update_task(result_of(&task, "done")).await.unwrap();
    a.cancel("m", Duration::from_secs(600)).await.unwrap();
    a.complete("m").await;
}

async fn read_everything(clients: &Clients) {
    let blocks = clients.get("m").await.unwrap().blocks;
    let content_id = blocks
        .iter()
        .find_map(reference)
        .unwrap()
        .content_id
        .clone();
    let content = v1::ReadContentRequest {
        content_id,
        ..Default::default()
    };
    content.send(clients).await.unwrap();
    let sessions = v1::ListSessionsRequest {
        user_id: "user_1".into(),
        ..Default::default()
    };
    sessions.send(clients).await.unwrap();
    let messages = v1::ListMessagesRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    messages.send(clients).await.unwrap();
    let session = v1::WatchSessionRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    session.send(clients).await.unwrap();
    let inspected = v1::InspectMessageRequest {
        message_id: "m".into(),
    };
    inspected.send(clients).await.unwrap();
    let last = clients.events("m").await.pop().unwrap();
    assert_eq!(last.event_type(), v1::EventType::MessageEnd);
}

async fn lose_a_writer(world: &World) {
    world.a().message("lost").await;
    let ttl = Duration::from_millis(100);
    world.a().acquire("lost", "w", ttl).await.unwrap();
    eventually("the message is given up", async || {
        let state = world.b().get("lost").await.unwrap().state();
        state == v1::MessageState::Interrupted
    })
    .await;
}

async fn erase_everything(clients: &Clients) {
    clients.delete("lost").await.unwrap();
    let cleanup = v1::CleanupMessagesRequest {
        older_than: Some(Span::default()),
        ..Default::default()
    };
    cleanup.send(clients).await.unwrap();
    let session = v1::DeleteSessionRequest {
        session_id: "s".into(),
    };
    session.send(clients).await.unwrap();
}
