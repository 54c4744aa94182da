//! What is wrong with a token or a key set.

/// Why a token is refused. The numbers and the words are Envoy's, which clients and rules see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "what each is stands in its text")]
pub enum Status {
    Missing,
    NotYetValid,
    Expired,
    BadFormat,
    HeaderBadBase64,
    HeaderBadJson,
    HeaderBadAlg,
    HeaderUnknownAlg,
    HeaderBadKid,
    PayloadBadBase64,
    PayloadBadJson,
    IssNotString,
    SubNotString,
    IatNotInteger,
    IatOutOfRange,
    NbfNotInteger,
    NbfOutOfRange,
    ExpNotInteger,
    ExpOutOfRange,
    JtiNotString,
    AudNotString,
    SignatureBadBase64,
    Ed25519SignatureWrongLength,
    UnknownIssuer,
    AudienceNotAllowed,
    VerificationFails,
    MultipleTokens,
    NoValidKeys,
    KidAlgMismatch,
    /// Envoy reads tokens of any length.
    TooLarge,
}

/// What is wrong, its number in Envoy's `Status`, and its words.
const TABLE: [(Status, u32, &str); 30] = [
    (Status::Missing, 1, "Jwt is missing"),
    (Status::NotYetValid, 2, "Jwt not yet valid"),
    (Status::Expired, 3, "Jwt is expired"),
    (
        Status::BadFormat,
        4,
        "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
    ),
    (
        Status::HeaderBadBase64,
        5,
        "Jwt header is an invalid Base64url encoded",
    ),
    (Status::HeaderBadJson, 6, "Jwt header is an invalid JSON"),
    (
        Status::HeaderBadAlg,
        7,
        "Jwt header [alg] field is required and must be a string",
    ),
    (
        Status::HeaderUnknownAlg,
        8,
        "Jwt header [alg] is not supported",
    ),
    (
        Status::HeaderBadKid,
        9,
        "Jwt header [kid] field is not a string",
    ),
    (
        Status::PayloadBadBase64,
        10,
        "Jwt payload is an invalid Base64url encoded",
    ),
    (Status::PayloadBadJson, 11, "Jwt payload is an invalid JSON"),
    (
        Status::IssNotString,
        12,
        "Jwt payload [iss] field is not a string",
    ),
    (
        Status::SubNotString,
        13,
        "Jwt payload [sub] field is not a string",
    ),
    (
        Status::IatNotInteger,
        14,
        "Jwt payload [iat] field is not an integer",
    ),
    (
        Status::IatOutOfRange,
        15,
        "Jwt payload [iat] field is not a positive 64 bit integer",
    ),
    (
        Status::NbfNotInteger,
        16,
        "Jwt payload [nbf] field is not an integer",
    ),
    (
        Status::NbfOutOfRange,
        17,
        "Jwt payload [nbf] field is not a positive 64 bit integer",
    ),
    (
        Status::ExpNotInteger,
        18,
        "Jwt payload [exp] field is not an integer",
    ),
    (
        Status::ExpOutOfRange,
        19,
        "Jwt payload [exp] field is not a positive 64 bit integer",
    ),
    (
        Status::JtiNotString,
        20,
        "Jwt payload [jti] field is not a string",
    ),
    (
        Status::AudNotString,
        21,
        "Jwt payload [aud] field is not a string or string list",
    ),
    (
        Status::SignatureBadBase64,
        22,
        "Jwt signature is an invalid Base64url encoded",
    ),
    (
        Status::Ed25519SignatureWrongLength,
        23,
        "Jwt ED25519 signature is wrong length",
    ),
    (Status::UnknownIssuer, 24, "Jwt issuer is not configured"),
    (
        Status::AudienceNotAllowed,
        25,
        "Audiences in Jwt are not allowed",
    ),
    (Status::VerificationFails, 26, "Jwt verification fails"),
    (Status::MultipleTokens, 27, "Found multiple Jwt tokens"),
    (
        Status::NoValidKeys,
        31,
        "Jwks doesn't have any valid public key",
    ),
    (
        Status::KidAlgMismatch,
        32,
        "Jwks doesn't have key to match kid or alg from Jwt",
    ),
    (Status::TooLarge, 4, "Jwt is too large"),
];

// === impl Status ===

impl Status {
    fn row(self) -> (u32, &'static str) {
        let found = TABLE.iter().find(|(status, _, _)| *status == self);
        found.map_or((0, ""), |(_, code, text)| (*code, *text))
    }

    /// Its number, as `failed_status_in_metadata` shows it.
    #[must_use]
    pub fn code(self) -> u32 {
        self.row().0
    }

    /// Its words, as a client is told them.
    #[must_use]
    pub fn text(self) -> &'static str {
        self.row().1
    }
}
