//! A Redis and some instances of the service on it.

use std::time::Duration;

use throughline::{
    runtime::{
        config::RedisUrl,
        serve::{Service, ServiceOptions},
    },
    store::StoreOptions,
};

use super::{Clients, Redis, slow_channel};

/// A Redis, instances on it, and a client for each.
pub struct World {
    pub redis: Redis,
    pub services: Vec<Service>,
    pub clients: Vec<Clients>,
    options: StoreOptions,
    heartbeat: Duration,
    stall_timeout: Duration,
}

impl World {
    /// Two instances with the defaults, but for a heartbeat that tests can wait
    /// for.
    pub async fn start() -> Self {
        Self::with(StoreOptions::default()).await
    }

    pub async fn with(options: StoreOptions) -> Self {
        let mut world = Self {
            redis: Redis::start(),
            services: Vec::new(),
            clients: Vec::new(),
            options,
            heartbeat: Duration::from_millis(200),
            stall_timeout: Duration::from_secs(60),
        };
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
        };
        world.add_instance().await;
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
        let options = ServiceOptions {
            store: self.options.clone(),
            heartbeat: self.heartbeat,
            stall_timeout: self.stall_timeout,
            ..ServiceOptions::new(RedisUrl::from(self.redis.url()))
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
