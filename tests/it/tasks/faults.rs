//! An instance is killed between any two of its calls to Redis, while a task is
//! submitted, claimed, renewed and finished: the task is not lost, and nobody works
//! on it twice under one attempt.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use throughline::{
    proto::{self as v1, event::Payload},
    runtime::{
        config::RedisUrl,
        serve::{Service, ServiceOptions},
    },
};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use crate::support::{
    Clients, Cut, Proxy, World, claim_of, fold, renewal_of, soon, text_of, update_of,
};

/// More than a task takes from beginning to end.
const CALLS: usize = 24;
/// Each cut is tried once before the call, once before its answer, and each of
/// these with a worker that dies with its instance and with one that goes on.
const RUNS: usize = CALLS * 4;
/// Runs at a time.
const CONCURRENCY: usize = 48;
/// More than a call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(6);

/// How often each cut is tried: `THROUGHLINE_FAULT_ROUNDS`, 1 where it is not
/// set.
fn rounds() -> usize {
    std::env::var("THROUGHLINE_FAULT_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// A run, and what is done again elsewhere when its instance is cut off.
struct Run {
    name: String,
    /// The instance that is killed, until it is.
    doomed: Option<(Service, Clients)>,
    proxy: Proxy,
    safe: Clients,
    /// The worker goes on at another instance.
    survives: bool,
    /// Attempts that a worker was given.
    given: Vec<u32>,
}

impl Run {
    async fn begin(world: &World, number: usize) -> Self {
        let name = format!("x{number}x");
        let cut = Cut {
            marker: name.clone(),
            after: number / 4 % CALLS,
            answer_only: number % 2 == 1,
        };
        let proxy = Proxy::start(world.redis.port, cut).await;
        let options = ServiceOptions::new(RedisUrl::from(proxy.url.clone()));
        // So many at a time may be too slow for one of them.
        let start = async {
            loop {
                if let Ok(service) = Service::start(options.clone()).await {
                    break service;
                }
            }
        };
        let service = soon("a start", start).await;
        let clients = Clients::connect(&format!("http://{}", service.address)).await;
        Self {
            name,
            doomed: Some((service, clients)),
            proxy,
            safe: world.either(number),
            survives: number / 2 % 2 == 1,
            given: Vec::new(),
        }
    }

    fn clients(&self) -> Clients {
        let doomed = self.doomed.as_ref().map(|(_, clients)| clients.clone());
        doomed.unwrap_or_else(|| self.safe.clone())
    }

    /// Makes a call, and makes it again elsewhere where the instance was killed.
    async fn call<T, F: Future<Output = Result<T, Status>>>(
        &mut self,
        call: impl Fn(Clients) -> F,
    ) -> Result<T, Status> {
        let answer = timeout(CALL_TIMEOUT, call(self.clients())).await;
        if let Ok(Ok(answer)) = answer
            && !self.proxy.is_cut()
        {
            return Ok(answer);
        }
        self.kill();
        timeout(CALL_TIMEOUT, call(self.safe.clone()))
            .await
            .unwrap()
    }

    /// The instance is gone: it can do nothing more to Redis.
    fn kill(&mut self) {
        self.proxy.cut();
        self.doomed = None;
    }

    async fn submit(&mut self) {
        let request = v1::SubmitTaskRequest {
            session_id: "s".into(),
            message_id: format!("m{}", self.name),
            task_id: "t".into(),
            queue: format!("q{}", self.name),
            task_description: "do it".into(),
            request_id: "r".into(),
            max_attempts: 100,
            ..Default::default()
        };
        let submit = |clients: Clients| {
            let request = request.clone();
            async move { clients.submit(request).await }
        };
        self.call(submit).await.unwrap();
    }

    /// Works on the task until it is done; none where the worker died.
    async fn work(&mut self) -> Option<()> {
        let before = self.doomed.is_some();
        let request = claim_of(&format!("q{}", self.name));
        let claimed = timeout(CALL_TIMEOUT * 4, self.clients().try_claim(request)).await;
        let task = match claimed {
            Ok(Ok(claimed)) => claimed.task?,
            // The answer is lost, and with it perhaps a lease.
            _ => return self.died(),
        };
        self.given.push(task.attempt);
        let renewal = v1::TaskRenewal {
            progress: Some(0.5),
            checkpoint: Some(prost_types::Struct::default()),
            ..renewal_of(&task)
        };
        let lost = |status: &Status| status.code() == Code::Aborted;
        for piece in 0..2 {
            let renewal = renewal.clone();
            let renew = |clients: Clients| {
                let renewal = renewal.clone();
                async move { clients.renew(vec![renewal]).await }
            };
            if self.call(renew).await.unwrap()[0].status() == v1::RenewalStatus::Lost {
                return None;
            }
            let text = v1::AppendTextRequest {
                request_id: format!("a{}p{piece}", task.attempt),
                ..text_of(&task, &format!("a{} ", task.attempt))
            };
            let append = |clients: Clients| {
                let text = text.clone();
                async move { clients.append_with(text).await }
            };
            match self.call(append).await {
                Err(status) if lost(&status) => return None,
                appended => drop(appended.unwrap()),
            }
            if before && self.doomed.is_none() && !self.survives {
                return None;
            }
        }
        let done = v1::UpdateTaskRequest {
            request_id: format!("done{}", task.attempt),
            ..update_of(&task, v1::TaskStatus::Completed)
        };
        let finish = |clients: Clients| {
            let done = done.clone();
            async move { clients.update_task(done).await }
        };
        match self.call(finish).await {
            Err(status) if lost(&status) => None,
            finished => {
                finished.unwrap();
                Some(())
            }
        }
    }

    fn died(&mut self) -> Option<()> {
        self.kill();
        None
    }

    /// What must be true of every run.
    async fn check(&self) {
        let message = format!("m{}", self.name);
        let events = self.safe.events(&message).await;
        let mut ends = 0;
        let mut grants = HashMap::new();
        for event in &events {
            match event.payload.as_ref().unwrap() {
                Payload::TaskCompleted(_) | Payload::TaskFailed(_) | Payload::TaskCancelled(_) => {
                    ends += 1;
                }
                Payload::TaskProgress(progress) => {
                    let task = progress.task.as_ref().unwrap();
                    let is_grant =
                        task.status() == v1::TaskStatus::Processing && task.progress == 0.0;
                    if is_grant {
                        *grants.entry(task.attempt).or_insert(0) += 1;
                    }
                }
                _ => {}
            }
        }
        let name = &self.name;
        assert_eq!(ends, 1, "{name} has one terminal event");
        assert!(
            grants.values().all(|grants| *grants == 1),
            "{name}: {grants:?}"
        );
        let given: HashSet<_> = self.given.iter().collect();
        assert_eq!(given.len(), self.given.len(), "{name}: {:?}", self.given);
        let stored = self.safe.get(&message).await.unwrap();
        assert_eq!(stored.state(), v1::MessageState::Completed, "{name}");
        let last = stored.tasks[0].attempt;
        assert_eq!(stored.text, format!("a{last} a{last} "), "{name}");
        let folded = fold(&events);
        assert_eq!(folded.head.to_string(), stored.cursor);
    }
}

async fn run(world: &World, number: usize) -> Duration {
    let mut run = Run::begin(world, number).await;
    run.submit().await;
    let begin = Instant::now();
    while run.work().await.is_none() {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "{} is lost",
            run.name
        );
    }
    run.check().await;
    begin.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_survives_that_its_instance_is_killed_between_any_two_calls_to_redis() {
    let world = World::start().await;
    world.a().session("s").await;
    let runs = stream::iter(0..RUNS * rounds()).map(|number| run(&world, number));
    let mut times: Vec<_> = runs.buffer_unordered(CONCURRENCY).collect().await;
    times.sort();
    eprintln!("{} runs, the longest took {:?}", times.len(), times.last());
}
