//! Whose things are whose. Identity comes later, as a layer before the services
//! that says who asks; here a test is that layer.

use std::time::Duration;

use throughline::{
    api::{self, grpc::Answers, stall::Stalls},
    domain::{ids::UserId, principal::Principal},
    engine::{Engine, EngineOptions},
    proto as v1,
    store::{Store, StoreOptions},
    tail::Hub,
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, service::InterceptorLayer, transport::Server};
use tower::util::MapResponseLayer;

use crate::support::{Clients, Rpc, World, claim_of, image_block, named, open, reason, text_block};

/// A client that is known to be this user, at an instance of its own.
async fn known_as(world: &World, user: &str) -> Clients {
    let user = user.to_owned();
    instance(world, move |_| user.clone()).await
}

/// A client of an instance that knows users by this.
async fn instance(
    world: &World,
    user_of: impl Fn(&Request<()>) -> String + Clone + Send + Sync + 'static,
) -> Clients {
    let url = world.redis.url();
    let store = Store::connect(&url, StoreOptions::default()).await.unwrap();
    let mut tasks = JoinSet::new();
    let drain = CancellationToken::new();
    let hub = Hub::start(store.clone(), Duration::from_secs(1), drain, &mut tasks);
    let engine = Engine::start(store, hub, EngineOptions::default(), &mut tasks);
    let identify = move |mut request: Request<()>| {
        let user = UserId::parse(&user_of(&request)).unwrap();
        request.extensions_mut().insert(Principal::User(user));
        Ok(request)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stalls = Stalls::after(Duration::from_secs(60));
    let server = Server::builder()
        .layer(InterceptorLayer::new(identify))
        .layer(MapResponseLayer::new(move |answer| stalls.guard(answer)))
        .add_routes(api::grpc::routes(engine, Answers::default()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(async move {
        let _tasks = tasks;
        server.await
    });
    Clients::connect(&format!("http://{address}")).await
}

/// Session `s` of `user_1` with message `m`, in it a task `t`, an open block `b`
/// and content out of line, whose id is returned.
async fn prepare(owner: &Clients) -> String {
    owner.message("m").await;
    owner
        .add("m", named("b", open(text_block("x"))))
        .await
        .unwrap();
    owner.start_task("m", "t").await.unwrap();
    owner.add("m", image_block(vec![1; 20_000])).await.unwrap();
    let message = owner.get("m").await.unwrap();
    let reference = crate::support::reference(&message.blocks[2]);
    reference.unwrap().content_id.clone()
}

/// Calls each request twice: for what is another's and for what does not exist.
macro_rules! assert_unknown {
    ($clients:expr, $(|$id:ident| $request:expr),* $(,)?) => {$({
        let request = |$id: &str| $request;
        let another = request("").send(&$clients).await.unwrap_err();
        assert_eq!(another.code(), Code::NotFound, "{:?}", request(""));
        let unknown = request("_unknown").send(&$clients).await.unwrap_err();
        assert_eq!(another.code(), unknown.code());
        assert_eq!(reason(&another), reason(&unknown));
        assert_eq!(another.message(), unknown.message().replace("_unknown", ""));
    })*};
}

#[tokio::test]
async fn what_is_another_users_cannot_be_told_from_what_does_not_exist() {
    let world = World::start().await;
    let content = prepare(&known_as(&world, "user_1").await).await;
    let before = world.redis.contents().await;
    let stranger = known_as(&world, "user_2").await;
    let session = |suffix: &str| format!("s{suffix}");
    let message = |suffix: &str| format!("m{suffix}");
    assert_unknown!(
        stranger,
        |id| v1::GetSessionRequest {
            session_id: session(id)
        },
        |id| v1::UpdateSessionRequest {
            session: Some(v1::Session {
                session_id: session(id),
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["metadata".into()],
            }),
        },
        |id| v1::CloseSessionRequest {
            session_id: session(id)
        },
        |id| v1::DeleteSessionRequest {
            session_id: session(id)
        },
        |id| v1::WatchSessionRequest {
            session_id: session(id),
            ..Default::default()
        },
        |id| v1::CreateMessageRequest {
            session_id: session(id),
            role: v1::Role::User.into(),
            ..Default::default()
        },
        |id| v1::ListMessagesRequest {
            session_id: session(id),
            ..Default::default()
        },
        |id| v1::CleanupMessagesRequest {
            session_id: session(id),
            older_than: Some(prost_types::Duration::default()),
            ..Default::default()
        },
    );
    assert_unknown!(
        stranger,
        |id| v1::GetMessageRequest {
            message_id: message(id),
            ..Default::default()
        },
        |id| v1::AppendTextRequest {
            message_id: message(id),
            delta: "x".into(),
            ..Default::default()
        },
        |id| v1::AddContentRequest {
            message_id: message(id),
            block: Some(text_block("x")),
            ..Default::default()
        },
        |id| v1::UpdateContentRequest {
            message_id: message(id),
            block: Some(named("b", text_block("x"))),
            ..Default::default()
        },
        |id| v1::PublishEventRequest {
            message_id: message(id),
            name: "noticed".into(),
            ..Default::default()
        },
        |id| v1::EndMessageRequest {
            message_id: message(id),
            ..Default::default()
        },
        |id| v1::RequestCancelRequest {
            message_id: message(id),
            ..Default::default()
        },
        |id| v1::AcquireWriterRequest {
            message_id: message(id),
            writer_id: "w".into(),
            ..Default::default()
        },
        |id| v1::ListEventsRequest {
            message_id: message(id),
            ..Default::default()
        },
        |id| v1::ReadContentRequest {
            message_id: message(id),
            block_id: "b".into(),
            ..Default::default()
        },
        |id| v1::ReadContentRequest {
            content_id: format!("{content}{id}"),
            ..Default::default()
        },
        |id| v1::WatchMessageRequest {
            message_id: message(id),
            ..Default::default()
        },
        |id| v1::DeleteMessageRequest {
            message_id: message(id)
        },
        |id| v1::StartTaskRequest {
            message_id: message(id),
            task_type: "search".into(),
            ..Default::default()
        },
        |id| v1::UpdateTaskRequest {
            message_id: message(id),
            task_id: "t".into(),
            ..Default::default()
        },
        |id| v1::CancelTaskRequest {
            message_id: message(id),
            task_id: "t".into(),
            ..Default::default()
        },
        |id| v1::GetTaskRequest {
            message_id: message(id),
            task_id: "t".into(),
        },
        |id| v1::ListTasksRequest {
            message_id: message(id),
            ..Default::default()
        },
        |id| v1::InspectMessageRequest {
            message_id: message(id)
        },
    );
    assert_eq!(world.redis.contents().await, before, "nothing was touched");
}

#[tokio::test]
async fn a_user_lists_makes_and_cleans_up_what_is_their_own() {
    let world = World::start().await;
    let owner = known_as(&world, "user_1").await;
    prepare(&owner).await;
    let stranger = known_as(&world, "user_2").await;

    let list = v1::ListSessionsRequest {
        user_id: "user_1".into(),
        ..Default::default()
    };
    let sessions = async |clients: &Clients| {
        let answer = clients.clone().sessions.list_sessions(list.clone()).await;
        answer.unwrap().into_inner().sessions.len()
    };
    assert_eq!(sessions(&owner).await, 1);
    assert_eq!(sessions(&stranger).await, 0);

    let for_another = v1::CreateSessionRequest {
        user_id: "user_1".into(),
        ..Default::default()
    };
    assert!(for_another.send(&stranger).await.is_err());
    assert_eq!(sessions(&owner).await, 1);

    let everything = v1::CleanupMessagesRequest {
        older_than: Some(prost_types::Duration::default()),
        ..Default::default()
    };
    let cleanup = async |clients: &Clients| {
        let mut messages = clients.messages.clone();
        let answer = messages.cleanup_messages(everything.clone()).await;
        answer.unwrap().into_inner().count
    };
    assert_eq!(cleanup(&stranger).await, 0);
    assert!(owner.get("m").await.is_ok());
    assert_eq!(cleanup(&owner).await, 1);
}

#[tokio::test]
async fn whoever_is_not_asked_who_they_are_sees_everything() {
    let world = World::start().await;
    prepare(&known_as(&world, "user_1").await).await;
    assert!(world.a().get("m").await.is_ok());
    world.a().append("m", "x").await.unwrap();
}

#[tokio::test]
async fn a_user_claims_no_tasks_and_renews_those_of_nobody_else() {
    let world = World::start().await;
    prepare(&known_as(&world, "user_1").await).await;
    let stranger = known_as(&world, "user_2").await;
    let claim = claim_of("image_generation");
    let refused = stranger.try_claim(claim.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(reason(&refused), "NOT_A_WORKER");
    let task = world.a().try_claim(claim).await.unwrap().task.unwrap();
    let lost = v1::RenewalStatus::Lost;
    assert_eq!(stranger.renewal_status(&task).await, lost);
    assert_eq!(world.a().renewal_status(&task).await, v1::RenewalStatus::Ok);
    let submit = v1::SubmitTaskRequest {
        session_id: "s".into(),
        task_description: "do it".into(),
        ..Default::default()
    };
    let unknown = stranger.submit(submit.clone()).await.unwrap_err();
    assert_eq!(reason(&unknown), "SESSION_NOT_FOUND");
    for message in ["m", "unknown"] {
        let elsewhere = v1::SubmitTaskRequest {
            message_id: message.into(),
            ..submit.clone()
        };
        let unknown = stranger.submit(elsewhere).await.unwrap_err();
        assert_eq!(reason(&unknown), "SESSION_NOT_FOUND", "{message}");
    }
}

#[tokio::test]
async fn an_answer_that_its_owner_got_is_not_given_to_others() {
    let world = World::start().await;
    let clients = instance(&world, |request| {
        let user = request.metadata().get("user");
        user.map_or("user_1", |user| user.to_str().unwrap())
            .to_owned()
    })
    .await;
    clients.message("m").await;
    clients.append("m", &"x".repeat(100_000)).await.unwrap();
    for (user, expected) in [
        ("user_1", Code::Ok),
        ("user_2", Code::NotFound),
        ("user_1", Code::Ok),
    ] {
        let mut request = Request::new(v1::GetMessageRequest {
            message_id: "m".into(),
            ..Default::default()
        });
        request.metadata_mut().insert("user", user.parse().unwrap());
        let answer = clients.messages.clone().get_message(request).await;
        assert_eq!(
            answer.map_or_else(|status| status.code(), |_| Code::Ok),
            expected
        );
    }
}
