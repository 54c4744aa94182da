//! Certificate, keys and kubeconfig of an API server of our own.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use serde_json::json;

/// What the administrator shows; the API server listens on loopback and lives as long as a test.
const TOKEN: &str = "administrator-of-a-test";

/// Writes everything an API server is started with, for one that listens on `address` and whose own
/// Service has the address `service`. Returns the administrator's kubeconfig.
pub(super) fn write(dir: &Path, address: SocketAddr, service: IpAddr) -> Result<PathBuf> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let ca_key = KeyPair::generate()?;
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let names = ["localhost", "kubernetes.default.svc"].map(ToOwned::to_owned);
    let mut serving = CertificateParams::new(names.to_vec())?;
    for ip in [address.ip(), service] {
        serving.subject_alt_names.push(SanType::IpAddress(ip));
    }
    let key = KeyPair::generate()?;
    let issuer = Issuer::new(ca, ca_key);
    fs::write(dir.join("ca.crt"), &ca_pem)?;
    fs::write(dir.join("api.crt"), serving.signed_by(&key, &issuer)?.pem())?;
    fs::write(dir.join("api.key"), key.serialize_pem())?;
    let accounts = KeyPair::generate()?;
    fs::write(dir.join("accounts.key"), accounts.serialize_pem())?;
    fs::write(dir.join("accounts.pub"), accounts.public_key_pem())?;
    fs::write(
        dir.join("tokens.csv"),
        format!("{TOKEN},administrator,administrator,system:masters\n"),
    )?;
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://{address}"),
            "certificate-authority": dir.join("ca.crt"),
        }}],
        "users": [{"name": "administrator", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "administrator"}}],
        "current-context": "test",
    });
    let path = dir.join("administrator.kubeconfig");
    fs::write(&path, config.to_string())?;
    Ok(path)
}
