//! The workload's certificate: a key that never leaves this process, a certificate for it from the
//! control plane, and both anew at half of the certificate's life.
//!
//! Nothing waits for it. Until it is there, connections that need it fail, and metric, log and
//! readiness say why it is not.

mod answer;
mod issuer;
mod key;
mod status;

use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use weir_api::xds::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{Secret, TlsCertificate, secret::Type},
};

use self::{answer::Answer, key::Key};
pub(super) use self::{
    issuer::{AskError, Issuer},
    status::Status,
};

/// Name of the secret, as Istio has it.
pub(super) const SECRET: &str = "default";
/// Pauses after failures: a control plane that restarts is back within seconds, and an hour of
/// failures is a hundred lines at most.
const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(500))
    .with_max_delay(Duration::from_secs(30))
    .with_jitter()
    .without_max_times();
/// Longest time between two looks at the clock: a machine may sleep, or its clock may be set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Shortest time between two certificates, whatever their lives.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Keeps a certificate in `sink` for as long as the process lives. Never returns.
pub(super) async fn keep(
    issuer: Issuer,
    sink: impl Fn(Secret) -> Result<(), String>,
    mut status: Status,
) {
    let mut pauses = PAUSES.build();
    loop {
        match renew(&issuer, &sink).await {
            Ok((id, not_after)) => {
                status.renewed(&id, not_after);
                pauses = PAUSES.build();
                wait_until(renew_at(not_after, SystemTime::now(), fraction())).await;
            }
            Err(error) => {
                status.failed(&error, SystemTime::now());
                tokio::time::sleep(pauses.next().unwrap_or(LONGEST_WAIT)).await;
            }
        }
    }
}

/// Gets one certificate. Gives whose it is, and when it ends.
async fn renew(
    issuer: &Issuer,
    sink: &impl Fn(Secret) -> Result<(), String>,
) -> Result<(String, SystemTime), AskError> {
    let key = Key::generate().map_err(AskError::Key)?;
    let chain = issuer.ask(key.request().map_err(AskError::Key)?).await?;
    let answer = Answer::check(&chain, &key, SystemTime::now()).map_err(AskError::Answer)?;
    let Answer {
        id,
        certificates,
        not_after,
    } = answer;
    sink(secret(&key, certificates)).map_err(AskError::Answer)?;
    Ok((id, not_after))
}

fn secret(key: &Key, certificates: String) -> Secret {
    let inline = |bytes: Vec<u8>| DataSource {
        specifier: Some(Specifier::InlineBytes(bytes)),
        ..DataSource::default()
    };
    Secret {
        name: SECRET.to_owned(),
        r#type: Some(Type::TlsCertificate(TlsCertificate {
            certificate_chain: Some(inline(certificates.into_bytes())),
            private_key: Some(inline(key.pem().as_bytes().to_vec())),
            ..TlsCertificate::default()
        })),
    }
}

/// When to renew: at half of what is left, give or take a tenth of that, so that sidecars that began
/// together do not ask together.
fn renew_at(not_after: SystemTime, now: SystemTime, fraction: f64) -> SystemTime {
    let left = not_after.duration_since(now).unwrap_or_default();
    now + left.mul_f64(0.45 + 0.1 * fraction).max(SHORTEST_WAIT)
}

async fn wait_until(at: SystemTime) {
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.min(LONGEST_WAIT)).await;
    }
}

/// Somewhere in `0.0..1.0`.
fn fraction() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // Keys of a new map are as good as dice here.
    let dice = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(dice).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
