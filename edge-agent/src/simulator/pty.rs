//! Real pseudo terminals: the simulator's side with its stable link, and a stream on the other side. Knows no instrument.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, bail};
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A pseudo terminal as a device sees its port. Dropping it is pulling the cable.
#[derive(Debug)]
pub struct Pty {
    master: AsyncFd<OwnedFd>,
    /// Kept open, so that the master does not fail while nobody has the port open.
    _slave: OwnedFd,
    path: PathBuf,
    link: Option<PathBuf>,
}

impl Pty {
    /// Must be called within a runtime.
    pub fn open(link: Option<&Path>) -> anyhow::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).context("opening a pseudo terminal")?;
        rustix::pty::grantpt(&master).context("granting a pseudo terminal")?;
        rustix::pty::unlockpt(&master).context("unlocking a pseudo terminal")?;
        let name = rustix::pty::ptsname(&master, Vec::new()).context("naming a pseudo terminal")?;
        let path = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
        let slave = open_raw(&path)?;
        rustix::fs::fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK).context("setting up a pseudo terminal")?;
        let master = watched(master).context("watching a pseudo terminal")?;
        if let Some(link) = link {
            replace_link(&path, link)?;
        }
        Ok(Self { master, _slave: slave, path, link: link.map(Path::to_owned) })
    }

    /// The link if it has one, else the terminal itself.
    pub fn path(&self) -> &Path {
        self.link.as_deref().unwrap_or(&self.path)
    }

    pub fn poll_read(&self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.master.poll_read_ready(context))?;
            if let Ok(result) = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut *buffer)?)) {
                return Poll::Ready(result);
            }
        }
    }

    /// How many bytes the line took; the rest is lost, as on a line whose receiver does not keep up.
    pub fn write(&self, bytes: &[u8]) -> usize {
        rustix::io::write(self.master.get_ref(), bytes).unwrap_or(0)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let Some(link) = &self.link else { return };
        // Only the link that this terminal made: somebody else may have put another one in its place.
        if std::fs::read_link(link).is_ok_and(|target| target == self.path)
            && let Err(error) = std::fs::remove_file(link)
        {
            tracing::warn!("removing {} failed: {error}", link.display());
        }
    }
}

#[expect(
    deprecated,
    reason = "unsound only for types that change their descriptor, which an OwnedFd cannot; the replacement needs unsafe"
)]
fn watched(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor)
}

fn open_raw(path: &Path) -> anyhow::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let port = rustix::fs::open(path, flags, Mode::empty()).with_context(|| format!("opening {}", path.display()))?;
    let mut settings =
        rustix::termios::tcgetattr(&port).with_context(|| format!("{} is no terminal", path.display()))?;
    settings.make_raw();
    rustix::termios::tcsetattr(&port, OptionalActions::Now, &settings)
        .with_context(|| format!("setting up {}", path.display()))?;
    Ok(port)
}

/// Put in place by a rename, so that at no time the link is missing or half made.
fn replace_link(target: &Path, link: &Path) -> anyhow::Result<()> {
    if let Ok(existing) = std::fs::symlink_metadata(link)
        && !existing.file_type().is_symlink()
    {
        bail!("{} exists and is no symbolic link, expected a free name", link.display());
    }
    let name = link.file_name().with_context(|| format!("{} has no file name", link.display()))?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = link.with_file_name(temporary);
    std::os::unix::fs::symlink(target, &temporary)
        .with_context(|| format!("making the link {}", temporary.display()))?;
    std::fs::rename(&temporary, link).with_context(|| format!("making the link {}", link.display()))
}

/// The other side of a pseudo terminal, as a program that drives an instrument opens it.
#[derive(Debug)]
pub struct PtyStream(AsyncFd<OwnedFd>);

impl PtyStream {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(watched(open_raw(path)?).with_context(|| format!("watching {}", path.display()))?))
    }
}

impl AsyncRead for PtyStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            if let Ok(result) = ready.try_io(|fd| Ok(rustix::io::read(fd, unfilled)?)) {
                return Poll::Ready(result.map(|count| buffer.advance(count)));
            }
        }
    }
}

impl AsyncWrite for PtyStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            if let Ok(result) = ready.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
