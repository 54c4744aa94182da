//! Sidecars that never reached a control plane, of pods that were injected.
//!
//! A replica knows who is connected to itself. Of the others it asks the sidecar, which may be
//! connected to another replica: its statistics say whether it ever was. What does not answer is
//! not judged.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, api::DynamicObject};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use weir_api::{node::NodeId, sidecar::PROXY_CONTAINER};
use weir_discovery::xds::Hub;

/// A sidecar has as long as this from its start to be connected.
const PATIENCE: Duration = Duration::from_secs(60);
/// For all of one question.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Questions at a time.
const AT_ONCE: usize = 16;
/// Sidecars that are asked in one look; a cluster with more of them has other worries.
const ASKED: usize = 500;
/// Bytes of an answer: some lines.
const ANSWER: u64 = 64 << 10;
/// The statistic, as Prometheus sees it.
const STATISTIC: &str = "control_plane_ever_connected";

/// A pod whose sidecar is not connected here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: Option<String>,
    address: IpAddr,
}

/// Pods that are connected to this replica, as namespace and name.
pub(super) fn connected(hub: &Hub) -> HashSet<(String, String)> {
    let clients = hub.summary().clients.into_iter();
    let nodes = clients.filter_map(|client| client.node.parse::<NodeId>().ok());
    nodes.map(|node| (node.namespace, node.pod)).collect()
}

/// The pod, if its sidecar has run for long enough to be connected.
pub(super) fn candidate(pod: &DynamicObject, namespace: &str, now: Timestamp) -> Option<Candidate> {
    let status = &pod.data["status"];
    let lists = [
        &status["initContainerStatuses"],
        &status["containerStatuses"],
    ];
    let mut containers = lists.into_iter().filter_map(Value::as_array).flatten();
    let sidecar = containers.find(|container| container["name"] == PROXY_CONTAINER)?;
    let started = sidecar["state"]["running"]["startedAt"].as_str()?;
    let started: Timestamp = started.parse().ok()?;
    let age = now.duration_since(started);
    let is_old = Duration::try_from(age).is_ok_and(|age| age >= PATIENCE);
    (is_old && pod.metadata.deletion_timestamp.is_none()).then_some(())?;
    Some(Candidate {
        namespace: namespace.to_owned(),
        name: pod.name_any(),
        uid: pod.uid(),
        address: status["podIP"].as_str()?.parse().ok()?,
    })
}

/// Those whose sidecar says that it was never connected.
pub(super) async fn never_connected(candidates: Vec<Candidate>, port: u16) -> Vec<Candidate> {
    let candidates = candidates.into_iter().take(ASKED);
    let asked = stream::iter(candidates).map(|candidate| async move {
        let address = SocketAddr::new(candidate.address, port);
        let answer = timeout(TIMEOUT, ask(address)).await.ok()?.ok()?;
        says_never(&answer).then_some(candidate)
    });
    let answers = asked.buffered(AT_ONCE);
    answers.filter_map(std::future::ready).collect().await
}

/// What the sidecar there says of its connection.
async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /stats/prometheus?filter=ever_connected HTTP/1.1\r\nhost: {address}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER).read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Whether an answer says so. One that does not speak of it does not.
fn says_never(answer: &str) -> bool {
    let mut lines = answer.lines().filter(|line| !line.starts_with('#'));
    let line = lines.find(|line| line.contains(STATISTIC));
    line.is_some_and(|line| line.trim_end().ends_with(" 0"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(status: &Value) -> DynamicObject {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
                         "status": status});
        serde_json::from_value(pod).expect("a pod")
    }

    #[test]
    fn only_a_sidecar_that_has_run_for_a_minute_is_asked() {
        let now: Timestamp = "2026-11-29T12:01:00Z".parse().expect("a time");
        let running =
            |at: &str| json!([{"name": "weir-proxy", "state": {"running": {"startedAt": at}}}]);
        let old = running("2026-11-29T12:00:00Z");
        for (status, expected) in [
            (
                json!({"podIP": "10.0.0.1", "initContainerStatuses": old}),
                true,
            ),
            (json!({"podIP": "10.0.0.1", "containerStatuses": old}), true),
            (
                json!({"podIP": "10.0.0.1", "containerStatuses": running("2026-11-29T12:00:01Z")}),
                false,
            ),
            (json!({"containerStatuses": old}), false),
            (
                json!({"podIP": "10.0.0.1", "containerStatuses": [{"name": "app"}]}),
                false,
            ),
            (json!({}), false),
        ] {
            let found = candidate(&pod(&status), "shop", now);
            assert_eq!(found.is_some(), expected, "{status}");
        }
    }

    #[test]
    fn only_a_zero_says_never() {
        let name = "envoy_control_plane_ever_connected";
        assert!(says_never(&format!(
            "HTTP/1.1 200 OK\r\n\r\n# HELP {name} 1 once\n{name}{{}} 0\r\n"
        )));
        for other in [
            format!("{name}{{}} 1"),
            "HTTP/1.1 404 Not Found".to_owned(),
            String::new(),
        ] {
            assert!(!says_never(&other), "{other}");
        }
    }
}
