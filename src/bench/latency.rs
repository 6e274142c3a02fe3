//! One call at a time: what a caller waits for, beside a bare round trip to
//! Redis in the same run, and beside the target of the design that the service
//! continues.

use std::time::Instant;

use indicatif::ProgressBar;

use super::{
    BenchError, Scale,
    client::{Client, DELTA, Watch},
    floor::{self, BlockedRead},
    report::{Report, Table},
    resp::Redis,
    samples::{Samples, millis},
    stage::Stage,
};
use crate::proto as v1;

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let stage = Stage::set().await?;
    let second = stage.second_instance(&[]).await?;
    let b = Client::connect(second.address()).await?;
    let mut scene = Scene::set(&stage, stage.client().await?, b).await?;
    let mut calls = Calls::default();
    bar.set_length(scale.calls as u64);
    for number in 0..scale.calls {
        // The first ones find nothing warm.
        if number == scale.calls / 10 {
            calls = Calls::default();
        }
        scene.call_each(&mut calls).await?;
        bar.inc(1);
    }
    report.table(calls.into_table());
    Ok(())
}

/// How long each kind of call took, in milliseconds.
#[derive(Default)]
struct Calls {
    noop: Samples,
    create: Samples,
    append: Samples,
    update: Samples,
    load: Samples,
    watch: Samples,
    raw_add: Samples,
    raw_read: Samples,
    raw_watch: Samples,
}

impl Calls {
    fn into_table(self) -> Table {
        let rows = [
            ("noop", &self.noop, &Samples::default(), f64::NAN),
            ("create", &self.create, &self.raw_add, 10.0),
            ("append", &self.append, &self.raw_add, 5.0),
            ("update_task", &self.update, &self.raw_add, 15.0),
            ("load", &self.load, &self.raw_read, 20.0),
            ("watch", &self.watch, &self.raw_watch, 100.0),
        ];
        let row = |(name, own, raw, target): (&str, &Samples, &Samples, f64)| {
            let both = [own, raw].map(|samples| [samples.median(), samples.quantile(0.99)]);
            let values = both.concat().into_iter().chain([target]);
            (name.to_owned(), values.collect())
        };
        Table {
            key: "latency",
            title: "latency: one call at a time, beside bare Redis (XADD, HGETALL of the same \
                    bytes, XADD to a blocked XREAD)"
                .to_owned(),
            columns: vec![
                "p50_ms",
                "p99_ms",
                "redis_p50_ms",
                "redis_p99_ms",
                "target_ms",
            ],
            rows: rows.map(row).into(),
        }
    }
}

/// What the calls are made on.
struct Scene {
    a: Client,
    b: Client,
    /// Is appended to and loaded.
    written: String,
    /// Has a task.
    tasked: String,
    task: String,
    /// Is written on one instance and watched on the other.
    watched: String,
    watch: Watch,
    redis: Redis,
    blocked_read: BlockedRead,
}

impl Scene {
    async fn set(stage: &Stage, a: Client, b: Client) -> Result<Self, BenchError> {
        let mut redis = stage.redis().await?;
        let text = "x".repeat(10_000);
        let written = a.create_message_of(text.len()).await?;
        redis
            .call(&[b"HSET", b"bare:hash", b"text", text.as_bytes()])
            .await?;
        let tasked = a.create_message().await?;
        let watched = a.create_message_of(1).await?;
        let request = v1::StartTaskRequest {
            message_id: tasked.clone(),
            task_type: "image_generation".to_owned(),
            ..Default::default()
        };
        let started = a.tasks.clone().start_task(request).await?.into_inner();
        Ok(Self {
            watch: b.watch(&watched).await?,
            task: started.task.unwrap_or_default().task_id,
            blocked_read: BlockedRead::open(stage, "bare:watched").await?,
            a,
            b,
            written,
            tasked,
            watched,
            redis,
        })
    }

    /// One call of each kind, so that whatever else the machine does is in all.
    async fn call_each(&mut self, calls: &mut Calls) -> Result<(), BenchError> {
        calls.noop.push(timed(self.a.noop()).await?);
        calls.create.push(timed(self.a.create_message()).await?);
        let append = self.a.append(&self.written, DELTA);
        calls.append.push(timed(append).await?);
        let update = update_task(&self.a, &self.tasked, &self.task);
        calls.update.push(timed(update).await?);
        calls.load.push(timed(self.b.load(&self.written)).await?);
        calls.watch.push(self.watch_append().await?);

        let mut add = Vec::new();
        floor::xadd(b"bare:log", &mut add);
        calls
            .raw_add
            .push(timed(self.redis.send_and_wait(&add)).await?);
        let read: [&[u8]; 2] = [b"HGETALL", b"bare:hash"];
        calls.raw_read.push(timed(self.redis.call(&read)).await?);
        calls.raw_watch.push(self.blocked_read.deliver().await?);
        Ok(())
    }

    /// From an append sent on one instance to its event on the other.
    async fn watch_append(&mut self) -> Result<f64, BenchError> {
        let begin = Instant::now();
        let received = async {
            self.watch.event().await?;
            Ok(millis(begin.elapsed()))
        };
        let (received, ()) = tokio::try_join!(received, self.a.append(&self.watched, DELTA))?;
        Ok(received)
    }
}

async fn update_task(client: &Client, message: &str, task: &str) -> Result<(), BenchError> {
    let request = v1::UpdateTaskRequest {
        message_id: message.to_owned(),
        task_id: task.to_owned(),
        status: v1::TaskStatus::Processing.into(),
        progress: Some(0.5),
        status_text: Some("working".to_owned()),
        ..Default::default()
    };
    client.tasks.clone().update_task(request).await?;
    Ok(())
}

/// How many milliseconds a call took that succeeded.
async fn timed<T>(call: impl Future<Output = Result<T, BenchError>>) -> Result<f64, BenchError> {
    let begin = Instant::now();
    call.await?;
    Ok(millis(begin.elapsed()))
}
