//! The beginning of a TLS connection, within a time, in the connection's own task.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// First byte of every TLS connection; no request in plain text begins with it.
const HANDSHAKE: u8 = 0x16;

pub enum Begun {
    Tls(Box<TlsStream<TcpStream>>),
    /// Somebody speaks plain text.
    Plain(TcpStream),
    /// Nothing to talk to any more, and why.
    Failed(String),
}

pub async fn begin(acceptor: &TlsAcceptor, stream: TcpStream, within: Duration) -> Begun {
    let handshake = async {
        let mut first = [0];
        match stream.peek(&mut first).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            _ if first == [HANDSHAKE] => Ok(Begun::Tls(Box::new(acceptor.accept(stream).await?))),
            _ => Ok(Begun::Plain(stream)),
        }
    };
    match tokio::time::timeout(within, handshake).await {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => Begun::Failed(format!("the TLS handshake failed: {error}")),
        Err(_) => Begun::Failed(format!("no TLS handshake within {} s", within.as_secs())),
    }
}
