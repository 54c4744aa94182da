//! Where an `ORIGINAL_DST` cluster leads, if not where its client meant to go.

/// `Cluster.OriginalDstLbConfig`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginalDstLb {
    /// The first value of this header, lower case, is where a request goes (`use_http_header`,
    /// `http_header_name`). Clients can set it: whoever routes by it decides who may.
    pub header: Option<String>,
    /// The same of this place in dynamic metadata, which comes before the header (`metadata_key`).
    pub metadata: Option<MetadataKey>,
    /// The port, whatever the address has (`upstream_port_override`).
    pub port: Option<u16>,
}

/// `envoy.type.metadata.v3.MetadataKey`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataKey {
    /// Namespace.
    pub namespace: String,
    /// Keys from the namespace's top down.
    pub path: Vec<String>,
}
