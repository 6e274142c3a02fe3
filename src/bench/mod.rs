//! `throughline bench`: what the service does in a second, how long it takes and
//! what it costs, beside bare Redis in the same run.
//!
//! Absolute figures say as much about the machine as about the service. So what
//! is compared is measured in turn, on one machine, by one generator.

mod append;
mod audience;
mod callers;
mod client;
mod delivery;
mod fanout;
mod floor;
mod growth;
mod idle;
mod instance;
mod latency;
mod load;
mod many;
mod meter;
mod naive;
mod plot;
mod process;
mod raw;
mod redis_cpu;
mod report;
mod resp;
mod samples;
mod side;
mod slow;
mod stage;
mod stamps;
mod storm;
mod stream;
mod tasks;
mod web;

use std::{io, path::PathBuf, thread, time::Duration};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::oneshot;

use self::report::Report;
use crate::{
    runtime::{drain::StopSignals, embedded::EmbeddedError},
    store::StoreError,
};

/// Settings of `throughline bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Measure only these, separated by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<Measurement>,

    /// A short run: shows that everything works, its figures mean little.
    #[arg(long)]
    quick: bool,

    /// Draw charts of what was measured into this directory, as SVG.
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,

    /// Serve the naive design, to compare with.
    #[arg(long, hide = true, value_name = "SOCKET")]
    naive_server: Option<PathBuf>,

    /// Print one JSON object, with `ratios`, `bars`, `figures` and `machine`.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// One call at a time of each kind, beside bare round trips to Redis.
    Latency,
    /// Appends to a message that grows.
    Growth,
    /// Appends that each wait for their answer.
    Append,
    /// Appends on WriteMessage streams.
    Stream,
    /// What an append costs Redis.
    RedisCpu,
    /// Creating and loading messages.
    Load,
    /// From an append to its event at a watcher.
    Delivery,
    /// One message and many watchers, beside the naive design.
    Fanout,
    /// Server-sent events beside gRPC.
    Sse,
    /// Many messages with one watcher each.
    Many,
    /// Everybody resumes at once.
    Storm,
    /// Slow watchers among fast ones.
    Slow,
    /// What watchers cost that do nothing.
    Idle,
    /// Tasks from submission to a worker, and what idle workers cost.
    Tasks,
}

/// How long is measured.
struct Scale {
    /// How often each side of a comparison has its turn.
    rounds: usize,
    /// How long a turn is.
    round: Duration,
    /// How often a call is made where each is timed.
    calls: usize,
    /// How many watchers a message has; the last but one is compared.
    audiences: &'static [usize],
    /// How many watchers wait for nothing.
    watchers: usize,
}

const FULL: Scale = Scale {
    rounds: 15,
    round: Duration::from_millis(300),
    calls: 2_000,
    audiences: &[1, 10, 100, 1_000, 2_000],
    watchers: 10_000,
};

const QUICK: Scale = Scale {
    rounds: 1,
    round: Duration::from_millis(100),
    calls: 50,
    audiences: &[1, 20, 40],
    watchers: 200,
};

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// One of the measurements failed.
    #[error("{name}: {source}")]
    Measurement {
        /// Which.
        name: String,
        /// Why.
        source: Box<BenchError>,
    },
    /// The service or the generator can't be started.
    #[error("failed to start: {0}")]
    Start(#[source] io::Error),
    /// The private Redis can't run.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// A process can't be looked at; the bench needs the /proc of Linux.
    #[error("failed to read {file}: {source}")]
    Process {
        /// Which file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Redis refused a command.
    #[error("redis failed: {0}")]
    Redis(String),
    /// The store failed, where it is measured without the service.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The service can't be reached.
    #[error("failed to connect to the service: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// A stream to the service broke.
    #[error("a connection to the service failed: {0}")]
    Stream(#[from] h2::Error),
    /// The service refused a call.
    #[error("the service answered {:?}: {}", .0.code(), .0.message())]
    Call(#[from] tonic::Status),
    /// A connection or a file failed.
    #[error("failed to read or write: {0}")]
    Io(#[from] io::Error),
    /// A chart can't be drawn.
    #[error("failed to draw: {0}")]
    Plot(String),
    /// Something happened that makes figures worthless.
    #[error("{0}")]
    Unexpected(&'static str),
}

/// Measures, and prints what it found.
///
/// # Errors
/// Where something could not be measured. A bar that is missed is no error.
pub async fn run(args: BenchArgs) -> Result<(), BenchError> {
    if let Some(socket) = args.naive_server {
        return naive::serve(socket).await;
    }
    let (ended, outcome) = oneshot::channel();
    // A generator with one thread of its own wastes the least of the two cores
    // that it shares with what it measures.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::Start)?;
    thread::Builder::new()
        .name("generator".to_owned())
        .spawn(move || ended.send(runtime.block_on(measure_until_stopped(args))))
        .map_err(BenchError::Start)?;
    let panicked = |_| BenchError::Unexpected("the generator panicked");
    outcome.await.map_err(panicked)?
}

async fn measure_until_stopped(args: BenchArgs) -> Result<(), BenchError> {
    let mut stop = StopSignals::listen()?;
    tokio::select! {
        outcome = measure_all(&args) => outcome,
        // What was started is stopped as it is dropped.
        () = stop.next() => Ok(()),
    }
}

async fn measure_all(args: &BenchArgs) -> Result<(), BenchError> {
    let scale = if args.quick { QUICK } else { FULL };
    let mut report = Report::default();
    for measurement in args.measurements() {
        let bar = args.progress(measurement);
        let measured = measurement.measure(&scale, &bar, &mut report).await;
        measured.map_err(|source| BenchError::Measurement {
            name: measurement.name(),
            source: Box::new(source),
        })?;
        bar.finish_and_clear();
    }
    if let Some(directory) = &args.plot {
        plot::draw(&report, directory)?;
    }
    match args.json {
        true => println!("{:#}", report.to_json()),
        false => print!("{report}"),
    }
    Ok(())
}

impl BenchArgs {
    fn measurements(&self) -> Vec<Measurement> {
        let all = Measurement::value_variants().iter().copied();
        all.filter(|one| self.only.is_empty() || self.only.contains(one))
            .collect()
    }

    /// A bar on stderr, if that is a terminal.
    fn progress(&self, measurement: Measurement) -> ProgressBar {
        if self.json {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{prefix:>10} {wide_bar} {elapsed} ")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(1)
            .with_style(style)
            .with_prefix(measurement.name())
    }
}

impl Measurement {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    async fn measure(
        self,
        scale: &Scale,
        bar: &ProgressBar,
        report: &mut Report,
    ) -> Result<(), BenchError> {
        match self {
            Self::Latency => latency::measure(scale, bar, report).await,
            Self::Growth => growth::measure(scale, bar, report).await,
            Self::Append => append::measure(scale, bar, report).await,
            Self::Stream => stream::measure(scale, bar, report).await,
            Self::RedisCpu => redis_cpu::measure(scale, bar, report).await,
            Self::Load => load::measure(scale, bar, report).await,
            Self::Delivery => delivery::measure(scale, bar, report).await,
            Self::Tasks => tasks::measure(scale, bar, report).await,
            Self::Idle => idle::measure(scale, bar, report).await,
            Self::Many => many::measure(scale, bar, report).await,
            Self::Storm => storm::measure(scale, bar, report).await,
            Self::Slow => slow::measure(scale, bar, report).await,
            Self::Fanout => fanout::measure(scale, bar, report).await,
            Self::Sse => web::measure(scale, bar, report).await,
        }
    }
}
