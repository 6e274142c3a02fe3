//! The settings of `throughline serve`, each as a flag and as an environment
//! variable. What stands here is also its `--help`.

use std::{env, net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::FalseyValueParser};

pub use super::redis_url::RedisUrl;

use super::{serve::ServiceOptions, telemetry::LogArgs};
use crate::{api::web::Origin, engine::EngineOptions, store::StoreOptions};

/// The shortest duration that a setting accepts: what is set to less is busy with nothing
/// else, or gone before it is seen.
const DURATION_MIN: Duration = Duration::from_millis(10);
/// The longest duration that a setting accepts: a century, of years as flags count them.
const DURATION_MAX: Duration = Duration::from_secs(100 * 31_557_600);

/// How live events come from Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TailMode {
    /// A few connections wait for the logs of all watched messages.
    Lanes,
    /// Redis pushes each event to the instances that watch its message: sooner,
    /// and cheaper from about a hundred messages on that are written at a time.
    Push,
}

/// Settings of `throughline serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Where to listen: for gRPC, and for HTTP beside it.
    ///
    /// Port 0 takes any free one. Any other address than a loopback one needs
    /// --allow-anonymous.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "THROUGHLINE_LISTEN",
        hide_env_values = true,
        default_value = "127.0.0.1:50051"
    )]
    pub listen: SocketAddr,

    /// Which Redis to keep everything in, at least 7.0.
    ///
    /// redis://user:password@host:port/db, in which all but the host may be left
    /// out; rediss:// for TLS; redis+unix:///path?db=0&pass=... for a socket.
    /// Without it a private redis-server is started, which keeps its data in
    /// --data-dir. A password is safer in the environment than on the command
    /// line, where other users can read it.
    #[arg(
        long,
        value_name = "URL",
        env = "THROUGHLINE_REDIS",
        hide_env_values = true
    )]
    pub redis: Option<RedisUrl>,

    /// Where the private Redis keeps its data.
    ///
    /// By default `throughline` in $XDG_DATA_HOME, or in ~/.local/share (on a
    /// Mac in ~/Library/Application Support). One process may use a directory
    /// at a time.
    #[arg(
        long,
        value_name = "DIR",
        env = "THROUGHLINE_DATA_DIR",
        hide_env_values = true
    )]
    pub data_dir: Option<PathBuf>,

    /// Serve anybody who can reach the address.
    ///
    /// There is no authentication: whoever can connect can read and change
    /// every conversation. Only for a network where that is meant.
    #[arg(
        long,
        env = "THROUGHLINE_ALLOW_ANONYMOUS",
        hide_env_values = true,
        value_parser = FalseyValueParser::new()
    )]
    pub allow_anonymous: bool,

    /// How long a message and its log are kept after the last write or watch.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_MESSAGE_TTL",
        hide_env_values = true,
        default_value = "24h",
        value_parser = duration
    )]
    pub message_ttl: Duration,

    /// How long content over 10,000 bytes is kept; never less than its message.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_CONTENT_TTL",
        hide_env_values = true,
        default_value = "7d",
        value_parser = duration
    )]
    pub content_ttl: Duration,

    /// How long a session is kept after its last message or change.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_SESSION_TTL",
        hide_env_values = true,
        default_value = "7d",
        value_parser = duration
    )]
    pub session_ttl: Duration,

    /// About how many entries a message's log keeps for replay.
    ///
    /// What one write causes is one entry, and so are up to 64 deltas that are
    /// appended together: there are at least as many events. A watcher that was
    /// away for longer gets a declared gap and a snapshot.
    #[arg(
        long,
        value_name = "COUNT",
        env = "THROUGHLINE_RETAINED_EVENTS",
        hide_env_values = true,
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub retained_events: u32,

    /// How many tasks may wait in one queue; more are refused.
    #[arg(
        long,
        value_name = "COUNT",
        env = "THROUGHLINE_QUEUE_LIMIT",
        hide_env_values = true,
        default_value_t = 100_000,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub queue_limit: u64,

    /// How live events come from Redis.
    ///
    /// All instances on a Redis should say the same: with push, what one writes
    /// that says otherwise comes late, up to half a heartbeat.
    #[arg(
        long,
        value_name = "MODE",
        env = "THROUGHLINE_TAIL",
        hide_env_values = true,
        default_value = "lanes"
    )]
    pub tail: TailMode,

    /// How long a message may go on without its writer after the writer's lease
    /// has run out.
    ///
    /// The writer can come back until then, or another one take its place. After
    /// it the message is ended as INTERRUPTED. More than the clocks of two
    /// instances may differ.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_WRITER_GRACE",
        hide_env_values = true,
        default_value = "5s",
        value_parser = duration
    )]
    pub writer_grace: Duration,

    /// How often a watch without events says that it is alive.
    ///
    /// Less than the idle timeout of any proxy in between, which is often 60s.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_HEARTBEAT",
        hide_env_values = true,
        default_value = "15s",
        value_parser = duration
    )]
    pub heartbeat: Duration,

    /// How long a watch may go unread before it is ended.
    ///
    /// Its client finds RESOURCE_EXHAUSTED when it reads on, and may resume from
    /// the last cursor it saw. A watch that has nothing to send is not meant.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_STALL_TIMEOUT",
        hide_env_values = true,
        default_value = "60s",
        value_parser = duration
    )]
    pub stall_timeout: Duration,

    /// How long a stop waits for open calls before it cuts them.
    ///
    /// Two seconds less than the time the supervisor gives to stop, which the
    /// private Redis may need. With --with-worker the worker stops first, which
    /// may take --worker-grace and five seconds more: 20s in all with the
    /// defaults. A second signal ends the wait at once.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_DRAIN_TIMEOUT",
        hide_env_values = true,
        default_value = "8s",
        value_parser = duration
    )]
    pub drain_timeout: Duration,

    /// How many calls and watches one connection may have open at a time.
    #[arg(
        long,
        value_name = "COUNT",
        env = "THROUGHLINE_MAX_STREAMS",
        hide_env_values = true,
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub max_streams: u32,

    /// On how many threads calls are answered.
    ///
    /// By default one less than there are processors, and at least one: Redis
    /// needs a processor as well.
    #[arg(
        long,
        value_name = "COUNT",
        env = "THROUGHLINE_THREADS",
        hide_env_values = true
    )]
    pub threads: Option<NonZeroUsize>,

    /// Pages of which origins may call the service: scheme, host and port of each.
    ///
    /// Several are separated by commas, or given one by one; * means all of them.
    /// Without it only pages that the service serves itself may. On a loopback address
    /// it is also by the hosts of these alone that HTTP is answered, beside localhost
    /// and IP addresses.
    #[arg(
        long = "cors-origin",
        value_name = "ORIGIN",
        env = "THROUGHLINE_CORS_ORIGIN",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub cors_origins: Vec<Origin>,

    /// What to log, and how.
    #[command(flatten)]
    pub log: LogArgs,
}

