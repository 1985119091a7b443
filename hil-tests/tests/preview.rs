//! What a camera sees reaches whoever asks, as long as they ask: pictures, their pace, and the cause when there are none.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use rigwire_hil_tests::camera::{Camera, HEIGHT, WIDTH};
use rigwire_hil_tests::procedures;
use rigwire_hil_tests::rig::{Choice, Rig, SUPPLY};
use rigwire_hil_tests::wait::{self, PATIENCE};
use rigwire_hil_tests::watcher::{Frame, Watcher};
use serde_json::{Value, json};

const CAMERA: &str = "cam-1";
const DEVICES: &str = "/api/v1/ws/devices";

fn start(device: &str) -> Value {
    json!({"type": "start_preview", "device_id": device, "quality": "medium"})
}

fn stop(device: &str) -> Value {
    json!({"type": "stop_preview", "device_id": device})
}

fn is_picture_of(frame: &Frame, device: &str) -> bool {
    frame.kind() == Some("preview_frame") && frame.json().is_some_and(|message| message["device_id"] == device)
}

/// Pictures of a device that a socket has got so far.
fn seen(watcher: &Watcher, name: &str, device: &str) -> usize {
    watcher.transcript(name).iter().filter(|frame| is_picture_of(frame, device)).count()
}

/// Waits until so many pictures of a device came altogether; the last one, and when it was here.
fn wait_pictures(watcher: &Watcher, name: &str, device: &str, count: usize) -> Result<(Value, Instant)> {
    let mut met = 0;
    let last = watcher.wait_for(name, &format!("picture {count} of {device}"), PATIENCE, |frame| {
        met += usize::from(is_picture_of(frame, device));
        frame.json().filter(|_| met == count).cloned()
    })?;
    Ok((last, Instant::now()))
}

fn wait_error(watcher: &Watcher, name: &str, device: &str, count: usize) -> Result<String> {
    let mut met = 0;
    let error = watcher.wait_for(name, &format!("error {count} about {device}"), PATIENCE, |frame| {
        let message = frame.json().filter(|message| message["type"] == "error" && message["device_id"] == device)?;
        met += 1;
        (met == count).then(|| message.clone())
    })?;
    assert_eq!(error["code"], "PREVIEW_UNAVAILABLE", "{error}");
    Ok(error["message"].as_str().context("an error without a message")?.to_owned())
}

