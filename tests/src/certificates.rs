//! Certificates and authorities for tests.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, Certificate as Signed, CertificateParams, CertificateRevocationListParams,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, PublicKeyData,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// An authority that signs what it is asked to.
#[derive(Debug)]
pub struct Authority {
    /// Its certificate, PEM.
    pub pem: String,
    /// What is shown along with a certificate of its, PEM: itself, unless it is a root.
    shown_along: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate and those between it and a root, PEM.
    pub chain: String,
    /// Its key, PEM.
    pub key: String,
    /// The certificate, DER.
    pub der: Vec<u8>,
    /// Its public key, DER.
    pub public_key: Vec<u8>,
    serial: SerialNumber,
}

// === impl Authority ===

impl Authority {
    /// Of this common name.
    ///
    /// # Panics
    /// Where no key can be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let (params, key) = (Self::params(name), new_key());
        let pem = params.self_signed(&key).expect("signed").pem();
        Self {
            pem,
            shown_along: String::new(),
            issuer: Issuer::new(params, key),
        }
    }

    /// One that this one has signed.
    ///
    /// # Panics
    /// Where no key can be made.
    #[must_use]
    pub fn issue_authority(&self, name: &str) -> Self {
        let (params, key) = (Self::params(name), new_key());
        let pem = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Self {
            shown_along: format!("{pem}{}", self.shown_along),
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    /// A certificate of these names, each of the kind that it looks like: URI, address, e-mail, DNS.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.issue_with(names, |_| {})
    }

    /// The same, changed.
    #[must_use]
    pub fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        self.issue_for(&new_key(), names, change)
    }

    /// The same with an RSA key.
    ///
    /// # Panics
    /// Where no key can be made.
    #[must_use]
    pub fn issue_rsa(&self, names: &[&str]) -> Certificate {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        self.issue_for(&key, names, |_| {})
    }

    fn issue_for(
        &self,
        key: &KeyPair,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let (signed, serial) = self.sign(names, key, change);
        Certificate {
            chain: format!("{}{}", signed.pem(), self.shown_along),
            key: key.serialize_pem(),
            der: signed.der().to_vec(),
            public_key: key.subject_public_key_info(),
            serial,
        }
    }

    /// One that is out of date.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Certificate {
        self.issue_with(names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    /// A list of what it has revoked, PEM.
    ///
    /// # Panics
    /// Where it cannot be signed.
    #[must_use]
    pub fn revoke(&self, certificates: &[&Certificate]) -> String {
        let revoked = certificates.iter().map(|certificate| RevokedCertParams {
            serial_number: certificate.serial.clone(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("signed");
        list.pem().expect("text")
    }

    fn sign(
        &self,
        names: &[&str],
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (Signed, SerialNumber) {
        let mut params = CertificateParams::default();
        let serial = SerialNumber::from_slice(&key.public_key_raw()[1..9]);
        params.serial_number = Some(serial.clone());
        params.subject_alt_names = names.iter().map(|name| san(name)).collect();
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let signed = params.signed_by(key, &self.issuer).expect("signed");
        (signed, serial)
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn san(name: &str) -> SanType {
    let text = || name.try_into().expect("ASCII");
    match name.parse::<IpAddr>() {
        Ok(ip) => SanType::IpAddress(ip),
        Err(_) if name.contains("://") => SanType::URI(text()),
        Err(_) if name.contains('@') => SanType::Rfc822Name(text()),
        Err(_) => SanType::DnsName(text()),
    }
}

// === impl Certificate ===

impl Certificate {
    /// As an `inline_string` of a `TlsCertificate`, in flow style.
    #[must_use]
    pub fn inline(&self) -> String {
        format!(
            "{{ certificate_chain: {}, private_key: {} }}",
            inline(&self.chain),
            inline(&self.key)
        )
    }
}

/// A `DataSource` that holds `text`, in flow style.
#[must_use]
pub fn inline(text: &str) -> String {
    format!("{{ inline_string: {text:?} }}")
}
