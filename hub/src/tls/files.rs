//! Certificate and key as an operator gives them: two PEM files.

use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Identity;

/// Size and time of both files; `None` for one that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version([Option<(u64, SystemTime)>; 2]);

pub(super) fn version(certificate: &Path, key: &Path) -> Version {
    Version([certificate, key].map(|path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.len(), file.modified().ok()?))
    }))
}

pub(super) fn read(certificate: &Path, key: &Path) -> anyhow::Result<Identity> {
    let text = text(certificate, "tls-certificate")?;
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow::anyhow!("tls-certificate: {}: {error}", certificate.display()))?;
    anyhow::ensure!(
        !chain.is_empty(),
        "tls-certificate: {} holds no certificate, expected PEM: -----BEGIN CERTIFICATE-----",
        certificate.display()
    );
    Ok(Identity { chain, key: read_key(key)? })
}

fn read_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let text = text(path, "tls-key")?;
    anyhow::ensure!(
        !text.contains("BEGIN ENCRYPTED PRIVATE KEY") && !text.contains("Proc-Type: 4,ENCRYPTED"),
        "tls-key: {0} is encrypted, and nobody is there to type its passphrase: write it without one, for example with \
         openssl pkey -in {0} -out hub.key",
        path.display()
    );
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| {
        anyhow::anyhow!(
            "tls-key: {} holds no private key ({error}), expected PEM: -----BEGIN PRIVATE KEY-----",
            path.display()
        )
    })
}

fn text(path: &Path, setting: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{setting}: reading {}", path.display()))
}
