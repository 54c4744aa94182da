//! Values that many messages hold: durations, addresses, numbers with a range, text for headers.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use ipnet::IpNet;
use serde_json::{Map, Value};
use weir_api::xds::{
    envoy::config::core::v3::{
        Address, CidrRange, ConfigSource, DataSource, SocketAddress, address,
        config_source::ConfigSourceSpecifier, data_source::Specifier,
        socket_address::PortSpecifier,
    },
    google::protobuf::{self, Any, UInt32Value, value::Kind},
};

use super::at::{At, take};

/// Numbers from here on are not exact in protobuf's JSON.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// A duration that is set. Negative ones are wrong.
pub(super) fn duration(at: &At<'_>, value: Option<protobuf::Duration>) -> Option<Duration> {
    let protobuf::Duration { seconds, nanos } = value?;
    let parts = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
    let sound = parts.filter(|(_, nanos)| *nanos < 1_000_000_000);
    if sound.is_none() {
        at.error(format!(
            "{seconds}s and {nanos}ns: a duration from 0s is needed"
        ));
    }
    sound.map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

/// A duration that is set and longer than nothing.
pub(super) fn positive_duration(
    at: &At<'_>,
    value: Option<protobuf::Duration>,
) -> Option<Duration> {
    let value = duration(at, value);
    if value.is_some_and(|value| value.is_zero()) {
        at.error("0s: must be longer");
    }
    value
}

/// A timeout: `default` if unset, none if zero.
pub(super) fn timeout(
    at: &At<'_>,
    value: Option<protobuf::Duration>,
    default: Option<Duration>,
) -> Option<Duration> {
    if value.is_none() {
        return default;
    }
    duration(at, value).filter(|value| !value.is_zero())
}

/// A number that is set, which must lie in `range`.
pub(super) fn number(
    at: &At<'_>,
    value: Option<UInt32Value>,
    range: RangeInclusive<u32>,
) -> Option<u32> {
    let value = value?.value;
    if !range.contains(&value) {
        at.error(format!(
            "{value}: must be from {} to {}",
            range.start(),
            range.end()
        ));
    }
    Some(value)
}

/// Text that must not be empty.
pub(super) fn non_empty(at: &At<'_>, text: String) -> String {
    if text.is_empty() {
        at.error("must not be empty");
    }
    text
}

/// The enum value of this number.
pub(super) fn enumeration<T: TryFrom<i32>>(at: &At<'_>, value: i32) -> Option<T> {
    let known = T::try_from(value).ok();
    if known.is_none() {
        at.error(format!("unknown value {value}"));
    }
    known
}

/// The name of the message type in an `Any`.
pub(super) fn type_name(any: &Any) -> &str {
    any.type_url.rsplit('/').next().unwrap_or_default()
}

/// What `unpack` takes out of an `Any`, or the reason why it cannot.
pub(super) fn unpack<T, E: std::fmt::Display>(
    at: &At<'_>,
    any: &Any,
    unpack: impl FnOnce(&Any) -> Result<T, E>,
) -> Option<T> {
    unpack(any)
        .map_err(|error| at.error(error.to_string()))
        .ok()
}

/// An address of a TCP socket.
pub(super) fn address(at: &At<'_>, message: Address) -> Option<SocketAddr> {
    let message = socket_address_of(at, message)?;
    socket_address(&at.field("socket_address"), message)
}

/// The message of an address that is one of a TCP socket.
fn socket_address_of(at: &At<'_>, message: Address) -> Option<SocketAddress> {
    take!(at, message => Address { supported: address; });
    match at.required(address)? {
        address::Address::SocketAddress(message) => Some(message),
        address::Address::Pipe(pipe) => {
            at.field("pipe").unsupported(format!("{:?}", pipe.path));
            None
        }
        address::Address::EnvoyInternalAddress(_) => {
            at.field("envoy_internal_address")
                .unsupported("internal listeners");
            None
        }
    }
}

/// An IP address and a TCP port.
pub(super) fn socket_address(at: &At<'_>, message: SocketAddress) -> Option<SocketAddr> {
    let (ip, port) = host_and_port(at, message, |at, host| ip(at, &host))?;
    Some(SocketAddr::new(ip, port))
}

/// A TCP port of what has a name.
pub(super) fn named_address(at: &At<'_>, message: Address) -> Option<(String, u16)> {
    let message = socket_address_of(at, message)?;
    named_socket_address(&at.field("socket_address"), message)
}

/// The same, where nothing else could be meant.
pub(super) fn named_socket_address(at: &At<'_>, message: SocketAddress) -> Option<(String, u16)> {
    host_and_port(at, message, |at, host| Some(non_empty(at, host)))
}

/// An address or a name, and a TCP port.
fn host_and_port<T>(
    at: &At<'_>,
    message: SocketAddress,
    host: impl FnOnce(&At<'_>, String) -> Option<T>,
) -> Option<(T, u16)> {
    take!(at, message => SocketAddress {
        supported: address, port_specifier;
        refused: protocol, resolver_name, ipv4_compat, network_namespace_filepath;
    });
    let host = host(&at.field("address"), address);
    let port = match at.field("port_specifier").required(port_specifier)? {
        PortSpecifier::PortValue(value) => {
            let port = u16::try_from(value).ok();
            if port.is_none() {
                at.field("port_value")
                    .error(format!("{value}: must be at most 65535"));
            }
            port
        }
        PortSpecifier::NamedPort(name) => {
            at.field("named_port").unsupported(format!("{name:?}"));
            None
        }
    };
    Some((host?, port?))
}

/// An IP address. Names are not looked up.
pub(super) fn ip(at: &At<'_>, text: &str) -> Option<IpAddr> {
    let ip = text.parse().ok();
    if ip.is_none() {
        at.error(format!("{text:?}: not an IP address"));
    }
    ip
}

/// Address ranges. Bits below the prefix do not count.
pub(super) fn cidr_ranges(at: &At<'_>, messages: Vec<CidrRange>) -> Vec<IpNet> {
    let messages = messages.into_iter().enumerate();
    messages
        .filter_map(|(index, message)| cidr_range(&at.index(index), message))
        .collect()
}

/// An address range. Bits below the prefix do not count.
pub(super) fn cidr_range(at: &At<'_>, message: CidrRange) -> Option<IpNet> {
    take!(at, message => CidrRange { supported: address_prefix, prefix_len; });
    let length = number(&at.field("prefix_len"), prefix_len, 0..=128).unwrap_or(0);
    let ip = ip(&at.field("address_prefix"), &address_prefix)?;
    // Envoy takes what is longer than the address for the whole address.
    let whole = if ip.is_ipv4() { 32 } else { 128 };
    let length = u8::try_from(length).unwrap_or(whole).min(whole);
    IpNet::new(ip, length).ok().map(|range| range.trunc())
}

/// An object as JSON has it. Whole numbers are such, so that they are shown without a point.
pub(crate) fn json_object(message: protobuf::Struct) -> Map<String, Value> {
    let fields = message.fields.into_iter();
    fields.map(|(name, value)| (name, json(value))).collect()
}

/// A value as JSON has it.
pub(super) fn json(message: protobuf::Value) -> Value {
    match message.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() < MAX_EXACT => {
            Value::from(number as i64)
        }
        Some(Kind::NumberValue(number)) => Value::from(number),
        Some(Kind::StringValue(text)) => Value::from(text),
        Some(Kind::BoolValue(value)) => Value::from(value),
        Some(Kind::StructValue(object)) => Value::Object(json_object(object)),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
    }
}

/// An object of JSON as protobuf has it.
pub(crate) fn json_struct(object: &Map<String, Value>) -> protobuf::Struct {
    let fields = object.iter();
    protobuf::Struct {
        fields: fields
            .map(|(name, value)| (name.clone(), json_value(value)))
            .collect(),
    }
}

fn json_value(value: &Value) -> protobuf::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => Kind::ListValue(protobuf::ListValue {
            values: values.iter().map(json_value).collect(),
        }),
        Value::Object(object) => Kind::StructValue(json_struct(object)),
    };
    protobuf::Value { kind: Some(kind) }
}

