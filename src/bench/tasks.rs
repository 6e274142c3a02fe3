//! Tasks from those who submit them to those who work on them, beside a list in
//! bare Redis; and what workers cost that wait.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

use super::{
    BenchError, Scale,
    callers::call_at_pace,
    client::Client,
    report::{Bar, Report, Table},
    samples::{Samples, millis},
    stage::Stage,
};

const WORKERS: usize = 8;
/// 200 tasks a second.
const PACE: Duration = Duration::from_millis(5);
/// Workers that wait for nothing, on few connections.
const IDLE_WORKERS: usize = 1_000;
const IDLE_CLIENTS: usize = 10;
/// So long they wait before what they cost is counted, and while it is.
const SETTLING: Duration = Duration::from_secs(1);
const QUEUE: &str = "bench";
/// The list in bare Redis.
const LIST: &[u8] = b"bare:list";

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    bar.set_length(3);
    let stage = Stage::set().await?;
    let tasks = hand_over(&stage, scale.calls).await?;
    bar.inc(1);
    let floor = hand_over_bare(&stage, scale.calls).await?;
    bar.inc(1);
    let idle = measure_idle(scale).await?;
    bar.inc(1);
    let p99 = tasks.quantile(0.99);
    report.ratio("submit_to_claim_p99_ms", p99, Bar::AtMost(50.0));
    report.ratio(
        "redis_connections_1000_vs_10_idle_workers",
        idle.connections,
        Bar::AtMost(1.0),
    );
    report.ratio(
        "redis_core_percent_1000_idle_workers",
        idle.redis_percent,
        Bar::AtMost(1.0),
    );
    let row = |name: &str, samples: &Samples| {
        let values = vec![samples.median(), samples.quantile(0.99)];
        (name.to_owned(), values)
    };
    report.table(Table {
        key: "tasks",
        title: format!(
            "200 tasks a second, submitted, claimed and finished by {WORKERS} workers, beside \
             LPUSH to BRPOP"
        ),
        columns: vec!["p50_ms", "p99_ms"],
        rows: vec![row("submit_to_claim", &tasks), row("bare_list", &floor)],
    });
    Ok(())
}

/// When each task was submitted that nobody has claimed yet.
type Submitted = Arc<Mutex<HashMap<String, Instant>>>;

/// How long tasks took from the call that submits one to the worker that has it.
async fn hand_over(stage: &Stage, count: usize) -> Result<Samples, BenchError> {
    let submitted = Submitted::default();
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(stage.client().await?, submitted.clone()));
    }
    let client = stage.client().await?;
    let submit = |number: usize| {
        let (client, submitted) = (client.clone(), submitted.clone());
        async move {
            let task = format!("task-{number}");
            let now = Instant::now();
            lock(&submitted).insert(task.clone(), now);
            client.submit_task(QUEUE, &task).await
        }
    };
    call_at_pace(PACE, count, submit).await?;
    let mut latencies = Samples::default();
    while let Some(ended) = workers.join_next().await {
        latencies.append(ended.map_err(|_| BenchError::Unexpected("a worker panicked"))??);
    }
    match latencies.len() == count {
        true => Ok(latencies),
        false => Err(BenchError::Unexpected("not every task came to a worker")),
    }
}

fn lock(submitted: &Submitted) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
    submitted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Claims and finishes tasks until none comes.
async fn work(client: Client, submitted: Submitted) -> Result<Samples, BenchError> {
    let mut latencies = Samples::default();
    while let Some(task) = client.claim_task(QUEUE, SETTLING).await? {
        let since = lock(&submitted).remove(&task.task_id);
        let since = since.ok_or(BenchError::Unexpected("a task came twice"))?;
        latencies.push(millis(since.elapsed()));
        client.finish_task(&task).await?;
    }
    Ok(latencies)
}

/// The same with a list, and nothing else.
async fn hand_over_bare(stage: &Stage, count: usize) -> Result<Samples, BenchError> {
    let (mut push, mut pop) = (stage.redis().await?, stage.redis().await?);
    let pushed = RefCell::new(VecDeque::new());
    let pushes = async {
        let mut timer = interval(PACE);
        for _ in 0..count {
            timer.tick().await;
            pushed.borrow_mut().push_back(Instant::now());
            push.call(&[b"LPUSH", LIST, b"task"]).await?;
        }
        Ok::<_, BenchError>(())
    };
    let pops = async {
        let mut latencies = Samples::default();
        for _ in 0..count {
            pop.call(&[b"BRPOP", LIST, b"5"]).await?;
            let since: Option<Instant> = pushed.borrow_mut().pop_front();
            if let Some(since) = since {
                latencies.push(millis(since.elapsed()));
            }
        }
        Ok(latencies)
    };
    let (latencies, ()) = tokio::try_join!(pops, pushes)?;
    Ok(latencies)
}

struct Idle {
    /// Connections to Redis with 1,000 workers over those with 10.
    connections: f64,
    redis_percent: f64,
}

async fn measure_idle(scale: &Scale) -> Result<Idle, BenchError> {
    let stage = Stage::set().await?;
    let mut redis = stage.redis().await?;
    let mut clients = Vec::new();
    for _ in 0..IDLE_CLIENTS {
        clients.push(stage.client().await?);
    }
    let mut workers = JoinSet::new();
    let mut connections = [0.0; 2];
    for (place, count) in [10, IDLE_WORKERS].into_iter().enumerate() {
        while workers.len() < count {
            let client = clients[workers.len() % IDLE_CLIENTS].clone();
            workers.spawn(
                async move { while client.claim_task(QUEUE, 20 * SETTLING).await.is_ok() {} },
            );
        }
        sleep(SETTLING).await;
        connections[place] = redis.info("clients", "connected_clients").await?;
    }
    let meter = stage.meter()?;
    sleep(SETTLING.max(scale.round * 30)).await;
    let run = meter.read(1)?;
    Ok(Idle {
        connections: connections[1] / connections[0],
        redis_percent: run.redis_cores() * 100.0,
    })
}
