//! A watch, frame by frame.

use throughline::proto::{self as v1, watch_message_response::Frame};
use tonic::{Status, Streaming};

use super::soon;

/// An open watch that keeps the last cursor it saw.
pub struct Watch {
    frames: Streaming<v1::WatchMessageResponse>,
    pub cursor: String,
}

impl Watch {
    pub fn new(frames: Streaming<v1::WatchMessageResponse>) -> Self {
        Self {
            frames,
            cursor: String::new(),
        }
    }

    /// The next frame, or how the stream ended: None for status OK.
    pub async fn next(&mut self) -> Result<Option<Frame>, Status> {
        let message = soon("the next frame", self.frames.message()).await?;
        Ok(message.map(|message| {
            self.cursor = message.cursor;
            message.frame.expect("a frame is one of the kinds")
        }))
    }

    /// The next frame that is no heartbeat; panics where the stream ends.
    pub async fn frame(&mut self) -> Frame {
        // Heartbeats come for ever where nothing else does.
        soon("a frame that is no heartbeat", async {
            loop {
                match self.next().await.unwrap().expect("the watch goes on") {
                    Frame::Heartbeat(_) => {}
                    frame => return frame,
                }
            }
        })
        .await
    }

    /// The next event; panics where another frame comes, but for `caught_up`.
    pub async fn event(&mut self) -> v1::Event {
        loop {
            match self.frame().await {
                Frame::Event(event) => return event,
                Frame::CaughtUp(_) => {}
                other => panic!("an event was expected, not {other:?}"),
            }
        }
    }

    pub async fn snapshot(&mut self) -> v1::Message {
        match self.frame().await {
            Frame::Snapshot(message) => message,
            other => panic!("a snapshot was expected, not {other:?}"),
        }
    }

    pub async fn gap(&mut self) -> v1::GapReason {
        match self.frame().await {
            Frame::Gap(gap) => gap.reason(),
            other => panic!("a gap was expected, not {other:?}"),
        }
    }

    pub async fn caught_up(&mut self) {
        match self.frame().await {
            Frame::CaughtUp(_) => {}
            other => panic!("caught_up was expected, not {other:?}"),
        }
    }

    /// Reads events up to one that satisfies `last`, that one included.
    pub async fn events_until(&mut self, last: impl Fn(&v1::Event) -> bool) -> Vec<v1::Event> {
        let mut events = Vec::new();
        loop {
            let event = self.event().await;
            let is_last = last(&event);
            events.push(event);
            if is_last {
                return events;
            }
        }
    }

    /// Why the message ended that is watched up to its end.
    pub async fn end_of_message(&mut self) -> v1::EndReason {
        let is_end = |event: &v1::Event| event.event_type() == v1::EventType::MessageEnd;
        let last = self.events_until(is_end).await.pop();
        self.end().await;
        match last.and_then(|event| event.payload) {
            Some(v1::event::Payload::MessageEnd(end)) => end.end_reason(),
            other => panic!("an end was expected, not {other:?}"),
        }
    }

    /// The `end` frame, and status OK after it.
    pub async fn end(&mut self) -> v1::End {
        let end = loop {
            match self.frame().await {
                Frame::End(end) => break end,
                Frame::CaughtUp(_) => {}
                other => panic!("an end was expected, not {other:?}"),
            }
        };
        assert!(
            self.next().await.unwrap().is_none(),
            "nothing follows an end"
        );
        end
    }
}
