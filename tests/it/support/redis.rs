//! A redis-server of the test's own, on a free port.

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::TcpListener,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Client, FromRedisValue, InfoDict};
use tempfile::TempDir;

use super::{Limit, eventually, signal};

/// How long an answer may take. A service in the test's own thread may hold it up.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A redis-server that lives as long as the test.
pub struct Redis {
    /// Where it listens.
    pub port: u16,
    directory: TempDir,
    child: Child,
    _limit: Limit,
}

impl Redis {
    pub fn start() -> Self {
        let limit = Limit::of_this_test();
        let directory = tempfile::tempdir().unwrap();
        loop {
            let port = free_port();
            let mut child = spawn(port, &directory);
            if wait_until_up(port, &mut child) {
                return Self {
                    port,
                    directory,
                    child,
                    _limit: limit,
                };
            }
            // Somebody else took the port first.
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Runs a command as redis-cli would.
    pub async fn run<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let client = Client::open(self.url()).unwrap();
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(RESPONSE_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connect = client.get_multiplexed_async_connection_with_config(&patient);
        let mut connection = connect.await.unwrap();
        let mut call = ::redis::cmd(command[0]);
        call.arg(&command[1..]);
        call.query_async(&mut connection).await.unwrap()
    }

    /// The full name of a function of the service's library.
    pub async fn function(&self, name: &str) -> String {
        let listed: ::redis::Value = self.run(&["FUNCTION", "LIST"]).await;
        let listed = format!("{listed:?}");
        let begin = listed.find("throughline_").unwrap();
        let library = &listed[begin..begin + "throughline_123456789abc".len()];
        format!("{library}_{name}")
    }

    /// How often it has carried out a command, itself or in a function.
    pub async fn calls(&self, command: &str) -> usize {
        let stats: String = self.run(&["INFO", "commandstats"]).await;
        let line = format!("cmdstat_{command}:calls=");
        let calls = stats.lines().find_map(|found| found.strip_prefix(&line));
        let digits = calls.and_then(|calls| calls.split(',').next());
        digits.map_or(0, |digits| digits.parse().unwrap())
    }

    /// Waits until no log is followed. A log that is followed is one that a
    /// connection is blocked for, but for pauses of some tens of milliseconds: so it
    /// is looked longer than those are.
    pub async fn is_followed_by_nobody(&self) {
        const LOOKS: usize = 40;
        let unblocked = Cell::new(0);
        eventually("that no log is followed", async || {
            let clients: String = self.run(&["INFO", "clients"]).await;
            let is_blocked = !clients.contains("blocked_clients:0\r\n");
            unblocked.set(if is_blocked { 0 } else { unblocked.get() + 1 });
            unblocked.get() == LOOKS
        })
        .await;
    }

    /// All keys, in order.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.run(&["KEYS", "*"]).await;
        keys.sort();
        keys
    }

    /// All keys with a digest of what they hold, for before and after; but for what
    /// is due, since the service looks at it from time to time and says when again.
    pub async fn contents(&self) -> BTreeMap<String, String> {
        let mut contents = BTreeMap::new();
        let mut keys = self.keys().await;
        keys.retain(|key| key != "due");
        for key in keys {
            let digest: Vec<String> = self.run(&["DEBUG", "DIGEST-VALUE", &key]).await;
            contents.insert(key, digest.concat());
        }
        contents
    }

    /// What is left of a key's life.
    pub async fn ttl(&self, key: &str) -> Duration {
        let millis: i64 = self.run(&["PTTL", key]).await;
        let millis = u64::try_from(millis).unwrap_or_else(|_| panic!("{key} has no end"));
        Duration::from_millis(millis)
    }

    /// Kills the server as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port and data.
    pub fn restart(&mut self) {
        self.child = spawn(self.port, &self.directory);
        assert!(wait_until_up(self.port, &mut self.child), "redis came back");
    }

    /// Stops it from answering without closing a connection.
    pub fn freeze(&self) {
        assert!(signal(self.child.id(), libc::SIGSTOP));
    }

    /// Lets it answer again.
    pub fn thaw(&self) {
        assert!(signal(self.child.id(), libc::SIGCONT));
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port below those that the system gives to outgoing connections: one of
/// them could take it while Redis is down.
fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (process::id() * 100 + tried) % 20_000;
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn spawn(port: u16, directory: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "yes"])
        // As in the embedded Redis: a killed Redis loses nothing it acknowledged.
        .args(["--appendfsync", "no"])
        .args(["--enable-debug-command", "yes"])
        .arg("--dir")
        .arg(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

fn wait_until_up(port: u16, child: &mut Child) -> bool {
    let client = Client::open(format!("redis://127.0.0.1:{port}/")).unwrap();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let info = client
            .get_connection_with_timeout(Duration::from_secs(1))
            .and_then(|mut connection| {
                ::redis::cmd("INFO")
                    .arg("server")
                    .query::<InfoDict>(&mut connection)
            });
        // Another test's Redis may answer at the port while ours gives it up.
        if info.is_ok_and(|info| info.get("process_id") == Some(child.id())) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
