//! The data plane takes every resource the control plane makes.

use std::{fs, path::Path};

use weir_api::xds::codec;
use weir_discovery::{
    manifests::Directory,
    model::Index,
    xds::{Generator, Kind, Resource},
};
use weir_proxy::config::convert;

#[test]
fn every_resource_of_every_golden_manifest_is_accepted() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../discovery/tests/golden");
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut resources = 0;
    for entry in fs::read_dir(golden).expect("golden files") {
        let path = entry.expect("entry").path();
        if !path.to_string_lossy().ends_with(".in.yaml") {
            continue;
        }
        fs::copy(&path, directory.path().join("manifests.yaml")).expect("copy");
        resources += accept_all(directory.path());
    }
    assert!(resources > 50, "{resources}");
}

fn accept_all(manifests: &Path) -> usize {
    let (_, events) = Directory::open(manifests).expect("manifests");
    let mut index = Index::default();
    events.into_iter().for_each(|event| index.apply(event));
    index.commit();
    let (generator, snapshot) = (Generator::default(), index.snapshot());
    let mut count = 0;
    for kind in Kind::ALL {
        for name in generator.names(&snapshot, kind) {
            let resource = generator
                .resource(&snapshot, kind, &name)
                .expect("is named");
            if let Err(error) = accept(kind, &resource) {
                panic!("{error}");
            }
            count += 1;
        }
    }
    count
}

fn accept(kind: Kind, resource: &Resource) -> Result<(), convert::ConfigError> {
    let bytes = &resource.body.value;
    match kind {
        Kind::Listener => {
            convert::listener(codec::decode_listener(bytes).expect("decode")).map(drop)
        }
        Kind::Cluster => convert::cluster(codec::decode_cluster(bytes).expect("decode")).map(drop),
        Kind::Endpoint => {
            let message = codec::decode_cluster_load_assignment(bytes).expect("decode");
            convert::load_assignment(message).map(drop)
        }
        Kind::Route => {
            let message = codec::decode_route_configuration(bytes).expect("decode");
            convert::route_configuration(message).map(drop)
        }
        Kind::Secret => Ok(()),
    }
}
