//! The `throughline` command: one file a subcommand, and what they share to
//! write readable lines.

mod chat;
mod content;
mod demo;
mod follow;
mod inspect;
mod serve;
mod tail;
mod terminal;
mod words;
#[cfg(feature = "worker")]
mod worker;

use std::{error::Error, io, net::SocketAddr, thread::available_parallelism};

use clap::{Args, Parser, Subcommand};
use tonic::transport::Channel;

use crate::{
    bench::{self, BenchArgs, BenchError},
    dial::{DialError, dial, innermost},
    runtime::{embedded::EmbeddedError, serve::ServeError, telemetry::FilterError},
};

/// AI conversations in Redis, every change an event of an ordered, replayable,
/// resumable stream.
#[derive(Debug, Parser)]
#[command(name = "throughline", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// On how many threads the command runs: unless it says so, one processor is left
    /// to Redis. A thread that has little to do costs those that have much: on two
    /// processors 256 streams of writes are a fifth faster on one thread than on two.
    pub fn threads(&self) -> usize {
        let asked = match &self.command {
            Command::Serve(serve) => serve.threads(),
            _ => None,
        };
        let others = || available_parallelism().map_or(1, usize::from) - 1;
        asked.map_or_else(|| others().max(1), usize::from)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gRPC API.
    ///
    /// Without --redis a private redis-server is started as well, so that this
    /// command needs nothing else. SIGTERM and Ctrl-C stop it in an orderly way.
    Serve(Box<serve::ServeCommand>),
    /// Carry out what is asked of agents, with a model of your choice.
    ///
    /// Claims tasks from a service, has a model and tools work on them, and streams
    /// what comes of it into their messages. SIGTERM and Ctrl-C stop it in an orderly
    /// way: what it is at goes back to the queue.
    #[cfg(feature = "worker")]
    Worker(Box<worker::WorkerCommand>),
    /// Show in the terminal what the service does.
    ///
    /// Starts two instances on a Redis of their own, streams a message through
    /// them, cuts a watcher and resumes it on the other instance. Leaves nothing
    /// behind. Fails where the watcher missed an event or saw one twice.
    Demo(demo::DemoArgs),
    /// Talk with an agent.
    ///
    /// What you type goes to an agent of the service, which needs a worker, and its
    /// answer is written as it comes. Ctrl-C cancels the answer; Ctrl-C once more, or
    /// Ctrl-D, leaves. What is piped in is one question, whose answer is written when
    /// it is complete, unless to a terminal; without one the command fails.
    Chat(chat::ChatArgs),
    /// Follow a message as it is written.
    ///
    /// Reconnects by itself at the last event seen, and ends with the message.
    Tail(tail::TailArgs),
    /// Show everything about one message.
    ///
    /// Its text, blocks and tasks, which of its log is retained, and its keys
    /// in Redis with the time each has left.
    Inspect(inspect::InspectArgs),
    /// Measure the service beside bare Redis, on this machine.
    ///
    /// Starts what it needs on the loopback interface, with a Redis of its own,
    /// and leaves nothing behind. What counts are the ratios: both sides of one
    /// are measured in turn, in the same run.
    Bench(BenchArgs),
}

/// Why a command failed, as a sentence for the terminal.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// No threads, or no signal handlers.
    #[error("failed to start: {0}")]
    Runtime(#[source] io::Error),
    /// `--log-level` is not understood.
    #[error("--log-level: {0}")]
    LogLevel(#[from] FilterError),
    /// The address can be reached by others, and nobody said that they may.
    #[error(
        "refusing to listen on {0}: there is no authentication, so whoever reaches that address \
         could read and change every conversation. Listen on 127.0.0.1, or pass --allow-anonymous \
         where that is meant"
    )]
    OpenByMistake(SocketAddr),
    /// There is no home directory to keep data in.
    #[error("there is no home directory to keep data in: choose a directory with --data-dir DIR")]
    NoDataDir,
    /// The private Redis can't run.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The service can't start.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The service ended by itself.
    #[error("the service failed, as the log above says")]
    Failed,
    /// The worker can't be set up.
    #[cfg(feature = "worker")]
    #[error(transparent)]
    Worker(#[from] crate::worker::config::ConfigError),
    /// `--server` is not the address of a server.
    #[error("--server: {0}")]
    Server(#[from] DialError),
    /// There is no server at all.
    #[error("no server answers at {server} ({cause}): is `throughline serve` running there?")]
    Unreachable {
        /// Where it was looked for.
        server: String,
        /// What the system said, or what is wrong with its certificate.
        cause: String,
    },
    /// The server refused a call.
    #[error("{} ({:?})", .0.message(), .0.code())]
    Call(#[from] tonic::Status),
    /// stdout is gone.
    #[error("failed to write: {0}")]
    Write(#[from] io::Error),
    /// Nothing was piped in that an agent could be asked.
    #[error("there was no question: pipe one in, or begin a chat on a terminal")]
    NoQuestion,
    /// An agent was asked and has not answered.
    #[error("there is no answer: {0}")]
    NoAnswer(String),
    /// The demo did not show what it is there to show.
    #[error("the demo failed: {0}")]
    Demo(String),
    /// The bench could not measure.
    #[error("the bench failed: {0}")]
    Bench(#[from] BenchError),
}

/// Carries out the command.
///
/// # Errors
/// Where it could not be carried out; `demo` also where its check fails.
pub async fn run(cli: Cli) -> Result<(), CliError> {
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(*args).await,
        #[cfg(feature = "worker")]
        Command::Worker(args) => worker::run(*args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Chat(args) => chat::run(args).await,
        Command::Tail(args) => tail::run(args).await,
        Command::Inspect(args) => inspect::run(args).await,
        Command::Bench(args) => Ok(bench::run(args).await?),
    };
    match outcome {
        // Whoever read our output has seen enough, as in `tail ... | head`.
        Err(CliError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";

/// Which server a command calls.
#[derive(Args, Debug)]
struct ServerArgs {
    /// Any instance of the service.
    ///
    /// With https:// the connection is encrypted, and the server's certificate is
    /// checked with those of the system, or of the file that SSL_CERT_FILE names.
    /// Without a scheme the address is one of plain HTTP.
    #[arg(long, value_name = "URL", env = "THROUGHLINE_SERVER", default_value = DEFAULT_SERVER)]
    server: String,
}

impl ServerArgs {
    fn connect(&self) -> Result<Channel, DialError> {
        dial(&self.server)
    }

    /// Names the server, where what went wrong is that it can't be reached.
    fn blame(&self, error: CliError) -> CliError {
        match error {
            // What a server answers comes without a cause.
            CliError::Call(status) if status.source().is_some() => CliError::Unreachable {
                server: self.server.clone(),
                cause: innermost(&status).to_string(),
            },
            error => error,
        }
    }

    /// What another command is to be called with for the same server.
    fn flag(&self) -> String {
        match self.server.as_str() {
            DEFAULT_SERVER => String::new(),
            server => format!(" --server {server}"),
        }
    }
}

/// The cause of an error that says what happened.
#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_service_runs_on_as_many_threads_as_it_is_told_to() {
        let threads = |arguments: &[&str]| Cli::parse_from(arguments).threads();
        assert_eq!(threads(&["throughline", "serve", "--threads", "7"]), 7);
        let others = available_parallelism().map_or(1, usize::from) - 1;
        assert_eq!(threads(&["throughline", "serve"]), others.max(1));
        let none = ["throughline", "serve", "--threads", "0"];
        assert!(Cli::try_parse_from(none).is_err());
    }
}
