//! The agent's own computer as a device that runs programs: takes orders, keeps to the number that may run at once, and says how
//! busy it is. What a single program does is `attempt.rs`'s.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use rigwire_shared::agent::{DeviceCard, DeviceKind, DeviceState, Identity};
use rigwire_shared::event::{
    Answer, DeviceChange, EventBody, Level, SafeOutcome, StepError, StepFinished, StepOutcome, code,
};
use rigwire_shared::ids::{AttemptId, CommandId, DeviceId, Fence, RunId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, Stop, failed};
use super::{Launch, ProgramConfig, RUN, launch, place, process, work};
use crate::config::{HostConfig, host_name};
use crate::device::{HubLink, Order, StepOrder};
use crate::events::Events;
use crate::inventory::Board;
use crate::lease::{Granted, Held, Lease, Released};

/// Steps that wait for a free place. More are refused as busy.
const WAITING_MAX: usize = 256;

pub(crate) struct HostTask {
    pub(crate) config: HostConfig,
    /// Of the spool, beneath which steps have their directories.
    pub(crate) spool: PathBuf,
    pub(crate) events: Events,
    pub(crate) board: Board,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) hub: watch::Receiver<HubLink>,
    pub(crate) shutdown: CancellationToken,
}

struct Waiting {
    run: RunId,
    attempt: AttemptId,
    launch: Launch,
    /// A step waits no longer than it may run.
    until: Instant,
}

struct Running {
    program: usize,
    stop: watch::Sender<Option<Stop>>,
}

struct Host {
    config: HostConfig,
    programs: Vec<Arc<ProgramConfig>>,
    directory: PathBuf,
    events: Events,
    board: Board,
    hub: watch::Receiver<HubLink>,
    lease: Lease,
    waiting: VecDeque<Waiting>,
    running: HashMap<AttemptId, Running>,
    tasks: JoinSet<AttemptId>,
    shown: Option<usize>,
}

pub(crate) fn card(config: &HostConfig) -> DeviceCard {
    let names = config.programs.iter().map(|program| program.name.clone());
    DeviceCard {
        device: config.id.clone(),
        kind: DeviceKind::Host,
        class: "host".to_owned(),
        profile: "host".to_owned(),
        tags: config.tags.iter().cloned().chain(names).collect(),
        state: DeviceState::Online,
        cause: IDLE.to_owned(),
        identity: Some(identity()),
        readings: Vec::new(),
        actions: config.programs.iter().map(ProgramConfig::card).collect(),
        sdk: None,
    }
}

const IDLE: &str = "no program runs";

fn identity() -> Identity {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    Identity {
        vendor: read("ostype").trim().to_owned(),
        model: std::env::consts::ARCH.to_owned(),
        firmware: read("osrelease").trim().to_owned(),
        location: host_name(),
        ..Identity::default()
    }
}

/// Runs until shutdown, and returns when no program of it runs any more.
pub(crate) async fn run(task: HostTask) -> anyhow::Result<()> {
    let HostTask { config, spool, events, board, mut orders, hub, shutdown } = task;
    let mut host = Host {
        programs: config.programs.iter().cloned().map(Arc::new).collect(),
        config,
        directory: work::all(&spool),
        events,
        board,
        hub,
        lease: Lease::default(),
        waiting: VecDeque::new(),
        running: HashMap::new(),
        tasks: JoinSet::new(),
        shown: None,
    };
    for program in &host.programs {
        if let Err(problem) = process::check_user(program) {
            tracing::warn!("program {} {problem}; steps that name it will fail", program.name);
        }
    }
    host.show().await;
    loop {
        let wake = host.next_wake();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            order = orders.recv() => match order {
                Some(order) => host.order(order).await,
                None => break,
            },
            Some(ended) = host.tasks.join_next() => host.ended(ended?),
            () = at(wake) => host.do_what_is_due().await,
        }
        host.start_waiting();
        host.show().await;
    }
    for step in std::mem::take(&mut host.waiting) {
        host.finish(step.run, step.attempt, StepOutcome::Cancelled { safe: None }).await;
    }
    host.stop_all(&Stop::AgentStops);
    while let Some(ended) = host.tasks.join_next().await {
        ended?;
    }
    Ok(())
}

