//! One table of services, two registries: `tests/golden/*.in.yaml`, as files for the one and as an
//! API server's objects for the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use weir_discovery::{
    kubernetes::{SERVICE_NAME_LABEL, Watches, watch},
    manifests::Directory,
    model::{
        Claim, Conflict, EndpointSlice, Event, Index, NamespacedName, Node, Object, Pod, Readiness,
        ResolvedService, SliceEndpoint, Snapshot,
    },
    rules,
};

use super::player::Player;

#[tokio::test(start_paused = true)]
async fn services_of_every_kind_are_the_same_from_files_and_from_an_api_server() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = fs::read_dir(directory).expect("directory");
    let files = files.map(|file| file.expect("file").path());
    let files: BTreeSet<PathBuf> = files
        .filter(|path| path.to_string_lossy().ends_with(".in.yaml"))
        .collect();
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        let text = fs::read_to_string(&file).expect("file");
        let (events, from_files) = from_files(&file);
        let from_server = from_server(&objects(&text, &events)).await;
        let name = file.display();
        assert!(!from_files.services.is_empty(), "{name}");
        assert_eq!(from_files, from_server, "{name}");
    }
}

/// Everything a snapshot says.
#[derive(Debug, PartialEq)]
struct View {
    services: BTreeMap<NamespacedName, Arc<ResolvedService>>,
    addresses: BTreeMap<SocketAddr, Claim>,
    conflicts: BTreeSet<Conflict>,
    pods: BTreeMap<IpAddr, Option<Arc<Pod>>>,
    services_of: BTreeMap<NamespacedName, Vec<NamespacedName>>,
    nodes: BTreeMap<Arc<str>, Option<Arc<Node>>>,
}

impl View {
    /// With what it says of the pods and nodes of these events.
    fn of(events: &[Event]) -> Self {
        let mut index = Index::default();
        events.iter().cloned().for_each(|event| index.apply(event));
        index.commit();
        Self::new(&index.snapshot(), events)
    }

    fn new(snapshot: &Snapshot, events: &[Event]) -> Self {
        let (mut pods, mut services_of) = (BTreeMap::new(), BTreeMap::new());
        let mut nodes = BTreeMap::new();
        for event in events {
            match event {
                Event::Applied(Object::Pod(pod)) => {
                    let services = snapshot.services_of(&pod.name).to_vec();
                    services_of.insert(pod.name.clone(), services);
                    for address in &pod.addresses {
                        pods.insert(*address, snapshot.pod(*address).cloned());
                    }
                }
                Event::Applied(Object::Node(node)) => {
                    nodes.insert(node.name.clone(), snapshot.node(&node.name).cloned());
                }
                _ => {}
            }
        }
        let services = snapshot.services();
        let services = services.map(|it| (it.service.name.clone(), it.clone()));
        let addresses = snapshot.addresses();
        Self {
            services: services.collect(),
            addresses: addresses.map(|(at, it)| (at, it.clone())).collect(),
            conflicts: snapshot.conflicts().collect(),
            pods,
            services_of,
            nodes,
        }
    }
}

fn from_files(file: &Path) -> (Vec<Event>, View) {
    let directory = tempfile::tempdir().expect("directory");
    fs::copy(file, directory.path().join("mesh.yaml")).expect("copy");
    let (_, events) =
        Directory::open(directory.path(), rules::Settings::default()).expect("manifests");
    let view = View::of(&events);
    (events, view)
}

async fn from_server(objects: &[(String, String)]) -> View {
    let watches = Watches::default();
    let (sender, mut receiver) = mpsc::channel(16);
    let client = Player::with_objects(objects).client();
    tokio::spawn(watch(
        client,
        rules::Settings::default(),
        sender,
        watches.clone(),
    ));
    let mut synced = std::pin::pin!(watches.synced());
    let mut events = Vec::new();
    loop {
        tokio::select! {
            batch = receiver.recv() => events.extend(batch.expect("the watch goes on")),
            () = &mut synced => break,
        }
    }
    while let Ok(batch) = receiver.try_recv() {
        events.extend(batch);
    }
    View::of(&events)
}

/// The objects of a file by kind, and the slices that controllers make of its services, which the
/// registry of files makes itself.
fn objects(text: &str, events: &[Event]) -> Vec<(String, String)> {
    let mut objects = Vec::new();
    let mut written = BTreeSet::new();
    for document in yaml_serde::Deserializer::from_str(text) {
        let value: yaml_serde::Value = serde::Deserialize::deserialize(document).expect("YAML");
        let mut object = serde_json::to_value(value).expect("JSON");
        if object.is_null() {
            continue;
        }
        let kind = object["kind"].as_str().expect("kind").to_owned();
        if kind != "Node" && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!("default");
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if kind == "EndpointSlice" {
            written.insert(name.to_owned());
        }
        objects.push((kind, object.to_string()));
    }
    let slices = events.iter().filter_map(|event| match event {
        Event::Applied(Object::EndpointSlice(slice)) => Some(slice),
        _ => None,
    });
    for slice in slices.filter(|slice| !written.contains(&*slice.name.name)) {
        for family in ["IPv4", "IPv6"] {
            let object = slice_object(slice, family);
            objects.push(("EndpointSlice".to_owned(), object.to_string()));
        }
    }
    objects
}

fn slice_object(slice: &EndpointSlice, family: &str) -> Value {
    let name = slice.name.name.replace('/', "-");
    let ports = slice.ports.iter();
    let ports: Vec<_> = ports
        .map(|port| json!({"name": port.name, "port": port.port, "protocol": "TCP"}))
        .collect();
    let endpoints = slice.endpoints.iter();
    let endpoints = endpoints.filter(|it| it.address.is_ipv4() == (family == "IPv4"));
    json!({
        "metadata": {
            "name": format!("{name}-{family}"),
            "namespace": &*slice.name.namespace,
            "labels": {SERVICE_NAME_LABEL: &*slice.service.name},
        },
        "addressType": family,
        "ports": ports,
        "endpoints": endpoints.map(endpoint_object).collect::<Vec<_>>(),
    })
}

fn endpoint_object(endpoint: &SliceEndpoint) -> Value {
    let conditions = match endpoint.readiness {
        Readiness::Ready => json!({"ready": true}),
        Readiness::Draining => json!({"ready": false, "serving": true, "terminating": true}),
        Readiness::NotReady => json!({"ready": false, "serving": false}),
    };
    let pod = endpoint.pod.as_ref();
    let target =
        pod.map(|pod| json!({"kind": "Pod", "name": &*pod.name, "namespace": &*pod.namespace}));
    json!({
        "addresses": [endpoint.address],
        "conditions": conditions,
        "nodeName": endpoint.node.as_deref(),
        "targetRef": target,
    })
}
