//! The naive design, to compare with: an append loads the message, modifies it
//! and saves it whole, and each watcher has a connection to Redis of its own with
//! an XREAD on it. It speaks the same gRPC, so that the same generator measures
//! both.

use std::{
    convert::Infallible,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_stream::try_stream;
use http::{Request as HttpRequest, Response as HttpResponse};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Mutex};
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status,
    body::Body,
    server::Grpc,
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::{
    BenchError,
    instance::ANNOUNCEMENT,
    resp::{self, Redis},
};
use crate::proto::{self as v1, watch_message_response::Frame};

/// Connections that appends share.
const CONNECTIONS: usize = 16;
const DAY_S: &[u8] = b"86400";

/// Serves the naive design until it is killed.
pub(super) async fn serve(socket: PathBuf) -> Result<(), BenchError> {
    allow_many_connections();
    let naive = Naive::open(socket).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}{}", ANNOUNCEMENT, listener.local_addr()?);
    let service = service_fn(move |request: HttpRequest<Body>| {
        let naive = naive.clone();
        async move { Ok::<_, Infallible>(naive.answer(request).await) }
    });
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(Server::builder()
        .serve_with_incoming(service, incoming)
        .await?)
}

/// Each watcher takes one, and the usual limit is 1,024.
#[allow(unsafe_code, reason = "limits are to be had from the C library only")]
fn allow_many_connections() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: both calls only read or write the struct that they are given.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

#[derive(Clone)]
struct Naive {
    socket: Arc<PathBuf>,
    connections: Arc<Vec<Mutex<Redis>>>,
    next: Arc<AtomicUsize>,
}

type Frames = Pin<Box<dyn Stream<Item = Result<v1::WatchMessageResponse, Status>> + Send>>;

impl Naive {
    async fn open(socket: PathBuf) -> Result<Self, BenchError> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(Mutex::new(Redis::connect(&socket).await?));
        }
        Ok(Self {
            socket: socket.into(),
            connections: connections.into(),
            next: Arc::default(),
        })
    }

    async fn answer(self, request: HttpRequest<Body>) -> HttpResponse<Body> {
        let method = request.uri().path().rsplit('/').next();
        match method {
            Some("AppendText") => {
                let append = service_fn(move |request: Request<v1::AppendTextRequest>| {
                    let naive = self.clone();
                    async move { naive.append(request.into_inner()).await.map_err(failed) }
                });
                let mut grpc = Grpc::new(ProstCodec::default());
                grpc.unary(append, request).await
            }
            Some("WatchMessage") => {
                let watch = service_fn(move |request: Request<v1::WatchMessageRequest>| {
                    let frames = self.clone().watch(request.into_inner());
                    async move { Ok::<_, Status>(Response::new(frames)) }
                });
                let mut grpc = Grpc::new(ProstCodec::default());
                grpc.server_streaming(watch, request).await
            }
            _ => Status::unimplemented("the naive design has no such method").into_http(),
        }
    }

    /// Loads, modifies, saves.
    async fn append(
        &self,
        request: v1::AppendTextRequest,
    ) -> Result<Response<v1::AppendTextResponse>, BenchError> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS;
        let mut redis = self.connections[next].lock().await;
        let key = message_key(&request.message_id);
        let loaded = redis.call(&[b"HGETALL", key.as_bytes()]).await?;
        let mut message = match resp::texts(&loaded).as_slice() {
            [_, data] => serde_json::from_slice(data).unwrap_or_default(),
            _ => json!({ "message_id": request.message_id, "text": "", "sequence": 0 }),
        };
        let text = message["text"].as_str().unwrap_or_default();
        let offset = text.len() as u64;
        message["text"] = Value::from([text, &request.delta].concat());
        let sequence = message["sequence"].as_u64().unwrap_or_default() + 1;
        message["sequence"] = Value::from(sequence);
        save(&mut redis, &key, &message, &request).await?;
        Ok(Response::new(v1::AppendTextResponse {
            result: Some(v1::WriteResult {
                sequence,
                ..Default::default()
            }),
            offset,
            ..Default::default()
        }))
    }

    /// A connection of its own for each watcher, from the begin or from now on.
    fn watch(self, request: v1::WatchMessageRequest) -> Frames {
        Box::pin(try_stream! {
            let mut redis = Redis::connect(&self.socket).await.map_err(failed)?;
            let log = log_key(&request.message_id);
            let last: [&[u8]; 6] = [b"XREVRANGE", log.as_bytes(), b"+", b"-", b"COUNT", b"1"];
            let head = redis.call(&last).await.map_err(failed)?;
            let head = resp::texts(&head).first().map(|id| id.to_vec());
            let head = head.filter(|_| request.cursor != "0");
            let mut last = head.unwrap_or_else(|| b"0".to_vec());
            let mut sent = 0;
            yield frame(sent, Frame::CaughtUp(v1::CaughtUp::default()));
            loop {
                let read: [&[u8]; 8] = [
                    b"XREAD", b"COUNT", b"100", b"BLOCK", b"0", b"STREAMS", log.as_bytes(), &last,
                ];
                let read = redis.call(&read).await.map_err(failed)?;
                let mut texts = resp::texts(&read);
                // The key, and then for each entry its id and two for each field.
                for entry in texts.split_off(1).chunks_exact(1 + 2 * FIELDS) {
                    sent += 1;
                    last = entry[0].to_vec();
                    yield frame(sent, Frame::Event(event(sent, entry[2 * FIELDS])));
                }
            }
        })
    }
}

