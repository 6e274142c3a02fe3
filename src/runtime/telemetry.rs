//! Logs, on stderr: readable lines for people, JSON for machines.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line each, in colour on a terminal.
    Pretty,
    /// One JSON object each.
    Json,
}

/// Settings of the logs, the same for all that runs for long.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    /// How log lines look, on stderr.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "THROUGHLINE_LOG_FORMAT",
        hide_env_values = true,
        default_value = "pretty"
    )]
    pub log_format: LogFormat,

    /// What to log: error, warn, info, debug or trace.
    ///
    /// Or one for each module, as in warn,throughline::tail=debug,redis=debug,
    /// where redis is the output of the private redis-server.
    #[arg(
        long,
        value_name = "LEVEL",
        env = "THROUGHLINE_LOG_LEVEL",
        hide_env_values = true,
        default_value = "info"
    )]
    pub log_level: String,
}

impl LogArgs {
    /// Sends the logs of this process to stderr, as the settings say.
    ///
    /// # Errors
    /// Where `--log-level` is not understood.
    pub fn init(&self) -> Result<(), ParseError> {
        init(self.log_format, filter(&self.log_level)?);
        Ok(())
    }
}

/// Sends the logs of this process to stderr. A second call changes nothing,
/// so that tests may start several services.
pub fn init(format: LogFormat, filter: EnvFilter) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // An error says that logs were set up before.
    let _ = match format {
        LogFormat::Pretty => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// Parses a filter such as `info` or `warn,throughline::tail=debug`.
///
/// # Errors
/// Says which directive is not understood.
pub fn filter(directives: &str) -> Result<EnvFilter, ParseError> {
    // It names the addresses of MCP servers, which may hold keys. The worker says itself
    // what is wrong with one.
    EnvFilter::builder().parse(format!("rmcp=off,{directives}"))
}