fn check_picture(message: &Value) -> Result<()> {
    assert_eq!((&message["width"], &message["height"]), (&json!(WIDTH), &json!(HEIGHT)));
    assert!(message["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{}", message["timestamp"]);
    let data = message["frame_data"].as_str().and_then(|text| text.strip_prefix("data:image/jpeg;base64,"));
    let bytes = base64::engine::general_purpose::STANDARD.decode(data.context("no data URL")?)?;
    ensure!(bytes.starts_with(&[0xFF, 0xD8, 0xFF]) && bytes.ends_with(&[0xFF, 0xD9]), "no whole JPEG");
    // Height and width in the header of the frame that the camera's encoder makes.
    let size = [&[0xFF, 0xC0, 0, 17, 8][..], &HEIGHT.to_be_bytes(), &WIDTH.to_be_bytes()].concat();
    ensure!(bytes.windows(size.len()).any(|window| window == size), "the JPEG has another size");
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn pictures_come_while_somebody_watches_and_two_who_watch_share_one_stream() -> Result<()> {
    let mut camera = Camera::start(&[])?;
    let mut rig = Rig::start_with(Choice::Mosquitto, &camera.toml(CAMERA))?;
    let card = rig.hub.wait_device(CAMERA, &["online"])?;
    assert_eq!((&card["kind"], &card["class"]), (&json!("camera"), &json!("camera")), "{card}");
    camera.wait_streams(0)?;
    let asked_before = camera.requests()?;

    let url = rig.hub.socket(DEVICES);
    rig.watcher.open("devices", &url, &[start(CAMERA)])?;
    let (first, _) = wait_pictures(&rig.watcher, "devices", CAMERA, 1)?;
    check_picture(&first)?;
    // Somebody else looks from beside a run, which needs not have to do with the camera.
    let run = rig.hub.start_run(&procedures::holding(), &json!({}))?;
    let url = rig.hub.socket(&format!("/ws/executions/{run}"));
    rig.watcher.open("execution", &url, &[start(CAMERA)])?;
    let (picture, began) = wait_pictures(&rig.watcher, "execution", CAMERA, 5)?;
    check_picture(&picture)?;
    assert_eq!((camera.streams()?, camera.requests()?), (1, asked_before + 1), "both watch one stream");

    let (_, ended) = wait_pictures(&rig.watcher, "execution", CAMERA, 65)?;
    let rate = 60.0 / (ended - began).as_secs_f64();
    assert!((10.0..=15.5).contains(&rate), "{rate} pictures a second");
    let (ours, theirs) = (seen(&rig.watcher, "devices", CAMERA), seen(&rig.watcher, "execution", CAMERA));
    assert!(ours >= theirs, "who looks for longer saw {ours}, who came later {theirs}");

    rig.watcher.send("devices", &stop(CAMERA))?;
    let soon = seen(&rig.watcher, "execution", CAMERA) + 10;
    wait_pictures(&rig.watcher, "execution", CAMERA, soon)?;
    let left = seen(&rig.watcher, "devices", CAMERA);
    wait_pictures(&rig.watcher, "execution", CAMERA, soon + 10)?;
    assert_eq!(seen(&rig.watcher, "devices", CAMERA), left, "pictures came after they were no longer wanted");
    assert_eq!(camera.streams()?, 1);

    // The last one does not say that it leaves.
    rig.watcher.close("execution")?;
    camera.wait_streams(0)?;
    let sent = camera.frames()?;
    wait::for_a_while(Duration::from_millis(300));
    assert_eq!((camera.frames()?, camera.requests()?), (sent, asked_before + 1), "the camera works for nobody");

    rig.watcher.send("devices", &start(SUPPLY))?;
    let message = wait_error(&rig.watcher, "devices", SUPPLY, 1)?;
    assert!(message.contains("psu-1 has no picture to show"), "{message}");
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_camera_that_is_gone_is_told_with_the_cause_and_is_back_by_itself() -> Result<()> {
    let mut camera = Camera::start(&[])?;
    let mut rig = Rig::start_with(Choice::Embedded, &camera.toml(CAMERA))?;
    rig.hub.wait_device(CAMERA, &["online"])?;
    let url = rig.hub.socket(DEVICES);
    rig.watcher.open("devices", &url, &[start(CAMERA)])?;
    wait_pictures(&rig.watcher, "devices", CAMERA, 3)?;

    camera.kill()?;
    let message = wait_error(&rig.watcher, "devices", CAMERA, 1)?;
    assert!(message.contains("cannot be reached"), "{message}");
    let gone = rig.hub.wait_device(CAMERA, &["gone"])?;
    assert!(gone["cause"].as_str().is_some_and(|cause| cause.contains("cannot be reached")), "{gone}");
    rig.watcher.send("devices", &start(CAMERA))?;
    let message = wait_error(&rig.watcher, "devices", CAMERA, 2)?;
    assert!(message.contains("cam-1 gives no preview"), "{message}");

    camera.start_again()?;
    rig.hub.wait_device(CAMERA, &["online"])?;
    let before = seen(&rig.watcher, "devices", CAMERA);
    rig.watcher.send("devices", &start(CAMERA))?;
    let (picture, _) = wait_pictures(&rig.watcher, "devices", CAMERA, before + 3)?;
    check_picture(&picture)?;

    // A picture that no message can hold is refused with its size, and the camera stays.
    camera.fault("huge")?;
    let message = wait_error(&rig.watcher, "devices", CAMERA, 3)?;
    assert!(message.contains("its pictures have 3") && message.contains("at most 261888 can be sent"), "{message}");
    camera.wait_streams(0)?;
    rig.hub.wait_device(CAMERA, &["online"])?;

    // The hub that wanted to see is killed: nobody is left to look.
    camera.fault("none")?;
    let before = seen(&rig.watcher, "devices", CAMERA);
    rig.watcher.send("devices", &start(CAMERA))?;
    wait_pictures(&rig.watcher, "devices", CAMERA, before + 3)?;
    rig.hub.kill()?;
    camera.wait_streams(0)
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_sixth_preview_on_one_socket_is_refused_and_the_five_go_on() -> Result<()> {
    let mut camera = Camera::start(&[])?;
    let ids: Vec<String> = (1..=6).map(|number| format!("cam-{number}")).collect();
    let tables: String = ids.iter().map(|id| camera.toml(id)).collect();
    let mut rig = Rig::start_with(Choice::Mosquitto, &tables)?;
    for id in &ids {
        rig.hub.wait_device(id, &["online"])?;
    }
    let all: Vec<Value> = ids.iter().map(|id| start(id)).collect();
    let url = rig.hub.socket(DEVICES);
    rig.watcher.open("devices", &url, &all)?;
    let message = wait_error(&rig.watcher, "devices", "cam-6", 1)?;
    assert!(message.contains("as many previews as it may have, which is 5"), "{message}");
    for id in &ids[..5] {
        wait_pictures(&rig.watcher, "devices", id, 12)?;
    }
    assert_eq!((camera.streams()?, seen(&rig.watcher, "devices", "cam-6")), (5, 0));
    // One that ends makes room.
    rig.watcher.send("devices", &stop("cam-1"))?;
    rig.watcher.send("devices", &start("cam-6"))?;
    wait_pictures(&rig.watcher, "devices", "cam-6", 3)?;
    camera.wait_streams(5)
}