impl Host {
    async fn order(&mut self, order: Order) {
        match order {
            Order::Start(order) => self.start(order).await,
            Order::Cancel { command, attempt, cause } => {
                self.answer(command, Answer::Done).await;
                if let Some(running) = self.running.get(&attempt) {
                    running.stop.send_replace(Some(Stop::Cancelled(cause)));
                } else if let Some(index) = self.waiting.iter().position(|step| step.attempt == attempt)
                    && let Some(step) = self.waiting.remove(index)
                {
                    self.finish(step.run, step.attempt, StepOutcome::Cancelled { safe: None }).await;
                }
            }
            Order::Grant { command, fence, until, holder } => {
                match self.lease.grant(Held { fence, until, holder: holder.clone() }) {
                    Ok(Granted { new, overtaken }) => {
                        self.tell_overtaken(overtaken, fence).await;
                        if new {
                            self.tell_lease(fence, true, format!("granted to {holder}")).await;
                        }
                        self.answer(command, Answer::Done).await;
                    }
                    Err(error) => self.answer(command, Answer::Refused { error }).await,
                }
            }
            Order::Release { command, fence } => match self.lease.release(fence) {
                Ok(Released { was_held, overtaken }) => {
                    self.tell_overtaken(overtaken, fence).await;
                    if was_held {
                        self.tell_lease(fence, false, "released".to_owned()).await;
                    }
                    self.answer(command, Answer::Done).await;
                }
                Err(error) => self.answer(command, Answer::Refused { error }).await,
            },
            Order::MakeSafe { command, cause } => {
                // A computer has no safe state but one: that nothing runs.
                self.stop_all(&Stop::Cancelled(cause.clone()));
                for step in std::mem::take(&mut self.waiting) {
                    self.finish(step.run, step.attempt, StepOutcome::Cancelled { safe: None }).await;
                }
                let device = self.config.id.clone();
                self.events.send(EventBody::Safe { device, cause, outcome: SafeOutcome::NotNeeded }).await;
                self.answer(command, Answer::Done).await;
            }
        }
    }

    async fn start(&mut self, order: StepOrder) {
        let StepOrder { run, attempt, fence, module, with, timeout } = order;
        match self.check(fence, &module, &with, timeout) {
            Ok(launch) => self.waiting.push_back(Waiting { run, attempt, launch, until: Instant::now() + timeout }),
            Err(error) => self.finish(run, attempt, StepOutcome::Failed { error }).await,
        }
    }

    fn check(
        &self,
        fence: Option<Fence>,
        module: &str,
        with: &rigwire_shared::value::Fields,
        timeout: std::time::Duration,
    ) -> Result<Launch, StepError> {
        if module != RUN {
            let message = format!("{} is a computer and runs {RUN} only, not {module}", self.config.id);
            return Err(StepError { code: code::MODULE_UNKNOWN.to_owned(), message });
        }
        // Runs share it, and what runs goes on when someone leases it. What was begun before and comes late is refused.
        if let Some(held) = self.lease.held()
            && fence.is_none_or(|fence| fence < held.fence)
        {
            let message = format!("{} is leased to {}", self.config.id, held.holder);
            return Err(StepError { code: code::LEASE_LOST.to_owned(), message });
        }
        if self.waiting.len() >= WAITING_MAX {
            let message = format!("{WAITING_MAX} steps wait for {} already", self.config.id);
            return Err(StepError { code: code::DEVICE_BUSY.to_owned(), message });
        }
        let launch = launch(with, timeout, &self.config.programs, self.config.file.as_deref())?;
        match self.programs.get(launch.program).map(|program| (program, process::check_user(program))) {
            Some((program, Err(problem))) => {
                let message = format!("program {} in {} {problem}", program.name, place(self.config.file.as_deref()));
                Err(StepError { code: code::PROCESS_FAILED.to_owned(), message })
            }
            Some((_, Ok(()))) | None => Ok(launch),
        }
    }

