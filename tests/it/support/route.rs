//! A way to Redis that can lead elsewhere, and whose connections can fall silent: as
//! where a host vanishes behind an address, or another becomes the primary.

use std::sync::{Arc, Mutex};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// What an instance knows as the address of Redis.
pub struct Route {
    pub url: String,
    way: Arc<Mutex<Way>>,
    _stop: DropGuard,
}

/// What becomes of connections that are opened.
#[derive(Clone)]
struct Way {
    port: u16,
    is_silent: CancellationToken,
}

impl Route {
    pub async fn start(redis_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}/", listener.local_addr().unwrap());
        let way = Arc::new(Mutex::new(Way {
            port: redis_port,
            is_silent: CancellationToken::new(),
        }));
        let stop = CancellationToken::new();
        let serve = serve(listener, way.clone());
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(serve).await });
        Self {
            url,
            way,
            _stop: stop.drop_guard(),
        }
    }

    /// Connections that are open stay so, and pass nothing from now on.
    pub fn silence(&self) {
        let mut way = self.way.lock().unwrap();
        way.is_silent.cancel();
        way.is_silent = CancellationToken::new();
    }

    /// Leads connections that are opened from now on to another Redis.
    pub fn lead_to(&self, redis_port: u16) {
        self.way.lock().unwrap().port = redis_port;
    }
}

async fn serve(listener: TcpListener, way: Arc<Mutex<Way>>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let way = way.lock().unwrap().clone();
        connections.spawn(connect(client, way));
    }
}

async fn connect(mut client: TcpStream, way: Way) {
    let mut redis = TcpStream::connect(("127.0.0.1", way.port)).await.unwrap();
    client.set_nodelay(true).unwrap();
    redis.set_nodelay(true).unwrap();
    let passed = copy_bidirectional(&mut client, &mut redis);
    if way.is_silent.run_until_cancelled(passed).await.is_none() {
        std::future::pending::<()>().await;
    }
}
