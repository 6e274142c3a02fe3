//! The connections to Redis, and what to do when they fail.

use std::{
    io,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline,
    ProtocolVersion, RedisError, Value,
    aio::{
        AsyncPushSender, ConnectionLike, ConnectionManager, ConnectionManagerConfig,
        MultiplexedConnection,
    },
    io::tcp::TcpSettings,
};

use tokio::time::timeout;
use tracing::{debug, warn};

use super::{StoreError, functions::Library};

/// How long Redis may take to answer. The promise to callers is to hear of a
/// Redis that is gone within 2 s.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// A call waits for two attempts and a pause between them.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(700);
const RECONNECT_DELAY_MAX: Duration = Duration::from_millis(200);
/// How long after a wait is over its answer may take: a connection whose other end
/// is gone without a word must not be waited on for ever.
const GRACE: Duration = Duration::from_secs(3);

/// Connections that every call shares, and the way to new ones.
pub(super) struct Link {
    client: Client,
    lines: RwLock<Lines>,
    /// How often the connections were replaced.
    renewals: Arc<AtomicU64>,
    library: Arc<Library>,
    redis_version: Arc<str>,
}

/// Connections that come back by themselves after they were closed.
struct Lines {
    /// Small calls: writes, and reads of what is small.
    calls: ConnectionManager,
    /// Reads of what may be large, which writes must not wait behind.
    bulk: ConnectionManager,
}

/// A connection of one's own, whose calls may wait.
pub(super) struct Dedicated {
    connection: MultiplexedConnection,
    client: ClientId,
}

/// Names a connection to those who interrupt its calls.
#[derive(Debug, Clone)]
pub struct ClientId {
    id: i64,
    era: Era,
}

/// The time between two replacements of the connections. What was opened in an earlier
/// one is perhaps at another Redis than all else.
#[derive(Debug, Clone)]
pub(super) struct Era {
    number: u64,
    renewals: Arc<AtomicU64>,
}

impl Era {
    /// Fails where it is over.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.renewals.load(Ordering::Relaxed) == self.number {
            true => Ok(()),
            false => Err(unavailable(io::ErrorKind::ConnectionAborted)),
        }
    }
}

impl Dedicated {
    /// Names the connection in [`Store::unblock`](super::Store::unblock).
    pub(super) fn client(&self) -> &ClientId {
        &self.client
    }

    /// Makes a call that waits for so long at most.
    pub(super) async fn ask(&mut self, call: &Cmd, wait: Duration) -> Result<Value, StoreError> {
        self.client.era.check()?;
        let answer = timeout(wait + GRACE, call.query_async(&mut self.connection)).await;
        Ok(answer.map_err(|_| unavailable(io::ErrorKind::TimedOut))??)
    }
}

fn unavailable(kind: io::ErrorKind) -> StoreError {
    StoreError::Unavailable(io::Error::from(kind).into())
}

impl Lines {
    async fn open(client: &Client) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_max_delay(RECONNECT_DELAY_MAX)
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let manager = || ConnectionManager::new_with_config(client.clone(), config.clone());
        Ok(Self {
            calls: manager().await?,
            bulk: manager().await?,
        })
    }
}

impl Link {
    pub(super) async fn connect(
        info: ConnectionInfo,
        library: Arc<Library>,
    ) -> Result<Self, StoreError> {
        let client = Client::open(info).map_err(StoreError::Connect)?;
        let mut lines = Lines::open(&client).await.map_err(StoreError::Connect)?;
        let redis_version = version(&mut lines.calls).await?;
        if let Err(error) = library.load().exec_async(&mut lines.calls).await {
            match StoreError::from(error.clone()) {
                // They are loaded when they are first called. What can be read
                // until then, other instances have loaded them for.
                StoreError::WritesRefused(_) | StoreError::Unavailable(_) => {
                    warn!(%error, "redis takes no functions yet");
                }
                _ => return Err(StoreError::Connect(error)),
            }
        }
        Ok(Self {
            client,
            lines: RwLock::new(lines),
            renewals: Arc::default(),
            library,
            redis_version,
        })
    }

    fn calls(&self) -> ConnectionManager {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        lines.calls.clone()
    }

    fn bulk(&self) -> ConnectionManager {
        let lines = self.lines.read().unwrap_or_else(PoisonError::into_inner);
        lines.bulk.clone()
    }

