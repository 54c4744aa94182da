//! What follows from checks of hosts, beside their flags.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use weir_tests::{envoy, eventually::eventually, http};

use super::{Cluster, PATIENCE, Pair, asking::counting, endpoint, lb_endpoint, refusing};
use crate::proxies::{Ports, Proxy};

const OFTEN: &str = "timeout: 60s, interval: 0.02s, no_traffic_interval: 0.02s, unhealthy_threshold: 1, healthy_threshold: 1";

/// A host whose checks succeed while it is told so, and the way to tell it.
fn told(listener: TcpListener) -> Arc<AtomicBool> {
    let is_good = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&is_good);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let told = Arc::clone(&told);
            thread::spawn(move || {
                while let Ok(Some(_)) = http::read_head(&mut stream) {
                    let status = match told.load(Ordering::SeqCst) {
                        true => "200 OK",
                        false => "503 U",
                    };
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    is_good
}

/// A host that sends back what it gets.
fn echoing() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut bytes = [0; 64];
                while let Ok(read @ 1..) = stream.read(&mut bytes) {
                    let _ = stream.write_all(&bytes[..read]);
                }
            });
        }
    });
    address
}

/// An `LbEndpoint` whose checks go to another port.
fn checked_at(host: SocketAddr, port: u16) -> String {
    format!(
        "{{ endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }}, health_check_config: {{ port_value: {port} }} }} }}",
        host.ip(),
        host.port()
    )
}

#[test]
fn connections_for_bytes_end_with_the_health_of_their_host_where_that_is_wanted() {
    if !envoy::available() {
        return;
    }
    for closes in [true, false] {
        let checked = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = checked.local_addr().expect("an address").port();
        let is_good = told(checked);
        let endpoint = checked_at(echoing(), port);
        let cluster = Cluster {
            name: "bytes".to_owned(),
            fields: format!(
                "close_connections_on_host_health_failure: {closes}, health_checks: [{{ {OFTEN}, http_health_check: {{ path: / }} }}],"
            ),
            localities: format!("{{ lb_endpoints: [{endpoint}] }}"),
        };
        let Pair(proxies) = Pair::start(&[cluster]);
        let mut streams = proxies.each_ref().map(|proxy| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port(true, false)));
            let mut stream = TcpStream::connect(address).expect("the proxy listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("an option");
            stream.write_all(b"x").expect("written");
            stream.read_exact(&mut [0]).expect("an echo");
            stream
        });
        is_good.store(false, Ordering::SeqCst);
        for (proxy, stream) in proxies.iter().zip(&mut streams) {
            eventually(PATIENCE, || {
                let flags: Vec<_> = proxy.flags("bytes").into_values().collect();
                (flags == ["/failed_active_hc"]).then_some(())
            })
            .expect("the host fails");
            if closes {
                assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "it ends");
            } else {
                stream.write_all(b"y").expect("written");
                stream.read_exact(&mut [0]).expect("it goes on");
            }
        }
    }
}

#[test]
fn a_check_that_succeeds_ends_an_ejection_where_that_is_wanted() {
    if !envoy::available() {
        return;
    }
    // It answers requests badly, and checks well.
    let host = || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let checked = listener.local_addr().expect("an address").port();
        told(listener);
        checked_at(endpoint("503 U", "bad"), checked)
    };
    let clusters = [true, false].map(|ends| Cluster {
        name: format!("ends-{ends}"),
        fields: format!(
            "outlier_detection: {{ consecutive_5xx: 1, interval: 3600s, base_ejection_time: 3600s, max_ejection_time: 3600s, \
             max_ejection_percent: 100, successful_active_health_check_uneject_host: {ends} }}, \
             health_checks: [{{ {OFTEN}, http_health_check: {{ path: / }} }}],"
        ),
        localities: format!("{{ lb_endpoints: [{}] }}", host()),
    });
    let Pair(proxies) = Pair::start(&clusters);
    for proxy in &proxies {
        for name in ["ends-true", "ends-false"] {
            eventually(PATIENCE, || {
                proxy.ask(name);
                (proxy.stat(name, "outlier_detection.ejections_enforced_total") > 0).then_some(())
            })
            .expect("it is ejected");
        }
        eventually(PATIENCE, || {
            let flags: Vec<_> = proxy.flags("ends-true").into_values().collect();
            (flags == ["healthy"]).then_some(())
        })
        .expect("it is back");
        let checks = proxy.stat("ends-false", "health_check.success");
        eventually(PATIENCE, || {
            (proxy.stat("ends-false", "health_check.success") > checks + 2).then_some(())
        })
        .expect("more checks");
        let flags: Vec<_> = proxy.flags("ends-false").into_values().collect();
        assert_eq!(flags, ["/failed_outlier_check"]);
    }
}

