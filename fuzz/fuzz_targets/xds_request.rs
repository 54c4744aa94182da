//! What clients of the ADS server send, in both variants: no requests make it panic, and a client that has gone
//! leaves nothing behind. The first byte chooses the variant; a byte of 0xff ends a message.
#![no_main]

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use tokio::{runtime::Runtime, time::timeout};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstDecoder;
use weir_api::xds::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService as _;
use weir_discovery::{
    manifests::Directory,
    model::Index,
    rules,
    xds::{AdsServer, Generator, Hub},
};

const MANIFESTS: &str = include_str!("../seeds/manifest/catalog.yaml");
/// A client that asks for nothing is told nothing: that much is waited for.
const SILENCE: Duration = Duration::from_millis(5);

static HUB: LazyLock<Arc<Hub>> = LazyLock::new(|| {
    let path = std::env::temp_dir().join(format!("weir-fuzz-xds-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory");
    std::fs::write(path.join("all.yaml"), MANIFESTS).expect("a file");
    let (mut directory, events) =
        Directory::open(&path, rules::Settings::default()).expect("manifests");
    let mut index = Index::default();
    let later = [directory.refresh(), directory.refresh()];
    for event in events.into_iter().chain(later.into_iter().flatten()) {
        index.apply(event);
    }
    let (snapshot, changes) = index.commit().expect("services");
    let hub = Arc::new(Hub::new(Generator::default()));
    hub.publish(&snapshot, &changes, Instant::now());
    hub
});

fuzz_target!(|input: &[u8]| {
    let Some((variant, bytes)) = input.split_first() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    serve(&runtime, variant % 2 == 0, framed(bytes));
    drop(runtime);
    assert_eq!((HUB.sizes().clients, HUB.sizes().topics), (0, 0));
});

fn serve(runtime: &Runtime, is_delta: bool, body: Full<Bytes>) {
    let server = AdsServer::new(HUB.clone());
    runtime.block_on(async {
        if is_delta {
            let requests = Streaming::new_request(ProstDecoder::default(), body, None, None);
            drain(server.delta_aggregated_resources(Request::new(requests)).await).await;
        } else {
            let requests = Streaming::new_request(ProstDecoder::default(), body, None, None);
            drain(server.stream_aggregated_resources(Request::new(requests)).await).await;
        }
    });
}

async fn drain<T>(
    responses: Result<Response<impl Stream<Item = Result<T, Status>> + Unpin>, Status>,
) {
    let Ok(responses) = responses else { return };
    let mut responses = responses.into_inner();
    while let Ok(Some(Ok(_))) = timeout(SILENCE, responses.next()).await {}
}

/// The messages as gRPC frames them.
fn framed(bytes: &[u8]) -> Full<Bytes> {
    let mut body = BytesMut::new();
    for message in bytes.split(|byte| *byte == 0xff) {
        body.put_u8(0);
        body.put_u32(message.len().try_into().unwrap_or_default());
        body.put_slice(message);
    }
    Full::new(body.freeze())
}
