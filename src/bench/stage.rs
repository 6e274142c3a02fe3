//! What is measured: a Redis of its own, and the service as other processes, so
//! that the processor time of each is known.

use std::{
    env, io,
    process::Stdio,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::{BenchError, client::Client, process::Process, resp::Redis, samples::Samples};
use crate::runtime::embedded::EmbeddedRedis;

/// What `throughline serve` writes before its address.
const ANNOUNCEMENT: &str = "throughline: serving gRPC on ";

/// A Redis with nothing in it.
pub(super) struct Stage {
    redis: EmbeddedRedis,
    redis_process: Process,
    // Dropped last: Redis must be gone before its directory.
    _directory: TempDir,
}

impl Stage {
    pub(super) async fn set() -> Result<Self, BenchError> {
        let directory = tempfile::Builder::new()
            .prefix("throughline-bench-")
            .tempdir()?;
        let redis = EmbeddedRedis::start(directory.path().join("redis")).await?;
        let mut connection = Redis::connect(redis.socket()).await?;
        let info = connection.text(&[b"INFO", b"server"]).await?;
        let id = info
            .lines()
            .find_map(|line| line.strip_prefix("process_id:")?.trim().parse().ok());
        let id = id.ok_or_else(|| BenchError::Redis("INFO without a process_id".to_owned()))?;
        Ok(Self {
            redis,
            redis_process: Process(id),
            _directory: directory,
        })
    }

    /// Where Redis answers.
    pub(super) fn url(&self) -> String {
        self.redis.url().as_str().to_owned()
    }

    /// A bare connection to Redis.
    pub(super) async fn redis(&self) -> Result<Redis, BenchError> {
        Redis::connect(self.redis.socket()).await
    }

    /// One more instance of the service, with a session to write in.
    pub(super) async fn instance(&self) -> Result<Instance, BenchError> {
        let instance = Instance::start(&self.url()).await?;
        instance.client().await?.create_session().await?;
        Ok(instance)
    }

    /// Begins to count what an instance does, and what it uses.
    pub(super) fn meter(&self, instance: &Instance) -> Result<Meter, BenchError> {
        let processes = [instance.process, self.redis_process, Process::own()];
        Ok(Meter {
            processes,
            used: cpu(processes)?,
            begin: Instant::now(),
        })
    }
}

/// A `throughline serve` of its own process. Dropping it kills it.
pub(super) struct Instance {
    address: String,
    process: Process,
    _child: Child,
    // Closed, it would be in the way of what the service still writes.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Instance {
    async fn start(redis: &str) -> Result<Self, BenchError> {
        let mut child = serve(redis).map_err(BenchError::Start)?;
        let unknown = || BenchError::Start(io::ErrorKind::UnexpectedEof.into());
        let process = Process(child.id().ok_or_else(unknown)?);
        let mut output = BufReader::new(child.stdout.take().ok_or_else(unknown)?).lines();
        let line = output.next_line().await?.ok_or_else(unknown)?;
        let address = line.strip_prefix(ANNOUNCEMENT).ok_or_else(unknown)?;
        Ok(Self {
            address: format!("http://{address}"),
            process,
            _child: child,
            _output: output,
        })
    }

    /// Where it listens, with the scheme.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A client with a connection of its own.
    pub(super) async fn client(&self) -> Result<Client, BenchError> {
        Client::connect(&self.address).await
    }
}

fn serve(redis: &str) -> io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--log-level", "warn"])
        .args(["--redis", redis])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    // Figures are of the defaults, whatever the environment sets.
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("THROUGHLINE_") {
            command.env_remove(name);
        }
    }
    command.spawn()
}

/// What is being used, of service, Redis and generator.
pub(super) struct Meter {
    processes: [Process; 3],
    used: [Duration; 3],
    begin: Instant,
}

impl Meter {
    /// Ends the count after so many operations.
    pub(super) fn read(self, operations: u64) -> Result<Run, BenchError> {
        let elapsed = self.begin.elapsed();
        let used = cpu(self.processes)?;
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

fn cpu(processes: [Process; 3]) -> Result<[Duration; 3], BenchError> {
    let [service, redis, generator] = processes;
    Ok([service.cpu()?, redis.cpu()?, generator.cpu()?])
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