    /// Starts what has a place, in the order it came; one whose program is at its limit lets others pass.
    fn start_waiting(&mut self) {
        let mut index = 0;
        while self.running.len() < self.config.max_parallel && index < self.waiting.len() {
            let free = self.waiting.get(index).is_some_and(|step| self.has_place(step.launch.program));
            if free && let Some(step) = self.waiting.remove(index) {
                self.begin(step);
            } else {
                index += 1;
            }
        }
    }

    fn begin(&mut self, step: Waiting) {
        let Waiting { run, attempt, launch, .. } = step;
        let Some(program) = self.programs.get(launch.program).cloned() else { return };
        let (stop, stopped) = watch::channel(None);
        self.running.insert(attempt, Running { program: launch.program, stop });
        let step = Attempt {
            run,
            attempt,
            device: self.config.id.clone(),
            program,
            launch,
            directory: self.directory.clone(),
            events: self.events.clone(),
            stop: stopped,
        };
        self.tasks.spawn(async move {
            step.perform().await;
            attempt
        });
    }

    fn has_place(&self, program: usize) -> bool {
        let most = self.programs.get(program).and_then(|program| program.max_parallel).unwrap_or(usize::MAX);
        self.running.values().filter(|running| running.program == program).count() < most
    }

    fn ended(&mut self, attempt: AttemptId) {
        self.running.remove(&attempt);
    }

    fn stop_all(&self, why: &Stop) {
        for running in self.running.values() {
            running.stop.send_replace(Some(why.clone()));
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|step| step.until).min();
        let lease = self.lease.until().map(|until| {
            let left = until.0.saturating_sub(self.hub.borrow().hub_now().0);
            Instant::now() + std::time::Duration::from_micros(u64::try_from(left).unwrap_or(0))
        });
        waiting.into_iter().chain(lease).min()
    }

    async fn do_what_is_due(&mut self) {
        let hub_now = self.hub.borrow().hub_now();
        if let Some(held) = self.lease.expire(hub_now) {
            self.tell_lease(held.fence, false, "expired".to_owned()).await;
        }
        let now = Instant::now();
        while let Some(index) = self.waiting.iter().position(|step| step.until <= now)
            && let Some(step) = self.waiting.remove(index)
        {
            let waited = humantime::format_duration(step.launch.timeout);
            let message = format!("no place for another program became free on {} within {waited}", self.config.id);
            self.finish(step.run, step.attempt, failed(code::DEVICE_BUSY, message)).await;
        }
    }

    /// Tells how many programs run, if that is news.
    async fn show(&mut self) {
        let count = self.running.len();
        if self.shown.replace(count) == Some(count) {
            return;
        }
        let (state, cause) = match count {
            0 => (DeviceState::Online, IDLE.to_owned()),
            1 => (DeviceState::Busy, "1 program runs".to_owned()),
            _ => (DeviceState::Busy, format!("{count} programs run")),
        };
        let (device, identity) = (self.config.id.clone(), Some(identity()));
        self.board.update(&device, state, &cause, identity.as_ref());
        self.events.send(EventBody::Device(DeviceChange { device, state, cause, identity })).await;
    }

    async fn finish(&self, run: RunId, attempt: AttemptId, outcome: StepOutcome) {
        self.events.send(EventBody::StepFinished(StepFinished { attempt, run, outcome, duration_us: 0 })).await;
    }

    async fn tell_overtaken(&self, overtaken: Option<Held>, fence: Fence) {
        if let Some(held) = overtaken {
            let cause = format!("{} was overtaken under fencing number {}", held.holder, fence.0);
            self.tell_lease(held.fence, false, cause).await;
        }
    }

    async fn tell_lease(&self, fence: Fence, held: bool, cause: String) {
        self.events.send(EventBody::Lease { device: self.config.id.clone(), fence, held, cause }).await;
    }

    async fn answer(&self, command: CommandId, answer: Answer) {
        self.events.send(EventBody::CommandAnswered { command, answer }).await;
    }
}

/// What an agent that was killed left running is ended before anything new begins. Told to the hub and in the log.
pub(crate) async fn tell_cleared(device: &DeviceId, cleared: &[String], events: &Events) {
    for told in cleared {
        let message = format!("left running when the agent was killed, and ended now: {told}");
        tracing::warn!("{message}");
        events.log(Level::Warning, Some(device), RUN, message).await;
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
