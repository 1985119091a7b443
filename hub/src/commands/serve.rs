//! `rigwire serve`: the hub alone.

use super::{say, say_urls, start_log, stop_signal};
use crate::server::Server;
use crate::settings::{Options, Settings};

pub async fn run(options: Options) -> anyhow::Result<()> {
    let settings = Settings::load(options)?;
    start_log(&settings.log)?;
    say(format_args!("rigwire {}: record in {}", env!("CARGO_PKG_VERSION"), settings.data.display()));
    let mut server = Server::start(&settings).await?;
    say_urls(&server);
    let outcome = tokio::select! {
        signal = stop_signal() => signal.map(|signal| tracing::info!("{signal}: stopping")),
        failure = server.failure() => Err(failure),
    };
    server.stop().await;
    outcome
}
