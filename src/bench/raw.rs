//! gRPC streams at the least cost: one that decoded every message it is sent
//! would be the slowest part of what it measures.

use bytes::{BufMut, Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{Builder, ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, StatusCode};
use prost::Message;
use tokio::net::TcpStream;
use tonic::Status;

use super::{BenchError, resp::leading_number};
use crate::runtime::outbox::Outbox;

/// Largest frame of HTTP/2 that is taken, as by clients that size it by what comes.
const FRAME_BYTES: u32 = 1024 * 1024;
/// Flag and length before each message.
const PREFIX_BYTES: usize = 5;
/// What is behind each event.
const EVENT_END: &[u8] = b"\n\n";

/// What is done with a message, or an event.
type Each<'a> = dyn FnMut(&[u8]) -> Result<(), BenchError> + Send + 'a;

/// One connection.
#[derive(Clone)]
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
    address: String,
}

impl Connection {
    /// Connects to an `http://` address. Each stream may have so many bytes
    /// under way that were not read.
    pub(super) async fn open(address: &str, window_bytes: u32) -> Result<Self, BenchError> {
        let authority = address.trim_start_matches("http://");
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let (requests, connection) = Builder::new()
            .initial_window_size(window_bytes)
            .initial_connection_window_size(i32::MAX.cast_unsigned())
            .max_frame_size(FRAME_BYTES)
            .handshake(Outbox::new(stream))
            .await?;
        // It ends with the last of its streams. What fails there, they see.
        tokio::spawn(connection);
        Ok(Self {
            requests,
            address: address.to_owned(),
        })
    }

    /// Connects so many times.
    pub(super) async fn open_many(
        address: &str,
        window_bytes: u32,
        count: usize,
    ) -> Result<Vec<Self>, BenchError> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Self::open(address, window_bytes).await?);
        }
        Ok(connections)
    }

    /// Begins a call of MessageService.
    pub(super) async fn call(&self, method: &str) -> Result<(Outgoing, Incoming), BenchError> {
        let request = Request::post(format!(
            "{}/throughline.v1.MessageService/{method}",
            self.address
        ))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|_| BenchError::Unexpected("the service has a strange address"))?;
        let mut requests = self.requests.clone().ready().await?;
        let (response, stream) = requests.send_request(request, false)?;
        Ok((Outgoing(stream), Incoming::of(Door::Grpc, response)))
    }

    /// Asks the web for a stream of events.
    pub(super) async fn events(&self, path: &str) -> Result<Incoming, BenchError> {
        let request = Request::get(format!("{}{path}", self.address))
            .body(())
            .map_err(|_| BenchError::Unexpected("the service has a strange address"))?;
        let mut requests = self.requests.clone().ready().await?;
        let (response, _) = requests.send_request(request, true)?;
        Ok(Incoming::of(Door::Web, response))
    }

    /// Begins a call with one request.
    pub(super) async fn ask(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<Incoming, BenchError> {
        let (mut outgoing, incoming) = self.call(method).await?;
        let mut bytes = BytesMut::new();
        put_message(request, &mut bytes);
        outgoing.0.send_data(bytes.freeze(), true)?;
        Ok(incoming)
    }
}

/// Through which door a watch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Grpc,
    /// As server-sent events.
    Web,
}

/// Adds a message to what will be sent.
pub(super) fn put_message(message: &impl Message, bytes: &mut BytesMut) {
    let length = message.encoded_len();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    bytes.reserve(length);
    message.encode_raw(bytes);
}

/// What the caller sends.
pub(super) struct Outgoing(SendStream<Bytes>);

impl Outgoing {
    /// Sends messages that were encoded before, when HTTP/2 lets it.
    pub(super) fn send(&mut self, messages: Bytes) -> Result<(), BenchError> {
        Ok(self.0.send_data(messages, false)?)
    }

    /// Sends nothing more.
    pub(super) fn finish(mut self) -> Result<(), BenchError> {
        Ok(self.0.send_data(Bytes::new(), true)?)
    }
}

