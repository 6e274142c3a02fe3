//! What a lease allows, how it is kept, and what is left of one that was lost.

use std::time::Duration;

use throughline::proto as v1;
use tokio::{task::JoinSet, time::Instant};
use tonic::Code;

use crate::support::{
    Clients, LEASE, World, claim_of, fold, lease_of, named, object, open, refusal, renewal_of,
    result_of, start_of, text_block, text_of, update_of,
};

use v1::{
    RenewalStatus,
    TaskStatus::{Completed, Failed, Pending, Processing},
};

fn lost() -> (Code, String) {
    (Code::Aborted, "TASK_LEASE_LOST".to_owned())
}

fn micros(time: Option<prost_types::Timestamp>) -> i64 {
    let time = time.unwrap();
    time.seconds * 1_000_000 + i64::from(time.nanos / 1_000)
}

/// A block that is written under a lease.
pub(super) fn block_of(task: &v1::Task, block: v1::ContentBlock) -> v1::AddContentRequest {
    v1::AddContentRequest {
        message_id: task.message_id.clone(),
        block: Some(block),
        lease: lease_of(task),
        ..Default::default()
    }
}

pub(super) async fn add(
    clients: &Clients,
    request: v1::AddContentRequest,
) -> Result<(), tonic::Status> {
    clients
        .messages
        .clone()
        .add_content(request)
        .await
        .map(drop)
}

/// Everything that a worker may send, and what it is answered.
async fn send_everything(clients: &Clients, task: &v1::Task) -> Vec<(Code, String)> {
    let publish = v1::PublishEventRequest {
        message_id: task.message_id.clone(),
        name: "noticed".into(),
        lease: lease_of(task),
        ..Default::default()
    };
    let update = v1::UpdateContentRequest {
        message_id: task.message_id.clone(),
        block: Some(named("note", text_block("x"))),
        lease: lease_of(task),
        ..Default::default()
    };
    let end = v1::EndMessageRequest {
        message_id: task.message_id.clone(),
        lease: lease_of(task),
        ..Default::default()
    };
    let mut messages = clients.messages.clone();
    vec![
        refusal(clients.append_with(text_of(task, "late")).await),
        refusal(add(clients, block_of(task, text_block("late"))).await),
        refusal(messages.update_content(update).await),
        refusal(messages.publish_event(publish).await),
        refusal(messages.end_message(end).await),
        refusal(clients.update_task(update_of(task, Processing)).await),
        refusal(clients.update_task(update_of(task, Pending)).await),
        refusal(clients.update_task(update_of(task, Failed)).await),
        refusal(clients.update_task(result_of(task, "late")).await),
    ]
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_is_lost_and_whoever_held_it_can_do_nothing_more() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let first = world.a().claim("render").await;
    let note = block_of(&first, open(named("note", text_block("to self"))));
    add(&world.a(), note).await.unwrap();
    world
        .a()
        .append_with(text_of(&first, "A cat"))
        .await
        .unwrap();

    let pending = world.b().task_becomes(&first, Pending).await;
    assert_eq!(pending.error, "the lease of attempt 1 was lost");
    let before = world.redis.contents().await;
    let refused = send_everything(&world.a(), &first).await;
    assert!(
        refused.iter().all(|refused| *refused == lost()),
        "{refused:?}"
    );
    assert_eq!(world.a().renewal_status(&first).await, RenewalStatus::Lost);
    assert_eq!(world.redis.contents().await, before, "nothing was touched");

    let second = world.b().claim("render").await;
    assert_eq!(second.attempt, 2);
    let late = micros(second.update_time) - micros(first.update_time);
    assert!(late < (LEASE.as_micros() as i64) + 2_000_000, "{late}");
    let log = world.a().events("m").await;
    let refused = send_everything(&world.a(), &first).await;
    assert!(
        refused.iter().all(|refused| *refused == lost()),
        "{refused:?}"
    );
    assert_eq!(world.a().events("m").await, log);
    world
        .b()
        .append_with(text_of(&second, "A dog"))
        .await
        .unwrap();
    world
        .b()
        .update_task(update_of(&second, Completed))
        .await
        .unwrap();
    assert_eq!(world.a().get("m").await.unwrap().text, "A dog");
}

#[tokio::test]
async fn a_lease_that_is_renewed_lasts() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let task = world.a().claim("render").await;
    let begin = Instant::now();
    while begin.elapsed() < LEASE * 3 / 2 {
        tokio::time::sleep(LEASE / 5).await;
        assert_eq!(world.b().renewal_status(&task).await, RenewalStatus::Ok);
    }
    let events = world.a().events("m").await.len();
    assert_eq!(events, 4, "a renewal without news is no event");
    world
        .b()
        .update_task(result_of(&task, "done"))
        .await
        .unwrap();
    assert_eq!(world.a().task("m", "t").await.attempt, 1);
    assert_eq!(world.b().renewal_status(&task).await, RenewalStatus::Lost);
}

