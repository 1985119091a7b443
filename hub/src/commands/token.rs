//! `rigwire token`: makes, lists and revokes tokens, while the hub runs or not.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};
use rigwire_shared::ids::AgentId;
use rigwire_shared::time::Timestamp;

use super::say;
use crate::access::{Bearer, Role, book};
use crate::dialect::rfc3339;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token and print it; it is shown this once
    Create(Create),
    /// Show to whom tokens were given
    List(Where),
    /// Make a token worthless, within a second also for who is connected
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub struct Where {
    /// Data directory of the hub
    #[arg(long, env = "RIGWIRE_DATA", value_name = "DIRECTORY", default_value = "./rigwire-data")]
    data: PathBuf,
}

#[derive(Debug, Args)]
pub struct Create {
    /// Whose it is: a person, a program. An agent's token has the agent's name
    #[arg(long, value_name = "NAME", required_unless_present = "agent")]
    name: Option<String>,
    /// What the bearer may do: a viewer looks, an operator runs and reserves, an admin sees who is connected
    #[arg(long, value_name = "ROLE", default_value = "viewer", conflicts_with = "agent")]
    role: Role,
    /// Make the password of this agent for the broker instead; its user name is the agent's id
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// How long it is good, such as 12h or 90days [default: until it is revoked]
    #[arg(long = "for", value_name = "DURATION")]
    life: Option<String>,
    #[command(flatten)]
    place: Where,
}

#[derive(Debug, Args)]
pub struct Revoke {
    /// Id or name, as `token list` shows them
    token: String,
    #[command(flatten)]
    place: Where,
}

pub fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Create(create) => self::create(create),
        Command::List(place) => list(place),
        Command::Revoke(revoke) => self::revoke(revoke),
    }
}

fn create(create: &Create) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let expires_at = create.life.as_deref().map(|life| end(life, now)).transpose()?;
    let bearer = match &create.agent {
        Some(id) => Bearer::Agent(AgentId::new(id).map_err(|error| anyhow::anyhow!("agent {id:?}: {error}"))?),
        None => Bearer::Role(create.role),
    };
    let name = create.name.as_ref().or(create.agent.as_ref()).context("a token needs a name")?;
    let (entry, text) = book::change(&create.place.data, |book| book.add(name, bearer, now, expires_at))?;
    say(format_args!("{text}"));
    let until =
        entry.expires_at.map_or_else(|| "until it is revoked".to_owned(), |end| format!("until {}", rfc3339(end)));
    eprintln!("token {} of {:?}, {}, good {until}; it is not shown again", entry.id, entry.name, entry.role());
    Ok(())
}

fn end(life: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let duration = humantime::parse_duration(life).ok().filter(|duration| !duration.is_zero());
    let micros = duration.and_then(|duration| i64::try_from(duration.as_micros()).ok());
    let end = micros.and_then(|micros| now.0.checked_add(micros));
    // Whole seconds, as a token says it: book and token never differ.
    end.map(|end| Timestamp(end.div_euclid(1_000_000).saturating_add(1).saturating_mul(1_000_000)))
        .with_context(|| format!("for is {life:?}, expected a duration such as \"12h\" or \"90days\""))
}

fn list(place: &Where) -> anyhow::Result<()> {
    let now = Timestamp::now();
    let book = book::read(&place.data)?;
    let entries = book.as_ref().map(|book| book.entries()).unwrap_or_default();
    if entries.is_empty() {
        say(format_args!("no tokens in {}: `rigwire token create` makes one", book::path(&place.data).display()));
        return Ok(());
    }
    let width = entries.iter().map(|entry| entry.name.chars().count()).max().unwrap_or_default().max(4);
    say(format_args!("{:<12}  {:<width$}  {:<8}  {:<7}  {:<24}  EXPIRES", "ID", "NAME", "ROLE", "STATE", "CREATED"));
    for entry in entries {
        let expires = entry.expires_at.map_or_else(|| "-".to_owned(), rfc3339);
        say(format_args!(
            "{:<12}  {:<width$}  {:<8}  {:<7}  {:<24}  {expires}",
            entry.id,
            entry.name,
            entry.role(),
            entry.state(now),
            rfc3339(entry.created_at)
        ));
    }
    Ok(())
}

fn revoke(revoke: &Revoke) -> anyhow::Result<()> {
    let entry = book::change(&revoke.place.data, |book| book.revoke(&revoke.token, Timestamp::now()))?;
    say(format_args!("token {} of {:?} is revoked", entry.id, entry.name));
    Ok(())
}
