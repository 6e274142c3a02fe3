//! The file of `--tools`: which MCP servers there are, and which of their tools agents
//! may use.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use serde::Deserialize;

use super::ToolsError;

/// How long a tool may take where the file does not say.
const TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// MCP servers by their names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Servers {
    /// Each name becomes part of its tools' names.
    #[serde(rename = "mcpServers", alias = "servers")]
    pub servers: BTreeMap<String, ServerConfig>,
}

/// One MCP server: a program, or an address.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// A program that speaks MCP over stdin and stdout.
    pub command: Option<String>,
    /// What it is started with.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment variables of the program, beside PATH and HOME.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The address of a server that speaks MCP over streamable HTTP.
    pub url: Option<String>,
    /// What is sent to it with each request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Which tools agents may use; absent: all of them.
    pub allow: Option<BTreeSet<String>>,
    /// How long a call may take, as in "30s".
    timeout: Option<String>,
}

/// What env, headers and the address hold is often secret, and never shown.
impl std::fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfig")
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

impl Servers {
    /// Reads the file; without one there are no servers.
    ///
    /// # Errors
    /// Where it can't be read, or says what can't be.
    pub fn load(file: Option<&Path>) -> Result<Self, ToolsError> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        let text = fs::read_to_string(file).map_err(|source| ToolsError::Read {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(&text, |name| std::env::var(name).ok())
    }

    fn parse(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, ToolsError> {
        let mut servers: Self =
            serde_json::from_str(text).map_err(|error| ToolsError::Malformed(error.to_string()))?;
        for (name, server) in &mut servers.servers {
            let wrong = |what: String| ToolsError::Malformed(format!("server `{name}`: {what}"));
            if server.command.is_some() == server.url.is_some() {
                return Err(wrong("give either `command` or `url`".to_owned()));
            }
            if let Some(timeout) = &server.timeout {
                humantime::parse_duration(timeout)
                    .map_err(|error| wrong(format!("timeout: {error}")))?;
            }
            let values = server.env.values_mut().chain(server.headers.values_mut());
            for value in values.chain(&mut server.url) {
                *value = filled_in(value, &variable).map_err(wrong)?;
            }
        }
        Ok(servers)
    }
}

impl ServerConfig {
    /// How long a call may take.
    pub(super) fn timeout(&self) -> Duration {
        self.own_timeout().unwrap_or(TIMEOUT)
    }

    /// How long the server may take until its tools are known.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.own_timeout().unwrap_or(CONNECT_TIMEOUT)
    }

    fn own_timeout(&self) -> Option<Duration> {
        let said = self.timeout.as_deref();
        said.and_then(|text| humantime::parse_duration(text).ok())
    }

    pub(super) fn allows(&self, tool: &str) -> bool {
        self.allow.as_ref().is_none_or(|allow| allow.contains(tool))
    }
}

/// `text` with each `${NAME}` replaced by that variable of the environment, so that the
/// file need not hold secrets.
fn filled_in(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| "`${` without its `}`".to_owned())?;
        filled += before;
        filled += &variable(name).ok_or_else(|| format!("there is no variable {name}"))?;
        rest = after;
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Servers, ToolsError> {
        Servers::parse(text, |name| (name == "TOKEN").then(|| "secret".to_owned()))
    }

    #[test]
    fn secrets_come_from_the_environment_and_are_not_shown() {
        let text = r#"{"mcpServers": {"web": {"url": "http://x/mcp?key=${TOKEN}", "timeout": "5s",
            "headers": {"Authorization": "Bearer ${TOKEN}"}, "allow": ["search"]}}}"#;
        let servers = parse(text).unwrap();
        let web = &servers.servers["web"];
        assert_eq!(web.headers["Authorization"], "Bearer secret");
        assert_eq!(web.url.as_deref(), Some("http://x/mcp?key=secret"));
        assert_eq!(web.timeout(), Duration::from_secs(5));
        assert!(web.allows("search") && !web.allows("delete"));
        assert!(!format!("{servers:?}").contains("secret"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for server in [
            r#"{}"#,
            r#"{"command": "a", "url": "http://b"}"#,
            r#"{"command": "a", "timeout": "soon"}"#,
            r#"{"command": "a", "env": {"A": "${UNKNOWN}"}}"#,
            r#"{"command": "a", "allowed": []}"#,
        ] {
            let text = format!(r#"{{"mcpServers": {{"a": {server}}}}}"#);
            assert!(parse(&text).is_err(), "{server}");
        }
    }
}
