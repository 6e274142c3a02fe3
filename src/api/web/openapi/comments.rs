//! What the protos say in their comments. Some of it is also said to programs:
//! that a field is required, output only, or of a length at most.

use std::{collections::HashMap, sync::LazyLock};

use prost_reflect::{FieldDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor};

use crate::api::web::json;

type Comments = HashMap<(String, Vec<i32>), String>;

static COMMENTS: LazyLock<Comments> = LazyLock::new(|| json::files().flat_map(read).collect());

fn read(file: FileDescriptor) -> Vec<((String, Vec<i32>), String)> {
    let info = file.file_descriptor_proto().source_code_info.clone();
    let locations = info.unwrap_or_default().location.into_iter();
    let named = locations.filter_map(|location| {
        let comment = location.leading_comments?;
        Some(((file.name().to_owned(), location.path), tidy(&comment)))
    });
    named.collect()
}

/// The lines of a paragraph as one.
fn tidy(comment: &str) -> String {
    let paragraphs = comment.trim().split("\n\n").chain(None);
    let joined = paragraphs.map(|lines| lines.lines().map(str::trim).collect::<Vec<_>>().join(" "));
    joined.collect::<Vec<_>>().join("\n\n").trim().to_owned()
}

fn find(file: &FileDescriptor, path: &[i32]) -> &'static str {
    let found = COMMENTS.get(&(file.name().to_owned(), path.to_owned()));
    found.map_or("", String::as_str)
}

pub(super) fn of_method(method: &MethodDescriptor) -> &'static str {
    find(&method.parent_file(), method.path())
}

pub(super) fn of_message(message: &MessageDescriptor) -> &'static str {
    find(&message.parent_file(), message.path())
}

pub(super) fn of_field(field: &FieldDescriptor) -> &'static str {
    find(&field.parent_message().parent_file(), field.path())
}

pub(super) fn is_required(field: &FieldDescriptor) -> bool {
    of_field(field).starts_with("Required")
}

pub(super) fn is_output_only(field: &FieldDescriptor) -> bool {
    of_field(field).contains("Output only")
}

/// As in "At most 1,024 bytes".
pub(super) fn bytes_max(field: &FieldDescriptor) -> Option<u64> {
    let (_, rest) = of_field(field).split_once("t most ")?;
    let (number, _) = rest.split_once(" bytes")?;
    number.replace(',', "").parse().ok()
}
