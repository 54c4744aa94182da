//! What a token says of itself. Nobody vouches for it; it only tells what need not be asked about.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::dangerous::insecure_decode_claims;
use serde::Deserialize;
use weir_api::sidecar::TOKEN_AUDIENCE;

/// Longest token that is looked at; those of service accounts have about a thousand bytes.
const TOKEN_BYTES: usize = 8 * 1024;
/// By how much our clock may be wrong.
const SKEW: Duration = Duration::from_secs(60);
/// Who a service account is called, before namespace and name.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

#[derive(Debug, Deserialize)]
struct Claims {
    aud: Audience,
    exp: u64,
    sub: String,
}

/// One or several, as RFC 7519 has it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Refuses what the API server would refuse: no token of a service account, of another audience, or one
/// that has expired.
pub(super) fn check(token: &str, now: SystemTime) -> Result<(), String> {
    if token.len() > TOKEN_BYTES {
        return Err(format!("it has more than {TOKEN_BYTES} bytes"));
    }
    let claims = insecure_decode_claims::<Claims>(token);
    let Claims { aud, exp, sub } =
        claims.map_err(|_| "it is no token of a service account".to_owned())?;
    if !sub.starts_with(SERVICE_ACCOUNT) {
        return Err("it is of no service account".to_owned());
    }
    let is_ours = match &aud {
        Audience::One(one) => one == TOKEN_AUDIENCE,
        Audience::Many(all) => all.iter().any(|one| one == TOKEN_AUDIENCE),
    };
    if !is_ours {
        return Err(format!("it is not for the audience {TOKEN_AUDIENCE}"));
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if Duration::from_secs(exp).saturating_add(SKEW) < now {
        return Err("it has expired".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::tests::token, *};

    #[test]
    fn what_the_api_server_would_refuse_is_not_asked_about() {
        let sub = "system:serviceaccount:shop:web";
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (claims, refused) in [
            (
                json!({"aud": ["weir-ca"], "exp": 1_000_001, "sub": sub}),
                None,
            ),
            (json!({"aud": "weir-ca", "exp": 999_990, "sub": sub}), None),
            (
                json!({"aud": ["a", "weir-ca"], "exp": u64::MAX, "sub": sub}),
                None,
            ),
            (
                json!({"aud": ["weir-ca"], "exp": 999_000, "sub": sub}),
                Some("expired"),
            ),
            (
                json!({"aud": ["other"], "exp": 1_000_001, "sub": sub}),
                Some("audience"),
            ),
            (
                json!({"aud": ["weir-ca"], "exp": 1_000_001, "sub": "eve"}),
                Some("no service account"),
            ),
            (json!({"aud": ["weir-ca"], "sub": sub}), Some("no token")),
            (json!([]), Some("no token")),
        ] {
            let is = check(&token(&claims), now);
            match refused {
                None => assert_eq!(is, Ok(()), "{claims}"),
                Some(why) => assert!(
                    is.clone().is_err_and(|it| it.contains(why)),
                    "{claims}: {is:?}"
                ),
            }
        }
        for wrong in ["", "good", "a.b.c", "....", &"a".repeat(1 << 20)] {
            assert!(check(wrong, now).is_err(), "{}", wrong.len());
        }
    }
}
