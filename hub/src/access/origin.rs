//! Which pages of browsers may use the hub: a browser says from where a page came, and a page from elsewhere must not act in
//! the name of whoever looks at it. Pure.

use std::net::IpAddr;

/// Origins that may use the hub besides its own pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    listed: Vec<String>,
    any: bool,
}

impl Origins {
    /// `*`, or origins such as `https://board.example:8443`.
    pub fn new(origins: &[String]) -> anyhow::Result<Self> {
        let mut listed = Vec::new();
        let mut any = false;
        for origin in origins {
            let origin = origin.trim();
            if origin == "*" {
                any = true;
                continue;
            }
            let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let host = rest.filter(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']));
            anyhow::ensure!(
                host.is_some(),
                "cors-origins has {origin:?}, expected \"*\" or an origin such as \"https://board.example:8443\""
            );
            listed.push(origin.to_ascii_lowercase());
        }
        Ok(Self { listed, any })
    }

    pub fn is_listed(&self, origin: &str) -> bool {
        self.any || self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(origin))
    }

    /// Whether a page of this origin may use a hub that it reaches as `host`. `by_address_only`: no token protects the hub, so
    /// a name that somebody else's name server pointed at this machine is no sign of a page of ours.
    pub fn allow(&self, origin: &str, host: Option<&str>, by_address_only: bool) -> bool {
        if self.is_listed(origin) {
            return true;
        }
        let Some((_, of_page)) = origin.split_once("://") else { return false };
        let own = host.is_some_and(|host| host.eq_ignore_ascii_case(of_page));
        own && (!by_address_only || is_address(of_page))
    }
}

/// Whether a host is an address or this machine, not a name that anyone may have given out.
fn is_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_pages_and_listed_ones_may_use_the_hub() {
        let origins = Origins::new(&["https://Board.example:8443".to_owned()]).unwrap();
        for (origin, host, open_hub, allowed) in [
            ("http://127.0.0.1:8000", Some("127.0.0.1:8000"), true, true),
            ("http://localhost:8000", Some("localhost:8000"), true, true),
            ("http://[::1]:8000", Some("[::1]:8000"), true, true),
            ("http://127.0.0.1:9000", Some("127.0.0.1:8000"), true, false),
            ("https://board.example:8443", Some("127.0.0.1:8000"), true, true),
            ("https://board.example", Some("127.0.0.1:8000"), false, false),
            // A name of somebody else's that leads to this machine.
            ("http://evil.example:8000", Some("evil.example:8000"), true, false),
            ("https://hub.lab:8000", Some("hub.lab:8000"), false, true),
            ("null", Some("127.0.0.1:8000"), true, false),
            ("", None, true, false),
            ("http://127.0.0.1:8000", None, false, false),
        ] {
            assert_eq!(origins.allow(origin, host, open_hub), allowed, "{origin:?} {host:?} {open_hub}");
        }
        assert!(Origins::new(&["*".to_owned()]).unwrap().allow("null", None, true));
    }

    #[test]
    fn what_is_no_origin_is_named() {
        for text in ["board.example", "https://", "https://board.example/", "ftp://board.example", ""] {
            let error = Origins::new(&[text.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("cors-origins has {text:?}")), "{error}");
        }
    }
}
