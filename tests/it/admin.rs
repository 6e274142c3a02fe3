//! What the people who run the service can see.

use std::collections::BTreeSet;

use throughline::{proto as v1, store::StoreOptions, wire::values::duration_to_v1};
use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{Clients, Rpc, World, image_block, refusal};

const SERVICES: [&str; 4] = [
    "throughline.v1.AdminService",
    "throughline.v1.MessageService",
    "throughline.v1.SessionService",
    "throughline.v1.TaskService",
];

async fn inspect(clients: &Clients, message: &str) -> v1::InspectMessageResponse {
    let request = v1::InspectMessageRequest {
        message_id: message.into(),
    };
    let answer = clients.clone().admin.inspect_message(request).await;
    answer.unwrap().into_inner()
}

async fn info(clients: &Clients) -> v1::GetServerInfoResponse {
    let request = v1::GetServerInfoRequest {};
    let answer = clients.clone().admin.get_server_info(request).await;
    answer.unwrap().into_inner()
}

async fn channel(world: &World) -> Channel {
    let address = format!("http://{}", world.services[0].address);
    Channel::from_shared(address)
        .unwrap()
        .connect()
        .await
        .unwrap()
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn millis(millis: u64) -> Option<prost_types::Duration> {
    Some(duration_to_v1(std::time::Duration::from_millis(millis)))
}

#[tokio::test]
async fn the_server_tells_its_version_and_its_limits() {
    const DAY: i64 = 24 * 3_600;
    let world = World::start().await;
    let info = info(&world.a()).await;
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    let redis: String = world.redis.run(&["INFO", "server"]).await;
    assert!(redis.contains(&format!("redis_version:{}", info.redis_version)));
    let limits = v1::Limits {
        id_bytes: 128,
        metadata_bytes: 16 * 1024,
        metadata_depth: 24,
        delta_bytes: 256 * 1024,
        block_bytes: 16 * 1024 * 1024,
        blocks_per_message: 1_000,
        open_tasks_per_message: 100,
        frame_bytes: 2 * 1024 * 1024,
        inline_content_bytes: 10_000,
        default_page_size: 50,
        max_page_size: 1_000,
        retained_entries: 1_000,
        message_ttl: seconds(DAY),
        content_ttl: seconds(7 * DAY),
        session_ttl: seconds(7 * DAY),
        heartbeat_interval: millis(200),
        min_writer_ttl: millis(100),
        max_writer_ttl: seconds(3_600),
        writer_grace: millis(500),
        max_cancel_grace: seconds(3_600),
        tasks_per_queue: 100_000,
        min_task_lease: seconds(5),
        max_task_lease: seconds(15 * 60),
        max_claim_wait: seconds(10 * 60),
    };
    assert_eq!(info.limits, Some(limits));
}

#[tokio::test]
async fn the_server_tells_what_it_was_configured_to() {
    let world = World::with(StoreOptions {
        message_ttl: std::time::Duration::from_secs(5),
        content_ttl: std::time::Duration::from_secs(6),
        session_ttl: std::time::Duration::from_secs(7),
        retained_entries: 8,
        ..StoreOptions::default()
    })
    .await;
    let limits = info(&world.a()).await.limits.unwrap();
    assert_eq!(limits.message_ttl, seconds(5));
    assert_eq!(limits.content_ttl, seconds(6));
    assert_eq!(limits.session_ttl, seconds(7));
    assert_eq!(limits.retained_entries, 8);
}

#[tokio::test]
async fn an_inspection_shows_a_message_with_its_keys_tasks_and_log() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients.append("m", "hello").await.unwrap();
    clients
        .add("m", image_block(vec![1; 20_000]))
        .await
        .unwrap();
    clients.start_task("m", "open").await.unwrap();
    clients.start_task("m", "done").await.unwrap();
    let done = v1::UpdateTaskRequest {
        message_id: "m".into(),
        task_id: "done".into(),
        status: v1::TaskStatus::Completed.into(),
        ..Default::default()
    };
    clients.update_task(done).await.unwrap();

    let shown = inspect(&world.b(), "m").await;
    let message = clients.get("m").await.unwrap();
    assert_eq!(shown.message.as_ref(), Some(&message));
    assert_eq!(shown.pending_tasks, message.tasks[..1]);
    assert!(!shown.complete);
    let events = clients.events("m").await;
    let log = v1::LogBounds {
        first_sequence: 1,
        last_sequence: message.sequence,
        first_cursor: events[0].cursor.clone(),
        last_cursor: message.cursor,
        // One for each write.
        entries: 6,
    };
    assert_eq!(shown.log, Some(log));

    let keys: BTreeSet<_> = shown.keys.iter().map(|key| key.key.clone()).collect();
    let mut expected: BTreeSet<_> = world.redis.keys().await.into_iter().collect();
    for of_others in [
        "session:s",
        "session:s:messages",
        "stream:session:s",
        "user:user_1:sessions",
        "due",
        "queue:image_generation",
        "queue:image_generation:bell",
    ] {
        assert!(expected.remove(of_others), "{of_others}");
    }
    assert_eq!(keys, expected);
    for key in shown.keys {
        let left = world.redis.ttl(&key.key).await.as_secs() as i64;
        assert!((key.ttl.unwrap().seconds - left).abs() <= 60, "{}", key.key);
    }
}

