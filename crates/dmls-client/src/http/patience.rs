//! How long a request may wait and how often it is repeated.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// Pause when the homeserver says that there is a limit but not for how long.
const UNSPECIFIED_LIMIT: Duration = Duration::from_secs(1);

/// How long one request may take, and how long its repetitions go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Longest time of one attempt, from connecting to the end of a small answer.
    pub attempt: Duration,
    /// Longest time altogether that `M_LIMIT_EXCEEDED` is obeyed before the caller hears of it.
    pub limited: Duration,
    /// Longest time that connection errors are answered by trying again; zero for never.
    pub offline: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempt: Duration::from_secs(35), limited: Duration::from_secs(60), offline: Duration::from_secs(10) }
    }
}

/// What is left of the patience with one request.
pub(super) struct Waiting {
    patience: Patience,
    begun: Instant,
    obeyed: Duration,
    pause: Duration,
}

impl Waiting {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, begun: Instant::now(), obeyed: Duration::ZERO, pause: FIRST_PAUSE }
    }

    /// Waits out a rate limit; `Err` says how long the homeserver wants and the patience does not have.
    pub(super) async fn obey(&mut self, retry_after: Option<Duration>) -> Result<(), Duration> {
        let wanted = retry_after.unwrap_or(UNSPECIFIED_LIMIT);
        if self.obeyed + wanted > self.patience.limited {
            return Err(wanted);
        }
        self.obeyed += wanted;
        tokio::time::sleep(wanted + jitter(wanted / 10)).await;
        Ok(())
    }

    /// Waits before the next attempt after a connection error; `false` when the time is up.
    pub(super) async fn back_off(&mut self) -> bool {
        let left = self.patience.offline.saturating_sub(self.begun.elapsed());
        let pause = self.pause / 2 + jitter(self.pause / 2);
        if pause >= left {
            return false;
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        tokio::time::sleep(pause).await;
        true
    }
}

/// A duration from zero to `most`, so that many clients do not come back at the same moment. Not for secrets.
fn jitter(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) & 0xffff;
    let share = u32::try_from(random).unwrap_or(0);
    (most / 0x1_0000) * share
}
