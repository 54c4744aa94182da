//! What a person sets for the whole mesh, and may change while it runs.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ExtensionProvider;

/// Settings of the whole mesh. What is not given has its default; what is not known is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MeshConfig {
    /// What becomes of connections to destinations that the mesh does not know.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// Whether sidecars write a line for each request and connection to standard output.
    pub access_log: AccessLog,
    /// How an endpoint of a service is picked.
    pub default_load_balancer: LoadBalancer,
    /// Services that policies of the action `CUSTOM` have asked.
    pub extension_providers: Vec<ExtensionProvider>,
}

/// What becomes of connections to destinations that the mesh does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OutboundTrafficPolicy {
    /// Passed through, or refused.
    pub mode: OutboundMode,
}

/// Whether destinations that the mesh does not know may be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundMode {
    /// They are passed through.
    #[default]
    AllowAny,
    /// Connections to them are refused.
    RegistryOnly,
}

/// Whether and how sidecars write access logs to standard output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AccessLog {
    /// They do not.
    #[default]
    Off,
    /// Lines in Envoy's default format.
    Text,
    /// An object a line.
    Json,
    /// The same, and of what went wrong alone: with the reason, the peer, attempts and timings.
    Errors,
}

/// How an endpoint of a service is picked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LoadBalancer {
    /// The less busy of two.
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
}

// === impl MeshConfig ===

impl MeshConfig {
    /// Names of the services that policies may have asked.
    #[must_use]
    pub fn provider_names(&self) -> BTreeSet<String> {
        let providers = self.extension_providers.iter();
        providers.map(|it| it.name.clone()).collect()
    }

    /// What is wrong with it beside what cannot be read, if anything.
    ///
    /// # Errors
    /// An extension provider is none, or has the name of another.
    pub fn validate(&self) -> Result<(), String> {
        for (index, provider) in self.extension_providers.iter().enumerate() {
            provider.validate()?;
            let before = &self.extension_providers[..index];
            if before.iter().any(|it| it.name == provider.name) {
                return Err(format!(
                    "extensionProviders: {:?} is there twice",
                    provider.name
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_its_default_and_what_is_not_known_is_refused() {
        let read = |text: &str| serde_json::from_str::<MeshConfig>(text);
        assert_eq!(read("{}").expect("empty"), MeshConfig::default());
        let all = r#"{"outboundTrafficPolicy":{"mode":"REGISTRY_ONLY"},"accessLog":"json",
            "defaultLoadBalancer":"ROUND_ROBIN"}"#;
        let all = read(all).expect("all");
        assert_eq!(all.outbound_traffic_policy.mode, OutboundMode::RegistryOnly);
        assert_eq!(all.access_log, AccessLog::Json);
        assert_eq!(all.default_load_balancer, LoadBalancer::RoundRobin);
        let providers = r#"{"extensionProviders":[{"name":"b"},{"name":"a"}]}"#;
        let names = read(providers).expect("providers").provider_names();
        assert_eq!(Vec::from_iter(names), ["a", "b"]);
        let errors = read(r#"{"accessLog":"errors"}"#).expect("errors");
        assert_eq!(errors.access_log, AccessLog::Errors);
        for wrong in [
            r#"{"accessLogs":"off"}"#,
            r#"{"accessLog":"loud"}"#,
            r#"{"outboundTrafficPolicy":{"mode":"allow_any"}}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
