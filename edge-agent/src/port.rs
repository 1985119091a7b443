//! Opens serial ports and TCP connections; alone names tokio-serial. Knows no protocol.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};

use crate::profile::{Flow, Parity, SerialSettings};

mod holder;

const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// Where an instrument is plugged in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PortAddress {
    Serial(PathBuf),
    Tcp { host: String, port: u16 },
}

impl FromStr for PortAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} is not a port, expected a device such as \"/dev/ttyUSB0\" or \"tcp://host:port\"");
        if text.starts_with('/') {
            return Ok(Self::Serial(PathBuf::from(text)));
        }
        let (host, port) = text.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')).ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?;
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(wrong());
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for PortAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(path) => path.display().fmt(f),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

/// One variant per different reaction of the device task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    #[error("{0}")]
    Missing(String),
    #[error("{0}")]
    Unusable(String),
}

#[derive(Debug)]
pub enum PortStream {
    Serial(SerialStream),
    Tcp(TcpStream),
}

impl PortAddress {
    /// Opens it for this process alone, with what arrived before thrown away.
    pub async fn open(&self, settings: &SerialSettings) -> Result<PortStream, PortError> {
        match self {
            Self::Serial(path) => open_serial(path, settings).map(PortStream::Serial),
            Self::Tcp { host, port } => {
                let connect = TcpStream::connect((unbracketed(host), *port));
                let stream = match tokio::time::timeout(CONNECT_WITHIN, connect).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => {
                        return Err(PortError::Missing(format!("port {self} cannot be reached: {error}")));
                    }
                    Err(_) => {
                        let within = CONNECT_WITHIN.as_secs();
                        return Err(PortError::Missing(format!("port {self} did not answer within {within} s")));
                    }
                };
                // Only a hint: without it, requests are a little later.
                stream.set_nodelay(true).ok();
                Ok(PortStream::Tcp(stream))
            }
        }
    }

    /// Changes when another device appears at the same place. `None` while there is none, and for the network.
    pub fn fingerprint(&self) -> Option<u64> {
        let Self::Serial(path) = self else { return None };
        let found = std::fs::metadata(path).ok()?;
        let parts = [found.dev(), found.ino(), found.rdev(), found.ctime_nsec().unsigned_abs()];
        Some(
            parts
                .into_iter()
                .fold(0, |mixed: u64, part| mixed.rotate_left(17).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ part),
        )
    }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn open_serial(path: &Path, settings: &SerialSettings) -> Result<SerialStream, PortError> {
    let shown = path.display();
    let real = match std::fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(PortError::Missing(format!("port {shown} does not exist")));
        }
        Err(error) => return Err(PortError::Unusable(format!("port {shown}: {error}"))),
    };
    match std::fs::metadata(&real) {
        Ok(found) if found.file_type().is_char_device() => {}
        Ok(_) => return Err(PortError::Unusable(format!("port {shown} is not a serial device"))),
        Err(error) => return Err(PortError::Missing(format!("port {shown}: {error}"))),
    }
    let builder = tokio_serial::new(real.to_string_lossy(), settings.baud)
        .data_bits(match settings.data {
            5 => tokio_serial::DataBits::Five,
            6 => tokio_serial::DataBits::Six,
            7 => tokio_serial::DataBits::Seven,
            _ => tokio_serial::DataBits::Eight,
        })
        .parity(match settings.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Even => tokio_serial::Parity::Even,
            Parity::Odd => tokio_serial::Parity::Odd,
        })
        .stop_bits(if settings.stop == 2 { tokio_serial::StopBits::Two } else { tokio_serial::StopBits::One })
        .flow_control(match settings.flow {
            Flow::None => tokio_serial::FlowControl::None,
            Flow::XonXoff => tokio_serial::FlowControl::Software,
            Flow::RtsCts => tokio_serial::FlowControl::Hardware,
        });
    let builder = match settings.dtr {
        Some(level) => builder.dtr_on_open(level),
        None => builder.preserve_dtr_on_open(),
    };
    let stream = SerialStream::open(&builder).map_err(|error| refused(path, &real, &error))?;
    stream
        .clear(ClearBuffer::Input)
        .map_err(|error| PortError::Missing(format!("port {shown} cannot be emptied: {error}")))?;
    Ok(stream)
}

fn refused(path: &Path, real: &Path, error: &tokio_serial::Error) -> PortError {
    let shown = path.display();
    match error.kind() {
        // The library's word for a port that another process has locked.
        tokio_serial::ErrorKind::NoDevice if real.exists() => {
            let holder = holder::of(real).unwrap_or_else(|| "another process".to_owned());
            PortError::Unusable(format!("port {shown} is held by {holder}"))
        }
        tokio_serial::ErrorKind::NoDevice | tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => {
            PortError::Missing(format!("port {shown} does not exist"))
        }
        tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => PortError::Unusable(format!(
            "port {shown} may not be opened by this user; add it to the group dialout and log in again, or install the udev rules"
        )),
        tokio_serial::ErrorKind::InvalidInput | tokio_serial::ErrorKind::Io(_) | tokio_serial::ErrorKind::Unknown => {
            PortError::Unusable(format!("port {shown} cannot be opened: {error}"))
        }
    }
}

impl AsyncRead for PortStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Serial(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for PortStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Serial(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // Flushing a serial port blocks the thread until the last bit is on the wire, and other devices with it.
            // Nothing is buffered on this side of the driver, so there is nothing to do.
            Self::Serial(_) => Poll::Ready(Ok(())),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Serial(_) => Poll::Ready(Ok(())),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
