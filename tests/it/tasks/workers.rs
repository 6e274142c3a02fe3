//! Workers as processes of their own, which are killed and stopped.

use std::{
    collections::{HashMap, HashSet},
    process::Stdio,
    time::Duration,
};

use throughline::proto::{self as v1, event::Payload};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinSet,
    time::{Instant, interval, sleep},
};

use crate::support::{
    Clients, LEASE, World, claim_of, eventually, fold, refusal, renewal_of, signal, soon, start_of,
    text_of, update_of,
};

const TASKS: usize = 200;
const WORKERS: usize = 3;
/// Tasks that a worker works on at a time.
const HANDS: usize = 4;
const KILL_INTERVAL: Duration = Duration::from_secs(2);
/// How long a task takes.
const WORK: Duration = Duration::from_millis(800);
const PIECES: u32 = 4;
/// Says to the worker process where its instance is, and what to do.
const ADDRESS: &str = "THROUGHLINE_TEST_WORKER";

/// A worker in a process of its own: this test program, run for one test.
struct Worker {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn start(address: &str, test: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture"])
            .arg(format!("tasks::workers::{test}"))
            .env(ADDRESS, address)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, output }
    }

    /// The next line that begins with this word.
    async fn line(&mut self, word: &str) -> String {
        let next = async {
            loop {
                let line = self.output.next_line().await.unwrap();
                let line = line.expect("the worker goes on");
                if let Some(rest) = line.strip_prefix(word) {
                    break rest.trim().to_owned();
                }
            }
        };
        soon(word, next).await
    }

    fn signal(&self, number: i32) {
        assert!(signal(self.child.id().unwrap(), number));
    }
}

async fn clients() -> Option<Clients> {
    let address = std::env::var(ADDRESS).ok()?;
    Some(Clients::connect(&address).await)
}

fn address(world: &World, turn: usize) -> String {
    let service = &world.services[turn % world.services.len()];
    format!("http://{}", service.address)
}

#[tokio::test]
#[ignore = "the worker process of other tests"]
async fn a_worker_that_works_on() {
    let Some(clients) = clients().await else {
        return;
    };
    let mut hands = JoinSet::new();
    for _ in 0..HANDS {
        let clients = clients.clone();
        hands.spawn(async move {
            loop {
                if let Ok(claimed) = clients.try_claim(claim_of("render")).await
                    && let Some(task) = claimed.task
                {
                    work(&clients, &task).await;
                }
            }
        });
    }
    hands.join_all().await;
}

