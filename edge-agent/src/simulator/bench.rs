//! Several simulated instruments on one bench, in one thread, each on its own pseudo terminal, wired to each other.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::poll_fn;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rigwire_shared::time::Timestamp;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::core::{Output, SimulatorCore};
use super::fault::Fault;
use super::pty::Pty;
use crate::profile::Profile;
use crate::protocol::expression::Expression;

/// The thread answers within microseconds; longer means that it is gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

pub struct BenchInstrument {
    pub name: String,
    pub profile: Arc<Profile>,
    /// Stable path that always leads to the instrument's current terminal.
    pub link: Option<PathBuf>,
    pub faults: Vec<Fault>,
}

/// A wire between two instruments: a variable of one follows an expression over the variables of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coupling {
    pub from: String,
    pub expression: String,
    pub to: String,
    pub variable: String,
}

/// A running bench. Dropping it pulls every cable, removes the links and joins the thread.
#[derive(Debug)]
pub struct Bench {
    requests: mpsc::Sender<Request>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Request {
    instrument: String,
    order: Order,
    answer: blocking::SyncSender<Result<String, String>>,
}

#[derive(Debug)]
enum Order {
    Path,
    Unplug,
    Replug,
    Faults(Vec<Fault>),
    Set(String, String),
    Get(String),
    Trace(PathBuf),
}

impl Bench {
    pub fn start(instruments: Vec<BenchInstrument>, couplings: Vec<Coupling>) -> anyhow::Result<Self> {
        let mut players = BTreeMap::new();
        for instrument in instruments {
            let mut core = SimulatorCore::new(instrument.profile).map_err(|error| anyhow!(error))?;
            core.set_faults(&instrument.faults);
            let player = Player { core, link: instrument.link, pty: None, trace: None };
            if players.insert(instrument.name.clone(), player).is_some() {
                bail!("the bench has two instruments named {}, expected different names", instrument.name);
            }
        }
        let wires = couplings.into_iter().map(|coupling| Wire::new(&players, coupling)).collect::<Result<_, _>>()?;
        // A request waits for its answer, so more than a few never queue up; when full the caller gets an error.
        let (requests, receiver) = mpsc::channel(16);
        let (started, start) = blocking::sync_channel(1);
        let serve = move || serve(Play { players, wires }, receiver, &started);
        let thread = std::thread::Builder::new().name("bench".to_owned()).spawn(serve).context("starting the bench")?;
        let bench = Self { requests, thread: Some(thread) };
        start.recv().context("the bench ended while it started")??;
        Ok(bench)
    }

    /// Where the instrument can be opened now. Without a link this changes with every replug.
    pub fn path(&self, name: &str) -> anyhow::Result<PathBuf> {
        self.request(name, Order::Path).map(PathBuf::from)
    }

    pub fn unplug(&self, name: &str) -> anyhow::Result<()> {
        self.request(name, Order::Unplug).map(drop)
    }

    pub fn replug(&self, name: &str) -> anyhow::Result<()> {
        self.request(name, Order::Replug).map(drop)
    }

    pub fn set_faults(&self, name: &str, faults: &[Fault]) -> anyhow::Result<()> {
        self.request(name, Order::Faults(faults.to_vec())).map(drop)
    }

    pub fn set(&self, name: &str, variable: &str, value: &str) -> anyhow::Result<()> {
        self.request(name, Order::Set(variable.to_owned(), value.to_owned())).map(drop)
    }

    pub fn get(&self, name: &str, variable: &str) -> anyhow::Result<String> {
        self.request(name, Order::Get(variable.to_owned()))
    }

    /// Writes a line for everything that reaches the instrument from now on: microseconds since 1970, then the bytes as text
    /// with what is not printable escaped.
    pub fn trace(&self, name: &str, path: &Path) -> anyhow::Result<()> {
        self.request(name, Order::Trace(path.to_owned())).map(drop)
    }

    pub fn stop(self) {
        drop(self);
    }

    fn request(&self, instrument: &str, order: Order) -> anyhow::Result<String> {
        // One answer per request: never full.
        let (answer, answered) = blocking::sync_channel(1);
        let request = Request { instrument: instrument.to_owned(), order, answer };
        self.requests.try_send(request).map_err(|_| anyhow!("the bench does not take requests"))?;
        answered.recv_timeout(ANSWER_TIMEOUT).context("the bench does not answer")?.map_err(|error| anyhow!(error))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Closing the only sender ends the thread.
        let (closed, _) = mpsc::channel(1);
        self.requests = closed;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the bench ended by a panic");
        }
    }
}

fn serve(mut play: Play, requests: mpsc::Receiver<Request>, started: &blocking::SyncSender<anyhow::Result<()>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime");
    let opened = runtime.and_then(|runtime| {
        let guard = runtime.enter();
        play.players.values_mut().try_for_each(Player::plug)?;
        drop(guard);
        Ok(runtime)
    });
    // Whoever started the bench waits for this one message.
    match opened {
        Ok(runtime) if started.send(Ok(())).is_ok() => runtime.block_on(play.run(requests)),
        Ok(_) => {}
        Err(error) => drop(started.send(Err(error))),
    }
}

struct Play {
    players: BTreeMap<String, Player>,
    wires: Vec<Wire>,
}

struct Player {
    core: SimulatorCore,
    link: Option<PathBuf>,
    /// `None` while unplugged.
    pty: Option<Pty>,
    trace: Option<File>,
}

struct Wire {
    coupling: Coupling,
    expression: Expression,
}

