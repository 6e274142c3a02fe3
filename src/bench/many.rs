//! Many messages, each with one watcher, at the pace of models that speak: written
//! by a few backends, or each by a producer with a stream of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use indicatif::ProgressBar;
use prost::Message;
use tokio::{
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use super::{
    BenchError, Scale,
    audience::{caught_up, watch_from_now},
    instance::Instance,
    meter::Run,
    raw::{Connection, Incoming, Outgoing, put_message},
    report::{Report, Table},
    samples::Samples,
    stage::Stage,
    stamps::Clock,
};
use crate::proto::{
    self as v1, event::Payload, watch_message_response::Frame, write_message_request::Write,
};

/// How it is done.
struct Mode {
    name: &'static str,
    /// How live events come from Redis.
    tail: &'static str,
    /// How many streams of writes there are; none for one a message.
    streams: Option<usize>,
    /// Watched at another instance than is written to.
    is_elsewhere: bool,
}

impl Mode {
    const fn new(tail: &'static str, name: &'static str) -> Self {
        Self {
            name,
            tail,
            streams: Some(CONNECTIONS),
            is_elsewhere: false,
        }
    }

    const fn elsewhere(self) -> Self {
        Self {
            is_elsewhere: true,
            ..self
        }
    }

    const fn stream_each(self) -> Self {
        Self {
            streams: None,
            ..self
        }
    }
}

const MODES: [Mode; 6] = [
    Mode::new("lanes", "lanes"),
    Mode::new("push", "push"),
    Mode::new("lanes", "lanes, another instance").elsewhere(),
    Mode::new("push", "push, another instance").elsewhere(),
    Mode::new("lanes", "lanes, a stream of writes each").stream_each(),
    Mode::new("push", "push, a stream of writes each").stream_each(),
];
const EVENTS_PER_MESSAGE_PER_S: usize = 30;
const TICK: Duration = Duration::from_millis(1);
const CONNECTIONS: usize = 8;
const WINDOW_BYTES: u32 = 1024 * 1024;
/// Nothing that is not lost takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let messages = scale.watchers.div_ceil(10);
    let mut table = Table {
        key: "many_messages",
        title: format!(
            "{messages} messages with a watcher each, {EVENTS_PER_MESSAGE_PER_S} events a second \
             in each, written on {CONNECTIONS} streams: nothing lost"
        ),
        columns: vec!["per_s", "p50_ms", "p99_ms", "redis_cores", "service_cores"],
        rows: Vec::new(),
    };
    bar.set_length(MODES.len() as u64);
    for mode in MODES {
        let mut scene = Scene::set(&mode, messages).await?;
        let (run, ages) = scene.run(scale).await?;
        table.rows.push((mode.name.to_owned(), row(&run, &ages)));
        bar.inc(1);
    }
    report.table(table);
    Ok(())
}

fn row(run: &Run, ages: &Samples) -> Vec<f64> {
    vec![
        run.per_s(),
        ages.median(),
        ages.quantile(0.99),
        run.redis_cores(),
        run.service_cores(),
    ]
}

struct Scene {
    stage: Stage,
    /// Where watches are, if not where writes are.
    elsewhere: Option<Instance>,
    messages: Vec<String>,
    /// Each writes every so manieth message.
    writers: Vec<Writer>,
    acknowledged: Arc<AtomicU64>,
    acks: JoinSet<Result<(), BenchError>>,
    watches: Vec<(Incoming, u64)>,
}

/// A stream of writes, and what goes out on it next.
struct Writer {
    stream: Outgoing,
    appends: BytesMut,
}

impl Scene {
    async fn set(mode: &Mode, messages: usize) -> Result<Self, BenchError> {
        let flags = ["--tail", mode.tail];
        let stage = Stage::set_with(&flags).await?;
        let elsewhere = match mode.is_elsewhere {
            true => Some(stage.second_instance(&flags).await?),
            false => None,
        };
        let client = stage.client().await?;
        let connections = connect(&stage.service).await?;
        let listening = match &elsewhere {
            Some(instance) => connect(instance).await?,
            None => connections.clone(),
        };
        let mut scene = Self {
            stage,
            elsewhere,
            messages: Vec::new(),
            writers: Vec::new(),
            acknowledged: Arc::default(),
            acks: JoinSet::new(),
            watches: Vec::new(),
        };
        for number in 0..messages {
            let message = client.create_message_of(1).await?;
            let mut watch = listening[number % CONNECTIONS]
                .ask("WatchMessage", &watch_from_now(&message))
                .await?;
            let place = caught_up(&mut watch).await?;
            scene.watches.push((watch, place));
            scene.messages.push(message);
        }
        for number in 0..mode.streams.unwrap_or(messages) {
            let connection = &connections[number % CONNECTIONS];
            let (stream, incoming) = connection.call("WriteMessage").await?;
            scene.writers.push(Writer {
                stream,
                appends: BytesMut::new(),
            });
            let acknowledged = scene.acknowledged.clone();
            scene.acks.spawn(count_acks(incoming, acknowledged));
        }
        Ok(scene)
    }

