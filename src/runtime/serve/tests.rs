use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_stream::StreamExt;
use tonic::{Code, Request, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::*;
use crate::{
    proto::{
        CreateMessageRequest, CreateSessionRequest, Role, WatchEndReason, WatchMessageRequest,
        message_service_client::MessageServiceClient, session_service_client::SessionServiceClient,
        watch_message_response::Frame,
    },
    runtime::embedded::EmbeddedRedis,
};

/// A service on a Redis of its own, with a client's channel to it.
struct Running {
    service: Service,
    channel: Channel,
    redis: EmbeddedRedis,
    _directory: TempDir,
}

async fn start(drain_timeout: Duration) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let redis = EmbeddedRedis::start(directory.path().join("redis"))
        .await
        .unwrap();
    let service = Service::start(ServiceOptions {
        drain_timeout,
        ..ServiceOptions::new(redis.url())
    })
    .await
    .unwrap();
    let channel = Channel::from_shared(format!("http://{}", service.address)).unwrap();
    Running {
        channel: channel.connect().await.unwrap(),
        service,
        redis,
        _directory: directory,
    }
}

impl Running {
    /// Makes a message that is being written.
    async fn create_message(&self) -> String {
        let session = CreateSessionRequest {
            user_id: "user".to_owned(),
            session_id: "session".to_owned(),
            ..Default::default()
        };
        let mut sessions = SessionServiceClient::new(self.channel.clone());
        sessions.create_session(session).await.unwrap();
        let message = CreateMessageRequest {
            session_id: "session".to_owned(),
            message_id: "message".to_owned(),
            role: Role::Assistant.into(),
            ..Default::default()
        };
        let mut messages = MessageServiceClient::new(self.channel.clone());
        messages.create_message(message).await.unwrap();
        "message".to_owned()
    }

    fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel.clone())
    }
}

/// For what ends by itself, without the force that comes after it.
const PATIENT: Duration = Duration::from_secs(60);
/// How long a stop may take that needs no force.
const PROMPT: Duration = Duration::from_secs(5);

fn watch(message_id: String) -> WatchMessageRequest {
    WatchMessageRequest {
        message_id,
        ..Default::default()
    }
}

#[tokio::test]
async fn a_stop_ends_watches_with_a_frame() {
    let running = start(PATIENT).await;
    let message = running.create_message().await;
    let mut messages = MessageServiceClient::new(running.channel.clone());
    let mut frames = messages
        .watch_message(watch(message))
        .await
        .unwrap()
        .into_inner();
    assert!(frames.message().await.unwrap().is_some());

    timeout(PROMPT, running.service.stop()).await.unwrap();
    let mut last = None;
    while let Some(frame) = frames.message().await.unwrap() {
        last = frame.frame;
    }
    let Some(Frame::End(end)) = last else {
        panic!("the watch ended with {last:?}");
    };
    assert_eq!(end.reason(), WatchEndReason::ServerDraining);
}

#[tokio::test]
async fn a_connection_that_says_nothing_does_not_hold_up_a_stop() {
    let running = start(PATIENT).await;
    let silent = TcpStream::connect(running.service.address).await.unwrap();
    timeout(PROMPT, running.service.stop()).await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn a_stream_that_stays_open_is_cut_when_the_drain_is_over() {
    let running = start(Duration::from_millis(200)).await;
    let mut reflection = ServerReflectionClient::new(running.channel.clone());
    let open = tokio_stream::pending::<ServerReflectionRequest>();
    let mut answers = reflection
        .server_reflection_info(open)
        .await
        .unwrap()
        .into_inner();
    let begin = Instant::now();
    timeout(PROMPT, running.service.stop()).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(200));
    assert!(answers.message().await.is_err());
}

#[tokio::test]
async fn health_follows_redis_and_says_so_when_the_service_stops() {
    let running = start(PATIENT).await;
    let request = HealthCheckRequest {
        service: "throughline.v1.MessageService".to_owned(),
    };
    let mut health = running.health();
    let mut states = health.watch(request).await.unwrap().into_inner();
    let mut next = async || timeout(PROMPT, states.next()).await.unwrap();
    let status = |status: ServingStatus| Some(i32::from(status));
    let code = |answer: Option<Result<tonic_health::pb::HealthCheckResponse, _>>| {
        answer
            .and_then(Result::<_, tonic::Status>::ok)
            .map(|answer| answer.status)
    };
    assert_eq!(code(next().await), status(ServingStatus::Serving));

    running.redis.stop().await;
    assert_eq!(code(next().await), status(ServingStatus::NotServing));
    timeout(PROMPT, running.service.stop()).await.unwrap();
    assert_eq!(code(next().await), None);
}

#[tokio::test]
async fn a_watch_ends_at_the_deadline_that_its_client_sent() {
    let running = start(PATIENT).await;
    let message = running.create_message().await;
    let mut request = Request::new(watch(message));
    // Only as a header: with set_timeout the client would end it by itself.
    request
        .metadata_mut()
        .insert("grpc-timeout", "100m".parse().unwrap());
    let mut messages = MessageServiceClient::new(running.channel.clone());
    let mut frames = messages.watch_message(request).await.unwrap().into_inner();
    let end = timeout(PROMPT, async {
        loop {
            if let Err(status) = frames.message().await {
                return status.code();
            }
        }
    });
    assert_eq!(end.await.unwrap(), Code::DeadlineExceeded);
    running.service.stop().await;
}

#[tokio::test]
async fn reflection_lists_the_api_and_health() {
    let running = start(PATIENT).await;
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut reflection = ServerReflectionClient::new(running.channel.clone());
    let mut answers = reflection
        .server_reflection_info(tokio_stream::once(request))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("reflection answered {answer:?}");
    };
    let names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for expected in ["throughline.v1.MessageService", "grpc.health.v1.Health"] {
        assert!(names.iter().any(|name| name == expected), "{names:?}");
    }
    running.service.stop().await;
}

#[tokio::test]
async fn two_instances_share_one_redis() {
    let running = start(PATIENT).await;
    let other = Service::start(ServiceOptions::new(running.redis.url()))
        .await
        .unwrap();
    let message = running.create_message().await;
    let address = format!("http://{}", other.address);
    let mut elsewhere = MessageServiceClient::connect(address).await.unwrap();
    let mut frames = elsewhere
        .watch_message(watch(message))
        .await
        .unwrap()
        .into_inner();
    let first = frames.message().await.unwrap().unwrap();
    assert!(matches!(first.frame, Some(Frame::Snapshot(_))));
    drop(frames);
    other.stop().await;
    running.service.stop().await;
}
