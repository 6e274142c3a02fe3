//! Times that travel in the text: when a delta was sent, in as many digits as a
//! delta has bytes.

use std::time::Instant;

use super::client::DELTA;

/// Where the times count from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// A delta that says when it is sent: now.
    pub(super) fn stamp(self) -> String {
        format!("{:01$}", self.0.elapsed().as_nanos(), DELTA.len())
    }

    /// How many milliseconds ago deltas were sent that may have been joined.
    pub(super) fn ages_ms(self, text: &str) -> impl Iterator<Item = f64> {
        let now = self.0.elapsed().as_nanos() as f64;
        let stamps = text.as_bytes().chunks(DELTA.len());
        stamps.filter_map(move |stamp| {
            let sent: f64 = str::from_utf8(stamp).ok()?.parse().ok()?;
            Some((now - sent) / 1_000_000.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_has_the_length_of_a_delta_and_its_age() {
        let clock = Clock::start();
        let stamps = [clock.stamp(), clock.stamp()];
        assert!(stamps.iter().all(|stamp| stamp.len() == DELTA.len()));
        let ages: Vec<f64> = clock.ages_ms(&stamps.concat()).collect();
        assert_eq!(ages.len(), 2);
        assert!(ages.iter().all(|age| (0.0..1_000.0).contains(age)));
    }
}
