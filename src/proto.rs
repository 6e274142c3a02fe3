//! The generated contract: messages and clients of `throughline.v1`.

#![allow(clippy::all, missing_docs, rustdoc::all)]

tonic::include_proto!("throughline.v1");

/// The compiled protos, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
