//! `rigwire-agent simulate camera`: a simulated network camera, steered by lines on standard input.

use std::net::SocketAddr;

use anyhow::{anyhow, bail};

use super::{say, serve};
use crate::simulator::camera::{CameraFault, CameraOptions, SimulatedCamera};

const ORDERS: &str = "\
Prints the URL of the stream; /snapshot.jpg there is a single picture. Then answers each line of standard input with one line:
  unplug | replug | fault NAME... | fault none | get streams | get requests | get frames";

#[derive(Debug, clap::Args)]
#[command(after_help = ORDERS)]
pub(super) struct Arguments {
    /// Where to serve HTTP; port 0 is any that is free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Pictures a second.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u8).range(1..=60))]
    fps: u8,
    #[arg(long, value_name = "WIDTHxHEIGHT", default_value = "640x480", value_parser = size)]
    size: (u16, u16),
    /// What a request must know.
    #[arg(long, value_name = "USER:PASSWORD", value_parser = credentials)]
    credentials: Option<(String, String)>,
    /// A fault to begin with: silent, garbage, truncated, slow, huge, drop, unsized or chunked. May be repeated.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<CameraFault>,
}

/// Prints the stream's URL as first line and serves until a signal. The end of standard input changes nothing.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { listen, fps, size: (width, height), credentials, faults } = arguments;
    let options = CameraOptions { listen, frames_per_second: fps, width, height, credentials, faults };
    let camera = SimulatedCamera::start(options)?;
    say(&camera.url())?;
    serve(&|line| obey(&camera, line))
}

/// The one line that answers an order.
fn obey(camera: &SimulatedCamera, line: &str) -> anyhow::Result<String> {
    let (order, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match (order, rest.trim()) {
        ("unplug", "") => camera.unplug().map(|()| "ok".to_owned()),
        ("replug", "") => camera.replug().map(|()| format!("ok {}", camera.url())),
        ("fault", "none") => {
            camera.set_faults(&[]);
            Ok("ok".to_owned())
        }
        ("fault", names) if !names.is_empty() => {
            let faults: Result<Vec<CameraFault>, String> = names.split_whitespace().map(str::parse).collect();
            camera.set_faults(&faults.map_err(|error| anyhow!(error))?);
            Ok("ok".to_owned())
        }
        ("get", "streams") => Ok(camera.streams().to_string()),
        ("get", "requests") => Ok(camera.requests().to_string()),
        ("get", "frames") => Ok(camera.frames().to_string()),
        _ => bail!(
            "{line:?} is no order, expected unplug, replug, fault NAME, fault none, get streams, get requests or get frames"
        ),
    }
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let number = |text: &str| text.parse().ok().filter(|number| (8..=4096).contains(number));
    let pair = text.split_once('x').and_then(|(width, height)| Some((number(width)?, number(height)?)));
    pair.ok_or_else(|| format!("{text:?} is no size, expected WIDTHxHEIGHT, each from 8 to 4096"))
}

fn credentials(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once(':').filter(|(user, _)| !user.is_empty());
    let (user, password) = pair.ok_or("expected USER:PASSWORD")?;
    Ok((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_has_one_answer() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let camera = SimulatedCamera::start(CameraOptions::new(listen)).unwrap();
        let answer = |line: &str| obey(&camera, line).unwrap_or_else(|error| format!("error: {error:#}"));
        let replugged = format!("ok {}", camera.url());
        for (line, expected) in [
            ("get streams", "0"),
            ("get frames", "0"),
            ("fault huge drop", "ok"),
            ("fault none", "ok"),
            ("unplug", "ok"),
            ("unplug", "ok"),
            ("replug", &replugged),
            (
                "get vset",
                "error: \"get vset\" is no order, expected unplug, replug, fault NAME, fault none, get streams, get requests or get frames",
            ),
        ] {
            assert_eq!(answer(line), expected, "{line}");
        }
        assert!(std::net::TcpStream::connect(camera.address()).is_ok());
        camera.unplug().unwrap();
        assert!(std::net::TcpStream::connect(camera.address()).is_err(), "it listens while it is unplugged");
    }

    #[test]
    fn sizes_are_read_or_refused() {
        assert_eq!(size("320x240"), Ok((320, 240)));
        for text in ["320", "x240", "0x240", "320x9999", "320x240x3"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
