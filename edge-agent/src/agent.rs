//! Puts the parts together: spool, recorder, connection, dispatch and one task per device. The entry for a host program.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use rigwire_shared::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::HubClock;
use crate::config::{Config, host_name};
use crate::device::connect::{self, CameraOpener, InstrumentOpener};
use crate::device::{self, DeviceTask, HubLink};
use crate::dispatch::{self, Desk, Dispatch, Programs};
use crate::driver::camera::Eyes;
use crate::events;
use crate::inventory::Board;
use crate::live::LiveSlots;
use crate::mqtt::{self, Mqtt};
use crate::program::{self, host::HostTask};
use crate::recorder::{self, Recorder};
use crate::spool::Spool;
use crate::supervise::{self, Phase};
use crate::transport;

const MIB: u64 = 1024 * 1024;
/// A little more than the device tasks allow themselves.
const DEVICES_GRACE: Duration = Duration::from_millis(1350);
const RECORDER_GRACE: Duration = Duration::from_millis(600);
const LINK_GRACE: Duration = Duration::from_millis(700);

/// Runs one agent until `shutdown`. Faults of devices and of the network are reported, not returned.
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    let transport = transport::to(&config.hub, config.hub_ca.as_deref()).context("hub")?;
    let limit = config.spool_limit_mib.saturating_mul(MIB);
    let (mut spool, damage) = Spool::open(&config.spool, limit, Timestamp::now())?;
    let epoch = spool.epoch();
    let host = host_name();
    recorder::begin(&mut spool, &host, &damage)?;
    tracing::info!(agent = %config.id, epoch = epoch.0, hub = %config.hub, instruments = config.instruments.len(), cameras = config.cameras.len(), "the agent starts");

    // Before anything new begins.
    let cleared = program::leftover::clear(&config.spool).context("ending programs that were left running")?;
    let settings: Vec<_> = config.instruments.iter().map(connect::settings).collect();
    let camera_settings: Vec<_> = config.cameras.iter().map(connect::camera_settings).collect();
    let computer = Some(&config.host).filter(|host| !host.programs.is_empty());
    let cards =
        settings.iter().chain(&camera_settings).map(device::Settings::card).chain(computer.map(program::host::card));
    let board = Board::new(epoch, cards.collect());
    let offline = HubLink { connected: false, since: Instant::now(), time: None };
    let (hub, hub_watch) = watch::channel(offline);
    let (events, entries) = events::channel();
    // When full, the connection waits with reading: the recorder never waits for the connection.
    let (recorder_link, told) = mpsc::channel(16);
    // When full, the connection waits with reading: the dispatcher only waits for the recorder.
    let (commands_in, commands) = mpsc::channel(64);
    let live = LiveSlots::default();

    let mut devices = Phase::new("devices", DEVICES_GRACE);
    let mut recording = Phase::new("recorder", RECORDER_GRACE);
    let mut link = Phase::new("connection", LINK_GRACE);
    let mut orders = HashMap::new();
    for (settings, config) in settings.into_iter().zip(config.instruments) {
        // When full, a command is refused as busy.
        let (sender, receiver) = mpsc::channel(32);
        orders.insert(settings.id.clone(), sender);
        let task = DeviceTask {
            settings,
            opener: InstrumentOpener::new(config),
            events: events.clone(),
            board: board.clone(),
            orders: receiver,
            hub: hub_watch.clone(),
            shutdown: devices.token.clone(),
        };
        devices.tasks.spawn(device::run(task));
    }
    let mut previews = HashMap::new();
    for (settings, config) in camera_settings.into_iter().zip(config.cameras) {
        // When full, a command is refused as busy.
        let (sender, receiver) = mpsc::channel(32);
        orders.insert(settings.id.clone(), sender);
        let (preview, wanted) = watch::channel(None);
        previews.insert(settings.id.clone(), preview);
        let task = DeviceTask {
            settings,
            opener: CameraOpener::new(config, Eyes { wanted, hub: hub_watch.clone(), live: live.clone() }),
            events: events.clone(),
            board: board.clone(),
            orders: receiver,
            hub: hub_watch.clone(),
            shutdown: devices.token.clone(),
        };
        devices.tasks.spawn(device::run(task));
    }
    program::host::tell_cleared(&config.host.id, &cleared, &events).await;
    let programs = if config.host.programs.is_empty() {
        Programs::Off(program::off(config.host.file.as_deref()))
    } else {
        let id = config.host.id.clone();
        // When full, a command is refused as busy.
        let (sender, receiver) = mpsc::channel(32);
        orders.insert(id.clone(), sender);
        let task = HostTask {
            config: config.host,
            spool: config.spool,
            events: events.clone(),
            board: board.clone(),
            orders: receiver,
            hub: hub_watch.clone(),
            shutdown: devices.token.clone(),
        };
        devices.tasks.spawn(program::host::run(task));
        Programs::On(id)
    };
    let mqtt = Mqtt {
        agent: config.id,
        epoch,
        host,
        transport,
        hub: config.hub,
        recorder: recorder_link,
        commands: commands_in,
        live: live.clone(),
        inventory: board.watch(),
        announcements: board.watch_announcements(),
        link: hub,
        clock: HubClock::default(),
    };
    let desk = Desk::new(epoch, orders.keys().cloned().collect(), previews.keys().cloned().collect(), programs);
    let dispatch = Dispatch { desk, commands, orders, events, board, live, previews, hub: hub_watch };
    devices.tasks.spawn(dispatch::run(dispatch, devices.token.clone()));
    recording.tasks.spawn(recorder::run(Recorder { spool, events: entries, link: told }, recording.token.clone()));
    link.tasks.spawn(mqtt::run(mqtt, link.token.clone()));
    supervise::run(vec![devices, recording, link], shutdown).await.context("running the agent")
}
