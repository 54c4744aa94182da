//! What a line says of TLS with the client.

use super::values::{list, print};
use crate::{
    config::format::{Side, TlsField},
    net::tls::{Fingerprint, TlsInfo, url_encoded_pem},
};

/// Appends what is asked for of TLS; none if there is no such thing.
pub(super) fn append(field: TlsField, tls: &TlsInfo, out: &mut String) -> Option<()> {
    let peer = || tls.peer_names();
    let of = |side: Side| match side {
        Side::Peer => tls.peer_names(),
        Side::Local => tls.local_names(),
    };
    match field {
        TlsField::UriSan(side) => list(out, &of(side)?.uris)?,
        TlsField::DnsSan(side) => list(out, &of(side)?.dns)?,
        TlsField::EmailSan(side) => list(out, &of(side)?.emails)?,
        TlsField::IpSan(side) => list(out, &of(side)?.ips)?,
        TlsField::Subject(side) => list(out, &[&of(side)?.subject])?,
        TlsField::PeerIssuer => list(out, &[&peer()?.issuer])?,
        TlsField::PeerSerial => list(out, &[&peer()?.serial])?,
        TlsField::PeerChainSerials => list(out, &tls.peer_serials())?,
        TlsField::PeerFingerprint256 => out.push_str(&tls.fingerprint(Fingerprint::Sha256)?),
        TlsField::PeerFingerprint1 => out.push_str(&tls.fingerprint(Fingerprint::Sha1)?),
        TlsField::PeerChainFingerprints256 => list(out, &tls.fingerprints(Fingerprint::Sha256))?,
        TlsField::PeerChainFingerprints1 => list(out, &tls.fingerprints(Fingerprint::Sha1))?,
        TlsField::PeerCert => out.push_str(&url_encoded_pem(tls.peer.get(..1)?)),
        TlsField::Version => out.push_str(tls.version),
        TlsField::Cipher => out.push_str(&tls.openssl_cipher()),
        TlsField::Group => print(out, tls.group?),
    }
    Some(())
}
