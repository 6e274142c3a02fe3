//! One MCP server: started, or called, when it is first needed, and again after it died.

use std::{collections::HashMap, process::Stdio, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::header::HeaderValue;
use rmcp::{
    RoleClient, ServiceExt,
    model::{CallToolRequestParams, CallToolResult, ContentBlock, ResourceContents, Tool},
    service::{RunningService, ServiceError},
    transport::{
        StreamableHttpClientTransport, TokioChildProcess,
        streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Map, Value};
use tokio::{
    process::Command,
    sync::Mutex,
    time::{Instant, timeout},
};
use tracing::warn;

use super::{ToolAnswer, config::ServerConfig};

type Connection = Arc<RunningService<RoleClient, ()>>;

/// So long a server that can't be reached is left alone: those who wait for it, one task
/// after the other, would do nothing else.
const FAILURE_KEPT: Duration = Duration::from_secs(30);

/// Variables that a program gets from the worker's own environment. No other: the key
/// of the model is none of its business.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];

/// An MCP server and the connection to it.
pub(super) struct McpServer {
    pub(super) name: String,
    config: ServerConfig,
    link: Mutex<Link>,
}

/// What came of connecting.
#[derive(Default)]
enum Link {
    /// There is nothing.
    #[default]
    Down,
    /// A connection, and the tools that agents may use.
    Up(Connection, Vec<Tool>),
    /// It failed then, and why.
    Failed(Instant, String),
}

impl McpServer {
    pub(super) fn new(name: &str, config: &ServerConfig) -> Self {
        Self {
            name: name.to_owned(),
            config: config.clone(),
            link: Mutex::default(),
        }
    }

    /// The tools that agents may use; none while the server can't be reached.
    pub(super) async fn tools(&self) -> Vec<Tool> {
        match self.connected().await {
            Ok((_, tools)) => tools,
            Err(error) => {
                self.complain(&error);
                Vec::new()
            }
        }
    }

    /// Calls a tool. That the server died is an answer as well: the call is not made
    /// again, for nobody knows what it has done.
    pub(super) async fn call(&self, tool: &str, arguments: Map<String, Value>) -> ToolAnswer {
        let connection = match self.connected().await {
            Ok((connection, _)) => connection,
            Err(error) => {
                self.complain(&error);
                return ToolAnswer::error("the tool can't be reached");
            }
        };
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let limit = self.config.timeout();
        match timeout(limit, connection.call_tool(params)).await {
            Ok(Ok(result)) => answer(result),
            Ok(Err(ServiceError::McpError(error))) => ToolAnswer::error(error.message.to_string()),
            Ok(Err(error)) => {
                self.disconnect(&connection).await;
                self.complain(&without_addresses(&error.to_string()));
                ToolAnswer::error("the tool's server failed")
            }
            Err(_) => {
                let limit = humantime::format_duration(limit);
                ToolAnswer::error(format!("the tool took longer than {limit}"))
            }
        }
    }

    fn complain(&self, error: &str) {
        warn!(server = self.name, error, "an MCP server can't be used");
    }

    async fn connected(&self) -> Result<(Connection, Vec<Tool>), String> {
        let mut link = self.link.lock().await;
        match &*link {
            Link::Up(connection, tools) if !connection.is_closed() => {
                return Ok((connection.clone(), tools.clone()));
            }
            Link::Failed(since, error) if since.elapsed() < FAILURE_KEPT => {
                return Err(error.clone());
            }
            Link::Up(..) | Link::Failed(..) | Link::Down => *link = Link::Down,
        }
        let limit = self.config.connect_timeout();
        let connected = timeout(limit, self.connect()).await;
        let connected = connected.unwrap_or_else(|_| Err("it does not answer".to_owned()));
        *link = match &connected {
            Ok((connection, tools)) => Link::Up(connection.clone(), tools.clone()),
            Err(error) => Link::Failed(Instant::now(), error.clone()),
        };
        connected
    }

    async fn connect(&self) -> Result<(Connection, Vec<Tool>), String> {
        let connection = match (&self.config.command, &self.config.url) {
            (Some(command), _) => ().serve(self.child(command)?).await,
            (None, Some(url)) => ().serve(self.http(url)?).await,
            (None, None) => return Err("it has neither command nor url".to_owned()),
        };
        let connection = connection.map_err(|error| without_addresses(&error.to_string()))?;
        let tools = connection.list_all_tools().await;
        let mut tools = tools.map_err(|error| without_addresses(&error.to_string()))?;
        tools.retain(|tool| self.config.allows(&tool.name));
        Ok((Arc::new(connection), tools))
    }

    fn child(&self, command: &str) -> Result<TokioChildProcess, String> {
        let mut child = Command::new(command);
        child.args(&self.config.args).env_clear();
        let inherited = INHERITED.map(|name| (name, std::env::var_os(name)));
        for (name, value) in inherited {
            if let Some(value) = value {
                child.env(name, value);
            }
        }
        child.envs(&self.config.env);
        let started = TokioChildProcess::builder(child)
            .stderr(Stdio::null())
            .spawn();
        let (process, _) =
            started.map_err(|error| format!("failed to start {command}: {error}"))?;
        Ok(process)
    }

    fn http(&self, url: &str) -> Result<StreamableHttpClientTransport<reqwest::Client>, String> {
        let mut headers = HashMap::new();
        for (name, value) in &self.config.headers {
            let header = name.parse().map_err(|_| format!("`{name}` is no header"))?;
            let value: Result<HeaderValue, _> = value.parse();
            let mut value = value.map_err(|_| format!("the value of `{name}` is none"))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let config = StreamableHttpClientTransportConfig::with_uri(url).custom_headers(headers);
        Ok(StreamableHttpClientTransport::from_config(config))
    }

    /// Forgets a connection that has failed, unless there is another by now.
    async fn disconnect(&self, failed: &Connection) {
        let mut link = self.link.lock().await;
        if let Link::Up(connection, _) = &*link
            && Arc::ptr_eq(connection, failed)
        {
            *link = Link::Down;
        }
    }
}

/// `text` without what may be an address or a part of one: it may hold a key.
fn without_addresses(text: &str) -> String {
    let words = text.split_whitespace();
    let words = words.map(|word| match word.contains(['/', '?']) {
        true => "[address]",
        false => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What a tool answered, as text and images.
fn answer(result: CallToolResult) -> ToolAnswer {
    let mut answer = ToolAnswer {
        is_error: result.is_error.unwrap_or_default(),
        ..ToolAnswer::default()
    };
    for content in result.content {
        match content {
            ContentBlock::Text(text) => answer.add_line(&text.text),
            ContentBlock::Image(image) => match BASE64_STANDARD.decode(image.data) {
                Ok(data) => answer.add_image(image.mime_type, data),
                Err(_) => answer.add_line(&format!("[image {}]", image.mime_type)),
            },
            ContentBlock::Audio(audio) => answer.add_line(&format!("[audio {}]", audio.mime_type)),
            ContentBlock::Resource(resource) => match resource.resource {
                ResourceContents::TextResourceContents { text, .. } => answer.add_line(&text),
                ResourceContents::BlobResourceContents { uri, .. } => answer.add_line(&uri),
                _ => answer.add_line("[resource]"),
            },
            ContentBlock::ResourceLink(link) => answer.add_line(&link.uri),
            _ => answer.add_line("[content of another kind]"),
        }
    }
    if let (true, Some(value)) = (answer.text.is_empty(), result.structured_content) {
        answer.text = value.to_string();
    }
    answer
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_logged_has_no_address() {
        let text = "error for url (http://x/mcp?key=hidden), when connecting: 404 /mcp/hidden";
        let expected = "error for url [address] when connecting: 404 [address]";
        assert_eq!(without_addresses(text), expected);
    }

    #[tokio::test]
    async fn the_address_of_a_server_is_not_told() {
        // An error says that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = json!({"url": "http://127.0.0.1:9/mcp?key=hidden"});
        let server = McpServer::new("web", &serde_json::from_value(config).unwrap());
        let answer = server.call("search", Map::new()).await;
        assert!(answer.is_error && answer.text.contains("can't be reached"));
        assert!(!answer.text.contains("hidden"), "{}", answer.text);
    }
}
