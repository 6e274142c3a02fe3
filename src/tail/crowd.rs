//! How often the followers of a topic are told of something: as often as those allow
//! that come back for more.

use std::{mem, time::Duration};

use tokio::time::Instant;

/// No more followers than this are told of every read at once, and nothing is joined
/// for them.
pub(super) const FEW_FOLLOWERS: usize = 64;
/// What telling one follower may take: more than a few are told less often, of several
/// events at once, for the cost is in the telling.
const PAUSE_PER_FOLLOWER: Duration = Duration::from_micros(10);
/// Nobody is told later than this.
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(10);
/// Who does not come back for so long, since nobody reads what it has, costs nothing
/// and is not counted.
const ROUND: Duration = Duration::from_millis(250);

/// The followers of a topic that come back for more.
#[derive(Debug)]
pub(super) struct Crowd {
    /// Number of the round; from 1.
    round: u64,
    begun: Instant,
    /// How many have come back in this round, and in the one before.
    came: usize,
    before: usize,
}

impl Crowd {
    pub(super) fn new() -> Self {
        Self {
            round: 1,
            begun: Instant::now(),
            came: 0,
            before: 0,
        }
    }

    /// A follower has come to wait, the last time in this round; in round 0 if it
    /// never has.
    pub(super) fn come(&mut self, last: &mut u64) {
        if *last != self.round {
            *last = self.round;
            self.came += 1;
        }
    }

    /// Followers are told now. Returns how long they are left alone then.
    pub(super) fn told(&mut self) -> Duration {
        // Only here: however long there is nothing to tell, who waits is counted.
        if self.begun.elapsed() >= ROUND {
            self.begun = Instant::now();
            self.round += 1;
            self.before = mem::take(&mut self.came);
        }
        pause(self.came.max(self.before))
    }
}

/// How long so many followers are left alone after they were told something.
fn pause(followers: usize) -> Duration {
    match u32::try_from(followers) {
        _ if followers <= FEW_FOLLOWERS => Duration::ZERO,
        Ok(followers) => PAUSE_MAX.min(PAUSE_PER_FOLLOWER * followers),
        Err(_) => PAUSE_MAX,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn come(crowd: &mut Crowd, followers: &mut [u64]) {
        followers.iter_mut().for_each(|last| crowd.come(last));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_back_is_counted_and_who_does_not_is_forgotten() {
        let [for_200, for_100] = [200, 100].map(|count| PAUSE_PER_FOLLOWER * count);
        let mut crowd = Crowd::new();
        let mut followers = [0; 200];
        come(&mut crowd, &mut followers);
        advance(10 * ROUND).await;
        assert_eq!(crowd.told(), for_200, "they have waited long");
        for _ in 0..3 {
            come(&mut crowd, &mut followers[..100]);
        }
        assert_eq!(crowd.told(), for_200, "the others may still come");
        advance(ROUND).await;
        assert_eq!(crowd.told(), for_100);
        come(&mut crowd, &mut followers[..FEW_FOLLOWERS]);
        advance(ROUND).await;
        assert_eq!(crowd.told(), Duration::ZERO);
    }

    #[tokio::test]
    async fn no_crowd_is_left_alone_for_longer_than_that() {
        let mut crowd = Crowd::new();
        come(&mut crowd, &mut [0; 5_000]);
        assert_eq!(crowd.told(), PAUSE_MAX);
    }
}
