//! The connection against a broker that is written out here, where a real one would be too quick.

use rigwire_shared::agent::Live;
use rigwire_shared::ids::DeviceId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
const PICTURE: usize = 100_000;

/// One packet: its first byte, and what follows its length.
async fn packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let kind = stream.read_u8().await.expect("a packet");
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = stream.read_u8().await.expect("a length");
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("a whole packet");
    (kind, body)
}

/// The time of a frame, if the packet is one.
fn frame_at(kind: u8, body: &[u8]) -> Option<i64> {
    let length = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]));
    if kind >> 4 != 3 || !body.get(2..2 + length)?.ends_with(b"/live") {
        return None;
    }
    match wire::decode(body.get(2 + length..)?).ok()? {
        Live::Frame { at, .. } => Some(at.0),
        Live::PreviewUnavailable { .. } => None,
    }
}

/// With little room for what it has not read.
fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.listen(4).unwrap()
}

#[tokio::test]
async fn on_a_slow_network_frames_are_left_out_and_the_newest_arrives() {
    let listener = listen();
    let place = listener.local_addr().unwrap();
    let live = LiveSlots::default();
    let (recorder, _told) = mpsc::channel(16);
    let (commands, _commands) = mpsc::channel(16);
    let (_inventory, inventory) = watch::channel(Inventory { epoch: Epoch(1), devices: Vec::new() });
    let (_announcements, announcements) = watch::channel(0);
    let (link, mut linked) = watch::channel(HubLink { connected: false, since: Instant::now(), time: None });
    let mqtt = Mqtt {
        agent: AgentId::new("bench-1").unwrap(),
        epoch: Epoch(1),
        host: "host".to_owned(),
        hub: BrokerAddress::new("127.0.0.1", place.port()),
        transport: Transport::Tcp,
        recorder,
        commands,
        live: live.clone(),
        inventory,
        announcements,
        link,
        clock: HubClock::default(),
    };
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(run(mqtt, shutdown.clone()));
    let (mut stream, _) = listener.accept().await.unwrap();
    assert_eq!(packet(&mut stream).await.0 >> 4, 1, "a connection begins with CONNECT");
    stream.write_all(&[0x20, 2, 0, 0]).await.unwrap();
    tokio::time::timeout(PATIENCE, linked.wait_for(|link| link.connected)).await.unwrap().unwrap();

    // Nobody reads while they are made.
    let last = 300;
    for at in 1..=last {
        let device = DeviceId::new("cam-1").unwrap();
        let media_type = "image/jpeg".to_owned();
        let frame = Live::Frame { device, at: Timestamp(at), width: 1, height: 1, media_type, data: vec![0; PICTURE] };
        live.put(frame);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut seen = Vec::new();
    let newest = async {
        while seen.last() != Some(&last) {
            let (kind, body) = packet(&mut stream).await;
            seen.extend(frame_at(kind, &body));
        }
    };
    assert!(tokio::time::timeout(PATIENCE, newest).await.is_ok(), "the newest did not come, only {seen:?}");
    assert!(seen.is_sorted() && seen.len() < 100, "{} frames waited on the way", seen.len());
    drop(stream);
    shutdown.cancel();
    tasks.join_next().await.unwrap().unwrap().unwrap();
}
