//! From an append sent to its event in a watcher's hands, at a steady pace.
//!
//! The floor is what cannot be avoided: a call on which the service does nothing,
//! and an XADD that wakes a blocked XREAD.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tokio::time::interval;

use super::{
    BenchError, Scale,
    callers::call_at_pace,
    client::{Client, Watch},
    floor::BlockedRead,
    report::{Bar, Report, Table},
    samples::{Samples, millis},
    side::Side,
    stamps::Clock,
};
use crate::proto::event::Payload;

/// Events in a second.
struct Rate {
    name: &'static str,
    key: &'static str,
    bar: f64,
    per_s: u32,
}

const RATES: [Rate; 2] = [
    Rate {
        name: "50_per_s",
        key: "delivery_p50_vs_floor_50_per_s",
        bar: 1.5,
        per_s: 50,
    },
    Rate {
        name: "1000_per_s",
        key: "delivery_p50_vs_floor_1000_per_s",
        bar: 2.2,
        per_s: 1_000,
    },
];
/// Fewer in a round than this say nothing.
const ROUND_MIN: u32 = 10;

pub(super) async fn measure(
    scale: &Scale,
    bar: &ProgressBar,
    report: &mut Report,
) -> Result<(), BenchError> {
    let mut table = Table {
        key: "delivery",
        title: "delivery: append sent to event received, one message, one watcher".to_owned(),
        columns: vec!["p50_ms", "p99_ms"],
        rows: Vec::new(),
    };
    bar.set_length((RATES.len() * scale.rounds) as u64);
    for rate in &RATES {
        let mut scene = Scene::set().await?;
        let mut found = Found::default();
        scene.round(rate.pace(), ROUND_MIN as usize).await?;
        for _ in 0..scale.rounds {
            found.add(scene.round(rate.pace(), rate.count(scale)).await?);
            bar.inc(1);
        }
        report.ratio(rate.key, found.ratios.median(), Bar::AtMost(rate.bar));
        for (name, samples) in found.named() {
            let quantiles = vec![samples.median(), samples.quantile(0.99)];
            table
                .rows
                .push((format!("{name}_{}", rate.name), quantiles));
        }
    }
    report.table(table);
    Ok(())
}

impl Rate {
    fn pace(&self) -> Duration {
        Duration::from_secs(1) / self.per_s
    }

    /// How many there are in a round.
    fn count(&self, scale: &Scale) -> usize {
        let in_a_round = scale.round.as_secs_f64() * f64::from(self.per_s);
        in_a_round.max(f64::from(ROUND_MIN)) as usize
    }
}

/// What one round took, in milliseconds.
struct Round {
    own: Samples,
    naive: Samples,
    noop: Samples,
    xadd_to_xread: Samples,
}

#[derive(Default)]
struct Found {
    ratios: Samples,
    own: Samples,
    naive: Samples,
    noop: Samples,
    xadd_to_xread: Samples,
}

impl Found {
    fn add(&mut self, round: Round) {
        let floor = round.noop.median() + round.xadd_to_xread.median();
        self.ratios.push(round.own.median() / floor);
        self.own.append(round.own);
        self.naive.append(round.naive);
        self.noop.append(round.noop);
        self.xadd_to_xread.append(round.xadd_to_xread);
    }

    fn named(&self) -> [(&'static str, &Samples); 4] {
        [
            ("throughline", &self.own),
            ("naive", &self.naive),
            ("noop_unary", &self.noop),
            ("xadd_to_xread", &self.xadd_to_xread),
        ]
    }
}

struct Scene {
    own: Side,
    own_watch: Watch,
    naive: Side,
    naive_watch: Watch,
    blocked_read: BlockedRead,
}

impl Scene {
    async fn set() -> Result<Self, BenchError> {
        let (own, naive) = (Side::own().await?, Side::naive().await?);
        Ok(Self {
            own_watch: own.client.watch(&own.message).await?,
            naive_watch: naive.client.watch(&naive.message).await?,
            blocked_read: BlockedRead::open(&own.stage, "bare:watched").await?,
            own,
            naive,
        })
    }

    async fn round(&mut self, pace: Duration, count: usize) -> Result<Round, BenchError> {
        let noop = &self.own.client;
        let noop = call_at_pace(pace, count, |_| timed_noop(noop.clone())).await?;
        let mut xadd_to_xread = Samples::default();
        let mut timer = interval(pace);
        for _ in 0..count {
            timer.tick().await;
            xadd_to_xread.push(self.blocked_read.deliver().await?);
        }
        Ok(Round {
            own: deliver(&self.own, &mut self.own_watch, pace, count).await?,
            naive: deliver(&self.naive, &mut self.naive_watch, pace, count).await?,
            noop: noop.into_iter().collect(),
            xadd_to_xread,
        })
    }
}

async fn timed_noop(client: Client) -> Result<f64, BenchError> {
    let begin = Instant::now();
    client.noop().await?;
    Ok(millis(begin.elapsed()))
}

async fn deliver(
    side: &Side,
    watch: &mut Watch,
    pace: Duration,
    count: usize,
) -> Result<Samples, BenchError> {
    let clock = Clock::start();
    let append = |_| {
        let (client, message) = (side.client.clone(), side.message.clone());
        async move { client.append(&message, &clock.stamp()).await }
    };
    let (ages, _) = tokio::try_join!(
        receive(watch, clock, count),
        call_at_pace(pace, count, append)
    )?;
    Ok(ages)
}

async fn receive(watch: &mut Watch, clock: Clock, count: usize) -> Result<Samples, BenchError> {
    let mut ages = Samples::default();
    while ages.len() < count {
        if let Some(Payload::TextDelta(delta)) = watch.event().await?.payload {
            for age in clock.ages_ms(&delta.delta) {
                ages.push(age);
            }
        }
    }
    Ok(ages)
}
