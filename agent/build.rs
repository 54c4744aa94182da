//! How what ships is linked. Stripped: Cargo's own `strip` leaves the symbols of a program whose package has a
//! profile of its own, as this one has for its size: 2.3 MiB of names. With its relocations packed, which
//! else take 24 bytes for each pointer in a table, 0.4 MiB that every start reads; glibc has read packed ones
//! since 2.36.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Of every profile that inherits from release.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rustc-link-arg-bins=-Wl,--strip-all");
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