#[tokio::test]
async fn many_leases_are_renewed_in_one_call_with_news_of_each() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    clients.create("n", v1::Role::Assistant).await.unwrap();
    let mut renewals = Vec::new();
    for (place, message) in ["m", "n", "m", "n"].into_iter().enumerate() {
        clients
            .start(start_of(message, &format!("t{place}"), "render"))
            .await
            .unwrap();
        let task = clients.claim("render").await;
        renewals.push(v1::TaskRenewal {
            progress: Some(0.25 * place as f64),
            status_text: Some(format!("at {place}")),
            ..renewal_of(&task)
        });
    }
    renewals.push(v1::TaskRenewal {
        message_id: "unknown".into(),
        ..renewals[0].clone()
    });
    renewals.push(v1::TaskRenewal {
        attempt: 2,
        ..renewals[0].clone()
    });
    let renewed = world.b().renew(renewals.clone()).await.unwrap();
    for (place, (renewal, renewed)) in renewals.iter().zip(&renewed).enumerate() {
        assert_eq!(renewed.message_id, renewal.message_id);
        assert_eq!(renewed.task_id, renewal.task_id);
        let is_held = place < 4;
        assert_eq!(renewed.lease_expire_time.is_some(), is_held);
        assert_eq!(
            renewed.status() == RenewalStatus::Ok,
            is_held,
            "{renewed:?}"
        );
        assert_eq!(renewed.status() == RenewalStatus::Lost, !is_held);
    }
    let task = clients.task("n", "t3").await;
    assert_eq!((task.progress, task.status_text.as_str()), (0.75, "at 3"));
    let events = clients.events("n").await.len();
    clients.renew(renewals).await.unwrap();
    assert_eq!(
        clients.events("n").await.len(),
        events,
        "a repeat is no news"
    );
    assert_eq!(fold(&clients.events("n").await).tasks[1].progress, 0.75);
}

#[tokio::test]
async fn what_a_worker_leaves_comes_to_the_next_one_and_to_nobody_else() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let task = world.a().claim("render").await;
    let step = object(serde_json::json!({ "step": 3, "secret": "xyzzy" }));
    let renewal = v1::TaskRenewal {
        checkpoint: Some(step.clone()),
        ..renewal_of(&task)
    };
    world.a().renew(vec![renewal]).await.unwrap();
    world.a().renew(vec![renewal_of(&task)]).await.unwrap();
    world
        .a()
        .update_task(update_of(&task, Pending))
        .await
        .unwrap();
    let next = world.b().try_claim(claim_of("render")).await.unwrap();
    assert_eq!(next.checkpoint, Some(step));
    let seen = format!(
        "{:?} {:?}",
        world.a().events("m").await,
        world.a().get("m").await.unwrap()
    );
    assert!(!seen.contains("xyzzy"));
}

#[tokio::test]
async fn only_the_worker_that_claimed_a_task_renews_it_where_it_says_who_it_is() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let task = world.a().claim("render").await;
    for (worker, status) in [("w", RenewalStatus::Ok), ("other", RenewalStatus::Lost)] {
        let request = v1::RenewTaskRequest {
            worker_id: worker.into(),
            renewals: vec![renewal_of(&task)],
        };
        let answer = world.b().tasks.clone().renew_task(request).await.unwrap();
        assert_eq!(answer.into_inner().results[0].status(), status);
    }
}

#[tokio::test]
async fn a_worker_hears_of_a_cancel_when_it_renews() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let task = world.a().claim("render").await;
    let request = v1::RequestCancelRequest {
        message_id: "m".into(),
        ..Default::default()
    };
    world
        .b()
        .messages
        .clone()
        .request_cancel(request)
        .await
        .unwrap();
    let renewed = world.a().renewal_status(&task).await;
    assert_eq!(renewed, RenewalStatus::CancelRequested);
    let appended = world.a().append_with(text_of(&task, "x")).await.unwrap();
    assert!(appended.result.unwrap().cancel_requested);
    world
        .a()
        .start(start_of("m", "t2", "render"))
        .await
        .unwrap();
    assert!(
        world.b().finds_nothing("render").await,
        "nothing new is begun"
    );
    let cancelled = update_of(&task, v1::TaskStatus::Cancelled);
    world.a().update_task(cancelled).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_writes_without_a_pause_but_does_not_renew_loses_its_lease() {
    let world = World::start().await;
    world.a().message("m").await;
    let start = v1::StartTaskRequest {
        max_attempts: 1,
        ..start_of("m", "t", "render")
    };
    world.a().start(start).await.unwrap();
    let task = world.a().claim("render").await;
    let mut floods = JoinSet::new();
    for turn in 0..4 {
        let (clients, task) = (world.either(turn), task.clone());
        floods.spawn(async move {
            loop {
                if let Err(status) = clients.append_with(text_of(&task, "x")).await {
                    break status;
                }
            }
        });
    }
    let begin = Instant::now();
    for refused in floods.join_all().await {
        assert_eq!(refused.code(), Code::Aborted, "{refused:?}");
    }
    assert!(begin.elapsed() < LEASE + Duration::from_secs(2));
    let failed = world.b().task_becomes(&task, Failed).await;
    assert!(failed.error.starts_with("ATTEMPTS_EXHAUSTED: "));
    let block = world.b().get("m").await.unwrap().blocks.remove(0);
    assert_eq!(block.state(), v1::BlockState::Sealed);
    assert_eq!(block.error, failed.error);
}
