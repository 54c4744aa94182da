//! Both proxies with the same clusters, which ask one server of names.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use weir_tests::{dns::Server, eventually::eventually, http};

use crate::proxies::{Ports, Proxy};

/// Far longer than any of it takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What a bootstrap says, so that names are asked of the test's server.
pub(super) const RESOLVER: &str = "typed_dns_resolver_config: { name: cares, typed_config: { \"@type\": \
     type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, \
     resolvers: [{ socket_address: { address: 127.0.0.1, port_value: @DNS@ } }], \
     dns_resolver_options: { no_default_search_domain: true } } }";

/// Both proxies, Envoy first, and whom they ask.
pub(super) struct Pair {
    pub(super) names: Server,
    pub(super) proxies: [Proxy; 2],
    /// Of all endpoints, which are addresses of loopback.
    pub(super) port: u16,
}

/// Starts endpoints that answer with their address, at one port of each of these addresses.
fn endpoints(addresses: &[&str]) -> u16 {
    let bind = |port| {
        let each = addresses.iter().map(|address| {
            let listener = TcpListener::bind((*address, port)).ok()?;
            Some((listener, (*address).to_owned()))
        });
        each.collect::<Option<Vec<_>>>()
    };
    let bound = (0..100).find_map(|_| {
        let port = crate::proxies::free_port();
        Some((bind(port)?, port))
    });
    let (listeners, port) = bound.expect("a port that is free at all addresses");
    for (listener, address) in listeners {
        http::serve(listener, "", &address);
    }
    port
}

// === impl Pair ===

impl Pair {
    /// `clusters` are messages, with `@PORT@` for the port of endpoints and `@DNS@` for that of the
    /// server of names. `/name/` leads to the cluster of the name. `bootstrap` is more of the bootstrap.
    pub(super) fn start(
        names: Server,
        addresses: &[&str],
        (listed, clusters): (&[&str], &str),
        bootstrap: &str,
    ) -> Self {
        let port = endpoints(addresses);
        let route = |name: &&str| {
            format!(
                "{{ match: {{ prefix: /{name}/ }}, route: {{ cluster: {name}, timeout: 10s }} }}"
            )
        };
        let routes: Vec<_> = listed.iter().map(route).collect();
        let bootstrap = include_str!("../health.bootstrap.yaml")
            .replace("@ROUTES@", &routes.join(", "))
            .replace("@CLUSTERS@", clusters)
            .replace("@BYTES@", listed[0])
            + &format!("\n{bootstrap}\n");
        let bootstrap = bootstrap
            .replace("@PORT@", &port.to_string())
            .replace("@DNS@", &names.address.port().to_string());
        let proxies = [
            Proxy::envoy(&bootstrap, Ports::free()),
            Proxy::weir(&bootstrap, Ports::free()),
        ];
        Self {
            names,
            proxies,
            port,
        }
    }

    /// Waits until both have these addresses as endpoints of a cluster, and no others.
    pub(super) fn until(&self, cluster: &str, addresses: &[&str]) {
        let expected: BTreeSet<_> = addresses
            .iter()
            .map(|it| format!("{it}:{}", self.port))
            .collect();
        for (proxy, name) in self.proxies.iter().zip(["Envoy", "Weir"]) {
            let reached = eventually(PATIENCE, || {
                (proxy.endpoints(cluster) == expected).then_some(())
            });
            let now = || proxy.endpoints(cluster);
            assert!(
                reached.is_ok(),
                "{name} {cluster}: {:?}, not {expected:?}",
                now()
            );
        }
    }

    /// Waits until both have an answer about the names of a cluster, or know that none comes.
    pub(super) fn until_answered(&self, cluster: &str) {
        for proxy in &self.proxies {
            let counts = || ["update_success", "update_failure"].map(|it| proxy.stat(cluster, it));
            let answered = || (counts() != [0, 0]).then_some(());
            eventually(PATIENCE, answered).unwrap_or_else(|_| panic!("{cluster}"));
        }
    }

    /// Waits until a stat of both has counted further.
    pub(super) fn until_more(&self, cluster: &str, stat: &str) {
        for proxy in &self.proxies {
            let now = || proxy.stat(cluster, stat);
            let before = now();
            let more = eventually(PATIENCE, || (now() > before).then_some(()));
            assert!(more.is_ok(), "{cluster} {stat}: {before}");
        }
    }

    /// What both say alike of something; fails where they do not.
    pub(super) fn alike<T: PartialEq + std::fmt::Debug>(&self, what: impl Fn(&Proxy) -> T) -> T {
        let [envoy, weir] = self.proxies.each_ref().map(what);
        assert_eq!(weir, envoy, "left: Weir, right: Envoy");
        weir
    }
}

impl Proxy {
    /// What a cluster answers: the status and, where it is 200, the body.
    pub(super) fn answer(&self, cluster: &str) -> (u16, String) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(false, false)));
        let answer = http::get(address, &format!("/{cluster}/")).expect("an answer");
        (answer.status, answer.body)
    }

    /// Lines of `/clusters` about endpoints of a cluster: address, what, value.
    fn lines(&self, cluster: &str) -> Vec<(String, String, String)> {
        let page = http::get(self.admin(), "/clusters").expect("clusters").body;
        let lines = page.lines().filter_map(|line| {
            let mut parts = line.strip_prefix(cluster)?.strip_prefix("::")?.split("::");
            let mut part = || parts.next().map(str::to_owned);
            Some((part()?, part()?, part()?))
        });
        let is_endpoint = |line: &(String, String, String)| line.0.parse::<SocketAddr>().is_ok();
        lines.filter(is_endpoint).collect()
    }

    /// Addresses of a cluster's endpoints.
    pub(super) fn endpoints(&self, cluster: &str) -> BTreeSet<String> {
        self.lines(cluster).into_iter().map(|line| line.0).collect()
    }

    /// What `/clusters` says of each endpoint.
    pub(super) fn described(&self, cluster: &str) -> BTreeMap<(String, String), String> {
        const SHOWN: [&str; 6] = [
            "hostname",
            "health_flags",
            "weight",
            "region",
            "zone",
            "priority",
        ];
        let lines = self.lines(cluster).into_iter();
        let shown = lines.filter(|(_, what, _)| SHOWN.contains(&what.as_str()));
        shown
            .map(|(address, what, value)| ((address, what), value))
            .collect()
    }

    /// The sum of a stat over all clusters.
    pub(super) fn stat_of_any(&self, name: &str) -> u64 {
        let page = http::get(self.admin(), "/stats").expect("stats").body;
        let lines = page.lines().filter(|line| line.starts_with("cluster."));
        let values = lines.filter_map(|line| line.split_once(&format!(".{name}: ")));
        values
            .map(|(_, value)| value.parse::<u64>().expect("a number"))
            .sum()
    }

    /// Gauges, and the count, of members.
    pub(super) fn members(&self, cluster: &str) -> [u64; 4] {
        ["total", "healthy", "degraded", "change"]
            .map(|name| self.stat(cluster, &format!("membership_{name}")))
    }
}
