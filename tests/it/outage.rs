//! Redis is away, does not answer, was emptied, or takes no writes.

use std::{
    fmt::Debug,
    future::Future,
    net::TcpListener,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use throughline::proto::{self as v1, WatchEndReason, watch_frame, watch_message_response::Frame};
use tonic::{Code, Status};
use tonic_health::{pb::HealthCheckRequest, pb::health_check_response::ServingStatus};

use crate::support::{
    Clients, Redis, Route, Watch, World, claim_of, eventually, refusal, soon, text_block,
};

/// Callers are promised to hear within 2 s that Redis is away, and that the
/// service works again 5 s after it is back. The rest is for a machine that runs
/// other tests at the same time.
const HEARD_MAX: Duration = Duration::from_secs(3);
const BACK_MAX: Duration = Duration::from_secs(10);

async fn within<T>(limit: Duration, what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, event)
        .await
        .unwrap_or_else(|_| panic!("{what} took more than {limit:?}"))
}

/// A call fails in time because Redis is away; the reason is returned.
async fn fails_in_time<T: Debug>(
    what: &str,
    call: impl Future<Output = Result<T, Status>>,
) -> String {
    let answer = within(HEARD_MAX, what, call).await;
    let (code, reason) = refusal(answer);
    assert_eq!(code, Code::Unavailable, "{what}");
    reason
}

/// Every kind of call fails in time. An append is made by `request`.
async fn all_calls_fail_in_time(instance: &Clients, request: &str) {
    let list = v1::ListMessagesRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    let mut lister = instance.messages.clone();
    let (get, list, watch, append, add, end, create) = tokio::join!(
        fails_in_time("GetMessage", instance.get("m")),
        fails_in_time("ListMessages", lister.list_messages(list)),
        fails_in_time("WatchMessage", first_frame(instance)),
        fails_in_time("AppendText", append(instance, request)),
        fails_in_time("AddContent", instance.add("m", text_block("t"))),
        fails_in_time("EndMessage", instance.end("m", v1::MessageState::Completed)),
        fails_in_time("CreateMessage", instance.create("n", v1::Role::User)),
    );
    for reason in [get, list, watch] {
        assert_eq!(reason, "STORE_UNAVAILABLE");
    }
    for reason in [append, add, end, create] {
        let reasons = ["STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"];
        assert!(reasons.contains(&reason.as_str()), "{reason}");
    }
}

async fn first_frame(instance: &Clients) -> Result<Option<Frame>, Status> {
    let request = v1::WatchMessageRequest {
        message_id: "m".into(),
        ..Default::default()
    };
    instance.watch_with(request).await?.next().await
}

async fn append(instance: &Clients, request: &str) -> Result<v1::AppendTextResponse, Status> {
    let request = v1::AppendTextRequest {
        message_id: "m".into(),
        delta: format!("{request};"),
        request_id: request.into(),
        ..Default::default()
    };
    instance.append_with(request).await
}

/// Message `m` with some text, and a watch of it on each instance.
async fn watched(world: &World) -> [Watch; 2] {
    world.a().message("m").await;
    append(&world.a(), "before").await.unwrap();
    let mut watches = [
        world.a().watch("m", "").await,
        world.b().watch("m", "").await,
    ];
    for watch in &mut watches {
        assert_eq!(watch.snapshot().await.text, "before;");
        watch.caught_up().await;
    }
    watches
}

/// The service works on both instances, and the watches go on where they were:
/// at the third event, after start of message, start of block and text.
async fn goes_on(world: &World, watches: &mut [Watch; 2]) {
    let back = Instant::now();
    for instance in [world.a(), world.b()] {
        eventually("reads work", async || instance.get("m").await.is_ok()).await;
        eventually("writes work", async || {
            append(&instance, "during").await.is_ok()
        })
        .await;
    }
    append(&world.b(), "after").await.unwrap();
    for watch in watches {
        let events = [watch.event().await, watch.event().await];
        assert_eq!(events.map(|event| event.sequence), [4, 5]);
    }
    let took = back.elapsed();
    assert!(took < BACK_MAX, "it took {took:?} until all worked again");
    let text = world.b().get("m").await.unwrap().text;
    assert_eq!(text, "before;during;after;");
}

#[tokio::test]
async fn calls_fail_in_time_while_redis_is_away_and_work_when_it_is_back() {
    let mut world = World::start().await;
    let mut watches = watched(&world).await;
    world.redis.kill();
    all_calls_fail_in_time(&world.a(), "during").await;
    // At first connections break, later there are none.
    all_calls_fail_in_time(&world.a(), "during").await;
    all_calls_fail_in_time(&world.b(), "during").await;
    world.redis.restart();
    goes_on(&world, &mut watches).await;
}

#[tokio::test]
async fn calls_fail_in_time_while_redis_is_frozen_and_work_when_it_answers() {
    let world = World::start().await;
    let mut watches = watched(&world).await;
    world.redis.freeze();
    let (a, b) = (world.a(), world.b());
    let (reason, ()) = tokio::join!(
        fails_in_time("AppendText", append(&b, "during")),
        all_calls_fail_in_time(&a, "during"),
    );
    assert_eq!(reason, "OUTCOME_UNKNOWN");
    world.redis.thaw();
    goes_on(&world, &mut watches).await;
}

