//! `throughline serve`: one instance, until it is told to stop.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    path::PathBuf,
};

use clap::Args;
use tracing::info;

use super::CliError;
#[cfg(feature = "worker")]
use super::worker::WithWorker;
use crate::runtime::{
    config::{RedisUrl, ServeArgs, default_data_dir},
    drain::StopSignals,
    embedded::EmbeddedRedis,
    serve::Service,
};

/// Settings of `throughline serve`.
#[derive(Args, Debug)]
pub(super) struct ServeCommand {
    #[command(flatten)]
    service: ServeArgs,
    #[cfg(feature = "worker")]
    #[command(flatten)]
    worker: WithWorker,
}

impl ServeCommand {
    /// On how many threads it is to run, if that was said.
    pub(super) fn threads(&self) -> Option<NonZeroUsize> {
        self.service.threads
    }
}

pub(super) async fn run(command: ServeCommand) -> Result<(), CliError> {
    let args = &command.service;
    args.log.init()?;
    if args.is_open_by_mistake() {
        return Err(CliError::OpenByMistake(args.listen));
    }

    // Before anything is started, so that a signal always finds it stopped.
    let mut stop = StopSignals::listen().map_err(CliError::Runtime)?;
    #[cfg(feature = "worker")]
    command.worker.check()?;
    let (redis, service) = tokio::select! {
        started = start(args) => started?,
        () = stop.next() => return Ok(()),
    };
    #[cfg(feature = "worker")]
    let worker = command.worker.start(service.address)?;
    #[cfg(not(feature = "worker"))]
    let worker = Beside;
    // Whoever does not want to know is no reason not to serve.
    let _ = announce(&service);
    let outcome = tokio::select! {
        () = stop.next() => Ok(()),
        () = service.failed() => Err(CliError::Failed),
        () = worker.failed() => Err(CliError::Failed),
    };

    let stopped = async {
        // The worker gives its tasks back to a service that still answers.
        worker.stop().await;
        service.stop().await;
    };
    stop.unless_again(stopped).await;
    // What it holds it brings to safety, however great the hurry.
    if let Some(redis) = redis {
        redis.stop().await;
    }
    info!("stopped");
    outcome
}

/// What runs beside the service in a build without a worker: nothing.
#[cfg(not(feature = "worker"))]
struct Beside;

#[cfg(not(feature = "worker"))]
impl Beside {
    async fn failed(&self) {
        std::future::pending().await
    }

    async fn stop(self) {}
}

async fn start(args: &ServeArgs) -> Result<(Option<EmbeddedRedis>, Service), CliError> {
    let (redis, url) = redis(args).await?;
    let service = Service::start(args.service_options(url)).await?;
    Ok((redis, service))
}

/// The Redis that was asked for, or a private one.
async fn redis(args: &ServeArgs) -> Result<(Option<EmbeddedRedis>, RedisUrl), CliError> {
    if let Some(url) = &args.redis {
        info!("using Redis at {url}");
        return Ok((None, url.clone()));
    }
    let directory = data_dir(args)?;
    info!("starting a private Redis in {}", directory.display());
    let redis = EmbeddedRedis::start(directory).await?;
    let url = redis.url();
    Ok((Some(redis), url))
}

fn data_dir(args: &ServeArgs) -> Result<PathBuf, CliError> {
    let directory = args.data_dir.clone().or_else(default_data_dir);
    directory.ok_or(CliError::NoDataDir)
}

/// Tells people and scripts where the service is, whatever the log looks like.
fn announce(service: &Service) -> io::Result<()> {
    let address = service.address;
    let mut out = io::stdout().lock();
    writeln!(out, "throughline: serving gRPC on {address}")?;
    writeln!(
        out,
        "next: http://{address}/console shows conversations while they are written; `make demo` \
         shows what it does; any gRPC client can list and call the API, reflection is on"
    )?;
    out.flush()
}
