//! A private Redis for those who have none: a redis-server child on a Unix
//! socket, with a data directory of its own. Started before the service,
//! restarted when it dies, stopped after the service.

mod durability;
mod home;
mod process;

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::{home::Home, process::Process};
use super::redis_url::RedisUrl;

const RESTART_DELAY: Duration = Duration::from_millis(250);
const RESTART_DELAY_MAX: Duration = Duration::from_secs(2);

/// Why the private Redis could not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// There is no such program.
    #[error(
        "redis-server is not installed: get it with `apt-get install redis-server` or \
         `brew install redis`, or name a running Redis with --redis URL"
    )]
    Missing,
    /// Another instance keeps its data there.
    #[error(
        "the data directory {0} is in use by another throughline: stop that one, or choose \
         another directory with --data-dir DIR"
    )]
    InUse(PathBuf),
    /// A Redis that no instance has started listens there.
    #[error(
        "another Redis listens on redis.sock in the data directory {0}: stop it, or choose \
         another directory with --data-dir DIR"
    )]
    Foreign(PathBuf),
    /// A Redis that an earlier instance left behind goes on.
    #[error(
        "the Redis that an earlier throughline left behind in the data directory {path} does not \
         stop: {source}. Kill it, or choose another directory with --data-dir DIR"
    )]
    LeftBehind {
        /// The directory asked for.
        path: PathBuf,
        /// What was waited for in vain.
        source: io::Error,
    },
    /// The data directory can't be made or used.
    #[error("failed to use the data directory {path}: {source}")]
    Directory {
        /// The directory asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program can't be run.
    #[error("failed to run redis-server: {0}")]
    Run(#[source] io::Error),
    /// The program ended before it answered.
    #[error("redis-server stopped while starting: {0}")]
    Died(String),
}

/// A running private Redis. Dropping it stops it as well, and blocks until it
/// is gone.
pub struct EmbeddedRedis {
    url: RedisUrl,
    socket: PathBuf,
    stop: CancellationToken,
    supervisor: Option<thread::JoinHandle<()>>,
}

impl EmbeddedRedis {
    /// Starts Redis on a data directory, which is made where it is missing, and
    /// waits until it has loaded its data and answers.
    ///
    /// # Errors
    /// Where redis-server is missing or fails, and where the directory is in
    /// use or can't be used.
    pub async fn start(directory: PathBuf) -> Result<Self, EmbeddedError> {
        let home = Home::open(directory)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(EmbeddedError::Run)?;
        let (url, socket) = (home.url(), home.socket.clone());
        let stop = CancellationToken::new();
        let (started, outcome) = oneshot::channel();
        let supervise = supervise(home, stop.clone(), started);

        // A thread of its own: Linux ends the child when the *thread* that
        // started it ends, which for one of a pool may be any time.
        let supervisor = thread::Builder::new()
            .name("redis-supervisor".to_owned())
            .spawn(move || runtime.block_on(supervise))
            .map_err(EmbeddedError::Run)?;
        let redis = Self {
            url,
            socket,
            stop,
            supervisor: Some(supervisor),
        };

        let unknown = || Err(EmbeddedError::Died("its supervisor ended".to_owned()));
        outcome.await.unwrap_or_else(|_| unknown())?;
        Ok(redis)
    }

    /// Where it answers.
    pub fn url(&self) -> RedisUrl {
        self.url.clone()
    }

    /// The socket that it answers on.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Stops Redis, and waits until it has written its data and is gone.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let supervisor = self.supervisor.take();
        // An error means that the supervisor panicked, which the panic has said.
        let _ = tokio::task::spawn_blocking(|| supervisor.map(thread::JoinHandle::join)).await;
    }
}

impl Drop for EmbeddedRedis {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(supervisor) = self.supervisor.take() {
            // An error means that it panicked, which the panic has said.
            let _ = supervisor.join();
        }
    }
}

/// Keeps one Redis running until `stop`.
async fn supervise(
    home: Home,
    stop: CancellationToken,
    started: oneshot::Sender<Result<(), EmbeddedError>>,
) {
    let process = match stop.run_until_cancelled(Process::launch(&home)).await {
        Some(Ok(process)) => process,
        Some(Err(error)) => {
            // Nobody waits any more where the start was given up.
            let _ = started.send(Err(error));
            return;
        }
        None => return,
    };
    let _ = started.send(Ok(()));
    let syncing = durability::sync_until(stop.clone(), &home.directory);
    tokio::join!(syncing, keep_running(&home, process, stop.clone()));
}

async fn keep_running(home: &Home, mut process: Process, stop: CancellationToken) {
    while let Some(status) = stop.run_until_cancelled(process.wait()).await {
        error!(status, "redis-server died, restarting it");
        match stop.run_until_cancelled(relaunch(home)).await {
            Some(relaunched) => process = relaunched,
            None => return,
        }
    }
    process.terminate().await;
}

async fn relaunch(home: &Home) -> Process {
    let mut delay = RESTART_DELAY;
    loop {
        sleep(delay).await;
        match Process::launch(home).await {
            Ok(process) => {
                info!("redis-server answers again");
                return process;
            }
            Err(error) => error!(%error, "restarting redis-server failed, will retry"),
        }
        delay = (delay * 2).min(RESTART_DELAY_MAX);
    }
}

#[cfg(test)]
mod tests;
