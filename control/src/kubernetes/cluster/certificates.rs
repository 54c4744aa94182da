//! Who is told of certificates, and by whom.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::{Api, core::ApiResource};
use tokio::{sync::watch, task::JoinSet};
use weir_discovery::xds::{Hub, ROOT_CA};

use super::Cluster;
use crate::{
    kubernetes::{
        Shared,
        authority::AuthorityKeeper,
        ca_bundle::{CaBundleKeeper, Writer},
        mounted::MountedCertificate,
        trust::{self, Trust},
    },
    run::Parts,
};

impl Cluster {
    /// Has a certificate served, and caBundle kept at what verifies it.
    pub(super) fn start_certificates(
        &self,
        parts: &Parts,
        shared: &Shared,
        background: &mut JoinSet<()>,
    ) -> Trust {
        let (source, trust) = trust::channel();
        let announced = self.start_ca_bundles(parts, shared, &trust, background);
        match &self.flags.serving_cert_dir {
            Some(directory) => {
                parts.issuer.set_absent();
                let serving = parts.serving.clone();
                let mounted = MountedCertificate::new(directory, shared.clone(), serving, source);
                background.spawn(mounted.run());
            }
            None => {
                let keeper = AuthorityKeeper::new(
                    Api::namespaced(self.client.clone(), &self.flags.namespace),
                    self.flags.ca_secret.clone(),
                    self.policy.clone(),
                    shared.clone(),
                    (parts.serving.clone(), parts.issuer.clone()),
                    source,
                    announced,
                );
                let keeper = keeper.with_given(self.flags.ca_cert_dir.as_deref());
                background.spawn(keeper.run());
            }
        }
        trust
    }

    /// Gives, for each configuration, whether it has the bundle.
    fn start_ca_bundles(
        &self,
        parts: &Parts,
        shared: &Shared,
        trust: &Trust,
        background: &mut JoinSet<()>,
    ) -> Vec<watch::Receiver<bool>> {
        let writer = match self.flags.serving_cert_dir {
            Some(_) => Writer::Issuer,
            None => Writer::Us,
        };
        let mutating = ApiResource::erase::<MutatingWebhookConfiguration>(&());
        let validating = ApiResource::erase::<ValidatingWebhookConfiguration>(&());
        let mut announced = Vec::new();
        for (resource, name, subject) in [
            (mutating, self.flags.mutating_webhook(), "mutating webhook"),
            (
                validating,
                self.flags.validating_webhook(),
                "validating webhook",
            ),
        ] {
            let Some(name) = name else { continue };
            let (told, seen) = watch::channel(true);
            announced.push(seen);
            let keeper = CaBundleKeeper {
                api: Api::all_with(self.client.clone(), &resource),
                name,
                subject,
                writer,
                server_name: self.policy.names.first().cloned().unwrap_or_default(),
                shared: shared.clone(),
                serving: parts.serving.clone(),
                trust: trust.clone(),
                announced: told,
            };
            background.spawn(keeper.run());
        }
        announced
    }
}

/// Has SDS serve the bundle. Never returns.
pub(super) async fn tell_sidecars(mut trust: Trust, hub: Arc<Hub>) {
    loop {
        if let Some(bundle) = trust.bundle() {
            let trusted = [(ROOT_CA.to_owned(), bundle.as_bytes().to_vec())];
            hub.set_trusted(trusted.into());
        }
        trust.changed().await;
    }
}
