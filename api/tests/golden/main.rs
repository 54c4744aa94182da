//! What is embedded of Envoy's descriptors is what `envoy-types` ships, cut down to `roots.txt`.
//! `REFRESH_GOLDEN=1` rewrites it. It is committed because a build could only find the file inside
//! of that package by asking Cargo, and a build inside of a build breaks where there is no network,
//! another cache or another build system.

use std::{env, fs, path::Path};

use cargo_metadata::MetadataCommand;
use prost::Message;
use prost_types::FileDescriptorSet;

mod cut;

#[test]
fn embedded_descriptors_are_those_of_envoy_types() {
    let api = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (version, shipped) = shipped();
    let roots = fs::read_to_string(api.join("roots.txt")).expect("roots.txt");
    let kept = cut::cut(shipped, &roots);
    // For people: a difference of the other file says nothing.
    let mut list = format!("envoy-types {version}\n");
    for name in cut::names(&kept) {
        list.push_str(name.trim_start_matches('.'));
        list.push('\n');
    }
    let files = [
        ("descriptors.bin", kept.encode_to_vec()),
        ("descriptors.txt", list.into_bytes()),
    ];
    for (name, expected) in files {
        let path = api.join(name);
        if env::var_os("REFRESH_GOLDEN").is_some() {
            fs::write(&path, &expected).expect("writable");
        }
        assert!(
            fs::read(&path).is_ok_and(|committed| committed == expected),
            "api/{name} is not what envoy-types {version} and roots.txt say: \
             REFRESH_GOLDEN=1 cargo test -p weir-api --test golden"
        );
    }
}

/// Version and descriptors of the `envoy-types` that this workspace is locked to.
fn shipped() -> (String, FileDescriptorSet) {
    let metadata = MetadataCommand::new()
        .other_options(["--locked".to_owned()])
        .exec()
        .expect("cargo metadata");
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == "envoy-types")
        .expect("a dependency");
    let directory = package.manifest_path.parent().expect("a directory");
    let bytes = fs::read(directory.join("src/generated/types.bin")).expect("types.bin");
    let set = FileDescriptorSet::decode(bytes.as_slice()).expect("descriptors");
    (package.version.to_string(), set)
}
