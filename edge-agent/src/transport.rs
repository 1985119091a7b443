//! How a broker is reached: plain, or by TLS where this program was built with it.

use std::path::Path;

use rigwire_shared::broker::BrokerAddress;
use rumqttc::Transport;

/// `authority`: a PEM file with whom to believe, instead of the authorities that this host believes.
pub fn to(broker: &BrokerAddress, authority: Option<&Path>) -> anyhow::Result<Transport> {
    if broker.is_tls() { secure(authority) } else { Ok(Transport::Tcp) }
}

#[cfg(not(feature = "tls"))]
fn secure(_: Option<&Path>) -> anyhow::Result<Transport> {
    anyhow::bail!(
        "the broker's address begins with mqtts, and this program was built without TLS: build it with \
         `cargo build --release -p rigwire-agent --features tls`, which needs a C compiler"
    )
}

#[cfg(feature = "tls")]
fn secure(authority: Option<&Path>) -> anyhow::Result<Transport> {
    use std::sync::Arc;

    use anyhow::Context as _;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let mut roots = RootCertStore::empty();
    match authority {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).with_context(|| format!("using {}", path.display()))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (used, _) = roots.add_parsable_certificates(found.certs);
            anyhow::ensure!(
                used > 0,
                "this host lists no certificate authorities: name the broker's with hub-ca (mqtt-ca for a hub)"
            );
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(Arc::new(config))))
}

#[cfg(feature = "tls")]
fn certificates(path: &Path) -> anyhow::Result<Vec<tokio_rustls::rustls::pki_types::CertificateDer<'static>>> {
    use anyhow::Context as _;
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;

    let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    anyhow::ensure!(
        !found.is_empty(),
        "{} holds no certificate, expected PEM: -----BEGIN CERTIFICATE-----",
        path.display()
    );
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_broker_needs_no_tls() {
        assert!(matches!(to(&"mqtt://hub".parse().unwrap(), None).unwrap(), Transport::Tcp));
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn a_program_without_tls_says_how_to_build_one_with_it() {
        let error = to(&"mqtts://hub".parse().unwrap(), None).err().expect("there is no TLS").to_string();
        assert!(error.contains("built without TLS") && error.contains("--features tls"), "{error}");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn an_authority_that_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let hub = "mqtts://hub".parse().unwrap();
        let error = format!("{:#}", to(&hub, Some(&path)).err().expect("an error"));
        assert!(error.starts_with("reading ") && error.contains("ca.pem"), "{error}");
        std::fs::write(&path, "").unwrap();
        let error = to(&hub, Some(&path)).err().expect("an error").to_string();
        assert!(error.contains("ca.pem holds no certificate"), "{error}");
    }
}
