//! Probes, made from the node as the kubelet makes them.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    process::Stdio,
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use k8s_openapi::{
    api::core::v1::{ExecAction, HTTPGetAction, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{net::TcpStream, process::Command, time::timeout};

use super::{process::Joinable, request};
use crate::{cluster::endpoints::named_port, run::ExecRequest};

/// How often a probe is tried until it succeeds for the first time. The kubelet would wait for the
/// probe's period; a playground is looked at.
pub const EAGER_PERIOD: Duration = Duration::from_millis(50);

/// What a probe needs to know of its pod and container.
pub struct Target<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The `weir` program.
    pub weir: &'a std::path::Path,
    /// The container's process.
    pub joinable: Option<Joinable>,
}

/// Tries `probe` once.
///
/// # Errors
/// Says why it failed.
pub async fn attempt(probe: &Probe, target: &Target<'_>) -> Result<(), String> {
    let limit = Duration::from_secs(
        probe
            .timeout_seconds
            .and_then(|s| u64::try_from(s).ok())
            .unwrap_or(1)
            .max(1),
    );
    let result = timeout(limit, async {
        if let Some(action) = &probe.http_get {
            get(action, target).await
        } else if let Some(action) = &probe.tcp_socket {
            connect(&action.port, target).await.map(drop)
        } else if let Some(action) = &probe.grpc {
            connect(&IntOrString::Int(action.port), target)
                .await
                .map(drop)
        } else if let Some(action) = &probe.exec {
            execute(action, target).await
        } else {
            Ok(())
        }
    });
    result
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
}

/// How often a probe is made.
#[must_use]
pub fn period(probe: &Probe) -> Duration {
    let seconds = probe
        .period_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(seconds.unwrap_or(10).max(1))
}

/// How long a probe may fail before it counts.
#[must_use]
pub fn patience(probe: &Probe) -> Duration {
    let seconds = |value: Option<i32>, default: u64| {
        value
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or(default)
    };
    let failures = seconds(probe.failure_threshold, 3).max(1);
    let delay = Duration::from_secs(seconds(probe.initial_delay_seconds, 0));
    delay + period(probe) * u32::try_from(failures).unwrap_or(u32::MAX)
}

async fn connect(port: &IntOrString, target: &Target<'_>) -> Result<TcpStream, String> {
    let number = match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => named_port(name, target.pod).or_else(|| name.parse().ok()),
    };
    let number = number.ok_or_else(|| format!("there is no port {port:?}"))?;
    let address = SocketAddrV4::new(target.ip, number);
    TcpStream::connect(address)
        .await
        .map_err(|error| format!("{address}: {error}"))
}

async fn get(action: &HTTPGetAction, target: &Target<'_>) -> Result<(), String> {
    let stream = connect(&action.port, target).await?;
    if action.scheme.as_deref() == Some("HTTPS") {
        // The kubelet does not check certificates either; that somebody answers will do.
        return Ok(());
    }
    let path = action
        .path
        .as_deref()
        .filter(|path| path.starts_with('/'))
        .unwrap_or("/");
    let mut builder = Request::get(path).header("user-agent", "kube-probe/1.33");
    let headers = action.http_headers.iter().flatten();
    let mut host = target.ip.to_string();
    for header in headers {
        if header.name.eq_ignore_ascii_case("host") {
            host.clone_from(&header.value);
        } else {
            builder = builder.header(&header.name, &header.value);
        }
    }
    let built = builder.header("host", host).body(Full::new(Bytes::new()));
    let (status, _) = request::send(stream, built.map_err(|error| error.to_string())?).await?;
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("HTTP status {status}"))
    }
}

async fn execute(action: &ExecAction, target: &Target<'_>) -> Result<(), String> {
    let joinable = target
        .joinable
        .clone()
        .ok_or("the container is not running")?;
    let argv = action.command.clone().unwrap_or_default();
    let output = execute_in(target.weir, &joinable, argv).await?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{} {said}", output.status))
}

/// Runs a program in a running container and returns what it printed.
///
/// # Errors
/// If it cannot be started.
pub async fn execute_in(
    weir: &std::path::Path,
    joinable: &Joinable,
    argv: Vec<String>,
) -> Result<std::process::Output, String> {
    let request = ExecRequest {
        joinable: joinable.clone(),
        argv,
    };
    let request = serde_json::to_string(&request).map_err(|error| error.to_string())?;
    Command::new(weir)
        .arg("playground-exec")
        .arg(request)
        .env_clear()
        .process_group(0)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| error.to_string())
}
