//! What is made to go wrong, in Envoy's terms.

use weir_api::xds::{
    codec,
    envoy::{
        extensions::filters::{
            common::fault::v3::{FaultDelay, fault_delay::FaultDelaySecifier},
            http::fault::v3::{FaultAbort, HttpFault, fault_abort::ErrorType},
        },
        r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
    },
    google::protobuf::Any,
};

use crate::{
    model::{Abort, Fault, Share},
    xds::build::duration,
};

/// What a route says of it.
pub(super) fn of_route(fault: &Fault) -> Any {
    codec::pack_http_fault(&HttpFault {
        delay: fault.delay.map(|(time, share)| FaultDelay {
            percentage: Some(percentage(share)),
            fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(duration(time))),
        }),
        abort: fault.abort.map(|(abort, share)| FaultAbort {
            percentage: Some(percentage(share)),
            error_type: Some(match abort {
                Abort::Http(status) => ErrorType::HttpStatus(status.into()),
                Abort::Grpc(status) => ErrorType::GrpcStatus(status),
            }),
            ..FaultAbort::default()
        }),
        ..HttpFault::default()
    })
}

/// What is so of requests of other routes.
pub(super) fn none() -> Any {
    codec::pack_http_fault(&HttpFault::default())
}

fn percentage(share: Share) -> FractionalPercent {
    FractionalPercent {
        numerator: share.0,
        denominator: DenominatorType::Million.into(),
    }
}
