//! The caBundle of a webhook configuration: kept at what verifies the certificate that is served.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use k8s_openapi::ByteString;
use kube::{
    Api, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    runtime::{WatchStreamExt, watcher::watch_object},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Shared, failure, metrics::increment, trust::Trust};
use crate::certificates::{Serving, verify::verify};

/// Time until a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Who writes caBundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The control plane.
    Us,
    /// Whoever issues the certificate; we only look.
    Issuer,
}

/// Keeps one configuration right.
pub(crate) struct CaBundleKeeper {
    pub(crate) api: Api<DynamicObject>,
    /// Name of the configuration.
    pub(crate) name: String,
    /// What `/ready` calls it.
    pub(crate) subject: &'static str,
    pub(crate) writer: Writer,
    /// A name that the API server dials us by.
    pub(crate) server_name: String,
    pub(crate) shared: Shared,
    pub(crate) serving: Arc<Serving>,
    pub(crate) trust: Trust,
    /// Told whether the configuration has the bundle.
    pub(crate) announced: watch::Sender<bool>,
}

// === impl CaBundleKeeper ===

impl CaBundleKeeper {
    /// Never returns.
    pub(crate) async fn run(mut self) {
        let objects = watch_object(self.api.clone(), &self.name).default_backoff();
        let mut objects = std::pin::pin!(objects);
        let mut object = None;
        let mut retry = false;
        loop {
            tokio::select! {
                Some(seen) = objects.next() => match seen {
                    Ok(seen) => object = seen,
                    Err(error) => {
                        let reason = failure(&error);
                        tracing::warn!(configuration = self.name, reason, "cannot read webhooks");
                        continue;
                    }
                },
                () = self.trust.changed() => {}
                () = tokio::time::sleep(RETRY), if retry => {}
            }
            retry = false;
            if let Some(seen) = &object {
                match self.put_right(seen).await {
                    Ok(Some(written)) => object = Some(written),
                    Ok(None) => {}
                    Err(reason) => {
                        tracing::warn!(configuration = self.name, reason, "cannot write caBundle");
                        retry = true;
                    }
                }
            }
            self.judge(object.as_ref());
        }
    }

    /// Writes the bundle where it is another, and gives the configuration as it is then.
    async fn put_right(&self, object: &DynamicObject) -> Result<Option<DynamicObject>, String> {
        if self.writer == Writer::Issuer || self.wrong(object, &self.trust).is_empty() {
            return Ok(None);
        }
        // It may be us who are behind.
        let Some(bundle) = self.trust.look_up().await else {
            return Err("the bundle is not known".to_owned());
        };
        let wrong = self.wrong(object, &self.trust);
        if wrong.is_empty() {
            return Ok(None);
        }
        let ca_bundle = json!(ByteString(bundle.as_bytes().to_vec()));
        let webhooks = wrong.iter();
        let webhooks: Vec<_> = webhooks
            .map(|name| json!({"name": name, "clientConfig": {"caBundle": ca_bundle}}))
            .collect();
        let patch = json!({
            "metadata": {"resourceVersion": object.resource_version()},
            "webhooks": webhooks,
        });
        let params = PatchParams {
            field_manager: Some(super::FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        match self
            .api
            .patch(&self.name, &params, &Patch::Strategic(patch))
            .await
        {
            Ok(written) => {
                increment(&self.shared.metrics.bundle_repairs);
                tracing::info!(configuration = self.name, webhooks = ?wrong, "wrote caBundle");
                Ok(Some(written))
            }
            // It changed or is gone; the watch will tell.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(None),
            Err(error) => Err(failure(&error)),
        }
    }

    /// Names of the webhooks with another bundle.
    fn wrong(&self, object: &DynamicObject, trust: &Trust) -> Vec<String> {
        let Some(bundle) = trust.bundle() else {
            return Vec::new();
        };
        let right = json!(ByteString(bundle.as_bytes().to_vec()));
        let entries = entries(object).filter(|entry| entry["clientConfig"]["caBundle"] != right);
        entries
            .map(|entry| entry["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Says whether the API server accepts what is served.
    fn judge(&self, object: Option<&DynamicObject>) {
        let health = &self.shared.health;
        let Some(object) = object else {
            self.shared.metrics.set_bundle(&self.name, None);
            self.announced.send_replace(true);
            health.ready(self.subject);
            return;
        };
        self.announced
            .send_replace(self.wrong(object, &self.trust).is_empty());
        let chain = self.serving.chain();
        if chain.is_empty() {
            // As each first start begins: whoever makes the certificates says what is wrong.
            self.shared.metrics.set_bundle(&self.name, Some(false));
            health.unready(self.subject, "no certificate is served yet");
            return;
        }
        let refused = entries(object).find_map(|entry| {
            let bundle = &entry["clientConfig"]["caBundle"];
            let bundle: ByteString = serde_json::from_value(bundle.clone()).unwrap_or_default();
            let bundle = String::from_utf8_lossy(&bundle.0).into_owned();
            let now = (self.shared.clock)();
            let error = verify(&chain, &bundle, &self.server_name, now).err()?;
            Some(format!("webhook {}: {error}", entry["name"]))
        });
        self.shared
            .metrics
            .set_bundle(&self.name, Some(refused.is_none()));
        match refused {
            None => {
                health.ready(self.subject);
            }
            Some(reason) => {
                let reason = format!(
                    "{} of {} does not accept the certificate that is served: {reason}",
                    "caBundle", self.name
                );
                if health.unready(self.subject, reason.clone()) {
                    tracing::warn!(reason, "the API server cannot call the webhook");
                }
            }
        }
    }
}

fn entries(object: &DynamicObject) -> impl Iterator<Item = &Value> {
    object.data["webhooks"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests;
