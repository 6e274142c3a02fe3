//! The generated contract: messages and clients of `throughline.v1`.

#![allow(clippy::all, missing_docs, rustdoc::all)]

tonic::include_proto!("throughline.v1");

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// What the contract's messages consist of.
pub static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the build wrote the descriptors"));

/// The compiled protos, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
