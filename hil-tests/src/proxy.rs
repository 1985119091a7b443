//! A TCP proxy that can be a broken network: held, it keeps every byte of both ways and closes nothing, as a cable that was
//! pulled would; let go, it delivers what it kept, late. Knows nothing of what it carries.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::port;

/// How long a thread may be deaf to the proxy's end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: bool,
    ended: bool,
    connections: Vec<TcpStream>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free loopback port and carries to another.
    pub fn start(to: u16) -> Result<Self> {
        let port = port::free()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).context("listening for the proxy")?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared { state: Mutex::new(State::default()), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        let thread = std::thread::spawn(move || accept(&listener, to, &accepting));
        Ok(Self { port, shared, threads: vec![thread] })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// From now on nothing gets through, and nobody is told.
    pub fn hold(&self) {
        self.shared.lock().held = true;
    }

    /// What was kept is delivered, and everything gets through again.
    pub fn let_go(&self) {
        self.shared.lock().held = false;
        self.shared.changed.notify_all();
    }

    /// Closes every connection; what was kept is lost.
    pub fn drop_connections(&self) {
        for connection in self.shared.lock().connections.drain(..) {
            // It may have ended by itself.
            drop(connection.shutdown(Shutdown::Both));
        }
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.ended = true;
            self.threads.append(&mut state.threads);
        }
        self.drop_connections();
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while nothing may get through. False: it is over.
    fn pass(&self) -> bool {
        let mut state = self.lock();
        while state.held && !state.ended {
            state = self.changed.wait_timeout(state, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.ended
    }
}

fn accept(listener: &TcpListener, to: u16, shared: &Arc<Shared>) {
    while !shared.lock().ended {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(_) => {
                std::thread::park_timeout(LOOK_EVERY);
                continue;
            }
        };
        // While held, a connection is taken and comes to nothing: the far end would not answer either.
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { continue };
        for (from, into) in [(&client, &server), (&server, &client)] {
            let (Ok(from), Ok(into), Ok(kept)) = (from.try_clone(), into.try_clone(), from.try_clone()) else { return };
            let carrying = Arc::clone(shared);
            let thread = std::thread::spawn(move || carry(from, into, &carrying));
            let mut state = shared.lock();
            state.connections.push(kept);
            state.threads.push(thread);
        }
    }
}

fn carry(mut from: TcpStream, mut into: TcpStream, shared: &Shared) {
    let mut buffer = [0; 16 * 1024];
    let plain = from.set_nonblocking(false).and_then(|()| from.set_read_timeout(Some(LOOK_EVERY)));
    while plain.is_ok() && shared.pass() {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                // What was read as the proxy was being held waits, too.
                if !shared.pass() || into.write_all(buffer.get(..count).unwrap_or_default()).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // The other way ends with this one.
    drop(from.shutdown(Shutdown::Both));
    drop(into.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_while_it_is_held_comes_late_and_whole() {
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = echo.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = echo.accept().unwrap();
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        let proxy = Proxy::start(to).unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        proxy.hold();
        client.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        assert!(client.read(&mut answer).is_err(), "nothing gets through, and nothing is closed");
        proxy.let_go();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
        server.join().unwrap();
    }
}
