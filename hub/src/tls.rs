//! The certificate that the hub shows: files that an operator gives, or a development one. Read again when it changes; a
//! connection keeps what it began with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_util::sync::CancellationToken;

mod development;
mod files;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Long before a development certificate is over.
const RENEW_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Files {
        certificate: PathBuf,
        key: PathBuf,
    },
    /// Made by the hub itself, by a certificate authority in its data directory.
    Development,
}

pub struct Tls {
    from: From,
    current: Mutex<Arc<ServerConfig>>,
}

enum From {
    Files { certificate: PathBuf, key: PathBuf, read: files::Version },
    Development { folder: PathBuf, names: Vec<String>, made: Instant },
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Tls {
    /// `names`: what a development certificate is for, besides this host.
    pub fn open(source: &Source, data: &Path, names: &[String]) -> anyhow::Result<Self> {
        let (from, identity) = match source {
            Source::Files { certificate, key } => {
                let read = files::version(certificate, key);
                let from = From::Files { certificate: certificate.clone(), key: key.clone(), read };
                (from, files::read(certificate, key)?)
            }
            Source::Development => {
                let folder = data.join("tls");
                let names = development::names(names);
                let identity = development::issue(&folder, &names)?;
                (From::Development { folder, names, made: Instant::now() }, identity)
            }
        };
        let current = config(identity).with_context(|| from.describe())?;
        Ok(Self { from, current: Mutex::new(Arc::new(current)) })
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The file that clients need in order to believe a development certificate.
    pub fn authority(&self) -> Option<PathBuf> {
        match &self.from {
            From::Files { .. } => None,
            From::Development { folder, .. } => Some(development::authority(folder)),
        }
    }

    /// Looks for a newer certificate until told to stop. One that cannot be used is complained of once, and the old one stays.
    pub async fn run(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut seen = self.from.seen();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = look.tick() => {}
            }
            let Some(renewed) = self.from.renewed(&mut seen) else { continue };
            match renewed.and_then(config).with_context(|| self.from.describe()) {
                Ok(config) => {
                    *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                    tracing::info!("a new certificate is shown from now on");
                }
                Err(error) => {
                    tracing::error!("the certificate changed and cannot be used, the old one stays: {error:#}")
                }
            }
        }
    }
}

/// What was there when it was last looked.
enum Seen {
    Files(files::Version),
    Made(Instant),
}

impl From {
    fn describe(&self) -> String {
        match self {
            Self::Files { certificate, key, .. } => {
                format!("using certificate {} with key {}", certificate.display(), key.display())
            }
            Self::Development { folder, .. } => format!("making a development certificate in {}", folder.display()),
        }
    }

    fn seen(&self) -> Seen {
        match self {
            Self::Files { read, .. } => Seen::Files(read.clone()),
            Self::Development { made, .. } => Seen::Made(*made),
        }
    }

    /// `None` while nothing has changed.
    fn renewed(&self, seen: &mut Seen) -> Option<anyhow::Result<Identity>> {
        match (self, seen) {
            (Self::Files { certificate, key, .. }, Seen::Files(seen)) => {
                let version = files::version(certificate, key);
                (version != *seen).then(|| {
                    *seen = version;
                    files::read(certificate, key)
                })
            }
            (Self::Development { folder, names, .. }, Seen::Made(made)) => (made.elapsed() >= RENEW_AFTER).then(|| {
                *made = Instant::now();
                development::issue(folder, names)
            }),
            (Self::Files { .. }, Seen::Made(_)) | (Self::Development { .. }, Seen::Files(_)) => None,
        }
    }
}

fn config(identity: Identity) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key);
    config.map_err(|error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            return anyhow::anyhow!("the key does not belong to the certificate");
        }
        anyhow::anyhow!("{error}")
    })
}
