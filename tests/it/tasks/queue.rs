//! How tasks come to workers.

use std::{collections::HashSet, time::Duration};

use throughline::proto as v1;
use tokio::{task::JoinSet, time::Instant};
use tonic::Code;
use tonic_types::StatusExt;

use crate::support::{
    Clients, LEASE, World, claim_of, eventually, look_for, reason, result_of, soon, start_of,
    update_of,
};

use v1::TaskStatus::{Completed, Pending, Processing};

const QUEUE: &str = "queue:render";

fn duration(millis: u64) -> Option<prost_types::Duration> {
    Some(Duration::from_millis(millis).try_into().unwrap())
}

fn seconds(time: Option<prost_types::Timestamp>) -> f64 {
    let time = time.unwrap();
    time.seconds as f64 + f64::from(time.nanos) / 1e9
}

async fn tickets(world: &World) -> i64 {
    world.redis.run(&["ZCARD", QUEUE]).await
}

#[tokio::test]
async fn a_task_that_is_started_comes_to_a_worker_that_waits_for_it() {
    let world = World::start().await;
    let waiting = tokio::spawn({
        let clients = world.b();
        async move { clients.try_claim(claim_of("render")).await.unwrap() }
    });
    world.a().started("t", "render").await;
    let claimed = soon("the claim", waiting).await.unwrap();
    let task = claimed.task.unwrap();
    assert_eq!(
        (task.message_id.as_str(), task.task_id.as_str()),
        ("m", "t")
    );
    assert_eq!((task.status(), task.attempt), (Processing, 1));
    assert_eq!(
        (task.worker_id.as_str(), task.queue.as_str()),
        ("w", "render")
    );
    let leased = seconds(claimed.lease_expire_time) - seconds(task.update_time);
    assert_eq!(leased, LEASE.as_secs_f64());
    assert_eq!(claimed.lease.unwrap().attempt, 1);
    assert_eq!(claimed.checkpoint, None);
    assert_eq!(world.a().task("m", "t").await, task);
    let events = world.a().events("m").await;
    let last = events.last().unwrap();
    assert_eq!(last.event_type(), v1::EventType::TaskProgress);
    assert_eq!(tickets(&world).await, 0, "the ticket is thrown away");
}

#[tokio::test]
async fn a_task_that_cannot_be_read_does_not_stand_in_front_of_others() {
    let world = World::start().await;
    let a = world.a();
    a.started("t", "render").await;
    let damage = ["HSET", "message:m", "task:0000", "nonsense"];
    let _: i64 = world.redis.run(&damage).await;
    a.create("n", v1::Role::Assistant).await.unwrap();
    a.start(start_of("n", "u", "render")).await.unwrap();
    assert_eq!(world.b().claim("render").await.task_id, "u");
}

#[tokio::test]
async fn a_task_waits_for_a_worker_to_come() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let found = world.b().try_claim(look_for("render")).await.unwrap();
    assert_eq!(found.task.unwrap().task_id, "t");
    assert!(world.b().finds_nothing("render").await);
}

