//! JSON Web Tokens: reading them, and checking them against key sets. No I/O and no clock; the only
//! cryptography is the provider that TLS uses.
//!
//! A kept crate for tokens would bring a policy of its own: what is answered to a bad token is Envoy's,
//! to the letter, and so are the keys that are tried. What is left beside that is base64, JSON and one
//! call of the provider.
//!
//! <https://www.rfc-editor.org/rfc/rfc7515>, <https://www.rfc-editor.org/rfc/rfc7517>,
//! <https://www.rfc-editor.org/rfc/rfc7519>

mod key;
mod key_set;
mod status;
mod token;

use base64::{
    alphabet,
    engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig},
};

pub use key_set::{KeySet, MAX_KEY_SET};
pub use status::Status;
pub use token::Token;

/// Base64url as Envoy reads it: padded or not, and without regard to bits that are left over.
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL.decode(text).ok()
}

#[cfg(test)]
mod tests;
