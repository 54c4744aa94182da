//! RequestAuthentications and policies on tokens, all programs real and nothing restarted: a token that is
//! there must be valid, and whether one must be there policies say.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use weir_tests::{
    eventually::eventually,
    tokens::{Issuer, key_set},
};

use super::{
    authorization::PODS,
    demo::Demos,
    mesh::mesh_works,
    pods::{PATIENCE, apply, delete, status},
};

const URL: &str = "http://10.96.77.8/";
const RULE: &str = "a-tokens.yaml";
const POLICY: &str = "a-policy.yaml";

#[test]
fn a_token_must_be_valid_and_be_there_where_a_policy_demands_it() {
    if !mesh_works() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("pods.yaml", PODS)]);
    let _demo = demos.start_with_mesh(&manifests);
    let run = demos.run();
    let (issuer, stranger) = (Issuer::new("ES256", "k"), Issuer::new("ES256", "k"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    let claims = |of: Value| {
        let mut claims = json!({ "iss": "https://a.example", "sub": "ann", "exp": now + 3600 });
        let claims_of = of.as_object().expect("an object").clone();
        claims.as_object_mut().expect("an object").extend(claims_of);
        claims
    };
    let valid = issuer.token(&claims(json!({ "groups": ["staff", "admin"] })));
    let guest = issuer.token(&claims(json!({ "sub": "eve", "groups": "guest" })));
    let expired = issuer.token(&claims(json!({ "exp": now - 3600 })));
    let foreign = stranger.token(&claims(json!({})));
    let expect = |said: &str, cases: &[(&str, &str)]| {
        for (token, expected) in cases {
            let header = format!("-HAuthorization: Bearer {token}");
            let flags: &[&str] = match token.is_empty() {
                true => &[URL],
                false => &[URL, &header],
            };
            let mut last = String::new();
            let look = || {
                last = status(&demos, "guest", flags);
                (last == *expected).then_some(())
            };
            let is_so = eventually(PATIENCE, look);
            assert!(is_so.is_ok(), "{said}: {token:?}: {last}, not {expected}");
        }
    };
    expect("no rule", &[("", "200"), (&foreign, "200")]);

    let keys = key_set(&[&issuer]);
    let rule = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\n\
         metadata: {{name: it, namespace: default}}\nspec:\n  selector: {{matchLabels: {{app: web}}}}\n  \
         jwtRules: [{{issuer: 'https://a.example', jwks: '{keys}'}}]\n"
    );
    apply(&run, RULE, &rule);
    let refused = [(&*expired, "401"), (&*foreign, "401"), ("word", "401")];
    expect("a rule", &refused);
    expect("a rule", &[("", "200"), (&valid, "200"), (&guest, "200")]);

    let policy = |rules: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: it, namespace: default}}\nspec: {{rules: [{rules}]}}\n"
        )
    };
    let any = "{from: [{source: {requestPrincipals: ['https://a.example/*']}}]}";
    apply(&run, POLICY, &policy(any));
    expect(
        "any token",
        &[("", "403"), (&valid, "200"), (&guest, "200")],
    );
    expect("any token", &refused);

    let group = "{when: [{key: 'request.auth.claims[groups]', values: [admin]}]}";
    apply(&run, POLICY, &policy(group));
    expect("a claim", &[(&guest, "403"), (&valid, "200"), ("", "403")]);

    let subject = "{from: [{source: {requestPrincipals: ['https://a.example/eve']}}]}";
    apply(&run, POLICY, &policy(subject));
    expect(
        "a subject",
        &[(&valid, "403"), (&guest, "200"), ("", "403")],
    );

    // Without a rule that says whose tokens count nobody has one.
    delete(&run, RULE);
    expect("no rule", &[(&guest, "403"), (&foreign, "403")]);
    delete(&run, POLICY);
    expect("nothing", &[("", "200"), (&foreign, "200")]);
}