#[tokio::test]
async fn a_worker_that_nothing_comes_to_is_answered_when_its_time_is_over() {
    let world = World::start().await;
    let begin = Instant::now();
    let request = v1::ClaimTaskRequest {
        wait: duration(300),
        ..claim_of("render")
    };
    let answer = world.a().try_claim(request).await.unwrap();
    assert_eq!(answer, v1::ClaimTaskResponse::default());
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn each_task_is_given_to_one_worker_only() {
    const TASKS: usize = 100;
    let world = World::start().await;
    world.a().message("m").await;
    let mut workers = JoinSet::new();
    for worker in 0..20 {
        let clients = world.either(worker);
        workers.spawn(async move {
            let mut claimed = Vec::new();
            let request = v1::ClaimTaskRequest {
                wait: duration(2_000),
                ..claim_of("render")
            };
            while let Some(task) = clients.try_claim(request.clone()).await.unwrap().task {
                let done = result_of(&task, "done");
                clients.update_task(done).await.unwrap();
                claimed.push((task.task_id, task.attempt));
            }
            claimed
        });
    }
    for task in 0..TASKS {
        let start = start_of("m", &format!("t{task}"), "render");
        world.either(task).start(start).await.unwrap();
    }
    let claimed: Vec<_> = workers.join_all().await.concat();
    assert_eq!(claimed.len(), TASKS);
    let different: HashSet<_> = claimed.iter().collect();
    assert_eq!(different.len(), TASKS);
    assert!(claimed.iter().all(|(_, attempt)| *attempt == 1));
    let message = world.a().get("m").await.unwrap();
    assert!(message.tasks.iter().all(|task| task.status() == Completed));
}

#[tokio::test]
async fn tasks_are_given_out_in_the_order_of_their_start() {
    let world = World::start().await;
    world.a().message("m").await;
    for task in ["b", "a", "c"] {
        let start = start_of("m", task, "render");
        world.a().start(start).await.unwrap();
        // Tickets count milliseconds.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for task in ["b", "a", "c"] {
        assert_eq!(world.b().claim("render").await.task_id, task);
    }
}

#[tokio::test]
async fn a_worker_may_take_from_several_queues() {
    let world = World::start().await;
    world.a().message("m").await;
    let queued = v1::StartTaskRequest {
        queue: "gpu".into(),
        ..start_of("m", "in_gpu", "render")
    };
    world.a().start(queued).await.unwrap();
    world.a().start(start_of("m", "t", "scan")).await.unwrap();
    assert!(world.b().finds_nothing("render").await, "it is in another");
    let request = v1::ClaimTaskRequest {
        task_types: vec!["render".into(), "scan".into()],
        queues: vec!["gpu".into()],
        ..claim_of("render")
    };
    let mut claimed = HashSet::new();
    for _ in 0..2 {
        let answer = world.b().try_claim(request.clone()).await.unwrap();
        claimed.insert(answer.task.unwrap().task_id);
    }
    assert_eq!(claimed, HashSet::from(["in_gpu".into(), "t".into()]));
}

#[tokio::test]
async fn a_queue_that_is_full_takes_no_more() {
    let world = World::with_queue_limit(2).await;
    world.a().message("m").await;
    let first = v1::StartTaskRequest {
        request_id: "r".into(),
        ..start_of("m", "t0", "render")
    };
    world.a().start(first.clone()).await.unwrap();
    world
        .a()
        .start(start_of("m", "t1", "render"))
        .await
        .unwrap();
    let before = world.a().events("m").await;
    let refused = world.b().start(start_of("m", "t2", "render")).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused), "QUEUE_FULL");
    assert!(refused.get_details_retry_info().is_some());
    assert_eq!(world.a().events("m").await, before);
    world
        .b()
        .start(first)
        .await
        .expect("a repeat is no new task");
    world.b().start(start_of("m", "t2", "scan")).await.unwrap();

    world.a().claim("render").await;
    world
        .b()
        .start(start_of("m", "t3", "render"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_queue_that_is_full_keeps_those_that_have_waited_longest() {
    let world = World::with_queue_limit(1).await;
    world.a().message("m").await;
    let first = world
        .a()
        .start(start_of("m", "t0", "render"))
        .await
        .unwrap();
    // It has waited longer than a message lives that nobody touches.
    let aged: usize = world
        .redis
        .run(&["ZADD", "queue:render", "XX", "CH", "1", "m t0"])
        .await;
    assert_eq!(aged, 1);
    let refused = world.b().start(start_of("m", "t1", "render")).await;
    assert_eq!(reason(&refused.unwrap_err()), "QUEUE_FULL");
    assert_eq!(world.b().claim("render").await.task_id, first.task_id);
}

#[tokio::test]
async fn what_ended_otherwise_is_given_to_nobody() {
    let world = World::start().await;
    let clients = world.a();
    clients.message("m").await;
    for task in ["cancelled", "updated", "ended"] {
        let start = start_of("m", task, "render");
        clients.start(start).await.unwrap();
    }
    clients.create("n", v1::Role::Assistant).await.unwrap();
    clients
        .start(start_of("n", "deleted", "render"))
        .await
        .unwrap();
    assert_eq!(tickets(&world).await, 4);
    let cancel = v1::CancelTaskRequest {
        message_id: "m".into(),
        task_id: "cancelled".into(),
        ..Default::default()
    };
    clients.clone().tasks.cancel_task(cancel).await.unwrap();
    let update = v1::UpdateTaskRequest {
        message_id: "m".into(),
        task_id: "updated".into(),
        status: Completed.into(),
        ..Default::default()
    };
    clients.update_task(update).await.unwrap();
    assert_eq!(tickets(&world).await, 2, "tickets follow");
    clients.complete("m").await;
    clients.delete("n").await.unwrap();
    let taken = clients.try_claim(v1::ClaimTaskRequest {
        wait: duration(1_500),
        ..claim_of("render")
    });
    assert_eq!(taken.await.unwrap().task, None);
    assert_eq!(tickets(&world).await, 0, "also the stale one is gone");
}

#[tokio::test]
async fn a_ticket_that_is_lost_costs_time_only() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let _: i64 = world.redis.run(&["DEL", QUEUE]).await;
    assert!(world.b().finds_nothing("render").await);
    assert_eq!(world.b().claim("render").await.task_id, "t");
}

#[tokio::test]
async fn tickets_that_are_worth_nothing_cost_nothing() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    for stale in ["m unknown", "unknown t"] {
        let _: i64 = world.redis.run(&["ZADD", QUEUE, "1", stale]).await;
    }
    assert_eq!(world.b().claim("render").await.task_id, "t");
    assert!(world.b().finds_nothing("render").await);
    eventually("an empty queue", || async { tickets(&world).await == 0 }).await;
    // One that came twice names a task that is somebody's.
    let _: i64 = world.redis.run(&["ZADD", QUEUE, "1", "m t"]).await;
    assert!(world.b().finds_nothing("render").await);
}

