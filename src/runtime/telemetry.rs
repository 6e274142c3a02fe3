//! Logs, on stderr: readable lines for people, JSON for machines.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line each, in colour on a terminal.
    Pretty,
    /// One JSON object each.
    Json,
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
pub fn filter(directives: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::builder().parse(directives)
}
