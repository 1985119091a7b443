//! A certificate authority of the hub's own and certificates by it, for a laboratory without one. The authority is kept in
//! the data directory; the key of a certificate only in memory.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::Identity;

const DAY: Duration = Duration::from_secs(24 * 3600);
const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
/// An authority that has less than a year left makes room for a new one.
const AUTHORITY_RENEWED_AFTER: Duration = Duration::from_secs(3285 * 24 * 3600);
const CERTIFICATE_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;

pub(super) fn authority(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

/// This host, and what else it is called.
pub(super) fn names(others: &[String]) -> Vec<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = ["localhost", "127.0.0.1", "::1", host.trim()].map(str::to_owned);
    let mut names: Vec<String> = Vec::new();
    for name in own.into_iter().chain(others.iter().cloned()) {
        let usable = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-.:".contains(c));
        if usable && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A new certificate, by the authority that is there or by a new one.
pub(super) fn issue(folder: &Path, names: &[String]) -> anyhow::Result<Identity> {
    let (key, authority) = match kept(folder)? {
        Some(key) => {
            let authority = authority_params(&key);
            (key, authority)
        }
        None => make_authority(folder)?,
    };
    let issuer = Issuer::new(authority, key);
    let mut params = CertificateParams::new(names.to_vec())?;
    params.distinguished_name = named("Rigwire hub");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, CERTIFICATE_LIFE);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(Identity { chain: vec![certificate.der().clone()], key })
}

/// The key of the authority that is there, if there is one and it has time left.
fn kept(folder: &Path) -> anyhow::Result<Option<KeyPair>> {
    let path = key_path(folder);
    let made = std::fs::metadata(authority(folder)).and_then(|file| file.modified());
    let age = made.ok().map(|made| SystemTime::now().duration_since(made).unwrap_or_default());
    if age.is_none_or(|age| age > AUTHORITY_RENEWED_AFTER) {
        return Ok(None);
    }
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let broken = || format!("{} cannot be read: remove it, and a new authority is made", path.display());
    let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| anyhow::anyhow!("{error}"));
    let key = der.and_then(|der| Ok(KeyPair::try_from(&der)?)).with_context(broken)?;
    Ok(Some(key))
}

fn make_authority(folder: &Path) -> anyhow::Result<(KeyPair, CertificateParams)> {
    let key = KeyPair::generate()?;
    let params = authority_params(&key);
    let certificate = params.self_signed(&key)?;
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    // The key first: a certificate without its key would be taken for a whole authority.
    write(folder, &key_path(folder), PRIVATE, &pem("PRIVATE KEY", &key.serialize_der()))?;
    write(folder, &authority(folder), PUBLIC, &pem("CERTIFICATE", certificate.der()))?;
    tracing::info!("a certificate authority for development was made: {}", authority(folder).display());
    Ok((key, params))
}

/// The same for the same key, so that nothing but the key has to be read again.
fn authority_params(key: &KeyPair) -> CertificateParams {
    let mut params = CertificateParams::default();
    let digest = Sha256::digest(key.public_key_raw());
    let id: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = named(&format!("Rigwire development authority {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut params, AUTHORITY_LIFE);
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// From yesterday on: not every clock in a laboratory is right.
fn set_life(params: &mut CertificateParams, life: Duration) {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch.saturating_sub(DAY);
    params.not_after = epoch + since_epoch + life;
}

fn key_path(folder: &Path) -> PathBuf {
    folder.join("ca.key")
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn write(folder: &Path, path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let fresh = path.with_extension("new");
    let write = || {
        // One that a crash left behind may have another mode.
        match std::fs::remove_file(&fresh) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_authority_is_kept_and_its_key_private() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("tls");
        let first = issue(&folder, &names(&[])).unwrap();
        let authority_text = std::fs::read(authority(&folder)).unwrap();
        let mode = std::fs::metadata(key_path(&folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
        let second = issue(&folder, &names(&[])).unwrap();
        assert_ne!(first.chain, second.chain, "each start has a certificate of its own");
        assert_eq!(std::fs::read(authority(&folder)).unwrap(), authority_text);
        std::fs::write(key_path(&folder), "broken").unwrap();
        let error = issue(&folder, &names(&[])).err().expect("the key is broken");
        assert!(
            error.to_string().ends_with("ca.key cannot be read: remove it, and a new authority is made"),
            "{error}"
        );
        std::fs::remove_file(key_path(&folder)).unwrap();
        issue(&folder, &names(&[])).unwrap();
        assert_ne!(std::fs::read(authority(&folder)).unwrap(), authority_text);
    }

    #[test]
    fn names_are_told_once_and_only_usable_ones() {
        let names = names(&["10.0.0.7".to_owned(), "localhost".to_owned(), "no name".to_owned()]);
        assert_eq!(names[..3], ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(names.last().unwrap(), "10.0.0.7");
        assert_eq!(names.iter().filter(|name| *name == "localhost").count(), 1);
    }
}
