//! The contract as JSON: the canonical mapping of protobuf, by the descriptors.

mod bound;
mod print;

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FileDescriptor, MessageDescriptor,
    MethodDescriptor,
};
use serde::Deserializer;
use tonic::Status;

pub(super) use self::{
    bound::bounded,
    print::{Printer, put_text},
};
use crate::{api::status::invalid, proto};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut pool = proto::POOL.clone();
    pool.decode_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .expect("the build of tonic-health wrote its descriptors");
    pool
});

static PRINTER: LazyLock<Printer> = LazyLock::new(|| Printer::of(&POOL));

/// The RPC at a path such as `/throughline.v1.TaskService/GetTask`.
pub(super) fn method(path: &str) -> Option<MethodDescriptor> {
    let (service, name) = path.strip_prefix('/')?.split_once('/')?;
    let service = POOL.get_service_by_name(service)?;
    service.methods().find(|method| method.name() == name)
}

/// Where gRPC has an RPC.
pub(super) fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// The protos of the contract.
pub(super) fn files() -> impl Iterator<Item = FileDescriptor> {
    POOL.files()
}

/// What writes the contract's messages.
pub(super) fn printer() -> &'static Printer {
    &PRINTER
}

/// A message as JSON.
pub(super) fn write(descriptor: &MessageDescriptor, message: &Bytes) -> Result<Bytes, Status> {
    let printed = PRINTER.to_json(descriptor.full_name(), message);
    printed.ok_or_else(|| Status::internal("an answer is not of its type"))
}

/// A message from JSON, as protobuf. A field that the message does not have is
/// refused.
pub(super) fn read<'de, D>(descriptor: &MessageDescriptor, json: D) -> Result<Bytes, Status>
where
    D: Deserializer<'de>,
    D::Error: std::fmt::Display,
{
    let options = DeserializeOptions::new();
    let message = DynamicMessage::deserialize_with_options(descriptor.clone(), json, &options)
        .map_err(|problem| invalid("request", problem))?;
    Ok(message.encode_to_vec().into())
}

/// A message from the text of JSON, as protobuf.
pub(super) fn read_text(descriptor: &MessageDescriptor, text: &[u8]) -> Result<Bytes, Status> {
    let mut json = serde_json::Deserializer::from_slice(bounded(text)?);
    let message = read(descriptor, &mut json)?;
    json.end().map_err(|problem| invalid("request", problem))?;
    Ok(message)
}
