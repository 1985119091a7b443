//! `rigwire-agent check`: reads what `run` would read, and touches no device.

use clap::Args;

use super::run;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    run: run::Arguments,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    arguments.run.load()?;
    println!("ok");
    Ok(())
}