#[tokio::test]
async fn calls_fail_in_time_while_redis_takes_connections_and_says_nothing() {
    let mut world = World::start().await;
    let mut watches = watched(&world).await;
    world.redis.kill();
    let silent = TcpListener::bind(("127.0.0.1", world.redis.port)).unwrap();
    all_calls_fail_in_time(&world.a(), "during").await;
    all_calls_fail_in_time(&world.a(), "during").await;
    drop(silent);
    world.redis.restart();
    goes_on(&world, &mut watches).await;
}

#[tokio::test]
async fn connections_that_have_fallen_silent_are_replaced() {
    let mut world = World::start().await;
    world.a().message("m").await;
    let route = Route::start(world.redis.port).await;
    world.add_instance_at(&route.url).await;
    let instance = world.clients[2].clone();
    append(&instance, "before").await.unwrap();
    let mut watch = instance.watch("m", "$").await;
    watch.caught_up().await;

    // As where a host is gone: nobody says that they are closed.
    route.silence();
    fails_in_time("GetMessage", instance.get("m")).await;
    let back = Instant::now();
    eventually("writes work", async || {
        append(&instance, "after").await.is_ok()
    })
    .await;
    eventually("reads work", async || instance.get("m").await.is_ok()).await;
    health_becomes(&instance, ServingStatus::Serving).await;
    assert!(back.elapsed() < BACK_MAX, "{:?}", back.elapsed());
    let text = watch.events_until(|event| event.sequence == 4).await;
    assert_eq!(text.len(), 1);
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_left_for_the_new_one() {
    let mut world = World::start().await;
    let new = Redis::start();
    let route = Route::start(world.redis.port).await;
    world.add_instance_at(&route.url).await;
    let instance = world.clients[2].clone();
    instance.message("before").await;

    // The address leads to the new one; connections to the old one stay open.
    route.lead_to(new.port);
    let demote = ["REPLICAOF", "127.0.0.1", &new.port.to_string()];
    world.redis.run::<()>(&demote).await;
    eventually("writes work", async || {
        let session = v1::CreateSessionRequest {
            session_id: "s".into(),
            user_id: "user_1".into(),
            ..Default::default()
        };
        let created = instance.sessions.clone().create_session(session).await;
        created.is_ok()
    })
    .await;
    assert!(new.keys().await.contains(&"session:s".to_owned()));
    health_becomes(&instance, ServingStatus::Serving).await;
    eventually("that old messages are gone", async || {
        instance.get("before").await.is_err()
    })
    .await;
}

#[tokio::test]
async fn an_instance_starts_while_redis_takes_no_writes() {
    let mut world = World::start().await;
    world.a().message("m").await;
    let set_memory = async |world: &World, bytes: &str| {
        let set = ["CONFIG", "SET", "maxmemory", bytes];
        world.redis.run::<()>(&set).await;
    };
    set_memory(&world, "1").await;
    world.add_instance().await;
    let instance = world.clients[2].clone();
    instance
        .get("m")
        .await
        .expect("others have loaded functions");
    let reason = fails_in_time("AppendText", append(&instance, "x")).await;
    assert_eq!(reason, "STORE_READ_ONLY");
    set_memory(&world, "0").await;
    append(&instance, "x").await.unwrap();
}

#[tokio::test]
async fn claims_of_many_queues_fail_in_time_while_redis_is_frozen() {
    let world = World::start().await;
    let instance = world.a();
    world.redis.freeze();
    let claims = (0..6).map(|queue| {
        let instance = instance.clone();
        async move {
            let claim = claim_of(&format!("queue_{queue}"));
            fails_in_time("ClaimTask", instance.try_claim(claim)).await
        }
    });
    for reason in join_all(claims).await {
        assert!(["STORE_UNAVAILABLE", "OUTCOME_UNKNOWN"].contains(&reason.as_str()));
    }
    world.redis.thaw();
}

#[tokio::test]
async fn a_watch_of_a_session_goes_on_when_redis_is_back() {
    let mut world = World::start().await;
    world.a().message("m").await;
    append(&world.a(), "before").await.unwrap();
    let request = v1::WatchSessionRequest {
        session_id: "s".into(),
        ..Default::default()
    };
    let watch = world.b().sessions.watch_session(request).await;
    let mut frames = watch.unwrap().into_inner();
    let mut next = async |message: &str| {
        let event = async {
            loop {
                let frame = frames.message().await.unwrap().unwrap();
                match frame.frame.unwrap().frame.unwrap() {
                    watch_frame::Frame::Event(event) if event.message_id == message => {
                        return event.sequence;
                    }
                    watch_frame::Frame::CaughtUp(_) if message.is_empty() => return 0,
                    _ => {}
                }
            }
        };
        soon("an event", event).await
    };
    assert_eq!(next("").await, 0, "the watch has begun");
    append(&world.a(), "seen").await.unwrap();
    assert_eq!(next("m").await, 4);

    world.redis.kill();
    fails_in_time("GetMessage", world.b().get("m")).await;
    world.redis.restart();
    eventually("writes work", async || {
        append(&world.a(), "during").await.is_ok()
    })
    .await;
    assert_eq!(next("m").await, 5);
    eventually("messages are created", async || {
        world.a().create("new", v1::Role::User).await.is_ok()
    })
    .await;
    assert_eq!(next("new").await, 1);
}

#[tokio::test]
async fn watches_of_a_redis_that_is_emptied_end() {
    let world = World::start().await;
    let watches = watched(&world).await;
    let from_first = world.a().watch("m", "0").await;
    let latest = world.b().watch("m", "$").await;
    let request = v1::WatchMessageRequest {
        message_id: "m2".into(),
        cursor: "0".into(),
        wait_for_create: true,
        ..Default::default()
    };
    let mut waiting = world.b().watch_with(request).await.unwrap();
    world.redis.run::<()>(&["FLUSHALL"]).await;
    for mut watch in watches.into_iter().chain([from_first, latest]) {
        let end = loop {
            match watch.frame().await {
                Frame::End(end) => break end,
                Frame::Event(_) | Frame::CaughtUp(_) => {}
                other => panic!("an end was expected, not {other:?}"),
            }
        };
        assert_eq!(end.reason(), WatchEndReason::Expired);
        assert!(watch.next().await.unwrap().is_none());
    }

    // Nothing of before is left, and the service works.
    assert_eq!(refusal(world.a().get("m").await).0, Code::NotFound);
    world.a().message("m2").await;
    assert_eq!(waiting.event().await.sequence, 1);
    world.b().message("m").await;
    append(&world.b(), "anew").await.unwrap();
    assert_eq!(world.a().get("m").await.unwrap().text, "anew;");
}

#[tokio::test]
async fn the_service_works_on_when_redis_has_lost_its_functions() {
    let world = World::start().await;
    let mut watches = watched(&world).await;
    let flush = async || world.redis.run::<()>(&["FUNCTION", "FLUSH"]).await;
    let (a, b) = (world.a(), world.b());
    flush().await;
    let (one, two, three, read) = tokio::join!(
        append(&a, "1"),
        b.publish("m", "custom"),
        a.create("n", v1::Role::User),
        b.get("m")
    );
    one.unwrap();
    two.unwrap();
    three.unwrap();
    read.unwrap();
    flush().await;
    assert_eq!(a.get("m").await.unwrap().sequence, 5);
    flush().await;
    b.session("another").await;
    flush().await;
    a.delete("n").await.unwrap();
    for watch in &mut watches {
        assert_eq!(watch.event().await.sequence, 4);
        assert_eq!(watch.event().await.sequence, 5);
    }
    flush().await;
    assert_eq!(b.watch("m", "4").await.event().await.sequence, 5);
}

#[tokio::test]
async fn a_redis_without_memory_is_read_and_watched_but_not_written() {
    let world = World::start().await;
    let mut watches = watched(&world).await;
    world.a().create("n", v1::Role::User).await.unwrap();
    let set_memory = async |bytes: &str| {
        let set = ["CONFIG", "SET", "maxmemory", bytes];
        world.redis.run::<()>(&set).await;
    };
    set_memory("1").await;

    let (a, b) = (world.a(), world.b());
    let mut sessions = a.sessions.clone();
    let session = v1::CreateSessionRequest {
        user_id: "user_1".into(),
        ..Default::default()
    };
    for reason in [
        fails_in_time("AppendText", append(&a, "during")).await,
        fails_in_time("AddContent", b.add("m", text_block("t"))).await,
        fails_in_time("PublishEvent", a.publish("m", "custom")).await,
        fails_in_time("StartTask", b.start_task("m", "t")).await,
        fails_in_time("EndMessage", a.end("m", v1::MessageState::Completed)).await,
        fails_in_time("CreateMessage", b.create("o", v1::Role::User)).await,
        fails_in_time("CreateSession", sessions.create_session(session)).await,
    ] {
        assert_eq!(reason, "STORE_READ_ONLY");
    }
    for instance in [&a, &b] {
        health_becomes(instance, ServingStatus::NotServing).await;
        assert_eq!(instance.get("m").await.unwrap().text, "before;");
        assert_eq!(instance.events("m").await.len(), 3);
        instance.watch("m", "0").await.event().await;
    }
    for watch in &mut watches {
        let frame = watch.next().await.unwrap().unwrap();
        assert!(matches!(frame, Frame::Heartbeat(_)), "{frame:?}");
    }
    // What frees memory is no write in this sense.
    a.delete("n").await.unwrap();

    set_memory("0").await;
    for instance in [&a, &b] {
        health_becomes(instance, ServingStatus::Serving).await;
    }
    goes_on(&world, &mut watches).await;
}

async fn health_becomes(instance: &Clients, wanted: ServingStatus) {
    eventually(wanted.as_str_name(), async || {
        let request = HealthCheckRequest::default();
        let answer = instance.health.clone().check(request).await.unwrap();
        answer.into_inner().status() == wanted
    })
    .await;
}
