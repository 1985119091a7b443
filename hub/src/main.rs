//! The hub's program: arguments, then the command that was asked for.

use clap::Parser;
use rigwire::commands::{Arguments, Command, serve, token, up};

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rigwire: starting the runtime: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Up(arguments) => up::run(arguments).await,
            Command::Serve(options) => serve::run(options).await,
            Command::Token(command) => token::run(&command),
        }
    });
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rigwire: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
