//! Pinned bytes of what an agent says about itself and its devices.

use rigwire_shared::agent::{
    ActionCard, AgentState, DeviceCard, DeviceKind, DeviceState, Identity, Inventory, Live, ParameterCard, ReadingCard,
};
use rigwire_shared::unit::Unit;

use crate::{AT, EPOCH, device, metric, pin, pin_variants};

#[test]
fn an_agents_state() {
    let state =
        AgentState { epoch: EPOCH, online: true, version: "0.1.0".into(), host: "pi".into(), cause: String::new() };
    pin(&state, "01 a3020105 302e312e 30027069 00");
    let will = AgentState { online: false, cause: "lost".into(), ..state };
    pin(&will, "01 a3020005 302e312e 30027069 046c6f73 74");
}

#[test]
fn an_inventory() {
    pin(&Inventory { epoch: EPOCH, devices: vec![] }, "01 a302 00");
    let bare = DeviceCard {
        device: device(),
        kind: DeviceKind::Android,
        class: "phone".into(),
        profile: "pixel".into(),
        tags: vec![],
        state: DeviceState::Absent,
        cause: String::new(),
        identity: None,
        readings: vec![],
        actions: vec![],
        sdk: Some(34),
    };
    pin(&bare, "01 05707375 2d310205 70686f6e 65057069 78656c00 00000000 000122");
    let full = DeviceCard {
        device: device(),
        kind: DeviceKind::Instrument,
        class: "psu".into(),
        profile: "korad".into(),
        tags: vec!["a".into(), "b".into()],
        state: DeviceState::Online,
        cause: "idn".into(),
        identity: Some(identity()),
        readings: vec![ReadingCard { id: "v".into(), metrics: vec![metric()], unit: Unit::Volt, interval_ms: 200 }],
        actions: vec![ActionCard {
            id: "set".into(),
            about: "sets".into(),
            hazard: Some("live".into()),
            parameters: vec![ParameterCard {
                name: "v".into(),
                kind: "float".into(),
                unit: Unit::Volt,
                min: Some(0.0),
                max: Some(31.0),
                values: vec!["x".into()],
            }],
        }],
        sdk: None,
    };
    pin(
        &full,
        "01 05707375 2d310003 70737505 6b6f7261 64020161 01620303 69646e01 054b4f52 4144074b \
                 41333030 35500131 0456322e 30062f64 65762f78 01074944 5f504154 48037573 62010176 0104766f \
                 6c740156 c8010103 73657404 73657473 01046c69 76650101 7605666c 6f617401 56010000 00000000 \
                 00000100 00000000 003f4001 017800",
    );
    pin(
        &Inventory { epoch: EPOCH, devices: vec![bare] },
        "01 a3020105 7073752d 31020570 686f6e65 05706978 656c0000 00000000 0122",
    );
}

#[test]
fn device_kinds() {
    fn number(kind: &DeviceKind) -> u8 {
        match kind {
            DeviceKind::Instrument => 0,
            DeviceKind::Thermal => 1,
            DeviceKind::Android => 2,
            DeviceKind::Board => 3,
            DeviceKind::Host => 4,
            DeviceKind::Camera => 5,
        }
    }
    pin_variants(
        6,
        number,
        &[
            (DeviceKind::Instrument, "01 00"),
            (DeviceKind::Thermal, "01 01"),
            (DeviceKind::Android, "01 02"),
            (DeviceKind::Board, "01 03"),
            (DeviceKind::Host, "01 04"),
            (DeviceKind::Camera, "01 05"),
        ],
    );
}

#[test]
fn device_states() {
    fn number(state: &DeviceState) -> u8 {
        match state {
            DeviceState::Absent => 0,
            DeviceState::Opening => 1,
            DeviceState::Identifying => 2,
            DeviceState::Online => 3,
            DeviceState::Busy => 4,
            DeviceState::Gone => 5,
            DeviceState::Error => 6,
            DeviceState::Quarantined => 7,
        }
    }
    pin_variants(
        8,
        number,
        &[
            (DeviceState::Absent, "01 00"),
            (DeviceState::Opening, "01 01"),
            (DeviceState::Identifying, "01 02"),
            (DeviceState::Online, "01 03"),
            (DeviceState::Busy, "01 04"),
            (DeviceState::Gone, "01 05"),
            (DeviceState::Error, "01 06"),
            (DeviceState::Quarantined, "01 07"),
        ],
    );
}

#[test]
fn live_messages() {
    fn number(live: &Live) -> u8 {
        match live {
            Live::Frame { .. } => 0,
            Live::PreviewUnavailable { .. } => 1,
        }
    }
    pin_variants(
        2,
        number,
        &[
            (
                Live::Frame {
                    device: device(),
                    at: AT,
                    width: 1080,
                    height: 1920,
                    media_type: "image/jpeg".into(),
                    data: vec![0xff, 0xd8],
                },
                "01 00057073 752d317f b808800f 0a696d61 67652f6a 70656702 ffd8",
            ),
            (
                Live::PreviewUnavailable { device: device(), cause: "no screen".into() },
                "01 01057073 752d3109 6e6f2073 63726565 6e",
            ),
        ],
    );
}

fn identity() -> Identity {
    Identity {
        vendor: "KORAD".into(),
        model: "KA3005P".into(),
        serial: "1".into(),
        firmware: "V2.0".into(),
        location: "/dev/x".into(),
        properties: vec![("ID_PATH".into(), "usb".into())],
    }
}
