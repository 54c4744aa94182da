//! What a port speaks, as far as anybody said so.

pub use weir_api::protocol::{Hint, HintSource, Protocol};
