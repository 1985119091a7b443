//! `rigwire-agent check`: reads what `run` would read, and touches no device.

use super::run::Arguments;

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    arguments.load()?;
    println!("ok");
    Ok(())
}
