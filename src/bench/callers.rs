//! Load in a closed loop: each caller waits for an answer before it calls again.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::BenchError;

/// Has as many callers make calls for so long. Returns how many were answered.
///
/// `call` is given the number of the caller, from 0.
pub(super) async fn call_in_turn<C, F>(
    callers: usize,
    duration: Duration,
    call: C,
) -> Result<u64, BenchError>
where
    C: Fn(usize) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), BenchError>> + Send + 'static,
{
    let end = Instant::now() + duration;
    let mut running: JoinSet<Result<u64, BenchError>> = JoinSet::new();
    for caller in 0..callers {
        let call = call.clone();
        running.spawn(async move {
            let mut answered = 0;
            while Instant::now() < end {
                call(caller).await?;
                answered += 1;
            }
            Ok(answered)
        });
    }
    let mut answered = 0;
    while let Some(ended) = running.join_next().await {
        answered += ended.map_err(|_| BenchError::Unexpected("a caller panicked"))??;
    }
    Ok(answered)
}
