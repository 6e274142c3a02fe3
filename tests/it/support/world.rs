//! A Redis and some instances of the service on it.

use std::time::Duration;

use throughline::{
    engine::EngineOptions,
    runtime::{
        config::RedisUrl,
        serve::{Service, ServiceOptions},
    },
    store::StoreOptions,
};

use super::{Clients, Redis, slow_channel};

/// What a writer is given after its lease has run out: a time that tests can wait
/// for.
pub const WRITER_GRACE: Duration = Duration::from_millis(500);

/// A Redis, instances on it, and a client for each.
pub struct World {
    pub redis: Redis,
    pub services: Vec<Service>,
    pub clients: Vec<Clients>,
    options: StoreOptions,
    heartbeat: Duration,
    stall_timeout: Duration,
    writer_grace: Duration,
    queue_limit: u64,
}

impl World {
    /// Two instances with the defaults, but for a heartbeat that tests can wait
    /// for. How they follow logs is what THROUGHLINE_TAIL says.
    pub async fn start() -> Self {
        Self::with(StoreOptions::default()).await
    }

    pub async fn with(options: StoreOptions) -> Self {
        let options = StoreOptions {
            publishes: is_push(),
            ..options
        };
        Self::exactly(options, Duration::from_millis(200)).await
    }

    /// Two instances with `--tail push`, whatever the environment says, and a
    /// heartbeat that no test waits for: what comes was pushed.
    pub async fn pushing() -> Self {
        let options = StoreOptions {
            publishes: true,
            ..StoreOptions::default()
        };
        Self::exactly(options, Duration::from_secs(600)).await
    }

    /// One instance that neither publishes nor listens, and one that does, with
    /// a heartbeat that tests can wait for.
    pub async fn of_both_modes() -> Self {
        let mut world = Self {
            heartbeat: Duration::from_millis(200),
            ..Self::pushing().await
        };
        world.services.clear();
        world.clients.clear();
        for publishes in [false, true] {
            world.options.publishes = publishes;
            world.add_instance().await;
        }
        world
    }

    /// Two instances with these options and this heartbeat, whatever the environment
    /// says.
    pub async fn exactly(options: StoreOptions, heartbeat: Duration) -> Self {
        let mut world = Self {
            redis: Redis::start(),
            services: Vec::new(),
            clients: Vec::new(),
            options,
            heartbeat,
            stall_timeout: Duration::from_secs(60),
            writer_grace: WRITER_GRACE,
            queue_limit: 100_000,
        };
        world.add_instance().await;
        world.add_instance().await;
        world
    }

    /// Two instances whose queues take so many tasks.
    pub async fn with_queue_limit(queue_limit: u64) -> Self {
        let mut world = Self {
            queue_limit,
            ..Self::start().await
        };
        world.services.clear();
        world.clients.clear();
        world.add_instance().await;
        world.add_instance().await;
        world
    }

    /// One instance whose watches may go unread for so long.
    pub async fn with_stall_timeout(stall_timeout: Duration) -> Self {
        let mut world = Self {
            redis: Redis::start(),
            services: Vec::new(),
            clients: Vec::new(),
            options: StoreOptions::default(),
            heartbeat: Duration::from_millis(200),
            stall_timeout,
            writer_grace: WRITER_GRACE,
            queue_limit: 100_000,
        };
        world.add_instance().await;
        world
    }

    /// So many instances, which retain the whole log of every test.
    pub async fn of(instances: usize) -> Self {
        let mut world = Self::retaining(10_000).await;
        while world.services.len() < instances {
            world.add_instance().await;
        }
        world
    }

    /// About how many entries a log keeps, for tests of what is trimmed.
    pub async fn retaining(entries: u32) -> Self {
        Self::with(StoreOptions {
            retained_entries: entries,
            ..StoreOptions::default()
        })
        .await
    }

    pub async fn add_instance(&mut self) {
        self.add_instance_at(&self.redis.url()).await;
    }

    /// One that knows our Redis by another URL.
    pub async fn add_instance_at(&mut self, url: &str) {
        let options = ServiceOptions {
            store: self.options.clone(),
            heartbeat: self.heartbeat,
            stall_timeout: self.stall_timeout,
            engine: EngineOptions {
                writer_grace: self.writer_grace,
                queue_limit: self.queue_limit,
            },
            ..ServiceOptions::new(RedisUrl::from(url.to_owned()))
        };
        let service = Service::start(options).await.unwrap();
        self.clients
            .push(Clients::connect(&format!("http://{}", service.address)).await);
        self.services.push(service);
    }

    /// Clients of the first instance that take in little unasked.
    pub async fn slow_client(&self) -> Clients {
        let address = format!("http://{}", self.services[0].address);
        Clients::of(slow_channel(&address, 65_535).await)
    }

    /// A client of the first instance.
    pub fn a(&self) -> Clients {
        self.clients[0].clone()
    }

    /// A client of the second instance.
    pub fn b(&self) -> Clients {
        self.clients[1].clone()
    }

    /// A client of either instance, in turn.
    pub fn either(&self, turn: usize) -> Clients {
        self.clients[turn % self.clients.len()].clone()
    }
}

/// Whether this run of the tests is of `--tail push`.
fn is_push() -> bool {
    match std::env::var("THROUGHLINE_TAIL").as_deref() {
        Ok("push") => true,
        Ok("lanes") | Err(_) => false,
        Ok(other) => panic!("THROUGHLINE_TAIL is {other}"),
    }
}
