//! The one that is attacked, and the client beside.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use weir_tests::{envoy, http};

use crate::{
    endpoint::Endpoint,
    proxies::{Ports, Proxy},
};

/// Requests of the client before anything happens, and during it at the least.
const REQUESTS: usize = 10;

/// What a client may wait during an attack, in the middle: so many times as long as before, and as much as a
/// machine with other things to do may add. Without bounds on heads, 246 ms came of 1 ms.
const SLOWER: u32 = 50;
const NOISE: Duration = Duration::from_millis(150);

/// A proxy in front of an endpoint that answers, and of one that does not as it should.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    proxy: Proxy,
}

/// How long the requests of the client took, in the middle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Median(Duration);

// === impl Target ===

impl Target {
    /// Ours, and Envoy where there is one. `overload`: the bootstrap's overload manager, if any.
    pub(crate) fn both(bad: &Endpoint, overload: &str) -> Vec<Self> {
        let bootstrap = include_str!("bootstrap.yaml").replace("@OVERLOAD@", overload);
        let ports = || Ports {
            echo: Endpoint::good(),
            refused: bad.port,
            ..Ports::free()
        };
        let mut all = vec![Self {
            name: "Weir",
            proxy: Proxy::weir(&bootstrap, ports()),
        }];
        if envoy::available() {
            all.push(Self {
                name: "Envoy",
                proxy: Proxy::envoy(&bootstrap, ports()),
            });
        }
        all
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.name == "Weir"
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.proxy.port(false, false)).into()
    }

    /// MiB of memory that it had at most so far.
    pub(crate) fn most_memory(&self) -> u64 {
        self.proxy.memory("VmHWM") / 1024
    }

    /// MiB of memory that it has.
    pub(crate) fn memory(&self) -> u64 {
        self.proxy.memory("VmRSS") / 1024
    }

    /// A statistic; 0 where it has none of that name.
    pub(crate) fn stat(&self, name: &str) -> i64 {
        let page = http::get(self.proxy.admin(), "/stats").expect("the admin interface");
        let mut lines = page.body.lines().filter_map(|line| line.rsplit_once(": "));
        let found = lines.find(|(known, _)| *known == name);
        found
            .and_then(|(_, value)| value.trim().parse().ok())
            .unwrap_or(0)
    }

    /// Whether it says that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        http::get(self.proxy.admin(), "/ready").is_ok_and(|answer| answer.status == 200)
    }

    /// Does something while a client asks again and again, which is answered. Prints what came of it.
    pub(crate) fn beside_a_client<T>(&self, attack: &str, act: impl FnOnce() -> T) -> T {
        let before = self.ask(&|asked| asked >= REQUESTS);
        let memory = self.most_memory();
        let is_over = AtomicBool::new(false);
        let (result, during) = thread::scope(|scope| {
            let enough = |asked| asked >= REQUESTS && is_over.load(Ordering::Relaxed);
            let client = scope.spawn(move || self.ask(&enough));
            let result = act();
            is_over.store(true, Ordering::Relaxed);
            (result, client.join().expect("the client is served"))
        });
        let ratio = during.0.as_secs_f64() / before.0.as_secs_f64();
        println!(
            "{attack}: {} had {memory} MiB, then {} at most; its client waited {before:?}, then {during:?}, {ratio:.1} \
             times as long",
            self.name,
            self.most_memory(),
        );
        if self.is_ours() {
            let most = before.0 * SLOWER + NOISE;
            assert!(during.0 < most, "{attack}: {before:?}, then {during:?}");
            assert!(self.is_ready(), "{attack}");
        }
        result
    }

    /// Asks on connections of their own until it is enough.
    fn ask(&self, is_enough: &dyn Fn(usize) -> bool) -> Median {
        let mut took = Vec::new();
        while !is_enough(took.len()) {
            let began = Instant::now();
            let answer = http::get(self.address(), "/good");
            took.push(began.elapsed());
            if self.is_ours() {
                let answer = answer.expect("an answer");
                assert_eq!((answer.status, &*answer.body), (200, "good"));
            }
        }
        took.sort_unstable();
        Median(took[took.len() / 2])
    }
}
