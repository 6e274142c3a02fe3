//! What is measured: a Redis of its own, and a service on it as another process,
//! so that the processor time of each is known.

use std::{ffi::OsStr, iter};

use tempfile::TempDir;

use super::{
    BenchError, client::Client, instance::Instance, meter::Meter, process::Process, resp::Redis,
};
use crate::runtime::embedded::EmbeddedRedis;

/// A Redis that was empty, and a service on it.
pub(super) struct Stage {
    pub(super) service: Instance,
    redis: EmbeddedRedis,
    pub(super) redis_process: Process,
    // Dropped last: Redis must be gone before its directory.
    _directory: TempDir,
}

impl Stage {
    /// The service as it is by default, with a session to write in.
    pub(super) async fn set() -> Result<Self, BenchError> {
        Self::set_with(&[]).await
    }

    /// The service with more flags.
    pub(super) async fn set_with(flags: &[&str]) -> Result<Self, BenchError> {
        let (redis, directory) = start_redis().await?;
        let service = serve(&redis, flags).await?;
        Client::connect(service.address())
            .await?
            .create_session()
            .await?;
        Self::of(service, redis, directory).await
    }

    /// The naive design in the service's place.
    pub(super) async fn set_naive() -> Result<Self, BenchError> {
        let (redis, directory) = start_redis().await?;
        let socket = redis.socket().as_os_str();
        let bench: [&OsStr; 3] = ["bench".as_ref(), "--naive-server".as_ref(), socket];
        let service = Instance::start(&bench).await?;
        Self::of(service, redis, directory).await
    }

    async fn of(
        service: Instance,
        redis: EmbeddedRedis,
        directory: TempDir,
    ) -> Result<Self, BenchError> {
        let mut connection = Redis::connect(redis.socket()).await?;
        let id = connection.info("server", "process_id").await?;
        Ok(Self {
            service,
            redis,
            redis_process: Process(id),
            _directory: directory,
        })
    }

    /// One more instance of the service on the same Redis.
    pub(super) async fn second_instance(&self, flags: &[&str]) -> Result<Instance, BenchError> {
        serve(&self.redis, flags).await
    }

    /// Where Redis answers.
    pub(super) fn redis_url(&self) -> String {
        self.redis.url().as_str().to_owned()
    }

    /// A bare connection to Redis.
    pub(super) async fn redis(&self) -> Result<Redis, BenchError> {
        Redis::connect(self.redis.socket()).await
    }

    /// A client with a connection of its own.
    pub(super) async fn client(&self) -> Result<Client, BenchError> {
        Client::connect(self.service.address()).await
    }

    /// Begins to count what is done, and what it uses.
    pub(super) fn meter(&self) -> Result<Meter, BenchError> {
        self.meter_with(iter::empty())
    }

    /// The same, where other instances serve as well.
    pub(super) fn meter_with(
        &self,
        others: impl Iterator<Item = Process>,
    ) -> Result<Meter, BenchError> {
        let services = iter::once(self.service.process).chain(others).collect();
        Meter::begin([services, vec![self.redis_process], vec![Process::own()]])
    }
}

async fn start_redis() -> Result<(EmbeddedRedis, TempDir), BenchError> {
    let directory = tempfile::Builder::new()
        .prefix("throughline-bench-")
        .tempdir()?;
    let redis = EmbeddedRedis::start(directory.path().join("redis")).await?;
    Ok((redis, directory))
}

async fn serve(redis: &EmbeddedRedis, flags: &[&str]) -> Result<Instance, BenchError> {
    let url = redis.url();
    let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--log-level", "warn"];
    arguments.extend(["--redis", url.as_str()]);
    arguments.extend(flags);
    let arguments: Vec<&OsStr> = arguments.into_iter().map(OsStr::new).collect();
    Instance::start(&arguments).await
}
