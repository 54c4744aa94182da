//! The last connections of a worker, for the admin interface's `/connections`.
//!
//! A record is written once, when its connection ends, so that it costs nothing per request.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use crate::config::{
    Cluster, Listener,
    listener::{FilterChain, TrafficDirection},
};

/// Records a worker keeps. Enough to find the call one has just made on a quiet sidecar, and
/// under 100 KiB.
const CAPACITY: usize = 256;

/// What became of one connection. Of an HTTP connection with several requests, the last one.
#[derive(Debug, Clone)]
pub struct ConnectionRecord {
    /// When it was accepted.
    pub start: SystemTime,
    /// How long it lasted, microseconds.
    pub duration_us: u64,
    /// The listener that served it.
    pub listener: Arc<Listener>,
    /// The filter chain that served it; none if it was closed before one was chosen.
    pub filter_chain: Option<Arc<FilterChain>>,
    /// `http/1.1`, `h2c`, `tls`, `tcp`, or empty if nothing was seen.
    pub protocol: &'static str,
    /// The cluster it, or its last request, went to.
    pub cluster: Option<Arc<Cluster>>,
    /// The endpoint it, or its last request, went to.
    pub upstream_host: Option<SocketAddr>,
    /// The peer.
    pub downstream_remote: SocketAddr,
    /// Where the peer wanted to go.
    pub original_destination: SocketAddr,
    /// SNI, if there was one.
    pub server_name: Option<Box<str>>,
    /// Requests, of an HTTP connection.
    pub requests: u64,
    /// Status of the last response, 0 if there was none.
    pub response_code: u16,
    /// Envoy's response flags of the last response or of the connection; empty if all went well.
    pub response_flags: &'static str,
    /// The code of the reason for them, likewise.
    pub reason: &'static str,
    /// Bytes from the peer.
    pub bytes_received: u64,
    /// Bytes to the peer.
    pub bytes_sent: u64,
}

/// The last connections of one worker.
#[derive(Debug, Default)]
pub struct ConnectionLog(Mutex<VecDeque<ConnectionRecord>>);

// === impl ConnectionRecord ===

impl ConnectionRecord {
    /// `inbound`, `outbound` or empty.
    #[must_use]
    pub fn direction(&self) -> &'static str {
        match self.listener.direction {
            TrafficDirection::Inbound => "inbound",
            TrafficDirection::Outbound => "outbound",
            TrafficDirection::Unspecified => "",
        }
    }
}

// === impl ConnectionLog ===

impl ConnectionLog {
    /// Keeps `record`, and forgets the oldest if there are too many.
    pub fn push(&self, record: ConnectionRecord) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() == CAPACITY {
            records.pop_front();
        }
        records.push_back(record);
    }

    /// The records, oldest first.
    #[must_use]
    pub fn read(&self) -> Vec<ConnectionRecord> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}
