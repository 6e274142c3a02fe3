//! `throughline worker`, and the worker of `throughline serve --with-worker`.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use clap::{Args, builder::FalseyValueParser};
use tracing::info;

use super::CliError;
use crate::{
    runtime::{drain::StopSignals, telemetry::LogArgs},
    worker::{
        Worker,
        config::{AgentArgs, ConfigError},
    },
};

/// Settings of `throughline worker`.
#[derive(Args, Debug)]
pub(super) struct WorkerCommand {
    /// The service to take tasks from.
    ///
    /// With https:// the connection is encrypted, and the server's certificate is
    /// checked with those of the system, or of the file that SSL_CERT_FILE names.
    /// Without a scheme the address is one of plain HTTP.
    #[arg(
        long,
        value_name = "URL",
        env = "THROUGHLINE_SERVER",
        hide_env_values = true,
        default_value = super::DEFAULT_SERVER
    )]
    server: String,

    #[command(flatten)]
    agents: AgentArgs,

    #[command(flatten)]
    log: LogArgs,
}

pub(super) async fn run(command: WorkerCommand) -> Result<(), CliError> {
    command.log.init()?;
    let mut stop = StopSignals::listen().map_err(CliError::Runtime)?;
    let worker = Worker::start(command.agents.options(command.server.clone())?)?;
    // Whoever does not want to know is no reason not to work.
    let _ = announce(&command.server);
    let outcome = tokio::select! {
        () = stop.next() => Ok(()),
        () = worker.failed() => Err(CliError::Failed),
    };
    stop.unless_again(worker.stop()).await;
    info!("stopped");
    outcome
}

/// Tells people and scripts that the worker is there, whatever the log looks like.
fn announce(server: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "throughline: working on the tasks of {server}")?;
    out.flush()
}

/// What `throughline serve` needs to know of a worker beside it.
#[derive(Args, Debug)]
pub(super) struct WithWorker {
    /// Run a worker beside the service, in the same process.
    ///
    /// It is one as `throughline worker` is, and speaks to the service by its address.
    /// Needs --llm-url and --llm-model.
    #[arg(
        long,
        env = "THROUGHLINE_WITH_WORKER",
        hide_env_values = true,
        value_parser = FalseyValueParser::new(),
        help_heading = "Agents"
    )]
    with_worker: bool,

    #[command(flatten)]
    agents: AgentArgs,
}

/// A worker that runs beside the service, if one was asked for.
pub(super) struct Beside(Option<Worker>);

impl WithWorker {
    /// Finds out before anything is started whether the settings hold together.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        match self.with_worker {
            true => self.agents.options(String::new()).map(drop),
            false => Ok(()),
        }
    }

    /// Starts the worker of a service that listens at `address`.
    pub(super) fn start(&self, address: SocketAddr) -> Result<Beside, ConfigError> {
        if !self.with_worker {
            return Ok(Beside(None));
        }
        let server = format!("http://{}", reachable(address));
        Worker::start(self.agents.options(server)?).map(|worker| Beside(Some(worker)))
    }
}

impl Beside {
    /// Resolves when the worker has ended by itself.
    pub(super) async fn failed(&self) {
        match &self.0 {
            Some(worker) => worker.failed().await,
            None => std::future::pending().await,
        }
    }

    pub(super) async fn stop(self) {
        if let Some(worker) = self.0 {
            worker.stop().await;
        }
    }
}

/// Where one who listens everywhere can be reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_listens_everywhere_is_reached_here() {
        for (listens, reached) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("10.0.0.1:3", "10.0.0.1:3"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), reached);
        }
    }
}