/// Fields of an entry of the log.
const FIELDS: usize = 6;

/// The whole message and the event, in one transaction.
async fn save(
    redis: &mut Redis,
    key: &str,
    message: &Value,
    request: &v1::AppendTextRequest,
) -> Result<(), BenchError> {
    let (key, log) = (key.as_bytes(), log_key(&request.message_id));
    let message_json = message.to_string();
    let sequence = message["sequence"].to_string();
    let data = json!({ "delta": request.delta, "sequence": message["sequence"] }).to_string();
    let mut commands = Vec::new();
    let add: [&[u8]; 18] = [
        b"XADD",
        log.as_bytes(),
        b"MAXLEN",
        b"~",
        b"1000",
        b"*",
        b"event_type",
        b"TEXT_DELTA",
        b"message_id",
        request.message_id.as_bytes(),
        b"session_id",
        b"bench",
        b"sequence",
        sequence.as_bytes(),
        b"content_type",
        b"text",
        b"data",
        data.as_bytes(),
    ];
    let saved: [&[&[u8]]; 6] = [
        &[b"MULTI"],
        &[b"HSET", key, b"data", message_json.as_bytes()],
        &[b"EXPIRE", key, DAY_S],
        &add,
        &[b"EXPIRE", log.as_bytes(), DAY_S],
        &[b"EXEC"],
    ];
    for command in saved {
        resp::encode(command, &mut commands);
    }
    redis.send(&commands).await?;
    for _ in saved {
        redis.reply().await?;
    }
    Ok(())
}

fn message_key(message: &str) -> String {
    format!("naive:message:{message}")
}

fn log_key(message: &str) -> String {
    format!("naive:log:{message}")
}

/// Decoded and encoded for each watcher.
fn event(sequence: u64, data: &[u8]) -> v1::Event {
    let data: Value = serde_json::from_slice(data).unwrap_or_default();
    let delta = data["delta"].as_str().unwrap_or_default();
    v1::Event {
        sequence,
        event_type: v1::EventType::TextDelta.into(),
        payload: Some(v1::event::Payload::TextDelta(v1::TextDelta {
            delta: delta.to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

fn frame(sequence: u64, frame: Frame) -> v1::WatchMessageResponse {
    v1::WatchMessageResponse {
        cursor: format!("{sequence}-0"),
        frame: Some(frame),
    }
}

fn failed(error: BenchError) -> Status {
    Status::internal(error.to_string())
}
