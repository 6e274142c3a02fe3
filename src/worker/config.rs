//! The settings of the worker, each as a flag and as an environment variable. What
//! stands here is also its `--help`.

use std::{io, path::PathBuf, time::Duration};

use clap::Args;

use super::{
    budget::Limits,
    clock::fresh_id,
    llm::{Endpoint, LlmError, Pace},
    prompts::{Prompts, PromptsError},
    secret::Secret,
    tools::{ToolsError, config::Servers},
};
use crate::dial::DialError;

/// The longest duration that a setting accepts: a day.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Settings of agents, for `throughline worker` and `throughline serve --with-worker`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Agents")]
pub struct AgentArgs {
    /// Where the model is: any endpoint that speaks OpenAI's chat completions, for
    /// example http://localhost:11434/v1.
    #[arg(
        long,
        value_name = "URL",
        env = "THROUGHLINE_LLM_URL",
        hide_env_values = true
    )]
    pub llm_url: Option<String>,

    /// Which model to ask, as the endpoint names it.
    #[arg(
        long,
        value_name = "NAME",
        env = "THROUGHLINE_LLM_MODEL",
        hide_env_values = true
    )]
    pub llm_model: Option<String>,

    /// Other models that a task may ask for, by its param `model`.
    ///
    /// Several are separated by commas, or given one by one.
    #[arg(
        long = "llm-allow-model",
        value_name = "NAME",
        env = "THROUGHLINE_LLM_ALLOW_MODEL",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub llm_allowed_models: Vec<String>,

    /// A file that holds the endpoint's key.
    ///
    /// Or the key itself in THROUGHLINE_LLM_KEY. It is not to be had as a flag, which
    /// other users could read, and is never shown.
    #[arg(
        long,
        value_name = "FILE",
        env = "THROUGHLINE_LLM_KEY_FILE",
        hide_env_values = true
    )]
    pub llm_key_file: Option<PathBuf>,

    /// How long to wait for a connection to the model's endpoint.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_LLM_CONNECT_TIMEOUT",
        hide_env_values = true,
        default_value = "10s",
        value_parser = duration
    )]
    pub llm_connect_timeout: Duration,

    /// How long a model may think before its first token.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_LLM_FIRST_TOKEN_TIMEOUT",
        hide_env_values = true,
        default_value = "2m",
        value_parser = duration
    )]
    pub llm_first_token_timeout: Duration,

    /// How long a model may pause between two tokens.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_LLM_TOKEN_TIMEOUT",
        hide_env_values = true,
        default_value = "60s",
        value_parser = duration
    )]
    pub llm_token_timeout: Duration,

    /// How often a call is made again that failed before its first token.
    ///
    /// After 429, 5xx or without a connection, as Retry-After says or after a delay
    /// that doubles. After that the attempt fails, and the task is offered again.
    #[arg(
        long,
        value_name = "COUNT",
        env = "THROUGHLINE_LLM_RETRIES",
        hide_env_values = true,
        default_value_t = 3
    )]
    pub llm_retries: u32,

    /// The longest wait before such a repeat, also where Retry-After asks for more.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_LLM_RETRY_DELAY_MAX",
        hide_env_values = true,
        default_value = "30s",
        value_parser = duration
    )]
    pub llm_retry_delay_max: Duration,

    /// How many tasks to work on at a time.
    #[arg(
        long = "worker-concurrency",
        visible_alias = "concurrency",
        value_name = "COUNT",
        env = "THROUGHLINE_WORKER_CONCURRENCY",
        hide_env_values = true,
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    pub concurrency: u16,

    /// Which queues to take tasks from, instead of those of the three workflows.
    #[arg(
        long = "worker-queue",
        visible_alias = "queue",
        value_name = "NAME",
        env = "THROUGHLINE_WORKER_QUEUE",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub queues: Vec<String>,

    /// How long a task stays with a worker that says nothing. Between 5s and 15m.
    #[arg(
        long = "worker-lease",
        visible_alias = "lease",
        value_name = "DURATION",
        env = "THROUGHLINE_WORKER_LEASE",
        hide_env_values = true,
        default_value = "30s",
        value_parser = duration
    )]
    pub lease: Duration,

    /// How long a stop waits for tasks before it gives them back to their queues.
    ///
    /// To give them back may take five seconds more, which the supervisor has to
    /// allow for. Beside a service all of this comes before its own --drain-timeout.
    /// A second signal ends the wait at once.
    #[arg(
        long = "worker-grace",
        visible_alias = "grace",
        value_name = "DURATION",
        env = "THROUGHLINE_WORKER_GRACE",
        hide_env_values = true,
        default_value = "5s",
        value_parser = duration
    )]
    pub grace: Duration,

    /// A JSON file that names the MCP servers whose tools agents may use.
    ///
    /// docs/workflows.md describes it.
    #[arg(
        long,
        value_name = "FILE",
        env = "THROUGHLINE_TOOLS",
        hide_env_values = true
    )]
    pub tools: Option<PathBuf>,

    /// A directory with prompts of your own: each file takes the place of the one of
    /// that name in src/worker/prompts.
    #[arg(
        long,
        value_name = "DIR",
        env = "THROUGHLINE_PROMPTS",
        hide_env_values = true
    )]
    pub prompts: Option<PathBuf>,

    /// How many of a session's latest messages a model is told.
    #[arg(
        long,
        value_name = "COUNT",
        env = "THROUGHLINE_HISTORY",
        hide_env_values = true,
        default_value_t = 50,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    pub history: u16,

    /// How many rounds of tool calls an answer may take.
    #[arg(
        long,
        value_name = "COUNT",
        env = "THROUGHLINE_MAX_TOOL_ROUNDS",
        hide_env_values = true,
        default_value_t = 8
    )]
    pub max_tool_rounds: u32,

    /// How many tool calls of one round run at a time.
    #[arg(
        long,
        value_name = "COUNT",
        env = "THROUGHLINE_MAX_PARALLEL_TOOLS",
        hide_env_values = true,
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=64)
    )]
    pub max_parallel_tools: u16,

    /// How many subtasks of a planner's step run at a time.
    #[arg(
        long,
        value_name = "COUNT",
        env = "THROUGHLINE_MAX_PARALLEL",
        hide_env_values = true,
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=16)
    )]
    pub max_parallel: u16,

    /// How many calls of a model a task may make, in all its attempts.
    #[arg(
        long,
        value_name = "COUNT",
        env = "THROUGHLINE_MAX_CALLS",
        hide_env_values = true,
        default_value_t = 200
    )]
    pub max_calls: u32,

    /// How many tokens a task may use, those of its prompts with those of the
    /// answers, as the endpoint counts them.
    #[arg(
        long,
        value_name = "COUNT",
        env = "THROUGHLINE_MAX_TOKENS",
        hide_env_values = true,
        default_value_t = 1_000_000
    )]
    pub max_tokens: u64,

    /// How long one attempt may take; then the best there is becomes the answer.
    #[arg(
        long,
        value_name = "DURATION",
        env = "THROUGHLINE_MAX_TIME",
        hide_env_values = true,
        default_value = "15m",
        value_parser = duration
    )]
    pub max_time: Duration,
}

