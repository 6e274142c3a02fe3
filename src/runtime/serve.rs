//! One running instance of the service: from its options to an address that
//! answers, and back to nothing.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{service::Routes, transport::Server};
use tonic_health::server::health_reporter;
use tower::util::MapResponseLayer;
use tracing::{error, info};

use super::{connection, drain, health, redis_url::RedisUrl, reflection};
use crate::{
    api::{
        self,
        deadline::DeadlineLayer,
        grpc::Answers,
        stall::Stalls,
        web::{self, Origin, WebLayer},
    },
    engine::{Engine, EngineOptions},
    store::{Store, StoreError, StoreOptions},
    tail::Hub,
};

/// After so long without a sign of life a client is asked for one, and given
/// as long again to answer.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Longest headers of a request over HTTP/2: the token of a session that is resumed by
/// server-sent events is one, and names each open message in some 75 bytes. HTTP/1
/// takes longer ones, but one request at a time, where here each stream may hold some.
const HEADER_BYTES_MAX: u32 = 64 * 1024;

/// What a client may send of a request that was not read so far.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// The same of a connection. h2 takes frames of less than 256 bytes for an attack, and
/// closes the connection, where those that were not read fall short of that by half of
/// this. One stream, or about fifteen with tokens of some 80 bytes a frame, is held back
/// by its own window before that; on more that are all full the connection is closed.
const CONNECTION_WINDOW_BYTES: u32 = 64 * STREAM_WINDOW_BYTES;

/// What an instance needs to know.
#[derive(Clone)]
pub struct ServiceOptions {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Which Redis to keep everything in.
    pub redis: RedisUrl,
    /// How long things are kept there.
    pub store: StoreOptions,
    /// What is done by itself, and when.
    pub engine: EngineOptions,
    /// How often a silent watch says that it is alive.
    pub heartbeat: Duration,
    /// How long a watch may go unread before it is ended.
    pub stall_timeout: Duration,
    /// How long a stop waits for open calls before it cuts them.
    pub drain_timeout: Duration,
    /// How many calls and watches one connection may have open.
    pub max_streams: u32,
    /// Pages of which other origins may call.
    pub cors_origins: Vec<Origin>,
}

impl ServiceOptions {
    /// The defaults, on any free port of the loopback interface.
    pub fn new(redis: RedisUrl) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            redis,
            store: StoreOptions::default(),
            engine: EngineOptions::default(),
            heartbeat: Duration::from_secs(15),
            stall_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(8),
            max_streams: 10_000,
            cors_origins: Vec::new(),
        }
    }
}

/// Why an instance could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Redis can't be reached or used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address is taken, or not this machine's.
    #[error("failed to listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The descriptors of the API do not hold together.
    #[error("failed to set up reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A running instance. Dropped without [`stop`](Service::stop) it stops as
/// well, but nobody waits for it.
pub struct Service {
    /// Where it listens.
    pub address: SocketAddr,
    drain: CancellationToken,
    cut: CancellationToken,
    failed: CancellationToken,
    tasks: TaskTracker,
    drain_timeout: Duration,
}

impl Service {
    /// Connects to Redis, then listens. From the return on, calls are answered.
    ///
    /// # Errors
    /// Where Redis can't be used, or the address can't be listened on.
    pub async fn start(options: ServiceOptions) -> Result<Self, ServeError> {
        let store = Store::connect(options.redis.as_str(), options.store.clone()).await?;
        let listener = listen(options.listen).await?;
        let service = Self {
            address: listener.local_addr().unwrap_or(options.listen),
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
            failed: CancellationToken::new(),
            tasks: TaskTracker::new(),
            drain_timeout: options.drain_timeout,
        };
        let routes = service.start_background(store, &options)?;
        service.start_server(listener, routes, &options);
        info!("listening on {}", service.address);
        Ok(service)
    }

    /// Resolves when something the service can't do without has ended by
    /// itself. What is left to do then is to stop.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Stops: health says NOT_SERVING, watches get their `end` frame, no
    /// connection is accepted any more, open calls may finish. Connections
    /// that are still open after the drain timeout are cut.
    pub async fn stop(self) {
        info!("stopping {}", self.address);
        self.drain.cancel();
        self.tasks.close();
        drain::finish(&self.tasks, &self.cut, self.drain_timeout).await;
    }

    /// Starts what runs beside the calls, and returns what answers them.
    fn start_background(
        &self,
        store: Store,
        options: &ServiceOptions,
    ) -> Result<Routes, ServeError> {
        let mut tasks = JoinSet::new();
        let heartbeat = options.heartbeat;
        let hub = Hub::start(store.clone(), heartbeat, self.drain.clone(), &mut tasks);
        let engine = Engine::start(store.clone(), hub, options.engine.clone(), &mut tasks);
        let drain = self.drain.clone();
        self.spawn_essential("background work", async move {
            // Before the drain one that ends is missed as much as all of them.
            tasks.join_next().await;
            while drain.is_cancelled() && tasks.join_next().await.is_some() {}
        });

        let (reporter, health_service) = health_reporter();
        let health = health::report(store, reporter, self.drain.clone());
        self.spawn_essential("health", health);

        let answers = Answers::default();
        let forget = answers.clone().forget_forever(self.drain.clone());
        self.spawn_essential("forgetting", forget);
        let forget = web::forget_forever(self.drain.clone());
        self.spawn_essential("forgetting of events", forget);

        let routes = api::grpc::routes(engine, answers).add_service(health_service);
        Ok(reflection::add(routes)?)
    }

    fn start_server(&self, listener: TcpListener, routes: Routes, options: &ServiceOptions) {
        let stalls = Stalls::after(options.stall_timeout);
        self.spawn_essential("stall", stalls.clone().sweep_forever(self.drain.clone()));
        let incoming = connection::accept(listener, self.cut.clone());
        let server = Server::builder()
            .max_concurrent_streams(options.max_streams)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            // Without it a connection that never says a word outlives the stop.
            .accept_http1(true)
            // Above all that a call passes, so that the other doors pass it too.
            .layer(WebLayer::new(self.address, &options.cors_origins))
            .layer(DeadlineLayer)
            .layer(MapResponseLayer::new(move |answer| stalls.guard(answer)))
            .add_routes(routes)
            .serve_with_incoming_shutdown(incoming, self.drain.clone().cancelled_owned());
        self.spawn_essential("server", async move {
            if let Err(error) = server.await {
                error!(%error, "serving failed");
            }
        });
    }

    /// Runs work that the service can't live without, and notices its end.
    fn spawn_essential(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let essential = Essential {
            name,
            drain: self.drain.clone(),
            failed: self.failed.clone(),
        };
        self.tasks.spawn(async move {
            let _essential = essential;
            work.await;
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}

/// Dropped when the work it belongs to ends, even by a panic.
struct Essential {
    name: &'static str,
    drain: CancellationToken,
    failed: CancellationToken,
}

impl Drop for Essential {
    fn drop(&mut self) {
        if !self.drain.is_cancelled() {
            error!("the {} ended unexpectedly", self.name);
            self.failed.cancel();
        }
    }
}

#[cfg(test)]
mod tests;
