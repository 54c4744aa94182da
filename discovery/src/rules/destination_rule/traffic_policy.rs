//! Traffic policies.

use serde::Deserialize;
use serde_json::Value;

use super::{
    Refused, THE_REST, balancer::LoadBalancer, gradual::Retries, outliers::OutlierDetection,
    pool::ConnectionPool, tls::Tls,
};
use crate::{
    model::{self, PortPolicies},
    rules::{Findings, Place, istio::refuse},
};

/// How callers connect.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct TrafficPolicy {
    load_balancer: Option<LoadBalancer>,
    connection_pool: Option<ConnectionPool>,
    outlier_detection: Option<OutlierDetection>,
    tls: Option<Tls>,
    port_level_settings: Option<Vec<PortPolicy>>,
    tunnel: Option<Value>,
    proxy_protocol: Option<Value>,
    retry_budget: Option<Retries>,
}

/// The same of one port of the service.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PortPolicy {
    port: Option<PortSelector>,
    load_balancer: Option<LoadBalancer>,
    connection_pool: Option<ConnectionPool>,
    outlier_detection: Option<OutlierDetection>,
    tls: Option<Tls>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PortSelector {
    number: u16,
}

/// What a policy says of whatever it is about.
struct Said<'a> {
    load_balancer: Option<&'a LoadBalancer>,
    connection_pool: Option<&'a ConnectionPool>,
    outlier_detection: Option<&'a OutlierDetection>,
    tls: Option<&'a Tls>,
    retry_budget: Option<&'a Retries>,
}

// === impl TrafficPolicy ===

impl TrafficPolicy {
    pub(super) fn read(
        &self,
        at: &str,
        place: &Place<'_>,
        findings: &mut Findings,
    ) -> PortPolicies {
        let refused: &Refused<'_> = &[
            ("tunnel", &self.tunnel),
            ("proxyProtocol", &self.proxy_protocol),
        ];
        refuse(at, refused, THE_REST, findings);
        let all = Said {
            load_balancer: self.load_balancer.as_ref(),
            connection_pool: self.connection_pool.as_ref(),
            outlier_detection: self.outlier_detection.as_ref(),
            tls: self.tls.as_ref(),
            retry_budget: self.retry_budget.as_ref(),
        };
        let mut policies = PortPolicies {
            all: all.read(at, place, findings),
            ..PortPolicies::default()
        };
        for (index, said) in self.port_level_settings.iter().flatten().enumerate() {
            let at = format!("{at}.portLevelSettings[{index}]");
            let number = said.port.as_ref().map_or(0, |port| port.number);
            if number == 0 {
                let reason = "names no port of the Service (1 to 65535): write it";
                findings.malformed(format!("{at}.port.number"), reason);
                continue;
            }
            let of_port = Said {
                load_balancer: said.load_balancer.as_ref(),
                connection_pool: said.connection_pool.as_ref(),
                outlier_detection: said.outlier_detection.as_ref(),
                tls: said.tls.as_ref(),
                retry_budget: None,
            };
            let of_port = of_port.read(&at, place, findings);
            policies.ports.entry(number).or_insert(of_port);
        }
        policies
    }
}

// === impl Said ===

impl Said<'_> {
    fn read(&self, at: &str, place: &Place<'_>, findings: &mut Findings) -> model::TrafficPolicy {
        let balancer = self.load_balancer;
        let pool = self.connection_pool;
        let outliers = self.outlier_detection;
        model::TrafficPolicy {
            warmup: balancer.and_then(|it| it.warmup(&format!("{at}.loadBalancer"), findings)),
            retry_budget: self
                .retry_budget
                .map(|it| it.read(&format!("{at}.retryBudget"), findings)),
            balancing: balancer
                .and_then(|it| it.read(&format!("{at}.loadBalancer"), place, findings)),
            pool: pool
                .map(|it| it.read(&format!("{at}.connectionPool"), findings))
                .map(Into::into),
            outliers: outliers
                .map(|it| it.read(&format!("{at}.outlierDetection"), findings))
                .map(Into::into),
            tls: self
                .tls
                .map(|it| it.read(&format!("{at}.tls"), place, findings).into()),
        }
    }
}
