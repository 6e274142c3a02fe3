//! What a process uses, as Linux counts it.

use std::{fs, io, time::Duration};

use super::BenchError;

/// Ticks of the processor times in /proc: the same for every program on Linux.
const TICKS_PER_S: f64 = 100.0;

/// A running process, by its id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process(pub(super) u32);

impl Process {
    /// This one.
    pub(super) fn own() -> Self {
        Self(std::process::id())
    }

    /// Processor time used since it began, by all its threads, in steps of
    /// 10 ms.
    pub(super) fn cpu(self) -> Result<Duration, BenchError> {
        let stat = self.read("stat")?;
        // Its name may hold anything, also spaces; after it comes field 3.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let mut ticks = fields.split(' ').skip(11).map(str::parse::<f64>);
        match (ticks.next(), ticks.next()) {
            (Some(Ok(user)), Some(Ok(system))) => {
                Ok(Duration::from_secs_f64((user + system) / TICKS_PER_S))
            }
            _ => Err(self.unreadable("stat", io::ErrorKind::InvalidData.into())),
        }
    }

    /// Memory that is its own now, in KiB.
    pub(super) fn resident_kib(self) -> Result<f64, BenchError> {
        let status = self.read("status")?;
        let mut lines = status.lines();
        let resident = lines.find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = resident.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        kib.ok_or_else(|| self.unreadable("status", io::ErrorKind::InvalidData.into()))
    }

    fn read(self, file: &str) -> Result<String, BenchError> {
        fs::read_to_string(format!("/proc/{}/{file}", self.0))
            .map_err(|error| self.unreadable(file, error))
    }

    fn unreadable(self, file: &str, source: io::Error) -> BenchError {
        BenchError::Process {
            file: format!("/proc/{}/{file}", self.0),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted() {
        let before = Process::own().resident_kib().unwrap();
        let held = std::hint::black_box(vec![1u8; 32 * 1024 * 1024]);
        assert!(Process::own().resident_kib().unwrap() > before + 16.0 * 1024.0);
        drop(held);
    }

    #[test]
    fn processor_time_grows_with_work() {
        let begin = Process::own().cpu().unwrap();
        let mut sum = 0u64;
        while Process::own().cpu().unwrap() < begin + Duration::from_millis(20) {
            sum = std::hint::black_box((0..100_000).fold(sum, u64::wrapping_add));
        }
    }
}
