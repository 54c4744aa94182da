//! What the proxies are told, in the words of both.

use std::{fmt::Write as _, net::SocketAddr};

use weir_tests::ports;

use crate::endpoints;

/// A way to deal with endpoints that fail.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    /// Fields of the cluster, and of the route's action, each behind a comma.
    cluster: &'static str,
    action: &'static str,
}

const RETRIES: &str = ", retry_policy: { retry_on: '5xx,reset,connect-failure', num_retries: 3, per_try_timeout: 0.25s }";
const EJECTS_MOST: &str = ", common_lb_config: { healthy_panic_threshold: { value: 30 } }, \
    outlier_detection: { consecutive_5xx: 3, interval: 1s, max_ejection_percent: 60 }";

pub(crate) const SETTINGS: [Setting; 5] = [
    Setting {
        name: "neither",
        cluster: "",
        action: "",
    },
    Setting {
        name: "outlier detection as it is by default",
        cluster: ", outlier_detection: {}",
        action: "",
    },
    Setting {
        name: "outlier detection of 60 %",
        cluster: EJECTS_MOST,
        action: "",
    },
    Setting {
        name: "3 retries",
        cluster: "",
        action: RETRIES,
    },
    Setting {
        name: "3 retries, outlier detection of 60 %",
        cluster: EJECTS_MOST,
        action: RETRIES,
    },
];

/// A bootstrap with a listener for each setting, and where they listen.
pub(crate) fn bootstrap(port: u16) -> (String, Vec<SocketAddr>) {
    let hosts = endpoints::addresses().map(|ip| {
        format!(
            "{{ endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }} }}"
        )
    });
    let hosts = hosts.collect::<Vec<_>>().join(", ");
    let (mut listeners, mut clusters, mut at) = (String::new(), String::new(), Vec::new());
    for (
        index,
        Setting {
            cluster, action, ..
        },
    ) in SETTINGS.iter().enumerate()
    {
        let listener = ports::free();
        let _ = write!(
            listeners,
            r#"
  - name: l{index}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {} }} }}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: h{index}
          route_config: {{ virtual_hosts: [ {{ name: v, domains: ["*"], routes: [
            {{ match: {{ prefix: / }}, route: {{ cluster: c{index}, timeout: 1s{action} }} }} ] }} ] }}
          http_filters: [ {{ name: router, typed_config: {{
            "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }} }} ]"#,
            listener.port()
        );
        let _ = write!(
            clusters,
            "\n  - {{ name: c{index}, type: STATIC, connect_timeout: 1s, lb_policy: LEAST_REQUEST{cluster}, \
             load_assignment: {{ cluster_name: c{index}, endpoints: [ {{ lb_endpoints: [ {hosts} ] }} ] }} }}"
        );
        at.push(listener);
    }
    let text = format!("static_resources:\n  listeners:{listeners}\n  clusters:{clusters}\n");
    (text, at)
}