    /// The era in which connections are opened now.
    pub(super) fn era(&self) -> Era {
        Era {
            number: self.renewals.load(Ordering::Relaxed),
            renewals: self.renewals.clone(),
        }
    }

    /// Takes new connections in place of those that are there, if others are to be
    /// had that are better: `probe` is what failed. Whoever waits for an answer on the
    /// old ones goes on waiting.
    pub(super) async fn renew(&self, probe: &Cmd) {
        match self.others(probe).await {
            Ok(lines) => {
                warn!("connections to redis that were of no use are replaced");
                *self.lines.write().unwrap_or_else(PoisonError::into_inner) = lines;
                self.renewals.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => debug!(%error, "there are no better connections to redis"),
        }
    }

    async fn others(&self, probe: &Cmd) -> Result<Lines, StoreError> {
        let mut lines = Lines::open(&self.client).await?;
        let answer = lines.calls.req_packed_command(probe).await.and_then(whole);
        match answer.map_err(StoreError::from) {
            Err(error) if error.is_of_connection() => Err(error),
            // It is no fault of the connection if functions have to be loaded.
            _ => Ok(lines),
        }
    }

    /// Whether reads are answered.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let mut calls = redis::pipe();
        calls.cmd("PING");
        Ok(self.read_once(&calls).await.map(drop)?)
    }

    pub(super) fn redis_version(&self) -> &str {
        &self.redis_version
    }

    /// A connection of one's own, whose calls may take as long as they like.
    pub(super) async fn dedicated(&self) -> Result<Dedicated, StoreError> {
        let era = self.era();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let connect = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let mut connection = connect.await?;
        let mut id = redis::cmd("CLIENT");
        id.arg("ID");
        let id = timeout(RESPONSE_TIMEOUT, id.query_async(&mut connection)).await;
        let id = id.map_err(|_| unavailable(io::ErrorKind::TimedOut))??;
        let client = ClientId { id, era };
        Ok(Dedicated { connection, client })
    }

    /// Makes a connection's call return at once. One that comes before the call has
    /// reached Redis does nothing: repeat it until the call has returned.
    pub(super) async fn unblock(&self, client: &ClientId) -> Result<(), StoreError> {
        // Elsewhere its number is another's.
        client.era.check()?;
        let mut call = redis::cmd("CLIENT");
        call.arg("UNBLOCK").arg(client.id);
        self.write(&call).await.map(drop)
    }

    /// A connection of one's own that can subscribe to channels. What it is told
    /// goes to `pushes`.
    pub(super) async fn subscriber(
        &self,
        pushes: impl AsyncPushSender,
    ) -> Result<MultiplexedConnection, StoreError> {
        let info = self.client.get_connection_info().clone();
        let settings = info.redis_settings().clone();
        let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_push_sender(pushes);
        let client = Client::open(info)?;
        let connect = client.get_multiplexed_async_connection_with_config(&config);
        Ok(connect.await?)
    }

    /// Makes a call that must not be made twice.
    pub(super) async fn write(&self, call: &Cmd) -> Result<Value, StoreError> {
        match self.write_once(call).await {
            Err(error) if is_function_missing(&error) => {
                self.load_library().await?;
                Ok(self.write_once(call).await?)
            }
            answer => Ok(answer?),
        }
    }

    async fn write_once(&self, call: &Cmd) -> Result<Value, RedisError> {
        let answer = self.calls().req_packed_command(call).await?;
        whole(answer)
    }

    /// Makes a call that can be made twice, and makes it again where the first
    /// was lost.
    pub(super) async fn repeatable(&self, call: &Cmd) -> Result<Value, StoreError> {
        let answer = self.write(call).await;
        match loss(&answer) {
            None => answer,
            // Whatever becomes of the repeat, the first may have been made.
            Some(error) => self
                .write(call)
                .await
                .map_err(|_| StoreError::OutcomeUnknown(error.clone())),
        }
    }

