//! Serves ADS with rust-control-plane. Prints the address it listens on, then takes a snapshot from
//! each line of standard input and prints its version once it is in force. Ends with its input.
//!
//! A line: `{"node":"ID","version":"1","resources":[{"type_url":"..","value":"0a03.."}]}`, the value
//! being the message in hexadecimal.

use std::{collections::HashMap, error::Error, sync::Arc};

use data_plane_api::envoy::{
    config::{
        cluster::v3::Cluster, endpoint::v3::ClusterLoadAssignment, listener::v3::Listener,
        route::v3::RouteConfiguration,
    },
    service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryServiceServer,
};
use prost::Message;
use rust_control_plane::{
    cache::Cache,
    service::common::Service,
    snapshot::{Resource, Resources, Snapshot, type_url},
};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

const TYPES: [&str; 4] = [
    type_url::CLUSTER,
    type_url::ENDPOINT,
    type_url::LISTENER,
    type_url::ROUTE,
];

type Failure = Box<dyn Error + Send + Sync>;

#[derive(Deserialize)]
struct Input {
    node: String,
    version: String,
    resources: Vec<InputResource>,
}

#[derive(Deserialize)]
struct InputResource {
    type_url: String,
    value: String,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let cache = Arc::new(Cache::new(false));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let ads = AggregatedDiscoveryServiceServer::new(Service::new(Arc::clone(&cache)));
    let server = Server::builder().add_service(ads);
    let serving = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let mut served = Served::default();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let input: Input = serde_json::from_str(&line)?;
        let snapshot = served.snapshot(&input)?;
        cache.set_snapshot(&input.node, snapshot).await;
        println!("{}", input.version);
    }
    serving.abort();
    Ok(())
}

/// What is served of a type, and since which version.
#[derive(Default)]
struct Served(HashMap<&'static str, (String, Vec<String>)>);

impl Served {
    /// A type of which nothing changed keeps its version. Of several types that change at once,
    /// rust-control-plane forgets who watches all but the last.
    fn snapshot(&mut self, input: &Input) -> Result<Snapshot, Failure> {
        let mut snapshot = Snapshot::new();
        for url in TYPES {
            let of_type = input.resources.iter().filter(|it| it.type_url == url);
            let mut values: Vec<_> = of_type.clone().map(|it| it.value.clone()).collect();
            values.sort();
            let served = self.0.entry(url).or_default();
            if served.0.is_empty() || served.1 != values {
                *served = (input.version.clone(), values);
            }
            let mut resources = Resources::new(served.0.clone());
            for resource in of_type {
                resources.items.extend([read(resource)?]);
            }
            snapshot.insert(url.to_owned(), resources);
        }
        Ok(snapshot)
    }
}

fn read(resource: &InputResource) -> Result<(String, Resource), Failure> {
    let bytes = bytes(&resource.value)?;
    let bytes = bytes.as_slice();
    Ok(match resource.type_url.as_str() {
        type_url::CLUSTER => {
            let message = Cluster::decode(bytes)?;
            (message.name.clone(), Resource::Cluster(message))
        }
        type_url::ENDPOINT => {
            let message = ClusterLoadAssignment::decode(bytes)?;
            (message.cluster_name.clone(), Resource::Endpoint(message))
        }
        type_url::LISTENER => {
            let message = Listener::decode(bytes)?;
            (message.name.clone(), Resource::Listener(message))
        }
        type_url::ROUTE => {
            let message = RouteConfiguration::decode(bytes)?;
            (message.name.clone(), Resource::Route(message))
        }
        other => return Err(format!("type {other} is not served").into()),
    })
}

fn bytes(hexadecimal: &str) -> Result<Vec<u8>, Failure> {
    let digits: Vec<char> = hexadecimal.chars().collect();
    let pairs = digits.chunks(2).map(|pair| pair.iter().collect::<String>());
    let bytes: Result<_, _> = pairs.map(|pair| u8::from_str_radix(&pair, 16)).collect();
    Ok(bytes?)
}
