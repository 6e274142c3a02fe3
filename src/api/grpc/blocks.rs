//! Blocks as clients describe them.

use std::collections::HashSet;

use tonic::Status;

use super::fields;
use crate::{
    api::status::invalid,
    domain::{
        command::{NewBlock, UpdateContent},
        content::{Body, Content, Media, Source, TextKind, Textual},
        ids::BlockId,
        limits,
    },
    proto::{self as v1, BlockState},
    wire::content::{content_from_v1, field_name},
};

/// The first blocks of a message.
pub(super) fn new_blocks(
    field: &str,
    blocks: Vec<v1::ContentBlock>,
) -> Result<Vec<NewBlock>, Status> {
    if blocks.len() > limits::BLOCKS_MAX {
        let problem = format!(
            "must be at most {}, not {}",
            limits::BLOCKS_MAX,
            blocks.len()
        );
        return Err(invalid(field, problem));
    }
    let mut ids = HashSet::new();
    let parse = |(index, block)| {
        let field = format!("{field}[{index}]");
        let block = new_block(&field, block)?;
        match ids.insert(block.id.clone()) {
            true => Ok(block),
            false => Err(invalid(
                &path(&field, "block_id"),
                "must be another than before",
            )),
        }
    };
    blocks.into_iter().enumerate().map(parse).collect()
}

/// A block that cannot be appended to.
pub(super) fn sealed(field: &str, block: v1::ContentBlock) -> Result<NewBlock, Status> {
    let block = new_block(field, block)?;
    match block.open {
        false => Ok(block),
        true => Err(invalid(&path(field, "state"), "must be SEALED")),
    }
}

/// Refuses a placeholder that says more than what is to come.
pub(super) fn describes_only(field: &str, block: &v1::ContentBlock) -> Result<(), Status> {
    let others = [
        ("state", block.state != v1::BlockState::Unspecified as i32),
        ("task_id", !block.task_id.is_empty()),
        ("error", !block.error.is_empty()),
        ("create_time", block.create_time.is_some()),
        ("update_time", block.update_time.is_some()),
        ("content", block.content.is_some()),
    ];
    match others.iter().find(|(_, is_given)| *is_given) {
        Some((other, _)) => Err(invalid(&path(field, other), "must not be given")),
        None => Ok(()),
    }
}

/// A block that is to be added.
pub(super) fn new_block(field: &str, block: v1::ContentBlock) -> Result<NewBlock, Status> {
    let id = fields::id_or_fresh(&path(field, "block_id"), &block.block_id, BlockId::parse)?;
    let metadata = fields::metadata(&path(field, "metadata"), block.metadata.as_ref())?;
    let open = is_open(field, block.state)?;
    let Some(content) = block.content else {
        return Err(invalid(&path(field, "content"), "must be one of the kinds"));
    };
    Ok(NewBlock {
        id,
        open,
        metadata,
        content: self::content(field, content, open)?,
    })
}

/// A change of a block.
pub(super) fn update(field: &str, block: v1::ContentBlock) -> Result<UpdateContent, Status> {
    let id = fields::id(&path(field, "block_id"), &block.block_id, BlockId::parse)?;
    let open = is_open(field, block.state)?;
    let metadata = fields::metadata(&path(field, "metadata"), block.metadata.as_ref())?;
    let content = block
        .content
        .map(|content| self::content(field, content, open));
    Ok(UpdateContent {
        id,
        open,
        metadata: block.metadata.is_some().then_some(metadata),
        content: content.transpose()?,
    })
}

/// The content of a block, within its limits.
pub(super) fn content(
    field: &str,
    content: v1::content_block::Content,
    open: bool,
) -> Result<Content, Status> {
    let field = path(field, field_name(&content));
    let content = content_from_v1(content).map_err(|malformed| {
        // The path within the content begins with its kind, as `field` ends.
        let inner = malformed
            .field
            .split_once('.')
            .map_or("", |(_, inner)| inner);
        invalid(&path(&field, inner), &malformed.problem)
    })?;
    if content.stored().is_some() {
        let problem = "is made by the service: send the content itself";
        return Err(invalid(&path(&field, "content_ref"), problem));
    }
    match &content {
        Content::Textual(textual) => check_textual(&field, textual, open)?,
        Content::Media(_) if open => {
            let problem = "must not be OPEN: text cannot be appended to a medium";
            return Err(invalid(&path(parent(&field), "state"), problem));
        }
        Content::Media(media) => check_media(&field, media)?,
    }
    Ok(content)
}

fn check_textual(field: &str, textual: &Textual, open: bool) -> Result<(), Status> {
    let Body::Inline(text) = &textual.body else {
        return Ok(());
    };
    fields::text(&path(field, "text"), text, limits::BLOCK_BYTES_MAX)?;
    let name =
        |name: &str, value: &str| fields::text(&path(field, name), value, limits::NAME_BYTES_MAX);
    match &textual.kind {
        TextKind::Json if !open => check_json(&path(field, "text"), text),
        TextKind::Code { language, filename } => {
            name("language", language)?;
            fields::text(&path(field, "filename"), filename, limits::LINE_BYTES_MAX)
        }
        TextKind::ToolCall {
            call_id,
            name: tool,
        } => {
            name("call_id", call_id)?;
            name("name", tool)
        }
        TextKind::ToolResult { call_id, .. } => name("call_id", call_id),
        TextKind::Text
        | TextKind::Markdown
        | TextKind::Html
        | TextKind::Json
        | TextKind::Thinking => Ok(()),
    }
}

fn check_json(field: &str, text: &str) -> Result<(), Status> {
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(()),
        Err(problem) => Err(invalid(field, format!("must be JSON: {problem}"))),
    }
}

fn check_media(field: &str, media: &Media) -> Result<(), Status> {
    let check = |name: &str, value: &str, max| fields::text(&path(field, name), value, max);
    check("media_type", &media.media_type, limits::NAME_BYTES_MAX)?;
    check("caption", &media.caption, limits::NOTE_BYTES_MAX)?;
    check("filename", &media.filename, limits::LINE_BYTES_MAX)?;
    match &media.source {
        Source::Url(url) if url.is_empty() => {
            Err(invalid(&path(field, "url"), "must not be empty"))
        }
        Source::Url(url) => check("url", url, limits::URL_BYTES_MAX),
        Source::Inline(bytes) => {
            fields::length_within(&path(field, "data"), bytes.len(), limits::BLOCK_BYTES_MAX)
        }
        Source::Stored(_) => Ok(()),
    }
}

fn is_open(field: &str, state: i32) -> Result<bool, Status> {
    let field = path(field, "state");
    match fields::known(&field, state)? {
        BlockState::Open => Ok(true),
        BlockState::Unspecified | BlockState::Sealed => Ok(false),
        BlockState::Placeholder => Err(invalid(&field, "must be OPEN or SEALED")),
    }
}

fn path(parent: &str, field: &str) -> String {
    match field {
        "" => parent.to_owned(),
        field => format!("{parent}.{field}"),
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(parent, _)| parent)
}