    /// Makes calls in one journey, in order; each succeeds or fails alone. Where
    /// the journey is lost, those calls are made again that can be. Errors within
    /// an array are left there.
    pub(super) async fn write_all(
        &self,
        calls: &Pipeline,
        is_repeatable: impl Fn(usize) -> bool,
    ) -> Vec<Result<Value, StoreError>> {
        let mut answers = self.write_all_once(calls).await;
        let Some(lost) = answers.first().and_then(|answer| loss(answer).cloned()) else {
            return answers;
        };
        let mut again = redis::pipe();
        let places: Vec<usize> = (0..answers.len()).filter(|at| is_repeatable(*at)).collect();
        let calls: Vec<&Cmd> = calls.cmd_iter().collect();
        for at in &places {
            again.add_command(calls[*at].clone());
        }
        for (at, answer) in places.into_iter().zip(self.write_all_once(&again).await) {
            // Whatever becomes of the repeat, the first may have been made.
            answers[at] = answer.map_err(|_| StoreError::OutcomeUnknown(lost.clone()));
        }
        answers
    }

    async fn write_all_once(&self, calls: &Pipeline) -> Vec<Result<Value, StoreError>> {
        if calls.is_empty() {
            return Vec::new();
        }
        let mut connection = self.calls();
        let count = calls.len();
        let answers = match connection.send_packed_commands(calls, 0, count).await {
            Ok(answers) => answers,
            Err(error) => return vec![Err(error.into()); count],
        };
        let mut outcomes = Vec::with_capacity(count);
        for (call, answer) in calls.cmd_iter().zip(answers) {
            outcomes.push(match whole(answer) {
                Err(error) if is_function_missing(&error) => self.write(call).await,
                answer => answer.map_err(StoreError::from),
            });
        }
        outcomes
    }

    /// Makes a call that changes nothing, or nothing that matters twice.
    pub(super) async fn read_one(&self, call: Cmd) -> Result<Value, StoreError> {
        let mut calls = redis::pipe();
        calls.add_command(call);
        let mut answers = self.read(&calls).await?;
        Ok(answers.pop().unwrap_or_default())
    }

    /// Makes calls at once that change nothing, or nothing that matters twice.
    pub(super) async fn read(&self, calls: &Pipeline) -> Result<Vec<Value>, StoreError> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let answer = match self.read_once(calls).await {
            Err(error) if is_function_missing(&error) => {
                self.load_library().await?;
                self.read_once(calls).await
            }
            Err(error) if error.is_io_error() && !error.is_timeout() => self.read_once(calls).await,
            answer => answer,
        };
        answer.map_err(|error| match StoreError::from(error) {
            // That a read was perhaps made is of no interest.
            StoreError::OutcomeUnknown(error) => StoreError::Unavailable(error),
            other => other,
        })
    }

    async fn read_once(&self, calls: &Pipeline) -> Result<Vec<Value>, RedisError> {
        calls.query_async(&mut self.bulk()).await
    }

    /// A Redis that was replaced or flushed has no functions.
    async fn load_library(&self) -> Result<(), StoreError> {
        let mut connection = self.calls();
        Ok(self.library.load().exec_async(&mut connection).await?)
    }
}

pub(super) fn parse_url(url: &str) -> Result<ConnectionInfo, StoreError> {
    let info = url
        .into_connection_info()
        .map_err(|_| StoreError::InvalidUrl)?;
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// Why no answer came although Redis is perhaps there: worth a repeat.
fn loss(answer: &Result<Value, StoreError>) -> Option<&RedisError> {
    match answer {
        Err(StoreError::OutcomeUnknown(error)) if !error.is_timeout() => Some(error),
        _ => None,
    }
}

/// An answer that is not an error as a whole.
fn whole(answer: Value) -> Result<Value, RedisError> {
    match answer {
        Value::ServerError(error) => Err(error.into()),
        answer => Ok(answer),
    }
}

fn is_function_missing(error: &RedisError) -> bool {
    error.to_string().contains("Function not found")
}

/// The version of the Redis, if it is one that can be used.
async fn version(connection: &mut ConnectionManager) -> Result<Arc<str>, StoreError> {
    let info: String = redis::cmd("INFO")
        .arg("server")
        .query_async(connection)
        .await
        .map_err(StoreError::Connect)?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
    if let Some(mode @ ("cluster" | "sentinel")) = field("redis_mode:") {
        return Err(StoreError::Mode {
            found: mode.to_owned(),
        });
    }
    let found = field("redis_version:").unwrap_or("unknown");
    let major = found.split('.').next().and_then(|major| major.parse().ok());
    match major {
        Some(7u32..) => Ok(found.into()),
        _ => Err(StoreError::TooOld {
            found: found.to_owned(),
        }),
    }
}
