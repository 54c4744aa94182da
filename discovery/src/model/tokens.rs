//! Whose tokens of requests count at a pod, as rules say it.

use std::sync::Arc;

/// Whose tokens of requests are looked at. A request without any passes; one whose token is not valid
/// does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenRule {
    /// Who issues them.
    pub issuers: Vec<TokenIssuer>,
}

/// Who issues tokens, where they stand, and what is told of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenIssuer {
    /// `iss` of the tokens.
    pub issuer: Arc<str>,
    /// One of these must be in `aud`; none: whatever is there.
    pub audiences: Vec<Arc<str>>,
    /// What they are checked with.
    pub keys: TokenKeys,
    /// Headers that have them, and what stands before.
    pub from_headers: Vec<(Arc<str>, Arc<str>)>,
    /// Query parameters that have them.
    pub from_params: Vec<Arc<str>>,
    /// Cookies that have them.
    pub from_cookies: Vec<Arc<str>>,
    /// The token is sent on.
    pub forwards_token: bool,
    /// The header that tells the application the payload.
    pub payload_to_header: Option<Arc<str>>,
    /// Headers that tell it claims: header, claim.
    pub claims_to_headers: Vec<(Arc<str>, Arc<str>)>,
    /// Claims that are lists of words beside `scope` and `permission`.
    pub space_delimited_claims: Vec<Arc<str>>,
}

/// Keys of an issuer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenKeys {
    /// A JSON Web Key Set.
    Inline(Arc<str>),
    /// Where there is one.
    Uri(Arc<str>),
    /// There are none, so that no token is valid.
    None,
}
