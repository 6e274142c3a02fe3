//! What stands between an instance and Redis, to cut it off at a chosen command.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Where an instance is cut off from Redis for good, as if it were killed.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Only commands that say this are counted.
    pub marker: String,
    /// So many of them pass.
    pub after: usize,
    /// The next one is carried out as well, but its answer is lost.
    pub answer_only: bool,
}

/// A way to Redis that ends at a cut.
pub struct Proxy {
    pub url: String,
    counted: Arc<Counter>,
    _stop: DropGuard,
}

struct Counter {
    cut: Cut,
    seen: AtomicUsize,
    is_cut: CancellationToken,
}

enum Verdict {
    Pass,
    /// It is the last that passes.
    Last,
    Drop,
}

impl Proxy {
    pub async fn start(redis_port: u16, cut: Cut) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let counted = Arc::new(Counter {
            cut,
            seen: AtomicUsize::new(0),
            is_cut: CancellationToken::new(),
        });
        let stop = CancellationToken::new();
        let serve = serve(listener, redis_port, counted.clone());
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(serve).await });
        Self {
            url,
            counted,
            _stop: stop.drop_guard(),
        }
    }

    /// Whether the cut was reached.
    pub fn is_cut(&self) -> bool {
        self.counted.is_cut.is_cancelled()
    }

    /// Cuts the instance off if it is not yet.
    pub fn cut(&self) {
        self.counted.is_cut.cancel();
    }
}

async fn serve(listener: TcpListener, redis_port: u16, counter: Arc<Counter>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if counter.is_cut.is_cancelled() {
            continue;
        }
        let redis = TcpStream::connect(("127.0.0.1", redis_port)).await.unwrap();
        client.set_nodelay(true).unwrap();
        redis.set_nodelay(true).unwrap();
        connections.spawn(connect(client, redis, counter.clone()));
    }
}

async fn connect(client: TcpStream, redis: TcpStream, counter: Arc<Counter>) {
    let (requests, mut answers) = client.into_split();
    let (mut from_redis, to_redis) = redis.into_split();
    let is_cut = counter.is_cut.clone();
    let commands = tokio::spawn(pass_commands(requests, to_redis, counter));
    tokio::select! {
        _ = copy(&mut from_redis, &mut answers) => {}
        () = is_cut.cancelled() => {}
    }
    drop(answers);
    let _ = commands.await;
    // Until Redis has done all that was sent to it.
    let mut rest = Vec::new();
    let _ = from_redis.read_to_end(&mut rest).await;
}

async fn pass_commands(
    mut requests: OwnedReadHalf,
    mut redis: OwnedWriteHalf,
    counter: Arc<Counter>,
) {
    let mut waiting = Vec::new();
    loop {
        let mut chunk = [0; 16 * 1024];
        let length = tokio::select! {
            length = requests.read(&mut chunk) => length.unwrap_or(0),
            () = counter.is_cut.cancelled() => 0,
        };
        if length == 0 {
            return;
        }
        waiting.extend_from_slice(&chunk[..length]);
        while let Some(length) = command_length(&waiting) {
            let command: Vec<u8> = waiting.drain(..length).collect();
            let verdict = counter.judge(&command);
            if !matches!(verdict, Verdict::Drop) && redis.write_all(&command).await.is_err() {
                return;
            }
            if !matches!(verdict, Verdict::Pass) {
                counter.is_cut.cancel();
                return;
            }
        }
    }
}

impl Counter {
    fn judge(&self, command: &[u8]) -> Verdict {
        let marker = self.cut.marker.as_bytes();
        if self.is_cut.is_cancelled() {
            return Verdict::Drop;
        }
        if !command.windows(marker.len()).any(|part| part == marker) {
            return Verdict::Pass;
        }
        let seen = self.seen.fetch_add(1, Ordering::SeqCst);
        match seen {
            seen if seen < self.cut.after => Verdict::Pass,
            seen if seen == self.cut.after && self.cut.answer_only => Verdict::Last,
            _ => Verdict::Drop,
        }
    }
}

/// The length of the first command, once it is all there.
fn command_length(bytes: &[u8]) -> Option<usize> {
    let (parts, mut at) = number(bytes, 0)?;
    for _ in 0..parts {
        let (length, begin) = number(bytes, at)?;
        at = begin + length + 2;
    }
    (at <= bytes.len()).then_some(at)
}

/// A number between a type and the end of the line, and where the next begins.
fn number(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let line = bytes.get(at + 1..)?;
    let length = line.windows(2).position(|end| end == b"\r\n")?;
    let number = std::str::from_utf8(&line[..length]).unwrap();
    Some((number.parse().unwrap(), at + 1 + length + 2))
}