impl Play {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut buffer = [0; 4096];
        loop {
            self.settle();
            let deadline = self.players.values().filter_map(Player::deadline).min();
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => {
                        let result = self.fulfil(&request.instrument, request.order);
                        // Who asked may have stopped waiting.
                        drop(request.answer.send(result));
                    }
                    None => return,
                },
                () = input(&mut self.players, &mut buffer) => {}
                () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {}
            }
        }
    }

    /// Sends what is due and lets variables follow each other.
    fn settle(&mut self) {
        let now = Instant::now();
        // Wires may form a ring: then each turn takes it one step further instead of for ever.
        for _ in 0..=self.wires.len() {
            for player in self.players.values_mut() {
                player.send_due(now);
            }
            let changed: Vec<String> = self
                .players
                .iter_mut()
                .filter_map(|(name, player)| player.core.take_changed().then(|| name.clone()))
                .collect();
            if changed.is_empty() {
                return;
            }
            for wire in self.wires.iter().filter(|wire| changed.contains(&wire.coupling.from)) {
                wire.apply(&mut self.players);
            }
        }
    }

    fn fulfil(&mut self, name: &str, order: Order) -> Result<String, String> {
        let known: Vec<&String> = self.players.keys().collect();
        let unknown = format!("the bench has no instrument {name}, expected one of {known:?}");
        let player = self.players.get_mut(name).ok_or(unknown)?;
        match order {
            Order::Path => match &player.pty {
                Some(pty) => Ok(pty.path().display().to_string()),
                None => Ok(player.link.as_ref().ok_or_else(|| format!("{name} is unplugged"))?.display().to_string()),
            },
            Order::Unplug => {
                player.pty = None;
                player.core.reset_line();
                Ok(String::new())
            }
            Order::Replug => player.plug().map(|()| String::new()).map_err(|error| format!("{error:#}")),
            Order::Faults(faults) => {
                player.core.set_faults(&faults);
                Ok(String::new())
            }
            Order::Set(variable, value) => player.core.set(&variable, &value).map(|()| String::new()),
            Order::Get(variable) => player.core.get(&variable),
            Order::Trace(path) => {
                let file = File::options().create(true).append(true).open(&path);
                player.trace = Some(file.map_err(|error| format!("opening {}: {error}", path.display()))?);
                Ok(String::new())
            }
        }
    }
}

/// Waits for bytes on any terminal and hands them to their instrument.
async fn input(players: &mut BTreeMap<String, Player>, buffer: &mut [u8]) {
    poll_fn(|context| {
        for player in players.values_mut() {
            let Some(pty) = &player.pty else { continue };
            match pty.poll_read(context, buffer) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    player.note(&buffer[..count]);
                    player.core.push(&buffer[..count], Instant::now());
                    return Poll::Ready(());
                }
                Poll::Ready(ended) => {
                    tracing::warn!("{} failed and counts as unplugged: {ended:?}", pty.path().display());
                    player.pty = None;
                    return Poll::Ready(());
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    })
    .await;
}

impl Player {
    fn plug(&mut self) -> anyhow::Result<()> {
        // The old terminal goes first: a cable has one end.
        self.pty = None;
        self.core.reset_line();
        self.pty = Some(Pty::open(self.link.as_deref())?);
        Ok(())
    }

    fn note(&mut self, bytes: &[u8]) {
        let Some(file) = &mut self.trace else { return };
        if let Err(error) = writeln!(file, "{} {}", Timestamp::now().0, bytes.escape_ascii()) {
            tracing::warn!("the trace ends: {error}");
            self.trace = None;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.pty.as_ref().and_then(|_| self.core.next_deadline())
    }

    fn send_due(&mut self, now: Instant) {
        while let Some(output) = self.core.next_output(now) {
            match (output, &self.pty) {
                (Output::Bytes(bytes), Some(pty)) => {
                    let taken = pty.write(&bytes);
                    if taken < bytes.len() {
                        tracing::debug!(
                            "{} bytes were lost: nobody reads {}",
                            bytes.len() - taken,
                            pty.path().display()
                        );
                    }
                }
                (Output::Unplug, _) => {
                    self.pty = None;
                    self.core.reset_line();
                }
                (Output::Bytes(_), None) => {}
            }
        }
    }
}

impl Wire {
    fn new(players: &BTreeMap<String, Player>, coupling: Coupling) -> anyhow::Result<Self> {
        let Coupling { from, expression, to, variable } = &coupling;
        let player = |name: &String| {
            players.get(name).with_context(|| format!("a coupling names {name}, which is not on the bench"))
        };
        let (source, target) = (player(from)?, player(to)?);
        let parsed = Expression::parse(expression).with_context(|| format!("coupling of {from} to {to}"))?;
        for name in parsed.variables() {
            source.core.get(name).map_err(|error| anyhow!("coupling of {from} to {to}: {error}"))?;
        }
        target.core.get(variable).map_err(|error| anyhow!("coupling of {from} to {to}: {error}"))?;
        Ok(Self { expression: parsed, coupling })
    }

    fn apply(&self, players: &mut BTreeMap<String, Player>) {
        let Coupling { from, to, variable, .. } = &self.coupling;
        let Some(source) = players.get(from) else { return };
        let value = self.expression.evaluate(&|name| source.core.number(name)).map_err(|error| error.to_string());
        let Some(target) = players.get_mut(to) else { return };
        if let Err(error) = value.and_then(|value| target.core.set(variable, &value.to_string())) {
            tracing::warn!("the coupling of {from} to {variable} of {to} has no effect: {error}");
        }
    }
}
