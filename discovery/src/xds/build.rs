//! Messages of each kind, built from the model.

mod access_log;
pub(super) mod authorization;
pub(super) mod capture;
pub(super) mod cluster;
pub(super) mod endpoint;
pub(super) mod external;
pub(super) mod http;
pub(super) mod inbound;
pub(super) mod listener;
pub(super) mod outside;
pub(super) mod route;
pub(super) mod routing;
pub(super) mod shape;
pub(super) mod streams;
pub(super) mod tls;

use std::{net::SocketAddr, time::Duration};

use weir_api::xds::{
    envoy::config::core::v3::{
        Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress, address,
        config_source, socket_address,
    },
    google::protobuf,
};

/// Resources a resource refers to come over the same stream.
fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(
            AggregatedConfigSource {},
        )),
        ..ConfigSource::default()
    }
}

fn address(address: SocketAddr) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(
                address.port().into(),
            )),
            ..SocketAddress::default()
        })),
    }
}

/// An address that is looked up.
fn named(name: &str, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: name.to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        })),
    }
}

fn duration(duration: Duration) -> protobuf::Duration {
    protobuf::Duration {
        // Constants of a few seconds; nothing near the bounds.
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

fn wrapped(value: u32) -> protobuf::UInt32Value {
    protobuf::UInt32Value { value }
}

fn boolean(value: bool) -> protobuf::BoolValue {
    protobuf::BoolValue { value }
}
