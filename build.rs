//! Compiles the protos without a protoc: protox parses, tonic generates.
//!
//! Twice, since the server reads requests with a codec of its own, and answers a
//! stream of writes with a type of its own.

use std::{env, fs, path::PathBuf};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    println!("cargo:rerun-if-changed=proto");
    let files: Vec<PathBuf> = fs::read_dir("proto/throughline/v1")?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_, Error>>()?;
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(files)?;

    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(
        out.join("descriptors.binpb"),
        compiler.encode_file_descriptor_set(),
    )?;

    let mut named = tonic_prost_build::Config::new();
    named.enable_type_names();
    // Else a token of text would be as large in memory as the largest of the writes.
    for large in ["add_content", "update_content", "start_task", "update_task"] {
        named.boxed(format!(".throughline.v1.WriteMessageRequest.write.{large}"));
    }
    tonic_prost_build::configure()
        .build_server(false)
        .bytes(".throughline.v1")
        .compile_fds_with_config(compiler.file_descriptor_set(), named)?;

    let servers = out.join("servers");
    fs::create_dir_all(&servers)?;
    tonic_prost_build::configure()
        .build_client(false)
        .codec_path("crate::api::grpc::codec::RequestCodec")
        .out_dir(servers)
        .extern_path(".throughline.v1", "crate::proto")
        .extern_path(
            ".throughline.v1.WriteMessageResponse",
            "crate::api::grpc::write_answer::WriteAnswer",
        )
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
