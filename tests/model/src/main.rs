//! The scripted model as a program, for tests in other languages.

use std::{fs, io, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Parser;
use throughline_model::{Model, Script};

/// An OpenAI-compatible server that says what a script tells it.
///
/// Prints its base URL when it serves. `GET /record` answers with all that it was
/// asked.
#[derive(Debug, Parser)]
#[command(name = "throughline-model")]
struct Args {
    /// Where to serve; port 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// A file with the script, as JSON. Without it the model echoes.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("failed to read the script: {0}")]
    Read(#[source] io::Error),
    #[error("the script is wrong: {0}")]
    Script(#[from] serde_json::Error),
    #[error("failed to serve: {0}")]
    Serve(#[source] io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("throughline-model: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    let script = match args.script {
        Some(path) => serde_json::from_slice(&fs::read(path).map_err(Failure::Read)?)?,
        None => Script::new(),
    };
    let model = Model::listen(args.listen, script).await;
    let model = model.map_err(Failure::Serve)?;
    println!("throughline-model: serving on {}", model.base_url());
    model.served().await;
    Ok(())
}
