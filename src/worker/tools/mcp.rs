//! One MCP server: started, or called, when it is first needed, and again after it died.

use std::{collections::HashMap, process::Stdio, sync::Arc};

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
use tokio::{process::Command, sync::Mutex, time::timeout};
use tracing::warn;

use super::{Image, ToolAnswer, config::ServerConfig};

type Connection = Arc<RunningService<RoleClient, ()>>;

/// Variables that a program gets from the worker's own environment. No other: the key
/// of the model is none of its business.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TMPDIR"];

/// An MCP server and the connection to it.
pub(super) struct McpServer {
    pub(super) name: String,
    config: ServerConfig,
    connection: Mutex<Option<(Connection, Vec<Tool>)>>,
}

impl McpServer {
    pub(super) fn new(name: &str, config: &ServerConfig) -> Self {
        Self {
            name: name.to_owned(),
            config: config.clone(),
            connection: Mutex::new(None),
        }
    }

    /// The tools that agents may use; none while the server can't be reached.
    pub(super) async fn tools(&self) -> Vec<Tool> {
        match self.connected().await {
            Ok((_, tools)) => tools,
            Err(error) => {
                warn!(server = self.name, error, "an MCP server can't be used");
                Vec::new()
            }
        }
    }

    /// Calls a tool. That the server died is an answer as well: the call is not made
    /// again, for nobody knows what it has done.
    pub(super) async fn call(&self, tool: &str, arguments: Map<String, Value>) -> ToolAnswer {
        let connection = match self.connected().await {
            Ok((connection, _)) => connection,
            Err(error) => return ToolAnswer::error(format!("the tool can't be reached: {error}")),
        };
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let limit = self.config.timeout();
        match timeout(limit, connection.call_tool(params)).await {
            Ok(Ok(result)) => answer(result),
            Ok(Err(ServiceError::McpError(error))) => ToolAnswer::error(error.message.to_string()),
            Ok(Err(error)) => {
                self.disconnect(&connection).await;
                ToolAnswer::error(format!("the tool's server failed: {error}"))
            }
            Err(_) => {
                let limit = humantime::format_duration(limit);
                ToolAnswer::error(format!("the tool took longer than {limit}"))
            }
        }
    }

    async fn connected(&self) -> Result<(Connection, Vec<Tool>), String> {
        let mut held = self.connection.lock().await;
        if let Some((connection, tools)) = held.as_ref().filter(|held| !held.0.is_closed()) {
            return Ok((connection.clone(), tools.clone()));
        }
        *held = None;
        let limit = self.config.timeout();
        let connected = timeout(limit, self.connect()).await;
        let connected = connected.map_err(|_| "it does not answer".to_owned())??;
        *held = Some(connected.clone());
        Ok(connected)
    }

    async fn connect(&self) -> Result<(Connection, Vec<Tool>), String> {
        let connection = match (&self.config.command, &self.config.url) {
            (Some(command), _) => ().serve(self.child(command)?).await,
            (None, Some(url)) => ().serve(self.http(url)?).await,
            (None, None) => return Err("it has neither command nor url".to_owned()),
        };
        let connection = connection.map_err(|error| error.to_string())?;
        let tools = connection.list_all_tools().await;
        let mut tools = tools.map_err(|error| error.to_string())?;
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
        let mut held = self.connection.lock().await;
        if held
            .as_ref()
            .is_some_and(|held| Arc::ptr_eq(&held.0, failed))
        {
            *held = None;
        }
    }
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
            ContentBlock::Image(image) => {
                answer.add_line(&format!("[image {}]", image.mime_type));
                if let Ok(data) = BASE64_STANDARD.decode(image.data) {
                    answer.images.push(Image {
                        media_type: image.mime_type,
                        data: data.into(),
                    });
                }
            }
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
