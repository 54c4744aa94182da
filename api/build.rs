//! Compresses the descriptors that are embedded: plain they are four times as long, and each program that
//! reads one bootstrap would hold all of their pages ever after.

use std::{env, error::Error, fs, io::Write, path::Path};

use flate2::{Compression, write::ZlibEncoder};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=descriptors.bin");
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&fs::read("descriptors.bin")?)?;
    let to = Path::new(&env::var("OUT_DIR")?).join("descriptors.zlib");
    fs::write(to, encoder.finish()?)?;
    Ok(())
}
