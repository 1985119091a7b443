//! Where a camera's pictures are, and as whom to ask for them. The password never leaves in a message.

use std::fmt;
use std::str::FromStr;

use rigwire_shared::broker::percent_decoded;

const PORT: u16 = 80;
const EXPECTED: &str = "expected http://host/stream or http://user:password@host:8080/stream";

#[derive(Clone, PartialEq, Eq)]
pub struct CameraUrl {
    /// With its brackets, if it is an IPv6 address.
    host: String,
    port: u16,
    /// Path and query.
    target: String,
    credentials: Option<(String, String)>,
}

impl CameraUrl {
    /// To connect to.
    pub fn address(&self) -> (&str, u16) {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        (bare.unwrap_or(&self.host), self.port)
    }

    /// As a request names it.
    pub fn host(&self) -> String {
        if self.port == PORT { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    pub fn target(&self) -> &str {
        &self.target
    }

    pub fn credentials(&self) -> Option<(&str, &str)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }
}

impl FromStr for CameraUrl {
    type Err = String;

    /// Errors never repeat the text: it may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else { return Err(format!("no scheme, {EXPECTED}")) };
        match scheme {
            "http" => {}
            "https" => return Err(format!("scheme https is not read yet, {EXPECTED}")),
            "rtsp" => return Err(format!("scheme rtsp is for video, which is not read, {EXPECTED}")),
            _ => return Err(format!("unknown scheme {scheme}, {EXPECTED}")),
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(split);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        if !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("path and query hold what must be written as %20 or the like, {EXPECTED}"));
        }
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, authority),
        };
        let (host, port) = match place.rsplit_once(':') {
            // A colon inside brackets belongs to an IPv6 address.
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (host, port.ok_or_else(|| format!("the port is no number from 1 to 65535, {EXPECTED}"))?)
            }
            _ => (place, PORT),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let odd = |byte: u8| !byte.is_ascii_graphic();
        if bare.is_empty() || host.bytes().any(odd) || (bare.contains(':') && bare == host) {
            return Err(format!("the host is no name or address, {EXPECTED}"));
        }
        let credentials = match credentials {
            None => None,
            Some(text) => {
                let (user, password) = text.split_once(':').unwrap_or((text, ""));
                Some((percent_decoded(user)?, percent_decoded(password)?))
            }
        };
        Ok(Self { host: host.to_owned(), port, target, credentials })
    }
}

/// Without what follows the path: some cameras take the password there.
impl fmt::Display for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("http://")?;
        if let Some((user, _)) = &self.credentials {
            write!(f, "{user}:***@")?;
        }
        f.write_str(&self.host())?;
        match self.target.split_once('?') {
            Some((path, _)) => write!(f, "{path}?***"),
            None => f.write_str(&self.target),
        }
    }
}

impl fmt::Debug for CameraUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused() {
        for (text, expected) in [
            ("http://cam", Ok("http://cam/")),
            ("http://10.0.0.2:8080/stream", Ok("http://10.0.0.2:8080/stream")),
            ("http://[::1]:81/?action=stream#x", Ok("http://[::1]:81/?***")),
            ("http://cam?action=stream", Ok("http://cam/?***")),
            ("http://bench:p%40ss@cam:80/a", Ok("http://bench:***@cam/a")),
            ("cam/stream", Err("no scheme")),
            ("https://cam/", Err("scheme https is not read yet")),
            ("rtsp://cam/", Err("scheme rtsp is for video, which is not read")),
            ("file:///dev/video0", Err("unknown scheme file")),
            ("http://cam:0/", Err("the port is no number from 1 to 65535")),
            ("http:///stream", Err("the host is no name or address")),
            ("http://a b/", Err("the host is no name or address")),
            ("http://::1/", Err("the host is no name or address")),
            ("http://cam/a b", Err("path and query hold what must be written as %20 or the like")),
            ("http://cam/a\r\nHost:x", Err("path and query hold what must be written as %20 or the like")),
        ] {
            let found = text.parse::<CameraUrl>().map(|url| url.to_string());
            match expected {
                Ok(expected) => assert_eq!(found.as_deref(), Ok(expected), "{text}"),
                Err(expected) => assert_eq!(found, Err(format!("{expected}, {EXPECTED}")), "{text}"),
            }
        }
    }

    #[test]
    fn the_password_is_used_and_never_shown() {
        let url: CameraUrl = "http://bench:p%40ss@cam/stream?pwd=p@ss".parse().unwrap();
        assert_eq!((url.credentials(), url.target()), (Some(("bench", "p@ss")), "/stream?pwd=p@ss"));
        assert!(!format!("{url} {url:?}").contains("p@ss"));
    }
}