/// What a worker needs to know.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The service's address.
    pub server: String,
    /// How the worker calls itself, for people.
    pub name: String,
    /// Where the model is.
    pub endpoint: Endpoint,
    /// Other models that a task may ask for.
    pub allowed_models: Vec<String>,
    /// How many tasks to work on at a time.
    pub concurrency: u16,
    /// Which queues to take tasks from.
    pub queues: Vec<String>,
    /// How long a lease lasts.
    pub lease: Duration,
    /// How long a stop waits for tasks.
    pub grace: Duration,
    /// MCP servers whose tools agents may use.
    pub tools: Servers,
    /// What models are told.
    pub prompts: Prompts,
    /// How many messages of the session a model is told.
    pub history: u16,
    /// What a task may use.
    pub limits: Limits,
}

/// Why a worker can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no model.
    #[error("agents need a model: say where with --llm-url, and which with --llm-model")]
    NoModel,
    /// The key can't be read.
    #[error("--llm-key-file {}: {source}", file.display())]
    KeyFile {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The service does not take such a lease.
    #[error("--worker-lease is to be between 5s and 15m")]
    Lease,
    /// `--llm-url` or the key can't be used.
    #[error(transparent)]
    Endpoint(#[from] LlmError),
    /// `--tools` can't be used.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// `--prompts` can't be used.
    #[error(transparent)]
    Prompts(#[from] PromptsError),
    /// `--server` is not the address of a server.
    #[error("--server: {0}")]
    Server(#[from] DialError),
}

/// The key's name in the environment.
const KEY_VARIABLE: &str = "THROUGHLINE_LLM_KEY";

impl AgentArgs {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// Where there is no model, or something that is named can't be used.
    pub fn options(&self, server: String) -> Result<WorkerOptions, ConfigError> {
        let (Some(url), Some(model)) = (&self.llm_url, &self.llm_model) else {
            return Err(ConfigError::NoModel);
        };
        let lease_range = Duration::from_secs(5)..=Duration::from_secs(15 * 60);
        if !lease_range.contains(&self.lease) {
            return Err(ConfigError::Lease);
        }
        Ok(WorkerOptions {
            server,
            name: format!("worker-{}", fresh_id()),
            endpoint: Endpoint::new(url, model, self.key()?, self.pace())?,
            allowed_models: self.llm_allowed_models.clone(),
            concurrency: self.concurrency,
            queues: self.queues(),
            lease: self.lease,
            grace: self.grace,
            tools: Servers::load(self.tools.as_deref())?,
            prompts: Prompts::load(self.prompts.as_deref())?,
            history: self.history,
            limits: self.limits(),
        })
    }

    fn key(&self) -> Result<Option<Secret>, ConfigError> {
        if let Some(file) = &self.llm_key_file {
            let text = std::fs::read_to_string(file).map_err(|source| ConfigError::KeyFile {
                file: file.clone(),
                source,
            })?;
            return Ok(Some(Secret::new(&text)));
        }
        let key = std::env::var(KEY_VARIABLE).ok();
        Ok(key.map(|key| Secret::new(&key)))
    }

    fn pace(&self) -> Pace {
        Pace {
            connect_timeout: self.llm_connect_timeout,
            first_token_timeout: self.llm_first_token_timeout,
            token_timeout: self.llm_token_timeout,
            retries: self.llm_retries,
            retry_delay_max: self.llm_retry_delay_max,
        }
    }

    fn queues(&self) -> Vec<String> {
        match self.queues.is_empty() {
            true => ["simple", "critic", "planner"].map(str::to_owned).to_vec(),
            false => self.queues.clone(),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            tool_rounds: self.max_tool_rounds,
            parallel_tools: usize::from(self.max_parallel_tools),
            parallel_subtasks: usize::from(self.max_parallel),
            calls: self.max_calls,
            tokens: self.max_tokens,
            time: self.max_time,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match duration.is_zero() || duration > DURATION_MAX {
        true => Err("must be more than nothing, and at most a day".to_owned()),
        false => Ok(duration),
    }
}