async fn work(clients: &Clients, task: &v1::Task) {
    for _ in 0..PIECES {
        let piece = text_of(task, &format!("{} ", task.attempt));
        if clients.append_with(piece).await.is_err() {
            return;
        }
        sleep(WORK / PIECES).await;
    }
    // Who is killed between this and the answer has finished it nevertheless.
    let _ = clients
        .update_task(update_of(task, v1::TaskStatus::Completed))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_tasks_are_each_done_once_by_workers_that_are_killed() {
    let world = World::start().await;
    world.a().session("s").await;
    for task in 0..TASKS {
        let message = format!("m{task}");
        world
            .a()
            .create(&message, v1::Role::Assistant)
            .await
            .unwrap();
        let start = v1::StartTaskRequest {
            max_attempts: 100,
            ..start_of(&message, "t", "render")
        };
        world.either(task).start(start).await.unwrap();
    }
    let start = |turn| Worker::start(&address(&world, turn), "a_worker_that_works_on");
    let mut workers: Vec<_> = (0..WORKERS).map(start).collect();
    let mut kills = interval(KILL_INTERVAL);
    kills.tick().await;
    let begin = Instant::now();
    let mut killed = 0;
    let mut open: Vec<_> = (0..TASKS).map(|task| format!("m{task}")).collect();
    while !open.is_empty() {
        kills.tick().await;
        workers[killed % WORKERS] = start(killed);
        killed += 1;
        let mut still_open = Vec::new();
        for message in open {
            if world.a().task(&message, "t").await.end_time.is_none() {
                still_open.push(message);
            }
        }
        open = still_open;
        assert!(
            begin.elapsed() < Duration::from_secs(120),
            "{} are left",
            open.len()
        );
    }
    drop(workers);
    let mut again = Vec::new();
    for task in 0..TASKS {
        again.extend(check(&world.b(), &format!("m{task}")).await);
    }
    again.sort();
    eprintln!(
        "{killed} workers killed in {:?}, {} attempts lost, the last redelivery came {:?} after the lease",
        begin.elapsed(),
        again.len(),
        again.last(),
    );
    assert!(!again.is_empty(), "attempts were lost");
    assert!(again.iter().all(|late| *late < Duration::from_secs(2)));
}

/// The task has ended once, and its text is of one attempt. Returns how long after
/// the end of a lost lease each further attempt began. No lease was lost where the
/// worker was killed before it was told of its task: that is given back at once.
async fn check(clients: &Clients, message: &str) -> Vec<Duration> {
    let events = clients.events(message).await;
    let mut grants: HashMap<u32, i64> = HashMap::new();
    let mut given_back = HashSet::new();
    let mut ends = 0;
    for event in &events {
        let time = event.time.unwrap();
        let millis = time.seconds * 1_000 + i64::from(time.nanos / 1_000_000);
        match event.payload.as_ref().unwrap() {
            Payload::TaskCompleted(_) | Payload::TaskFailed(_) | Payload::TaskCancelled(_) => {
                ends += 1;
            }
            Payload::TaskProgress(progress) => {
                let task = progress.task.as_ref().unwrap();
                let granted = grants.get(&task.attempt);
                let is_early = granted.is_some_and(|granted| millis - granted < 1_000);
                if task.status() == v1::TaskStatus::Pending && is_early {
                    given_back.insert(task.attempt);
                }
                if task.status() == v1::TaskStatus::Processing {
                    let other = grants.insert(task.attempt, millis);
                    assert_eq!(other, None, "attempt {} was given out once", task.attempt);
                }
            }
            _ => {}
        }
    }
    assert_eq!(ends, 1, "{message}");
    let stored = clients.get(message).await.unwrap();
    let last = stored.tasks[0].attempt;
    let piece = format!("{last} ");
    assert_eq!(stored.text, piece.repeat(PIECES as usize), "{message}");
    assert_eq!(fold(&events).head.to_string(), stored.cursor);
    let late = |attempt: u32| {
        let begin = grants[&attempt] - grants[&(attempt - 1)];
        let late = begin - i64::try_from(LEASE.as_millis()).unwrap();
        Duration::from_millis(u64::try_from(late).expect("the lease was over"))
    };
    let lost = (2..=last).filter(|attempt| !given_back.contains(&(attempt - 1)));
    lost.map(late).collect()
}

#[tokio::test]
#[ignore = "the worker process of other tests"]
async fn a_worker_that_is_stopped() {
    let Some(clients) = clients().await else {
        return;
    };
    let task = clients.claim("render").await;
    let begin = std::time::Instant::now();
    clients.append_with(text_of(&task, "early")).await.unwrap();
    println!("\nworking");
    // It is stopped here; when it goes on, so much time has passed.
    while begin.elapsed() < LEASE {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut refusals = vec![refusal(clients.append_with(text_of(&task, "late")).await)];
    for status in [
        v1::TaskStatus::Processing,
        v1::TaskStatus::Pending,
        v1::TaskStatus::Failed,
        v1::TaskStatus::Completed,
    ] {
        refusals.push(refusal(clients.update_task(update_of(&task, status)).await));
    }
    let renewed = clients.renew(vec![renewal_of(&task)]).await.unwrap();
    println!("\nrefused {refusals:?} {:?}", renewed[0].status());
}

#[tokio::test]
async fn a_worker_that_was_stopped_beyond_its_lease_changes_nothing_more() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let mut worker = Worker::start(&address(&world, 0), "a_worker_that_is_stopped");
    worker.line("working").await;
    worker.signal(libc::SIGSTOP);
    // It shall not lose its lease as well while we wait for the other.
    let long = v1::ClaimTaskRequest {
        lease: None,
        ..claim_of("render")
    };
    let second = world.b().try_claim(long).await.unwrap().task.unwrap();
    assert_eq!(second.attempt, 2);
    world
        .b()
        .append_with(text_of(&second, "second"))
        .await
        .unwrap();
    let log = world.b().events("m").await;
    worker.signal(libc::SIGCONT);
    let lost = "(Aborted, \"TASK_LEASE_LOST\")";
    let refused = worker.line("refused").await;
    assert_eq!(refused, format!("[{}] Lost", [lost; 5].join(", ")));
    assert_eq!(world.a().events("m").await, log, "the log is what it was");
    world
        .b()
        .update_task(update_of(&second, v1::TaskStatus::Completed))
        .await
        .unwrap();
    assert_eq!(world.a().get("m").await.unwrap().text, "second");
}

#[tokio::test]
async fn workers_are_told_when_everything_is_gone_and_go_on() {
    let world = World::start().await;
    world.a().started("t", "render").await;
    let task = world.a().claim("render").await;
    let waiting = tokio::spawn({
        let clients = world.b();
        async move { clients.claim("render").await }
    });
    let mut watch = world.b().watch("m", "$").await;
    watch.caught_up().await;
    let _: String = world.redis.run(&["FLUSHALL"]).await;
    let _: String = world.redis.run(&["FUNCTION", "FLUSH"]).await;
    watch.end().await;
    assert_eq!(
        world.a().renewal_status(&task).await,
        v1::RenewalStatus::Lost
    );
    let gone = refusal(
        world
            .a()
            .update_task(update_of(&task, v1::TaskStatus::Completed))
            .await,
    );
    assert_eq!(gone.1, "MESSAGE_NOT_FOUND");
    let gone = refusal(world.a().append_with(text_of(&task, "x")).await);
    assert_eq!(gone.1, "MESSAGE_NOT_FOUND");
    world.a().started("again", "render").await;
    let next = soon("another task", waiting).await.unwrap();
    assert_eq!((next.task_id.as_str(), next.attempt), ("again", 1));
}

#[tokio::test]
async fn workers_that_wait_while_redis_is_away_are_told_and_go_on() {
    let mut world = World::start().await;
    world.a().started("t", "render").await;
    let waiting = tokio::spawn({
        let clients = world.b();
        async move { clients.try_claim(claim_of("scan")).await }
    });
    assert!(world.b().finds_nothing("other").await);
    world.redis.kill();
    let told = refusal(soon("an answer", waiting).await.unwrap());
    assert_eq!(told.0, tonic::Code::Unavailable);
    world.redis.restart();
    eventually("the task", || async {
        let claimed = world.b().try_claim(claim_of("render")).await;
        claimed.is_ok_and(|claimed| claimed.task.is_some())
    })
    .await;
}
