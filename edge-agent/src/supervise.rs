//! Owns every task. One that ends too early stops all; a stop goes through the phases in order. Knows no task's purpose.

use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Whoever stops the agent expects it to be gone within two seconds.
const STOP_WITHIN: Duration = Duration::from_millis(1900);
/// What each later phase gets in any case.
const LEFT_FOR_EACH: Duration = Duration::from_millis(250);

/// Tasks that stop together.
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) token: CancellationToken,
    /// What its tasks get to end at most; then they are dropped.
    pub(crate) grace: Duration,
    pub(crate) tasks: JoinSet<anyhow::Result<()>>,
}

impl Phase {
    pub(crate) fn new(name: &'static str, grace: Duration) -> Self {
        Self { name, token: CancellationToken::new(), grace, tasks: JoinSet::new() }
    }
}

/// Runs until `shutdown`, or until a task ends that should not; then stops the phases one after the other.
pub(crate) async fn run(mut phases: Vec<Phase>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut outcome = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        early = first_end(&mut phases) => early,
    };
    let end = Instant::now() + STOP_WITHIN;
    let mut later = LEFT_FOR_EACH * u32::try_from(phases.len()).unwrap_or(u32::MAX);
    for phase in &mut phases {
        later = later.saturating_sub(LEFT_FOR_EACH);
        let left = end.saturating_duration_since(Instant::now()).saturating_sub(later);
        phase.token.cancel();
        let drained = tokio::time::timeout(phase.grace.min(left), drain(phase)).await;
        let result = match drained {
            Ok(result) => result,
            Err(_) => {
                tracing::warn!(phase = phase.name, left = phase.tasks.len(), "tasks did not stop in time");
                phase.tasks.shutdown().await;
                Ok(())
            }
        };
        outcome = outcome.and(result);
    }
    outcome
}

async fn first_end(phases: &mut [Phase]) -> anyhow::Result<()> {
    let ends = phases.iter_mut().map(|phase| {
        Box::pin(async {
            match phase.tasks.join_next().await {
                Some(ended) => (phase.name, flatten(ended)),
                None => std::future::pending().await,
            }
        })
    });
    let (name, ended) = first(ends.collect()).await;
    ended?;
    anyhow::bail!("a task of the {name} ended before the agent was stopped")
}

/// The first of several futures to be ready. There are as many as phases.
async fn first<T, F: Future<Output = T> + Unpin>(mut futures: Vec<F>) -> T {
    std::future::poll_fn(|cx| {
        for future in &mut futures {
            if let std::task::Poll::Ready(value) = std::pin::Pin::new(future).poll(cx) {
                return std::task::Poll::Ready(value);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

async fn drain(phase: &mut Phase) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some(ended) = phase.tasks.join_next().await {
        outcome = outcome.and(flatten(ended));
    }
    outcome
}

fn flatten(ended: Result<anyhow::Result<()>, JoinError>) -> anyhow::Result<()> {
    match ended {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => Ok(()),
        Err(error) => Err(anyhow::anyhow!("a task failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Journal = Arc<Mutex<Vec<&'static str>>>;

    fn phase(name: &'static str, journal: &Journal) -> Phase {
        let mut phase = Phase::new(name, Duration::from_secs(1));
        let (token, journal) = (phase.token.clone(), journal.clone());
        phase.tasks.spawn(async move {
            token.cancelled().await;
            journal.lock().unwrap().push(name);
            Ok(())
        });
        phase
    }

    #[tokio::test(start_paused = true)]
    async fn phases_stop_in_order() {
        let journal = Journal::default();
        let phases = vec![phase("first", &journal), phase("second", &journal)];
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        run(phases, shutdown).await.unwrap();
        assert_eq!(*journal.lock().unwrap(), ["first", "second"]);
    }

    #[tokio::test(start_paused = true)]
    async fn all_phases_together_take_less_than_two_seconds() {
        let phases = ["devices", "recorder", "connection"].map(|name| {
            let mut phase = Phase::new(name, Duration::from_secs(1));
            phase.tasks.spawn(std::future::pending());
            phase
        });
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        let began = tokio::time::Instant::now();
        run(phases.into(), shutdown).await.unwrap();
        assert_eq!(began.elapsed(), STOP_WITHIN);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_early_stops_all_and_is_an_error() {
        let journal = Journal::default();
        let mut phases = vec![phase("devices", &journal), phase("link", &journal)];
        phases[1].tasks.spawn(async { Ok(()) });
        let error = run(phases, CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "a task of the link ended before the agent was stopped");
        assert_eq!(*journal.lock().unwrap(), ["devices", "link"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_and_a_stuck_task_is_dropped() {
        let journal = Journal::default();
        let mut phases = vec![phase("devices", &journal), phase("link", &journal)];
        phases[0].tasks.spawn(std::future::pending());
        phases[1].tasks.spawn(async { anyhow::bail!("the disk is gone") });
        let began = tokio::time::Instant::now();
        let error = run(phases, CancellationToken::new()).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), began.elapsed()), ("the disk is gone", Duration::from_secs(1)));
        assert_eq!(*journal.lock().unwrap(), ["devices", "link"]);
    }
}
