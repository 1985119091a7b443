//! Where the broker is, and as whom to connect. The password never leaves in a message.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

const PORT: u16 = 1883;
const TLS_PORT: u16 = 8883;
const EXPECTED: &str = "expected mqtt://host:1883 or mqtt://user:password@host:1883";

#[derive(Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    host: String,
    port: u16,
    tls: bool,
    credentials: Option<(String, String)>,
}

impl BrokerAddress {
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, tls: false, credentials: None }
    }

    pub fn with_credentials(self, user: &str, password: &str) -> Self {
        Self { credentials: Some((user.to_owned(), password.to_owned())), ..self }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    pub fn credentials(&self) -> Option<(&str, &str)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password.as_str()))
    }
}

impl FromStr for BrokerAddress {
    type Err = String;

    /// Errors never repeat the text: it may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else { return Err(format!("no scheme, {EXPECTED}")) };
        let tls = match scheme {
            "mqtt" | "tcp" => false,
            "mqtts" | "ssl" => true,
            _ => return Err(format!("unknown scheme {scheme}, {EXPECTED}")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        let (host, port) = match place.rsplit_once(':') {
            // A colon inside brackets belongs to an IPv6 address.
            Some((host, port)) if !port.contains(']') => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (host, port.ok_or_else(|| format!("the port is no number from 1 to 65535, {EXPECTED}"))?)
            }
            _ => (place, if tls { TLS_PORT } else { PORT }),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() || host.contains(['/', '?', '#', ' ']) || (bare.contains(':') && bare == host) {
            return Err(format!("the host is no name or address, {EXPECTED}"));
        }
        let credentials = match credentials {
            None => None,
            Some(text) => {
                let (user, password) = text.split_once(':').unwrap_or((text, ""));
                Some((percent_decoded(user)?, percent_decoded(password)?))
            }
        };
        Ok(Self { host: host.to_owned(), port, tls, credentials })
    }
}

/// `%40` and its like, for a password with an `@`.
pub fn percent_decoded(text: &str) -> Result<String, String> {
    let wrong = || "a % in user or password is not followed by two hexadecimal digits".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
            let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
            bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| "user or password is not UTF-8".to_owned())
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "mqtts://" } else { "mqtt://" })?;
        if let Some((user, _)) = &self.credentials {
            write!(f, "{user}:***@")?;
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        for (text, expected) in [
            ("mqtt://hub", Ok("mqtt://hub:1883")),
            ("mqtt://10.0.0.2:2883/", Ok("mqtt://10.0.0.2:2883")),
            ("mqtt://[::1]:1883", Ok("mqtt://[::1]:1883")),
            ("mqtt://[::1]", Ok("mqtt://[::1]:1883")),
            ("mqtt://bench:p%40ss@hub:1883", Ok("mqtt://bench:***@hub:1883")),
            ("hub:1883", Err("no scheme, expected mqtt://host:1883 or mqtt://user:password@host:1883")),
            ("mqtts://hub", Ok("mqtts://hub:8883")),
            ("ssl://bench:secret@hub:1884", Ok("mqtts://bench:***@hub:1884")),
            ("https://hub", Err("unknown scheme https, expected mqtt://host:1883 or mqtt://user:password@host:1883")),
            (
                "mqtt://hub:99999",
                Err(
                    "the port is no number from 1 to 65535, expected mqtt://host:1883 or mqtt://user:password@host:1883",
                ),
            ),
            (
                "mqtt://",
                Err("the host is no name or address, expected mqtt://host:1883 or mqtt://user:password@host:1883"),
            ),
            ("mqtt://a:%zz@hub", Err("a % in user or password is not followed by two hexadecimal digits")),
        ] {
            let found = text.parse::<BrokerAddress>().map(|address| address.to_string());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn the_password_is_used_and_never_shown() {
        let address: BrokerAddress = "mqtt://bench:p%40ss@hub".parse().unwrap();
        assert_eq!(address.credentials(), Some(("bench", "p@ss")));
        assert!(!format!("{address} {address:?}").contains("p@ss"));
    }
}
