//! How much was done in which time, and the processor time it took.

use std::time::{Duration, Instant};

use super::{BenchError, process::Process, samples::Samples};

/// What does the work: service, Redis and generator, each of one process or more.
type Parties = [Vec<Process>; 3];

/// What is being used, of each.
pub(super) struct Meter {
    parties: Parties,
    used: [Duration; 3],
    begin: Instant,
}

impl Meter {
    /// Begins to count.
    pub(super) fn begin(parties: Parties) -> Result<Self, BenchError> {
        Ok(Self {
            used: cpu(&parties)?,
            parties,
            begin: Instant::now(),
        })
    }

    /// Ends the count after so many operations.
    pub(super) fn read(self, operations: u64) -> Result<Run, BenchError> {
        let elapsed = self.begin.elapsed();
        let used = cpu(&self.parties)?;
        let [service, redis, generator] = [0, 1, 2].map(|i| used[i] - self.used[i]);
        Ok(Run {
            operations: operations as f64,
            elapsed,
            service,
            redis,
            generator,
        })
    }
}

fn cpu(parties: &Parties) -> Result<[Duration; 3], BenchError> {
    let of = |processes: &[Process]| -> Result<Duration, BenchError> {
        processes.iter().map(|process| process.cpu()).sum()
    };
    let [service, redis, generator] = parties;
    Ok([of(service)?, of(redis)?, of(generator)?])
}

/// Operations, and the processor time they took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    operations: f64,
    elapsed: Duration,
    service: Duration,
    redis: Duration,
    generator: Duration,
}

impl Run {
    pub(super) fn per_s(&self) -> f64 {
        self.operations / self.elapsed.as_secs_f64()
    }

    /// Processor seconds that 10,000 operations took of the service.
    pub(super) fn service_cpu(&self) -> f64 {
        self.of_10k(self.service)
    }

    /// The same of Redis.
    pub(super) fn redis_cpu(&self) -> f64 {
        self.of_10k(self.redis)
    }

    /// The same of the generator.
    pub(super) fn generator_cpu(&self) -> f64 {
        self.of_10k(self.generator)
    }

    /// Cores that the service kept busy.
    pub(super) fn service_cores(&self) -> f64 {
        self.service.div_duration_f64(self.elapsed)
    }

    /// The same of Redis, which has one.
    pub(super) fn redis_cores(&self) -> f64 {
        self.redis.div_duration_f64(self.elapsed)
    }

    fn of_10k(&self, used: Duration) -> f64 {
        used.as_secs_f64() * 10_000.0 / self.operations
    }
}

/// One side of a comparison over the other, by a figure of each: the median of
/// what they are in each round, so that a machine that is busy with something
/// else for some rounds does not change it.
pub(super) fn ratio(these: &[Run], over: &[Run], figure: impl Fn(&Run) -> f64) -> f64 {
    let rounds = these.iter().zip(over);
    let ratios: Samples = rounds
        .map(|(this, that)| figure(this) / figure(that))
        .collect();
    ratios.median()
}

/// The median of a figure.
pub(super) fn median(runs: &[Run], figure: impl Fn(&Run) -> f64) -> f64 {
    runs.iter().map(figure).collect::<Samples>().median()
}
