//! `throughline demo`: the life of one message, through two instances, with a
//! watcher that is cut on one and resumes on the other.

mod instance;
mod script;
mod watcher;

use std::{path::PathBuf, time::Duration};

use clap::Args;

use self::{instance::Instance, script::Script};
use super::{CliError, terminal::Terminal};
use crate::runtime::{
    drain::StopSignals,
    embedded::EmbeddedRedis,
    telemetry::{self, LogFormat},
};

/// Settings of `throughline demo`.
#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// How long the model takes for a token.
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30ms",
        value_parser = humantime::parse_duration
    )]
    delay: Duration,

    /// No colours.
    #[arg(long)]
    plain: bool,
}

pub(super) async fn run(args: DemoArgs) -> Result<(), CliError> {
    telemetry::init(LogFormat::Pretty, telemetry::filter("warn")?);
    let mut stop = StopSignals::listen().map_err(CliError::Runtime)?;
    // Dropped last: Redis must be gone before its directory.
    let directory = tempfile::Builder::new()
        .prefix("throughline-demo-")
        .tempdir()?;
    tokio::select! {
        outcome = play(&args, directory.path().join("redis")) => outcome,
        // What was started is stopped as it is dropped.
        () = stop.next() => Ok(()),
    }
}

async fn play(args: &DemoArgs, directory: PathBuf) -> Result<(), CliError> {
    let redis = EmbeddedRedis::start(directory).await?;
    let a = Instance::start("A", redis.url()).await?;
    let b = Instance::start("B", redis.url()).await?;

    let terminal = Terminal::new(args.plain, watcher::INDENT);
    let outcome = Script::new(&a, &b, terminal, args.delay).play().await;

    a.stop().await;
    b.stop().await;
    redis.stop().await;
    outcome
}
