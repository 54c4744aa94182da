//! Access logs of sidecars, on standard output.

use weir_api::xds::{
    codec,
    envoy::{
        config::{
            accesslog::v3::{
                self as pb, AccessLogFilter, ComparisonFilter, OrFilter, ResponseFlagFilter,
                StatusCodeFilter, access_log::ConfigType, access_log_filter::FilterSpecifier,
                comparison_filter,
            },
            core::v3::{
                RuntimeUInt32, SubstitutionFormatString, substitution_format_string::Format,
            },
        },
        extensions::access_loggers::stream::v3::{StdoutAccessLog, stdout_access_log},
    },
    google::protobuf::{Any, Struct, Value, value},
};

use crate::xds::AccessLog;

/// What a line of JSON says, under the names that Istio's lines have.
const FIELDS: [(&str, &str); 22] = [
    ("start_time", "%START_TIME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("filter_chain_name", "%FILTER_CHAIN_NAME%"),
];

/// What a line of an error says beside these.
const OF_ERRORS: [(&str, &str); 7] = [
    ("attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"),
    ("peer", "%DOWNSTREAM_PEER_URI_SAN%"),
    (
        "pool_ready_duration",
        "%UPSTREAM_CONNECTION_POOL_READY_DURATION%",
    ),
    ("request_duration", "%REQUEST_DURATION%"),
    ("response_duration", "%RESPONSE_DURATION%"),
    ("response_tx_duration", "%RESPONSE_TX_DURATION%"),
    ("termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
];

/// Flags of what went wrong here or at the endpoint. A client that goes away is no error.
const WRONG: [&str; 15] = [
    "UH", "UF", "UO", "NR", "URX", "NC", "UT", "LR", "UR", "UC", "SI", "DPE", "UPE", "DO", "UDO",
];

/// The runtime key of the status from which on a response is an error. Filters have to have one.
const LEAST_STATUS: &str = "weir.access_log.least_status";

/// The access logs of a network filter.
pub(super) fn access_log(setting: AccessLog) -> Vec<pb::AccessLog> {
    let config = match setting {
        AccessLog::Off => return Vec::new(),
        AccessLog::Text => codec::pack_stdout_access_log(&StdoutAccessLog::default()),
        AccessLog::Json => json(FIELDS.iter()),
        AccessLog::Errors => json(FIELDS.iter().chain(&OF_ERRORS)),
    };
    vec![pb::AccessLog {
        name: "envoy.access_loggers.stdout".to_owned(),
        filter: (setting == AccessLog::Errors).then(errors),
        config_type: Some(ConfigType::TypedConfig(config)),
    }]
}

/// Takes lines of errors.
fn errors() -> AccessLogFilter {
    let filter = |specifier| AccessLogFilter {
        filter_specifier: Some(specifier),
    };
    let least = RuntimeUInt32 {
        default_value: 500,
        runtime_key: LEAST_STATUS.to_owned(),
    };
    let comparison = ComparisonFilter {
        op: comparison_filter::Op::Ge.into(),
        value: Some(least),
    };
    let status = FilterSpecifier::StatusCodeFilter(StatusCodeFilter {
        comparison: Some(comparison),
    });
    let flags = FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter {
        flags: WRONG.map(str::to_owned).to_vec(),
    });
    filter(FilterSpecifier::OrFilter(OrFilter {
        filters: vec![filter(status), filter(flags)],
    }))
}

/// Protobuf maps are encoded in no particular order, which would make every encoding a new version
/// of its listener. Messages that follow one another are merged when they are read, maps too: so
/// each entry is a message of its own, in the order of the list.
fn json<'f>(fields: impl Iterator<Item = &'f (&'static str, &'static str)>) -> Any {
    let mut fields = fields.map(|(key, format)| entry(key, format));
    let mut all = fields.next().unwrap_or_default();
    all.value.extend(fields.flat_map(|field| field.value));
    all
}

fn entry(key: &str, format: &str) -> Any {
    let value = Value {
        kind: Some(value::Kind::StringValue(format.to_owned())),
    };
    let format = SubstitutionFormatString {
        format: Some(Format::JsonFormat(Struct {
            fields: [(key.to_owned(), value)].into(),
        })),
        ..SubstitutionFormatString::default()
    };
    codec::pack_stdout_access_log(&StdoutAccessLog {
        access_log_format: Some(stdout_access_log::AccessLogFormat::LogFormat(format)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_line_of_json_is_read_back_and_encoded_alike_each_time() {
        let json = || json(FIELDS.iter().chain(&OF_ERRORS));
        let any = json();
        assert_eq!(any, json());
        let message = codec::unpack_stdout_access_log(&any).expect("a message");
        let Some(stdout_access_log::AccessLogFormat::LogFormat(format)) = message.access_log_format
        else {
            panic!("no format");
        };
        let Some(Format::JsonFormat(fields)) = format.format else {
            panic!("no JSON");
        };
        assert_eq!(fields.fields.len(), FIELDS.len() + OF_ERRORS.len());
    }
}