/// What the service sends.
pub(super) struct Incoming {
    door: Door,
    body: Body,
    /// Begins a message whose end has not come in.
    rest: BytesMut,
}

enum Body {
    Awaited(ResponseFuture),
    Open(RecvStream),
}

impl Incoming {
    fn of(door: Door, response: ResponseFuture) -> Self {
        Self {
            door,
            body: Body::Awaited(response),
            rest: BytesMut::new(),
        }
    }

    /// Waits for messages, and gives those that have come in. False at the end
    /// of the stream.
    pub(super) async fn read(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), BenchError> + Send,
    ) -> Result<bool, BenchError> {
        let each: &mut Each<'_> = &mut each;
        let take = match self.door {
            Door::Grpc => take_messages,
            Door::Web => take_events,
        };
        let body = self.open().await?;
        let Some(chunk) = body.data().await else {
            let trailers = body.trailers().await?.unwrap_or_default();
            return succeeded(&trailers).map(|()| false);
        };
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        if self.rest.is_empty() {
            let read = take(&chunk, each)?;
            self.rest.extend_from_slice(&chunk[read..]);
        } else {
            self.rest.extend_from_slice(&chunk);
            let read = take(&self.rest, each)?;
            drop(self.rest.split_to(read));
        }
        Ok(true)
    }

    /// Reads to the end of the stream. Returns how many bytes came.
    pub(super) async fn drain(&mut self) -> Result<usize, BenchError> {
        let body = self.open().await?;
        let mut bytes = 0;
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            bytes += chunk.len();
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        succeeded(&trailers).map(|()| bytes)
    }

    /// As [`read`](Incoming::read), of frames of a watch.
    pub(super) async fn read_frames(
        &mut self,
        mut each: impl FnMut(WatchFrame) -> Result<(), BenchError> + Send,
    ) -> Result<bool, BenchError> {
        let door = self.door;
        self.read(|frame| each(WatchFrame::of(door, frame))).await
    }

    async fn open(&mut self) -> Result<&mut RecvStream, BenchError> {
        if let Body::Awaited(response) = &mut self.body {
            let response = response.await?;
            if response.status() != StatusCode::OK {
                return Err(BenchError::Unexpected("the service does not speak gRPC"));
            }
            succeeded(response.headers())?;
            self.body = Body::Open(response.into_body());
        }
        match &mut self.body {
            Body::Open(body) => Ok(body),
            Body::Awaited(_) => Err(BenchError::Unexpected("a stream did not begin")),
        }
    }
}

fn succeeded(headers: &HeaderMap) -> Result<(), BenchError> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != tonic::Code::Ok => Err(status.into()),
        _ => Ok(()),
    }
}

/// Gives each whole message, and returns how many bytes they are.
fn take_messages(bytes: &[u8], each: &mut Each<'_>) -> Result<usize, BenchError> {
    let mut read = 0;
    while let Some(prefix) = bytes.get(read..read + PREFIX_BYTES) {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
        let begin = read + PREFIX_BYTES;
        let end = begin + length as usize;
        let Some(message) = bytes.get(begin..end) else {
            break;
        };
        each(message)?;
        read = end;
    }
    Ok(read)
}

/// Gives each whole event, and returns how many bytes they are.
fn take_events(bytes: &[u8], each: &mut Each<'_>) -> Result<usize, BenchError> {
    let mut read = 0;
    for end in memchr::memmem::find_iter(bytes, EVENT_END) {
        each(&bytes[read..end])?;
        read = end + EVENT_END.len();
    }
    Ok(read)
}

/// What a frame of a watch says without being decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WatchFrame {
    /// Everything up to this sequence was delivered.
    Event(u64),
    /// Something was not.
    Lost,
    /// All that had happened was sent, up to this sequence.
    CaughtUp(u64),
    Other,
}