#[test]
fn pooled_connections_are_closed_when_their_host_fails() {
    if !envoy::available() {
        return;
    }
    let checked = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = checked.local_addr().expect("an address").port();
    let is_good = told(checked);
    let (host, connections) = counting();
    let web = Cluster {
        name: "web".to_owned(),
        fields: format!("health_checks: [{{ {OFTEN}, http_health_check: {{ path: / }} }}],"),
        localities: format!("{{ lb_endpoints: [{}] }}", checked_at(host, port)),
    };
    let bytes = Cluster {
        name: "bytes".to_owned(),
        fields: String::new(),
        localities: format!(
            "{{ lb_endpoints: [{}] }}",
            lb_endpoint(refusing(), "HEALTHY")
        ),
    };
    let Pair(proxies) = Pair::start(&[web, bytes]);
    let opened = || *connections.lock().expect("a number");
    for proxy in &proxies {
        (0..3).for_each(|_| assert_eq!(proxy.ask("web").status, 200));
    }
    assert_eq!(opened(), 2, "one of each, for all its requests");
    is_good.store(false, Ordering::SeqCst);
    for (count, proxy) in (3..).zip(&proxies) {
        eventually(PATIENCE, || {
            let flags: Vec<_> = proxy.flags("web").into_values().collect();
            (flags == ["/failed_active_hc"]).then_some(())
        })
        .expect("the host fails");
        // In panic, it is picked all the same.
        (0..3).for_each(|_| assert_eq!(proxy.ask("web").status, 200));
        assert_eq!(opened(), count, "one more, once");
    }
}

#[test]
fn listeners_serve_once_hosts_were_checked() {
    if !envoy::available() {
        return;
    }
    for start in [Proxy::envoy, Proxy::weir] {
        let (checked, is_open) = gated();
        let (host, connections) = counting();
        let cluster = Cluster {
            name: "web".to_owned(),
            fields: format!("health_checks: [{{ {OFTEN}, http_health_check: {{ path: / }} }}],"),
            localities: format!("{{ lb_endpoints: [{}] }}", checked_at(host, checked)),
        };
        let (bootstrap, ports) = (Pair::bootstrap(&[cluster]), Ports::free());
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.admin));
        let starting = thread::spawn(move || start(&bootstrap, ports));
        let ready = || http::get(admin, "/ready").ok();
        eventually(PATIENCE, || {
            let answer = ready()?;
            (answer.status == 503 && answer.body.contains("PRE_INITIALIZING")).then_some(())
        })
        .expect("it says that it waits");
        assert_eq!(*connections.lock().expect("a number"), 0);
        is_open.store(true, Ordering::SeqCst);
        let proxy = starting.join().expect("it starts");
        assert_eq!(proxy.ask("web").status, 200);
        assert_eq!(ready().map(|answer| answer.status), Some(200));
    }
}

/// The port of a host that answers a check once it is told so, and the way to tell it.
fn gated() -> (u16, Arc<AtomicBool>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let is_open = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_open);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            while let Ok(Some(_)) = http::read_head(&mut stream) {
                while !told.load(Ordering::SeqCst) {
                    thread::sleep(std::time::Duration::from_millis(5));
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    (port, is_open)
}