/// Text within the message. Files and environment variables are not read.
pub(super) fn inline_text(at: &At<'_>, message: DataSource) -> Option<Vec<u8>> {
    take!(at, message => DataSource {
        supported: specifier;
        refused: watched_directory;
    });
    match at.required(specifier)? {
        Specifier::InlineString(text) => Some(text.into_bytes()),
        Specifier::InlineBytes(bytes) => Some(bytes),
        Specifier::Filename(name) => {
            at.field("filename")
                .unsupported(format!("{name:?} (only inline data is)"));
            None
        }
        Specifier::EnvironmentVariable(name) => {
            at.field("environment_variable")
                .unsupported(format!("{name:?} (only inline data is)"));
            None
        }
    }
}

/// A source of configuration, which must be the aggregated stream.
pub(super) fn ads(at: &At<'_>, message: ConfigSource) {
    take!(at, message => ConfigSource {
        supported: resource_api_version, config_source_specifier;
        refused: authorities, initial_fetch_timeout;
    });
    v3(&at.field("resource_api_version"), resource_api_version);
    match config_source_specifier {
        Some(ConfigSourceSpecifier::Ads(_)) => at.needs_ads(),
        None => at.error("config_source_specifier: required"),
        Some(other) => {
            #[allow(deprecated)]
            let name = match other {
                ConfigSourceSpecifier::Path(_) => "path",
                ConfigSourceSpecifier::PathConfigSource(_) => "path_config_source",
                ConfigSourceSpecifier::ApiConfigSource(_) => "api_config_source",
                ConfigSourceSpecifier::Self_(_) => "self",
                ConfigSourceSpecifier::Ads(_) => "ads",
            };
            at.field(name)
                .unsupported("only ads is a source of configuration");
        }
    }
}

/// A version of the API, which must be V3.
pub(super) fn v3(at: &At<'_>, version: i32) {
    // AUTO has come to mean V3, too.
    const AUTO_AND_V3: [i32; 2] = [0, 2];
    if !AUTO_AND_V3.contains(&version) {
        at.error("must be V3");
    }
}

/// Text that may stand in a header's value.
pub(super) fn header_value(at: &At<'_>, text: String) -> String {
    if text.bytes().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        at.error(format!("{text:?}: must not hold NUL, CR or LF"));
    }
    text
}

/// Name of a header; pseudo headers are names, too. Lower case.
pub(super) fn header_name(at: &At<'_>, name: &str) -> String {
    if name.is_empty() {
        at.error("must not be empty");
    } else if name.bytes().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        at.error(format!("{name:?}: not a header name"));
    }
    name.to_ascii_lowercase()
}
