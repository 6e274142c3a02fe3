//! Brings to disk what Redis has written.
//!
//! Redis could do so itself (`appendfsync everysec`), but holds writes back, and
//! acknowledges them all the same, while its own fsync is under way: one that is
//! killed then loses them. Told never to fsync it hands every write to the
//! system before it acknowledges it, so that only a crash of the whole machine
//! loses any; this bounds how many.

use std::{fs::File, io, path::Path, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// How much a crash of the machine may take.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// Where Redis keeps its append-only files, within its own directory.
const LOG_DIRECTORY: &str = "appendonlydir";

/// Brings the append-only files of a data directory to disk, again and again.
pub(super) async fn sync_until(stop: CancellationToken, directory: &Path) {
    let mut timer = interval(SYNC_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(timer.tick()).await.is_some() {
        let logs = directory.join(LOG_DIRECTORY);
        match tokio::task::spawn_blocking(move || sync_files(&logs)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "bringing the append-only files to disk failed"),
            Err(error) => warn!(%error, "bringing the append-only files to disk was given up"),
        }
    }
}

fn sync_files(directory: &Path) -> io::Result<()> {
    for entry in directory.read_dir()? {
        match File::open(entry?.path()) {
            Ok(file) => file.sync_data()?,
            // Redis replaces its files from time to time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_log_are_brought_to_disk() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("appendonly.aof.1.incr.aof"), "data").unwrap();
        sync_files(directory.path()).unwrap();
        assert!(sync_files(&directory.path().join("missing")).is_err());
    }
}
