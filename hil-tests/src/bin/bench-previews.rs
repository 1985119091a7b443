//! What previews cost: pictures a second at a watcher, and the agent's and the hub's processor time for each, with one camera
//! and with four. Needs `rigwire` and `rigwire-agent` built with the same profile.
//!
//! `cargo build --release --workspace && cargo run --release -p rigwire-hil-tests --bin bench-previews -- [SECONDS]`

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rigwire_hil_tests::agent::Agent;
use rigwire_hil_tests::camera::Camera;
use rigwire_hil_tests::hub::{Hub, Mqtt};
use rigwire_hil_tests::port;
use rigwire_hil_tests::watcher::{Frame, Watcher};
use serde_json::json;

/// The highest quality has the most pictures.
const A_SECOND: usize = 15;
const WARM_UP_SECONDS: usize = 2;
const SOCKET: &str = "devices";

fn main() -> Result<()> {
    let seconds = std::env::args().nth(1).and_then(|argument| argument.parse().ok()).unwrap_or(10);
    for cameras in [1, 4] {
        measure(cameras, seconds)?;
    }
    Ok(())
}

fn measure(count: usize, seconds: usize) -> Result<()> {
    let mqtt = Mqtt::Embedded(port::free()?);
    let url = mqtt.url();
    let hub = Hub::start(mqtt)?;
    let cameras =
        (0..count).map(|_| Camera::start(&["--fps", "30", "--size", "640x480"])).collect::<Result<Vec<_>>>()?;
    let ids: Vec<String> = (1..=count).map(|number| format!("cam-{number}")).collect();
    let tables: String = cameras.iter().zip(&ids).map(|(camera, id)| camera.toml(id)).collect();
    let agent = Agent::start_configured("bench-1", &url, &tables)?;
    for id in &ids {
        hub.wait_device(id, &["online"])?;
    }
    let (agent, hub_process) = (agent.process()?.id(), hub.process()?.id());
    let mut watcher = Watcher::start()?;
    let wanted: Vec<_> =
        ids.iter().map(|id| json!({"type": "start_preview", "device_id": id, "quality": "high"})).collect();
    watcher.open(SOCKET, &hub.socket("/api/v1/ws/devices"), &wanted)?;

    let warm = WARM_UP_SECONDS * A_SECOND * count;
    let until = warm + seconds * A_SECOND * count;
    let (mut met, mut bytes, mut began) = (0, 0, None);
    watcher.wait_for(SOCKET, "all pictures", Duration::from_secs(seconds as u64 * 3 + 30), |frame| {
        let data = picture(frame)?;
        met += 1;
        if met == warm {
            began = Some((Instant::now(), processor_ms(agent).ok()?, processor_ms(hub_process).ok()?));
        } else if met > warm {
            bytes += data.len() * 3 / 4;
        }
        (met == until).then_some(())
    })?;
    let (began, agent_before, hub_before) = began.context("no picture was seen")?;
    let took = began.elapsed().as_secs_f64();
    let pictures = (until - warm) as f64;
    println!(
        "{count} camera(s), 640x480 at 30 a second, {} KiB each: {:.1} pictures a second and camera at the watcher; per picture {:.2} ms of the agent's processor and {:.2} ms of the hub's",
        bytes / (until - warm) / 1024,
        pictures / took / count as f64,
        (processor_ms(agent)? - agent_before) / pictures,
        (processor_ms(hub_process)? - hub_before) / pictures,
    );
    Ok(())
}

fn picture(frame: &Frame) -> Option<&str> {
    frame.json().filter(|_| frame.kind() == Some("preview_frame"))?["frame_data"].as_str()
}

/// What a process has used of a processor so far.
fn processor_ms(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    // After the name, which may hold anything: user and system time are the 12th and 13th, in hundredths of a second.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    let used = ticks(11).zip(ticks(12)).with_context(|| format!("{path}: no times in {text:?}"))?;
    Ok((used.0 + used.1) * 10.0)
}