#[tokio::test]
async fn a_client_that_has_gone_away_swallows_no_task() {
    let world = World::start().await;
    world.a().message("m").await;
    for round in 0..10 {
        let waiting = tokio::spawn({
            let clients = world.b();
            async move { clients.try_claim(claim_of("render")).await }
        });
        // What comes later on one connection is answered later.
        assert!(world.b().finds_nothing("scan").await);
        waiting.abort();
        assert!(world.b().finds_nothing("scan").await);
        let begin = Instant::now();
        let start = start_of("m", &format!("t{round}"), "render");
        world.a().start(start).await.unwrap();
        assert_eq!(world.a().claim("render").await.attempt, 1);
        assert!(begin.elapsed() < LEASE, "nobody had to wait for a lease");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_when_a_task_comes_costs_a_lease_at_most() {
    let world = World::start().await;
    world.a().message("m").await;
    let mut rounds = JoinSet::new();
    for round in 0..20 {
        let (starter, waiter, other) = (world.a(), world.b(), world.a());
        rounds.spawn(async move {
            let queue = format!("render{round}");
            let claim = claim_of(&queue);
            let waiting = tokio::spawn(async move { waiter.try_claim(claim).await });
            let start = start_of("m", &format!("t{round}"), &queue);
            let (started, ()) = tokio::join!(starter.start(start), async {
                tokio::time::sleep(Duration::from_micros(500 * round)).await;
                waiting.abort();
            });
            started.unwrap();
            if waiting.await.is_err() {
                let begin = Instant::now();
                other.claim(&queue).await;
                assert!(begin.elapsed() < LEASE + Duration::from_secs(2));
            }
        });
    }
    rounds.join_all().await;
}

#[tokio::test]
async fn who_waits_is_answered_when_the_instance_stops() {
    let mut world = World::start().await;
    let clients = world.b();
    let waiting = tokio::spawn(async move { clients.try_claim(claim_of("render")).await.unwrap() });
    // It is there as soon as something that came later is.
    assert!(world.b().finds_nothing("scan").await);
    let service = world.services.remove(1);
    let begin = Instant::now();
    service.stop().await;
    assert_eq!(waiting.await.unwrap().task, None);
    assert!(begin.elapsed() < Duration::from_secs(5));
    // Others go on.
    world.a().started("t", "render").await;
    assert_eq!(world.a().claim("render").await.task_id, "t");
}

#[tokio::test]
async fn a_worker_may_see_what_was_said_before() {
    let world = World::start().await;
    let clients = world.a();
    clients.session("s").await;
    for message in ["m0", "m1", "m2"] {
        clients.create(message, v1::Role::User).await.unwrap();
        clients.append(message, message).await.unwrap();
    }
    clients.start(start_of("m2", "t", "render")).await.unwrap();
    let request = v1::ClaimTaskRequest {
        history_size: 2,
        ..claim_of("render")
    };
    let claimed = world.b().try_claim(request).await.unwrap();
    let texts: Vec<_> = claimed.history.iter().map(|m| m.text.as_str()).collect();
    assert_eq!(texts, ["m1", "m2"]);
}

#[tokio::test]
async fn a_task_may_be_worked_on_without_a_claim() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let unclaimed = |clients: Clients, status| async move {
        let update = v1::UpdateTaskRequest {
            message_id: "m".into(),
            task_id: "t".into(),
            status,
            ..Default::default()
        };
        clients.update_task(update).await
    };
    let answer = unclaimed(world.a(), Processing.into()).await.unwrap();
    assert_eq!(answer.task.unwrap().attempt, 0);
    assert!(world.b().finds_nothing("render").await);
    unclaimed(world.b(), Completed.into()).await.unwrap();
}

#[tokio::test]
async fn a_task_that_is_given_back_is_offered_again_at_no_cost() {
    let world = World::start().await;
    world.a().message("m").await;
    let start = v1::StartTaskRequest {
        max_attempts: 1,
        ..start_of("m", "t", "render")
    };
    world.a().start(start).await.unwrap();
    for attempt in 1..=3 {
        let task = world.b().claim("render").await;
        assert_eq!((task.attempt, task.released), (attempt, attempt - 1));
        let released = world.a().update_task(update_of(&task, Pending)).await;
        let released = released.unwrap().task.unwrap();
        assert_eq!(
            (released.status(), released.worker_id.as_str()),
            (Pending, "")
        );
    }
    let task = world.a().claim("render").await;
    world
        .a()
        .update_task(result_of(&task, "done"))
        .await
        .unwrap();
    assert_eq!(world.b().get("m").await.unwrap().text, "done");
}
