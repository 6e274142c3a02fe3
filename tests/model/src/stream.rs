//! An answer as server-sent events, token by token.

use std::{future::pending, io, time::Duration};

use async_stream::stream;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use tokio::{task::yield_now, time::sleep};

use crate::{chunks::Chunks, record::Visit, reply::Fault};

/// The body of a response. An error closes its connection.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Sends the answer while its client is there.
pub(crate) fn streamed(chunks: Chunks, mut visit: Visit) -> Body {
    body(stream! {
        let fault = chunks.reply.fault.as_ref();
        let last = fault.map_or(usize::MAX, Fault::after_tokens);

        pause(chunks.reply.first_token_delay_ms).await;
        yield Ok(chunks.role());
        for (at, token) in chunks.plan.tokens.iter().take(last).enumerate() {
            if at > 0 {
                pause(chunks.reply.token_delay_ms).await;
            }
            visit.tokens(1);
            yield Ok(chunks.token(token));
        }
        match fault {
            None | Some(Fault::Status { .. } | Fault::Silence) => {
                visit.end();
                yield Ok(chunks.finish());
            }
            Some(Fault::Hang { .. }) => pending::<()>().await,
            Some(Fault::Cut { within, .. }) => {
                yield Ok(within.map_or_else(Bytes::new, |within| chunks.torn(within)));
                visit.end();
                // What was sent so far goes out before the connection is closed.
                yield_now().await;
                yield Err(cut());
            }
            Some(Fault::Error { message, .. }) => {
                visit.end();
                yield Ok(chunks.error(message));
            }
        }
    })
}

/// A body of these pieces.
pub(crate) fn body(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// Even a sleep of no time would last until the timer's next tick.
pub(crate) async fn pause(delay_ms: u64) {
    if delay_ms > 0 {
        sleep(Duration::from_millis(delay_ms)).await;
    }
}

/// Why a body is cut.
pub(crate) fn cut() -> io::Error {
    io::Error::other("cut, as the script wants it")
}