impl ServeArgs {
    /// Whether the address can be reached by others without that being wanted.
    pub fn is_open_by_mistake(&self) -> bool {
        let is_private = self.listen.ip().to_canonical().is_loopback();
        !is_private && !self.allow_anonymous
    }

    /// What one instance on this Redis needs to know.
    pub fn service_options(&self, redis: RedisUrl) -> ServiceOptions {
        ServiceOptions {
            listen: self.listen,
            redis,
            store: StoreOptions {
                message_ttl: self.message_ttl,
                content_ttl: self.content_ttl,
                session_ttl: self.session_ttl,
                retained_entries: self.retained_events,
                publishes: self.tail == TailMode::Push,
            },
            engine: EngineOptions {
                writer_grace: self.writer_grace,
                queue_limit: self.queue_limit,
            },
            heartbeat: self.heartbeat,
            stall_timeout: self.stall_timeout,
            drain_timeout: self.drain_timeout,
            max_streams: self.max_streams,
            cors_origins: self.cors_origins.clone(),
        }
    }
}

/// Where programs of this platform keep a user's data, with our name at the
/// end. None where not even the home directory is known.
pub fn default_data_dir() -> Option<PathBuf> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_DATA_HOME").or_else(|| {
        let place = match cfg!(target_os = "macos") {
            true => "Library/Application Support",
            false => ".local/share",
        };
        Some(absolute("HOME")?.join(place))
    })?;
    Some(base.join("throughline"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if !(DURATION_MIN..=DURATION_MAX).contains(&duration) {
        return Err("must be at least 10ms and at most 100 years".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Probe {
        #[command(flatten)]
        args: ServeArgs,
    }

    fn parse(flags: &[&str]) -> Result<ServeArgs, clap::Error> {
        Probe::try_parse_from([&["serve"], flags].concat()).map(|probe| probe.args)
    }

    fn url(text: &str) -> RedisUrl {
        RedisUrl::from(text.to_owned())
    }

    #[test]
    fn the_defaults_of_the_flags_are_those_of_the_service() {
        let flags = parse(&[]).unwrap().service_options(url("redis://h"));
        let service = ServiceOptions::new(url("redis://h"));
        assert_eq!(flags.store.message_ttl, service.store.message_ttl);
        assert_eq!(flags.store.content_ttl, service.store.content_ttl);
        assert_eq!(flags.store.session_ttl, service.store.session_ttl);
        assert_eq!(flags.store.retained_entries, service.store.retained_entries);
        assert_eq!(flags.engine.queue_limit, service.engine.queue_limit);
        assert_eq!(flags.store.publishes, service.store.publishes);
        assert_eq!(flags.engine.writer_grace, service.engine.writer_grace);
        assert_eq!(flags.heartbeat, service.heartbeat);
        assert_eq!(flags.stall_timeout, service.stall_timeout);
        assert_eq!(flags.drain_timeout, service.drain_timeout);
        assert_eq!(flags.max_streams, service.max_streams);
        assert_eq!(flags.cors_origins, service.cors_origins);
    }

    #[test]
    fn only_loopback_is_served_unasked() {
        for private in [
            "127.0.0.1:1",
            "127.8.8.8:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(!parse(&["--listen", private]).unwrap().is_open_by_mistake());
        }
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            let flags = ["--listen", open];
            assert!(parse(&flags).unwrap().is_open_by_mistake());
            let meant = [&flags[..], &["--allow-anonymous"]].concat();
            assert!(!parse(&meant).unwrap().is_open_by_mistake());
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "redis://:secret@host:6379/2",
            "rediss://user:se/cr@secret@host",
            "redis+unix:///run/redis.sock?db=1&pass=secret",
            "redis+unix:///run/redis.sock?pass=se@secret",
            "redis://:secret?secret@host",
            ":secret@host",
        ] {
            let url = url(text);
            assert!(!format!("{url} {url:?}").contains("secret"), "{url}");
            assert_eq!(url.as_str(), text);
        }
        assert_eq!(
            url("redis://:secret@host:6379/2").to_string(),
            "redis://host:6379/2"
        );
    }

    #[test]
    fn durations_without_sense_are_refused() {
        for text in ["0s", "1ns", "9ms", "-1s", "5", "101y", "soon"] {
            assert!(parse(&["--heartbeat", text]).is_err(), "{text}");
            assert!(parse(&["--message-ttl", text]).is_err(), "{text}");
        }
        for text in ["10ms", "100y"] {
            assert!(parse(&["--heartbeat", text]).is_ok(), "{text}");
        }
    }
}
