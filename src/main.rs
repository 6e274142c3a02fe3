//! The `throughline` command.

use std::process::ExitCode;

use clap::Parser;
use throughline::cli::{self, Cli};

/// Serving is many short-lived small allocations: see docs/benchmarks.md for
/// what this one saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Without a provider of the whole process the first TLS connection panics.
    // An error means that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let cli = Cli::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cli.threads())
        .enable_all()
        .build()
        .map_err(cli::CliError::Runtime)
        .and_then(|runtime| runtime.block_on(cli::run(cli)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throughline: {error}");
            ExitCode::FAILURE
        }
    }
}
