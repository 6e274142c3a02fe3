//! Load: by callers that wait for an answer before they call again, or at a
//! steady pace.

use std::time::{Duration, Instant};

use tokio::{task::JoinSet, time::interval};

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

/// Has so many calls made at a steady pace, whether or not those before were
/// answered. Returns what they returned, in the order they ended.
pub(super) async fn call_at_pace<C, F, T>(
    pace: Duration,
    count: usize,
    call: C,
) -> Result<Vec<T>, BenchError>
where
    C: Fn(usize) -> F,
    F: Future<Output = Result<T, BenchError>> + Send + 'static,
    T: Send + 'static,
{
    let mut timer = interval(pace);
    let mut running = JoinSet::new();
    for number in 0..count {
        timer.tick().await;
        running.spawn(call(number));
    }
    running.join_all().await.into_iter().collect()
}
