//! How what ships is linked. Stripped: Cargo's own `strip` leaves the symbols of a program whose package has a
//! profile of its own, as this one has for its size: 2.3 MiB of names. With its relocations packed, where
//! glibc reads packed ones: else they take 24 bytes for each pointer in a table, 0.4 MiB that every start reads.

use std::{env, process::Command};

/// The first glibc that reads packed relocations (DT_RELR).
const PACKED_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Of every profile that inherits from release.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rustc-link-arg-bins=-Wl,--strip-all");
        let glibc = glibc_of_host();
        if env::var("TARGET") == env::var("HOST") && glibc.is_some_and(|it| it >= PACKED_SINCE) {
            println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        }
    }
}

/// The version of this machine's glibc, if it has one: what is linked with it needs no other to run.
fn glibc_of_host() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
