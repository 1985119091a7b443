//! The demonstration: a supply and a meter, simulated behind real ptys by their own profiles, a camera behind a real socket, and
//! a procedure that ramps the one and checks it with the other. Agent, hub and protocols are those that real hardware gets.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rigwire_agent::config::{BrokerAddress, CameraConfig, Config, InstrumentConfig, Mode};
use rigwire_agent::port::PortAddress;
use rigwire_agent::profile::Profile;
use rigwire_agent::simulator::bench::{Bench, BenchInstrument, Coupling};
use rigwire_agent::simulator::camera::{CameraOptions, SimulatedCamera};
use rigwire_shared::ids::{AgentId, DeviceId};
use rigwire_shared::value::Fields;

use crate::app::App;
use crate::dialect::{Interest, RunReference};
use crate::event::{EventKind, RunEventBody};
use crate::fanout::{Queue, Taken};
use crate::model::StartRun;
use crate::procedure::Procedure;
use crate::procedures::{Format, Procedures};

const SUPPLY: (&str, &str) = ("psu-1", "korad.ka3005p");
const METER: (&str, &str) = ("dmm-1", "hp.34401a");
const CAMERA: &str = "cam-1";
const NAME: &str = "demo-ramp";
const PROCEDURE: &str = include_str!("../procedures/demo-ramp.toml");

/// Between two runs, so that an eye can follow.
const PAUSE: Duration = Duration::from_secs(2);

/// The agent's name; it keeps its spool in the data directory under the same one.
const AGENT: &str = "demo";

pub struct Demo {
    bench: Bench,
    camera: SimulatedCamera,
    directory: PathBuf,
}

impl Demo {
    pub async fn start(data: &Path) -> anyhow::Result<Self> {
        let directory = std::path::absolute(data).context("finding the data directory")?;
        let (ports, procedures) = (directory.join("demo"), directory.join("procedures"));
        let (bench, camera) = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&ports).with_context(|| format!("creating {}", ports.display()))?;
            let procedures = Procedures::open(procedures)?;
            // One that was edited stays as it is.
            if !procedures.names()?.iter().any(|name| name == NAME) {
                procedures.put(NAME, PROCEDURE, Format::Toml)?;
            }
            let instruments = [SUPPLY, METER]
                .map(|(name, profile)| {
                    let link = Some(ports.join(name));
                    Ok(BenchInstrument { name: name.to_owned(), profile: bundled(profile)?, link, faults: Vec::new() })
                })
                .into_iter()
                .collect::<anyhow::Result<Vec<_>>>()?;
            // The meter's leads are on the supply's terminals.
            let leads = Coupling {
                from: SUPPLY.0.to_owned(),
                expression: "out*min(vset,iset*load_ohm)".to_owned(),
                to: METER.0.to_owned(),
                variable: "v".to_owned(),
            };
            let bench = Bench::start(instruments, vec![leads])?;
            let camera = SimulatedCamera::start(CameraOptions::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))?;
            anyhow::Ok((bench, camera))
        })
        .await
        .context("starting the demonstration's bench")??;
        Ok(Self { bench, camera, directory })
    }

    pub fn agent_config(&self, broker: &BrokerAddress) -> anyhow::Result<Config> {
        let mut config = Config::new(AgentId::new(AGENT)?, broker.clone(), self.directory.join("spool"));
        for (name, profile) in [SUPPLY, METER] {
            let port = PortAddress::Serial(self.bench.path(name)?);
            let mut instrument = InstrumentConfig::new(DeviceId::new(name)?, bundled(profile)?, port);
            instrument.mode = Mode::Own;
            instrument.tags = vec!["demo".to_owned(), "simulated".to_owned()];
            config.instruments.push(instrument);
        }
        let url = self.camera.url().parse().map_err(anyhow::Error::msg)?;
        config.cameras.push(CameraConfig { id: DeviceId::new(CAMERA)?, url, tags: vec!["demo".to_owned()] });
        Ok(config)
    }

    /// Starts a run, waits for its end and a little longer, and again. Returns only when that is no longer possible.
    pub async fn run_for_ever(&self, app: App) -> anyhow::Error {
        loop {
            if let Err(error) = one_run(&app).await {
                return error;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub fn stop(self) {
        self.bench.stop();
        self.camera.stop();
    }
}

fn bundled(id: &str) -> anyhow::Result<Arc<Profile>> {
    let profile = Profile::bundled(id).with_context(|| format!("profile {id} is not bundled"))?;
    Ok(Arc::new(profile?))
}

async fn one_run(app: &App) -> anyhow::Result<()> {
    let procedures = Arc::clone(&app.procedures);
    let read = tokio::task::spawn_blocking(move || -> anyhow::Result<(Procedure, Fields)> {
        let procedure = procedures.get_whole(NAME)?;
        let params = procedure.bind_params(&[]).map_err(anyhow::Error::msg)?;
        Ok((procedure, params))
    });
    // An edit that broke the procedure is told and waited out: the hub serves everything else.
    let (procedure, params) = match read.await.context("reading the demonstration's procedure")? {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!("the demonstration pauses: {error:#}");
            return Ok(());
        }
    };
    let queue = Arc::new(Queue::default());
    let start = StartRun::new(Arc::new(procedure), params);
    let watched = Arc::clone(&queue);
    let run = app
        .hub
        .ask(move |core, now| {
            let id = core.model.start_run(start, now);
            core.registry.watch(Interest::Run(RunReference::Id(id)), &watched);
            id
        })
        .await?;
    loop {
        match queue.take() {
            Taken::Event { published, .. } => {
                if let EventKind::Run(event) = &published.event.kind
                    && let RunEventBody::Finished(finished) = &event.body
                {
                    tracing::info!(%run, "run {} {}: {}", event.run.number, finished.status.as_str(), finished.message);
                    return Ok(());
                }
            }
            Taken::Nothing => queue.arrival().await,
            Taken::Overflowed => anyhow::bail!("the demonstration's run was not followed"),
        }
    }
}
