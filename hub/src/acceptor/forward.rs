//! MQTT over TLS: the handshake is here, the broker behind it sees plain text from this host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::tls::{Begun, begin};
use super::{Arrival, Place};
use crate::tls::Tls;

/// How long the broker may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Forward {
    pub tls: Arc<Tls>,
    pub handshake: Duration,
    /// The plain listener of the broker.
    pub broker: SocketAddr,
    pub stop: CancellationToken,
}

impl Forward {
    pub async fn serve(self, Arrival { stream, peer, place }: Arrival) {
        // Whoever is refused learns that by the close: MQTT has no words before the client's first.
        let Ok(place) = place else { return };
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.carry(stream, peer, place) => {}
        }
    }

    async fn carry(self, stream: TcpStream, peer: SocketAddr, _place: Place) {
        let mut stream = match begin(&self.tls.acceptor(), stream, self.handshake).await {
            Begun::Tls(stream) => stream,
            Begun::Plain(_) => return tracing::debug!(%peer, "an MQTT client speaks plain text where TLS is expected"),
            Begun::Failed(why) => return tracing::debug!(%peer, "an MQTT client was not let in: {why}"),
        };
        let connect = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(self.broker)).await;
        let mut broker = match connect.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())) {
            Ok(broker) => broker,
            Err(error) => return tracing::warn!(%peer, "the embedded broker takes no connection: {error}"),
        };
        broker.set_nodelay(true).ok();
        // Silent peers are the broker's to judge: each said in its first packet how long it may be silent.
        if let Err(error) = tokio::io::copy_bidirectional(&mut stream, &mut broker).await {
            tracing::debug!(%peer, "an MQTT connection over TLS ended: {error}");
        }
    }
}
