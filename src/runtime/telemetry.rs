//! Logs, on stderr: readable lines for people, JSON for machines.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, filter::ParseError};

const DEFAULT_LEVEL: &str = "info";

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
        default_value = DEFAULT_LEVEL
    )]
    pub log_level: String,
}

impl LogArgs {
    /// Sends the logs of this process to stderr, as the settings say.
    ///
    /// # Errors
    /// Where `--log-level` is not understood.
    pub fn init(&self) -> Result<(), FilterError> {
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

/// Why it is not known what to log.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A word that is no level would pass for the name of a module, and silence all others.
    #[error("{0:?} is no level: use error, warn, info, debug, trace or off, or MODULE=LEVEL")]
    NoLevel(String),
    /// A directive is not understood.
    #[error(transparent)]
    Malformed(#[from] ParseError),
}

/// Parses a filter such as `info` or `warn,throughline::tail=debug`.
///
/// # Errors
/// Says which directive is not understood.
pub fn filter(directives: &str) -> Result<EnvFilter, FilterError> {
    let words = directives.split(',').filter(|word| !word.is_empty());
    let mut plain = words.clone().filter(|word| !word.contains(['=', '[']));
    if let Some(word) = plain.find(|word| word.parse::<LevelFilter>().is_err()) {
        return Err(FilterError::NoLevel(word.to_owned()));
    }
    // A variable that is there and empty says nothing.
    let directives = match words.count() {
        0 => DEFAULT_LEVEL,
        _ => directives,
    };
    // It names the addresses of MCP servers, which may hold keys. The worker says itself
    // what is wrong with one.
    Ok(EnvFilter::builder().parse(format!("rmcp=off,{directives}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_logged_is_a_level_for_all_or_for_modules() {
        for directives in [
            "info",
            "",
            "info,",
            "WARN",
            "off",
            "warn,throughline::tail=debug,redis=debug",
            "throughline[watch{id=1}]=trace,info",
        ] {
            assert!(filter(directives).is_ok(), "{directives}");
        }
    }

    #[test]
    fn a_misspelled_level_is_refused_rather_than_silent() {
        for directives in ["warning", "inof", "warn,throughline", "throughline=inof"] {
            assert!(filter(directives).is_err(), "{directives:?}");
        }
        let refused = filter("info,warning").unwrap_err().to_string();
        assert!(
            refused.starts_with("\"warning\" is no level: use error,"),
            "{refused}"
        );
    }
}
