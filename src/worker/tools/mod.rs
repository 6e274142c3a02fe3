//! The tools that a model may call: those of the worker's MCP servers.

pub mod config;
mod mcp;

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Map, Value};
use tracing::warn;

use self::{config::Servers, mcp::McpServer};
use super::llm::request::{ToolCall, ToolSpec};

/// What of an answer a model is told.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// What a block takes.
const IMAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What OpenAI's API takes for a name.
const NAME_BYTES_MAX: usize = 64;

/// Why `--tools` can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// The file can't be read.
    #[error("--tools {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It does not say what it should.
    #[error("--tools: {0}")]
    Malformed(String),
}

/// What a tool answered.
#[derive(Clone, Debug, Default)]
pub(super) struct ToolAnswer {
    pub(super) text: String,
    /// The tool failed, and the text says how.
    pub(super) is_error: bool,
    pub(super) images: Vec<Image>,
}

/// A picture that a tool made.
#[derive(Clone, Debug)]
pub(super) struct Image {
    pub(super) media_type: String,
    pub(super) data: Bytes,
}

impl ToolAnswer {
    pub(super) fn error(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_error: true,
            images: Vec::new(),
        }
    }

    fn add_line(&mut self, line: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text += line;
    }

    /// Takes in a picture, of which the text says that it is there.
    fn add_image(&mut self, media_type: String, data: Vec<u8>) {
        if data.len() > IMAGE_BYTES_MAX {
            let bytes = data.len();
            return self.add_line(&format!("[image {media_type}, left out: {bytes} bytes]"));
        }
        self.add_line(&format!("[image {media_type}]"));
        self.images.push(Image {
            media_type,
            data: data.into(),
        });
    }

    fn cut(mut self) -> Self {
        if self.text.len() > ANSWER_BYTES_MAX {
            let end = self.text.floor_char_boundary(ANSWER_BYTES_MAX);
            self.text.truncate(end);
            self.text += "\n[the rest was cut off]";
        }
        self
    }
}

/// All MCP servers of a worker. They live as long as it does.
#[derive(Clone)]
pub(super) struct Toolbox(Arc<Vec<McpServer>>);

/// The tools that one answer may use, as they were when it began.
#[derive(Clone, Default)]
pub(super) struct Tools {
    toolbox: Option<Toolbox>,
    /// By the name that the model knows: which server's, and its name there.
    known: Arc<BTreeMap<String, (usize, String)>>,
    specs: Arc<Vec<ToolSpec>>,
}

impl Toolbox {
    pub(super) fn new(servers: &Servers) -> Self {
        let servers = servers.servers.iter();
        Self(Arc::new(
            servers
                .map(|(name, config)| McpServer::new(name, config))
                .collect(),
        ))
    }

    /// What there is to be had now.
    pub(super) async fn tools(&self) -> Tools {
        let found = join_all(self.0.iter().map(McpServer::tools)).await;
        let mut known = BTreeMap::new();
        let mut specs = Vec::new();
        for (server, tools) in found.into_iter().enumerate() {
            for tool in tools {
                let name = unique_name(&self.0[server].name, &tool.name);
                if known.contains_key(&name) {
                    warn!(tool = name, "two tools have the same name, one is left out");
                    continue;
                }
                known.insert(name.clone(), (server, tool.name.to_string()));
                specs.push(ToolSpec {
                    name,
                    description: tool.description.unwrap_or_default().into_owned(),
                    parameters: Value::Object(tool.input_schema.as_ref().clone()),
                });
            }
        }
        Tools {
            toolbox: Some(self.clone()),
            known: Arc::new(known),
            specs: Arc::new(specs),
        }
    }
}

impl Tools {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// What a model is told of them.
    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        self.specs.to_vec()
    }

    /// Carries a call out. Whatever is wrong with it is an answer for the model.
    pub(super) async fn call(&self, call: &ToolCall) -> ToolAnswer {
        let (Some(toolbox), Some((server, tool))) = (&self.toolbox, self.known.get(&call.name))
        else {
            return ToolAnswer::error(format!("there is no tool `{}`", call.name));
        };
        match arguments(&call.arguments) {
            Ok(arguments) => toolbox.0[*server].call(tool, arguments).await.cut(),
            Err(error) => ToolAnswer::error(format!("the arguments are no JSON object: {error}")),
        }
    }
}

/// What a model calls a tool.
fn unique_name(server: &str, tool: &str) -> String {
    let name = format!("{server}__{tool}");
    let is_allowed =
        |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
    let plain = name.chars().map(|character| {
        if is_allowed(character) {
            character
        } else {
            '_'
        }
    });
    plain.take(NAME_BYTES_MAX).collect()
}

/// Models leave arguments empty where a tool takes none.
fn arguments(text: &str) -> Result<Map<String, Value>, serde_json::Error> {
    match text.trim() {
        "" => Ok(Map::new()),
        text => serde_json::from_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_models_take() {
        assert_eq!(unique_name("web", "search.all"), "web__search_all");
        assert_eq!(unique_name("a", &"b".repeat(100)).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn a_picture_that_no_block_takes_is_left_out() {
        for (bytes, images) in [(IMAGE_BYTES_MAX, 1), (IMAGE_BYTES_MAX + 1, 0)] {
            let mut answer = ToolAnswer::default();
            answer.add_image("image/png".to_owned(), vec![0; bytes]);
            assert_eq!(answer.images.len(), images);
            assert_eq!(answer.text.contains("left out"), images == 0);
        }
    }

    #[tokio::test]
    async fn an_unknown_tool_is_an_answer() {
        let answer = Tools::default()
            .call(&ToolCall {
                name: "web__fly".to_owned(),
                ..ToolCall::default()
            })
            .await;
        assert!(answer.is_error && answer.text.contains("web__fly"));
    }
}
