//! Ends watches that nobody reads.
//!
//! HTTP/2 asks an answer for its next frame once the client has made room for
//! the one before. A client that no longer reads makes none: its watch is never
//! asked again, and cannot end itself. So one sweep looks after all of them, and
//! takes from those that stand still what they hold. A watch that waits for
//! something to happen has been asked, and does not stand still.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tracing::info;

use super::{ready, status, watch_body::WatchBody};

/// So often are the watches looked at while one may stand still: the last of
/// them ends it, at most a tenth of the time late.
const LOOKS: u32 = 10;

/// The open watches of this process. Cloning shares them.
#[derive(Clone)]
pub struct Stalls {
    timeout: Duration,
    watches: Arc<Mutex<Vec<Weak<Mutex<Watch>>>>>,
}

/// What a watch sends.
enum Watch {
    Open {
        answer: WatchBody,
        /// How often it was found not to be asked for more since it gave
        /// something out; none while it has nothing to give.
        looks: Option<u32>,
    },
    /// It was ended, which the client will hear when it reads on.
    Stalled,
    /// The client has heard.
    Over,
}

impl Stalls {
    /// Watches may stand still for so long.
    pub fn after(timeout: Duration) -> Self {
        Self {
            timeout,
            watches: Arc::default(),
        }
    }

    /// Gives a response what it has among its extensions to be sent. If that is a
    /// watch, it is looked after from now on.
    pub fn guard(&self, mut response: Response<Body>) -> Response<Body> {
        let Some(answer) = WatchBody::of(&mut response) else {
            return ready::unpack(response);
        };
        let watch = Arc::new(Mutex::new(Watch::Open {
            answer,
            looks: None,
        }));
        self.watches().push(Arc::downgrade(&watch));
        response.map(|_| {
            Body::new(Guarded {
                watch,
                timeout: self.timeout,
            })
        })
    }

    /// Ends those that stand still, until stopped.
    pub async fn sweep_forever(self, stop: CancellationToken) {
        let mut timer = interval((self.timeout / LOOKS).max(Duration::from_millis(1)));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = timer.tick() => {}
            }
            let ended = self.sweep();
            if ended > 0 {
                info!(
                    "ended {ended} watches that nobody read for {:?}",
                    self.timeout
                );
            }
        }
    }

    /// Looks at all of them, and returns how many it ended.
    fn sweep(&self) -> usize {
        let mut ended = 0;
        self.watches().retain(|watch| {
            let Some(watch) = watch.upgrade() else {
                return false;
            };
            let is_stalled = look_at(&watch);
            ended += usize::from(is_stalled);
            !is_stalled
        });
        ended
    }

    fn watches(&self) -> MutexGuard<'_, Vec<Weak<Mutex<Watch>>>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a watch that stands still for too long, and returns whether it did.
fn look_at(watch: &Mutex<Watch>) -> bool {
    let mut watch = match watch.try_lock() {
        Ok(watch) => watch,
        Err(TryLockError::Poisoned(watch)) => watch.into_inner(),
        // It is being asked.
        Err(TryLockError::WouldBlock) => return false,
    };
    if let Watch::Open {
        looks: Some(looks), ..
    } = &mut *watch
    {
        *looks += 1;
        if *looks > LOOKS {
            *watch = Watch::Stalled;
            return true;
        }
    }
    false
}

/// The body of a watch's response.
struct Guarded {
    watch: Arc<Mutex<Watch>>,
    timeout: Duration,
}

impl Guarded {
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut watch = self.watch();
        match &mut *watch {
            Watch::Open { answer, looks } => {
                *looks = None;
                let frame = ready!(Pin::new(answer).poll_frame(context));
                *looks = Some(0);
                Poll::Ready(frame)
            }
            Watch::Stalled => {
                *watch = Watch::Over;
                let status = status::slow_watcher(self.timeout);
                Poll::Ready(Some(Ok(Frame::trailers(status::trailers(&status)))))
            }
            Watch::Over => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &*self.watch() {
            Watch::Open { answer, .. } => answer.is_end_stream(),
            Watch::Stalled => false,
            Watch::Over => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::stream::{self, StreamExt as _};
    use http_body::Body as _;
    use tonic::Code;

    use super::{super::watch_body::promise, *};

    /// A watch that gives out so many chunks, then waits. What is returned with
    /// it is held for as long as it lives.
    fn watch_of(stalls: &Stalls, chunks: usize) -> (Body, Arc<()>) {
        let held = Arc::new(());
        let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
        let holder = held.clone();
        let chunks = stream::iter(vec![Ok(chunk); chunks])
            .chain(stream::pending())
            .inspect(move |_| drop(holder.clone()));
        let mut response = Response::new(Body::default());
        promise(response.extensions_mut(), chunks);
        (stalls.guard(response).into_body(), held)
    }

    async fn next(body: &mut Body) -> Option<Frame<Bytes>> {
        poll_fn(|context| Pin::new(&mut *body).poll_frame(context))
            .await
            .transpose()
            .unwrap()
    }

    #[tokio::test]
    async fn a_watch_that_is_not_asked_for_more_lets_go_of_all_and_then_says_why() {
        let stalls = Stalls::after(Duration::from_secs(60));
        let (mut body, held) = watch_of(&stalls, 2);
        assert!(next(&mut body).await.unwrap().is_data());
        for _ in 0..LOOKS {
            assert_eq!(stalls.sweep(), 0);
        }
        assert_eq!(Arc::strong_count(&held), 2);
        assert_eq!(stalls.sweep(), 1);
        assert_eq!(Arc::strong_count(&held), 1);

        let trailers = next(&mut body).await.unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "the watch was not read for 60s");
        assert!(body.is_end_stream());
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test]
    async fn a_watch_that_is_asked_now_and_then_goes_on() {
        let stalls = Stalls::after(Duration::from_secs(60));
        let (mut body, _held) = watch_of(&stalls, 5);
        for _ in 0..5 {
            assert!(next(&mut body).await.unwrap().is_data());
            for _ in 0..LOOKS {
                assert_eq!(stalls.sweep(), 0);
            }
        }
    }

    #[tokio::test]
    async fn a_watch_that_waits_for_news_goes_on() {
        let stalls = Stalls::after(Duration::from_secs(60));
        let (mut body, _held) = watch_of(&stalls, 1);
        assert!(next(&mut body).await.unwrap().is_data());
        let waits =
            poll_fn(|context| Poll::Ready(Pin::new(&mut body).poll_frame(context).is_pending()));
        assert!(waits.await);
        for _ in 0..=2 * LOOKS {
            assert_eq!(stalls.sweep(), 0);
        }
    }

    #[tokio::test]
    async fn a_watch_that_was_closed_is_forgotten() {
        let stalls = Stalls::after(Duration::from_secs(60));
        let (body, _held) = watch_of(&stalls, 1);
        assert_eq!(stalls.watches().len(), 1);
        drop(body);
        assert_eq!(stalls.sweep(), 0);
        assert!(stalls.watches().is_empty());
    }
}