#[tokio::test]
async fn an_inspection_shows_that_a_message_is_complete() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients.start_task("m", "t").await.unwrap();
    clients.complete("m").await;
    let shown = inspect(&clients, "m").await;
    assert!(shown.complete);
    assert!(shown.pending_tasks.is_empty());
}

#[tokio::test]
async fn an_inspection_shows_what_is_left_of_the_log() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    for _ in 0..20 {
        clients.append("m", "x").await.unwrap();
    }
    let log = "stream:session:s:message:m";
    let _: i64 = world.redis.run(&["XTRIM", log, "MAXLEN", "=", "5"]).await;
    let shown = inspect(&clients, "m").await.log.unwrap();
    let events = clients.events("m").await;
    assert_eq!(shown.entries, 5);
    assert_eq!(shown.first_sequence, events[0].sequence);
    assert_eq!(shown.first_cursor, events[0].cursor);
    assert_eq!((shown.first_sequence, shown.last_sequence), (18, 22));
}

#[tokio::test]
async fn an_inspection_of_an_unknown_message_finds_nothing() {
    let world = World::start().await;
    let request = v1::InspectMessageRequest {
        message_id: "m".into(),
    };
    let unknown = (Code::NotFound, "MESSAGE_NOT_FOUND".to_owned());
    assert_eq!(refusal(request.send(&world.a()).await), unknown);
}

#[tokio::test]
async fn health_is_serving_for_every_service() {
    let world = World::start().await;
    let mut health = HealthClient::new(channel(&world).await);
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let request = HealthCheckRequest {
        service: "throughline.v1.Unknown".into(),
    };
    let status = health.check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_every_service_and_describes_it() {
    let world = World::start().await;
    let mut reflection = ServerReflectionClient::new(channel(&world).await);
    let requests = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("throughline.v1.MessageService".into()),
    ];
    let requests = requests.map(|request| ServerReflectionRequest {
        message_request: Some(request),
        ..Default::default()
    });
    let stream = tokio_stream::iter(requests);
    let mut answers = reflection
        .server_reflection_info(stream)
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let listed: BTreeSet<_> = list.service.into_iter().map(|s| s.name).collect();
    for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
        assert!(listed.contains(service), "{listed:?}");
    }
    let answer = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::FileDescriptorResponse(files)) = answer.message_response else {
        panic!("{answer:?}")
    };
    assert!(!files.file_descriptor_proto.is_empty());
}
