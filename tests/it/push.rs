//! `--tail push`: what of it differs from lanes. That it promises the same is
//! shown by the tests of watches, which run in both modes.

use std::{collections::HashMap, time::Duration};

use throughline::proto::{self as v1, WatchEndReason, watch_message_response::Frame};

use crate::support::{Clients, World, eventually, soon};

/// Message `m`, whose third event is its first text.
async fn text_message(clients: &Clients) {
    clients.message("m").await;
    clients.append("m", "x").await.unwrap();
}

/// Channels of logs that somebody is subscribed to.
async fn channels(world: &World) -> Vec<String> {
    let pattern = "throughline:*:stream:*";
    world.redis.run(&["PUBSUB", "CHANNELS", pattern]).await
}

/// A client of one more instance, whose Redis user may use no channel.
async fn deaf_client(world: &mut World) -> Clients {
    let user = [
        "ACL",
        "SETUSER",
        "deaf",
        "on",
        ">pw",
        "~*",
        "+@all",
        "resetchannels",
    ];
    let _: String = world.redis.run(&user).await;
    let url = world.redis.url().replace("//", "//deaf:pw@");
    world.add_instance_at(&url).await;
    world.clients[2].clone()
}

#[tokio::test]
async fn events_are_pushed_and_not_read() {
    let world = World::pushing().await;
    text_message(&world.a()).await;
    let mut watch = world.b().watch_live("m").await;
    let mut reads = None;
    for sequence in 4..104 {
        world.a().append("m", "x").await.unwrap();
        assert_eq!(watch.event().await.sequence, sequence);
        // Who begins to listen reads once, which the first event comes after.
        if reads.is_none() {
            reads = Some(world.redis.calls("xread").await);
        }
    }
    assert_eq!(Some(world.redis.calls("xread").await), reads);
}

#[tokio::test]
async fn an_end_and_a_deletion_are_pushed() {
    let world = World::pushing().await;
    for message in ["ended", "deleted"] {
        world.a().message(message).await;
    }
    let mut ended = world.b().watch_live("ended").await;
    let mut deleted = world.b().watch_live("deleted").await;
    world.a().complete("ended").await;
    world.a().delete("deleted").await.unwrap();
    ended.event().await;
    assert_eq!(ended.end().await.reason(), WatchEndReason::MessageEnded);
    assert_eq!(deleted.end().await.reason(), WatchEndReason::Deleted);
}