impl WatchFrame {
    /// Reads a frame that came through a door.
    pub(super) fn of(door: Door, frame: &[u8]) -> Self {
        match door {
            Door::Grpc => Self::read(frame),
            Door::Web => Self::read_event(frame),
        }
    }

    /// Reads what kind of event it is, and the id after that.
    fn read_event(event: &[u8]) -> Self {
        let Some(event) = event.strip_prefix(b"event: ") else {
            return Self::Other;
        };
        let kind_end = memchr::memchr(b'\n', event).unwrap_or(event.len());
        let (kind, rest) = event.split_at(kind_end);
        let id = rest.strip_prefix(b"\nid: ").unwrap_or_default();
        let sequence = leading_number(id) as u64;
        match kind {
            b"gap" | b"snapshot" => Self::Lost,
            b"caught_up" => Self::CaughtUp(sequence),
            b"end" | b"problem" => Self::Other,
            _ => Self::Event(sequence),
        }
    }

    /// Reads the cursor, which comes first, and which kind of frame follows.
    pub(super) fn read(message: &[u8]) -> Self {
        let (sequence, kind) = match message {
            [0x0a, length, rest @ ..] => {
                let (cursor, frame) = rest.split_at(usize::from(*length).min(rest.len()));
                (leading_number(cursor) as u64, frame.first())
            }
            other => (0, other.first()),
        };
        match kind.map(|tag| tag >> 3) {
            Some(2) => Self::Event(sequence),
            Some(3 | 4) => Self::Lost,
            Some(5) => Self::CaughtUp(sequence),
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{self as v1, watch_message_response::Frame};

    fn frame(cursor: &str, frame: Frame) -> Vec<u8> {
        let response = v1::WatchMessageResponse {
            cursor: cursor.to_owned(),
            frame: Some(frame),
        };
        response.encode_to_vec()
    }

    #[test]
    fn a_frame_tells_its_kind_without_being_decoded() {
        for (expected, cursor, kind) in [
            (
                WatchFrame::Event(1234),
                "1234-99",
                Frame::Event(v1::Event::default()),
            ),
            (WatchFrame::Lost, "7-1", Frame::Gap(v1::Gap::default())),
            (
                WatchFrame::Lost,
                "7-1",
                Frame::Snapshot(v1::Message::default()),
            ),
            (
                WatchFrame::CaughtUp(7),
                "7-1",
                Frame::CaughtUp(v1::CaughtUp::default()),
            ),
            (
                WatchFrame::Other,
                "7-1",
                Frame::Heartbeat(v1::Heartbeat::default()),
            ),
        ] {
            assert_eq!(WatchFrame::read(&frame(cursor, kind)), expected);
        }
    }

    #[test]
    fn messages_are_found_wherever_they_are_cut() {
        let mut bytes = BytesMut::new();
        for delta in ["one", "two"] {
            put_message(&delta.to_owned(), &mut bytes);
        }
        let whole = bytes.len() / 2;
        for cut in 0..=bytes.len() {
            let mut seen = 0;
            let read = take_messages(&bytes[..cut], &mut |_| {
                seen += 1;
                Ok(())
            });
            assert_eq!(read.unwrap(), cut / whole * whole);
            assert_eq!(seen, cut / whole);
        }
    }

    #[test]
    fn events_are_read_as_frames() {
        let events = b"event: caught_up\nid: 7-1\ndata: {}\n\n\
            : heartbeat\nid: 7-1\n\nevent: text_delta\nid: 8-2\ndata: {}\n\nevent: gap\nid: 9";
        let mut seen = Vec::new();
        let read = take_events(events, &mut |event| {
            seen.push(WatchFrame::of(Door::Web, event));
            Ok(())
        });
        let expected = [
            WatchFrame::CaughtUp(7),
            WatchFrame::Other,
            WatchFrame::Event(8),
        ];
        assert_eq!(seen, expected);
        assert!(events[read.unwrap()..].starts_with(b"event: gap"));
    }
}
