//! `envoy.filters.http.buffer`.

use weir_api::xds::{
    codec,
    envoy::extensions::filters::http::buffer::v3::{self as pb, buffer_per_route::Override},
    google::protobuf::Any,
};

use super::super::{
    at::{At, take},
    value::{number, unpack},
};
use crate::config::http_filter::{Buffer, HttpFilterConfig, RouteSpecificFilterConfig};

pub(super) fn filter(at: &At<'_>, any: &Any) -> Option<HttpFilterConfig> {
    let message = unpack(at, any, codec::unpack_buffer)?;
    buffer(at, message).map(HttpFilterConfig::Buffer)
}

pub(super) fn per_route(at: &At<'_>, any: &Any) -> Option<RouteSpecificFilterConfig> {
    let message = unpack(at, any, codec::unpack_buffer_per_route)?;
    take!(at, message => pb::BufferPerRoute { supported: r#override; });
    let buffer = match at.field("disabled").required(r#override)? {
        Override::Disabled(disabled) => {
            if !disabled {
                at.field("disabled").error("must be true");
            }
            None
        }
        Override::Buffer(message) => Some(buffer(&at.field("buffer"), message)?),
    };
    Some(RouteSpecificFilterConfig::Buffer(buffer))
}

fn buffer(at: &At<'_>, message: pb::Buffer) -> Option<Buffer> {
    take!(at, message => pb::Buffer { supported: max_request_bytes; });
    let at = at.field("max_request_bytes");
    at.required(max_request_bytes.as_ref())?;
    Some(Buffer {
        max_request_bytes: number(&at, max_request_bytes, 1..=u32::MAX)?,
    })
}