    async fn run(&mut self, scale: &Scale) -> Result<(Run, Samples), BenchError> {
        let clock = Clock::start();
        let ticks = scale.round.as_millis() as usize * scale.rounds;
        let mut watching = JoinSet::new();
        let sent = self.sent_to_each(ticks);
        for ((watch, place), sent) in self.watches.drain(..).zip(&sent) {
            watching.spawn(receive(watch, place + sent, clock));
        }
        let elsewhere = self.elsewhere.iter().map(|instance| instance.process);
        let meter = self.stage.meter_with(elsewhere)?;
        self.write(clock, ticks).await?;
        let mut ages = Samples::default();
        while let Some(ended) = timeout(PATIENCE, watching.join_next())
            .await
            .map_err(|_| BenchError::Unexpected("a watcher did not see every event"))?
        {
            let panicked = |_| BenchError::Unexpected("the generator panicked");
            ages.append(ended.map_err(panicked)??);
        }
        let total: u64 = sent.iter().sum();
        let run = meter.read(total)?;
        self.all_acknowledged(total).await?;
        match ages.len() as u64 == total {
            true => Ok((run, ages)),
            false => Err(BenchError::Unexpected("events are missing")),
        }
    }

    /// Waits for the last answers: an event may be pushed before them.
    async fn all_acknowledged(&self, total: u64) -> Result<(), BenchError> {
        let acknowledged = async {
            while self.acknowledged.load(Ordering::Relaxed) < total {
                sleep(TICK).await;
            }
        };
        let missing = |_| BenchError::Unexpected("appends are missing");
        timeout(PATIENCE, acknowledged).await.map_err(missing)
    }

    /// Events that each message gets in so many ticks.
    fn sent_to_each(&self, ticks: usize) -> Vec<u64> {
        let total = ticks * self.per_tick();
        let each = |number| (total + self.messages.len() - 1 - number) / self.messages.len();
        (0..self.messages.len())
            .map(|number| each(number) as u64)
            .collect()
    }

    fn per_tick(&self) -> usize {
        let per_s = self.messages.len() * EVENTS_PER_MESSAGE_PER_S;
        (per_s / 1_000).max(1)
    }

    /// Appends to the messages in turn.
    async fn write(&mut self, clock: Clock, ticks: usize) -> Result<(), BenchError> {
        let per_tick = self.per_tick();
        let mut timer = interval(TICK);
        let mut next = 0;
        for _ in 0..ticks {
            timer.tick().await;
            for _ in 0..per_tick {
                let writer = next % self.writers.len();
                let append = append(&self.messages[next], clock);
                put_message(&append, &mut self.writers[writer].appends);
                next = (next + 1) % self.messages.len();
            }
            for Writer { stream, appends } in &mut self.writers {
                if !appends.is_empty() {
                    stream.send(appends.split().freeze())?;
                }
            }
        }
        Ok(())
    }
}

async fn connect(instance: &Instance) -> Result<Vec<Connection>, BenchError> {
    Connection::open_many(instance.address(), WINDOW_BYTES, CONNECTIONS).await
}

fn append(message: &str, clock: Clock) -> v1::WriteMessageRequest {
    v1::WriteMessageRequest {
        write: Some(Write::AppendText(v1::AppendTextRequest {
            message_id: message.to_owned(),
            delta: clock.stamp(),
            ..Default::default()
        })),
    }
}

async fn count_acks(mut incoming: Incoming, count: Arc<AtomicU64>) -> Result<(), BenchError> {
    let each = |_: &[u8]| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    while incoming.read(each).await? {}
    Ok(())
}

/// Reads up to an event. Returns how old each was when it came.
pub(super) async fn receive(
    mut watch: Incoming,
    last: u64,
    clock: Clock,
) -> Result<Samples, BenchError> {
    let mut ages = Samples::default();
    let mut place = 0;
    while place < last {
        let read = watch.read(|message| {
            let wrong = |_| BenchError::Unexpected("a frame can't be read");
            let response = v1::WatchMessageResponse::decode(message).map_err(wrong)?;
            match response.frame {
                Some(Frame::Event(event)) => {
                    place = event.sequence;
                    if let Some(Payload::TextDelta(delta)) = event.payload {
                        clock.ages_ms(&delta.delta).for_each(|age| ages.push(age));
                    }
                    Ok(())
                }
                Some(Frame::Gap(_)) => Err(BenchError::Unexpected("a watch has a gap")),
                _ => Ok(()),
            }
        });
        if !read.await? {
            return Err(BenchError::Unexpected("a watch ended"));
        }
    }
    Ok(ages)
}