#[tokio::test]
async fn a_killed_subscriber_loses_and_doubles_nothing() {
    const MESSAGES: usize = 5;
    const DELTAS: usize = 400;
    const KILLS: u64 = 10;
    let world = World::pushing().await;
    let mut watches = Vec::new();
    for number in 0..MESSAGES {
        let message = format!("m{number}");
        world.a().message(&message).await;
        watches.push((message.clone(), world.b().watch(&message, "0").await));
    }
    let writes = async {
        for delta in 0..DELTAS {
            for number in 0..MESSAGES {
                let writer = world.either(delta + number);
                let delta = format!("{delta};");
                writer.append(&format!("m{number}"), &delta).await.unwrap();
            }
        }
    };
    let kills = async {
        let mut killed = 0;
        while killed < KILLS {
            let kill = ["CLIENT", "KILL", "TYPE", "pubsub"];
            killed += world.redis.run::<u64>(&kill).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(writes, kills);
    for (message, mut watch) in watches {
        world.a().complete(&message).await;
        let is_end = |event: &v1::Event| event.event_type() == v1::EventType::MessageEnd;
        let seen = soon("all events", watch.events_until(is_end)).await;
        assert_eq!(seen, world.a().events(&message).await, "{message}");
        let deltas: String = (0..DELTAS).map(|delta| format!("{delta};")).collect();
        assert_eq!(world.b().get(&message).await.unwrap().text, deltas);
    }
}

#[tokio::test]
async fn what_an_instance_writes_that_does_not_publish_is_found() {
    let world = World::of_both_modes().await;
    let (silent, pushing) = (world.a(), world.b());
    text_message(&silent).await;
    let mut watches = [silent.watch_live("m").await, pushing.watch_live("m").await];
    for sequence in (4..24).step_by(2) {
        // What the second publishes does not follow what this one has read.
        silent.append("m", "silent ").await.unwrap();
        pushing.append("m", "pushed ").await.unwrap();
        for watch in &mut watches {
            for expected in [sequence, sequence + 1] {
                assert_eq!(watch.event().await.sequence, expected);
            }
        }
    }
    // Nothing published follows this one: it is found by looking.
    silent.append("m", "silent ").await.unwrap();
    for watch in &mut watches {
        assert_eq!(watch.event().await.sequence, 24);
    }
    silent.delete("m").await.unwrap();
    for watch in &mut watches {
        assert_eq!(watch.end().await.reason(), WatchEndReason::Deleted);
    }
}

#[tokio::test]
async fn without_push_nothing_is_published_for_an_append() {
    let world = World::of_both_modes().await;
    let silent = world.a();
    text_message(&silent).await;
    let published = world.redis.calls("publish").await;
    for _ in 0..20 {
        silent.append("m", "x").await.unwrap();
    }
    assert_eq!(world.redis.calls("publish").await, published);
}

#[tokio::test]
async fn a_log_that_nobody_follows_is_no_longer_subscribed_to() {
    let world = World::pushing().await;
    world.a().message("m").await;
    let first = world.b().watch_live("m").await;
    let second = world.b().watch_live("m").await;
    assert_eq!(channels(&world).await.len(), 1);
    drop((first, second));
    eventually("the channel is left", async || {
        channels(&world).await.is_empty()
    })
    .await;
    let mut again = world.b().watch_live("m").await;
    world.a().append("m", "x").await.unwrap();
    assert_eq!(again.event().await.sequence, 2);
}

#[tokio::test]
async fn instances_on_two_databases_of_a_redis_do_not_hear_each_other() {
    let mut world = World::pushing().await;
    world
        .add_instance_at(&format!("{}1", world.redis.url()))
        .await;
    let elsewhere = world.clients[2].clone();
    world.a().message("m").await;
    elsewhere.message("m").await;
    let mut watch = world.b().watch_live("m").await;
    elsewhere.append("m", "elsewhere").await.unwrap();
    world.a().append("m", "here").await.unwrap();
    let events = [watch.event().await, watch.event().await];
    assert_eq!(events.map(|event| event.sequence), [2, 3]);
    let here = world.a().events("m").await;
    assert_eq!(here.len(), 3);
    world.a().append("m", "!").await.unwrap();
    assert_eq!(watch.event().await.sequence, 4);
}

#[tokio::test]
async fn a_redis_user_that_may_use_no_channel_finds_what_it_does_not_hear() {
    let mut world = World::start().await;
    let deaf = deaf_client(&mut world).await;
    let request = v1::WatchMessageRequest {
        message_id: "m".into(),
        wait_for_create: true,
        ..Default::default()
    };
    let mut watch = deaf.watch_with(request).await.unwrap();
    text_message(&deaf).await;
    deaf.complete("m").await;
    watch.snapshot().await;
    while !matches!(watch.frame().await, Frame::End(_)) {}
}

#[tokio::test]
async fn an_instance_that_hears_nothing_tells_what_it_writes_itself() {
    // Without heartbeats nothing is found.
    let mut world = World::pushing().await;
    let deaf = deaf_client(&mut world).await;
    text_message(&deaf).await;
    let mut watch = deaf.watch_live("m").await;
    // At its second attempt to subscribe to the log it knows of the first.
    eventually("a second refusal", async || {
        let refused: Vec<HashMap<String, String>> = world.redis.run(&["ACL", "LOG"]).await;
        let of_log = refused.iter().find(|it| it["object"].contains(":stream:"));
        of_log.is_some_and(|refusal| refusal["count"] != "1")
    })
    .await;
    for sequence in 4..14 {
        deaf.append("m", "x").await.unwrap();
        assert_eq!(watch.event().await.sequence, sequence);
    }
}
