//! Policies of the action `CUSTOM`: rules that are only watched mark the requests that they are about,
//! and of those a service is asked, before any other rule.
//!
//! <https://istio.io/latest/docs/tasks/security/authorization/authz-custom/>

use std::collections::BTreeMap;

use weir_api::{
    names::outbound_cluster,
    xds::{
        codec,
        envoy::{
            config::{
                core::v3::{ApiVersion, GrpcService, HeaderValue, HttpUri, grpc_service, http_uri},
                rbac::v3::{Permission, Policy, Principal, Rbac, permission, principal, rbac},
            },
            extensions::filters::{
                http::{
                    ext_authz::v3::{
                        AuthorizationRequest, AuthorizationResponse, BufferSettings, ExtAuthz,
                        HttpService, ext_authz::Services,
                    },
                    rbac::v3::Rbac as HttpRbac,
                },
                network::http_connection_manager::v3::{HttpFilter, http_filter},
            },
            r#type::{
                matcher::v3::{
                    ListStringMatcher, MetadataMatcher, StringMatcher, ValueMatcher,
                    metadata_matcher::{PathSegment, path_segment::Segment},
                    string_matcher::MatchPattern,
                    value_matcher,
                },
                v3::HttpStatus,
            },
        },
        google::protobuf,
    },
};

use super::{Authorization, HTTP_RBAC, policy_name};
use crate::{
    model::{Attachment, AuthorizationAction as Action, AuthorizationRule},
    xds::extension_provider::{
        ExtAuthzHttp, ExtensionProvider, RequestBody, Timeout, host_of, status_of,
    },
};

const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";
/// Stands before what the watched rules say, as in Istio.
const SHADOW_PREFIX: &str = "istio_ext_authz_";
/// Names of policies begin so.
const POLICY_PREFIX: &str = "istio-ext-authz";
/// The policy that lets nobody in where a provider is not known, as in Istio.
const BAD_POLICY: &str = "default-deny-due-to-bad-CUSTOM-action";
/// Istio's default.
const TIMEOUT_SECONDS: i64 = 600;

/// A rule, and the object it comes from.
type Ruled<'r> = (&'r Attachment, &'r AuthorizationRule);

impl Authorization<'_> {
    /// The filters that ask a service, in front of all others.
    pub(super) fn custom_filters(&self) -> Vec<HttpFilter> {
        let rules = self.rules.iter().flatten();
        let custom = rules.filter_map(|it| {
            let rule = it.effect.authorization()?;
            (rule.action == Action::Custom && !rule.is_dry_run).then_some((&**it, rule))
        });
        let mut by_provider: BTreeMap<&str, Vec<Ruled<'_>>> = BTreeMap::new();
        for (attachment, rule) in custom {
            let name = rule.provider.as_deref().unwrap_or_default();
            by_provider
                .entry(name)
                .or_default()
                .push((attachment, rule));
        }
        let all = by_provider.into_iter();
        all.flat_map(|(name, rules)| match self.provider(name) {
            Some((provider, cluster)) => self.asking(provider, cluster, &rules),
            None => vec![refusing(name, &rules)],
        })
        .collect()
    }

    /// The provider of that name, and the cluster that is asked.
    fn provider(&self, name: &str) -> Option<(&ExtensionProvider, String)> {
        let provider = self.providers.iter().find(|it| it.name == name)?;
        let (host, port) = provider.target()?;
        Some((provider, outbound_cluster(port, host)))
    }

    /// Marks requests, and asks about those.
    fn asking(
        &self,
        provider: &ExtensionProvider,
        cluster: String,
        rules: &[Ruled<'_>],
    ) -> Vec<HttpFilter> {
        let prefix = format!("{POLICY_PREFIX}-{}-", provider.name);
        let mut policies = Vec::new();
        for (attachment, rule) in rules {
            for clause in &rule.clauses {
                let name = format!("{prefix}{}", policy_name(attachment, clause));
                policies.push((name, self.policy(clause)));
            }
        }
        let parts: Vec<_> = policies
            .into_iter()
            .map(|policy| HttpRbac {
                shadow_rules: Some(denying(policy)),
                shadow_rules_stat_prefix: SHADOW_PREFIX.to_owned(),
                ..HttpRbac::default()
            })
            .collect();
        if parts.is_empty() {
            return Vec::new();
        }
        let marked = MetadataMatcher {
            filter: HTTP_RBAC.to_owned(),
            path: vec![PathSegment {
                segment: Some(Segment::Key(format!(
                    "{SHADOW_PREFIX}shadow_effective_policy_id"
                ))),
            }],
            value: Some(ValueMatcher {
                match_pattern: Some(value_matcher::MatchPattern::StringMatch(matcher(
                    MatchPattern::Prefix(prefix),
                ))),
            }),
            invert: false,
        };
        let asking = ExtAuthz {
            filter_enabled_metadata: Some(marked),
            ..ext_authz(provider, cluster)
        };
        vec![
            filter(HTTP_RBAC, codec::pack_http_rbac(&parts)),
            filter(EXT_AUTHZ, codec::pack_ext_authz(&asking)),
        ]
    }
}

/// Lets nobody in: it is not known who would decide.
fn refusing(provider: &str, rules: &[Ruled<'_>]) -> HttpFilter {
    for (attachment, _) in rules {
        let name = &attachment.rule.name;
        tracing::warn!(
            policy = %format!("{}/{}", name.namespace, name.name),
            provider,
            "no extension provider of that name, so nobody is let in",
        );
    }
    let any = Policy {
        permissions: vec![Permission {
            rule: Some(permission::Rule::Any(true)),
        }],
        principals: vec![Principal {
            identifier: Some(principal::Identifier::Any(true)),
        }],
        ..Policy::default()
    };
    let parts = [HttpRbac {
        rules: Some(denying((BAD_POLICY.to_owned(), any))),
        ..HttpRbac::default()
    }];
    filter(HTTP_RBAC, codec::pack_http_rbac(&parts))
}

fn denying((name, policy): (String, Policy)) -> Rbac {
    Rbac {
        action: rbac::Action::Deny.into(),
        policies: [(name, policy)].into(),
        ..Rbac::default()
    }
}

fn filter(name: &str, config: protobuf::Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    }
}

fn ext_authz(provider: &ExtensionProvider, cluster: String) -> ExtAuthz {
    let common = |fail_open, status: Option<&String>, body, clear_route_cache| ExtAuthz {
        failure_mode_allow: fail_open,
        status_on_error: status
            .and_then(|text| status_of(text))
            .map(|code| HttpStatus { code: code.into() }),
        with_request_body: body,
        clear_route_cache,
        transport_api_version: ApiVersion::V3.into(),
        ..ExtAuthz::default()
    };
    if let Some(http) = &provider.envoy_ext_authz_http {
        let status = http.status_on_error.as_ref();
        let body = http.include_request_body_in_check.map(body);
        let sent = http.include_request_headers_in_check.iter();
        return ExtAuthz {
            allowed_headers: list(sent.chain(&http.include_headers_in_check)),
            services: Some(Services::HttpService(http_service(http, cluster))),
            ..common(http.fail_open, status, body, http.clear_route_cache)
        };
    }
    let grpc = provider.envoy_ext_authz_grpc.clone().unwrap_or_default();
    let status = grpc.status_on_error.as_ref();
    let body = grpc.include_request_body_in_check.map(body);
    ExtAuthz {
        services: Some(Services::GrpcService(GrpcService {
            target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(
                grpc_service::EnvoyGrpc {
                    // What a cluster is called cannot stand in an authority.
                    authority: format!("{}:{}", host_of(&grpc.service), grpc.port),
                    cluster_name: cluster,
                    ..grpc_service::EnvoyGrpc::default()
                },
            )),
            timeout: Some(timeout(grpc.timeout)),
            ..GrpcService::default()
        })),
        ..common(grpc.fail_open, status, body, grpc.clear_route_cache)
    }
}

fn http_service(http: &ExtAuthzHttp, cluster: String) -> HttpService {
    let added = http.include_additional_headers_in_check.iter();
    HttpService {
        server_uri: Some(HttpUri {
            uri: format!("http://{}:{}", host_of(&http.service), http.port),
            timeout: Some(timeout(http.timeout)),
            http_upstream_type: Some(http_uri::HttpUpstreamType::Cluster(cluster)),
        }),
        path_prefix: http.path_prefix.clone(),
        authorization_request: Some(AuthorizationRequest {
            headers_to_add: added
                .map(|(key, value)| HeaderValue {
                    key: key.clone(),
                    // Sidecars would take what follows a percent sign for a value to fill in.
                    value: value.replace('%', "%%"),
                    ..HeaderValue::default()
                })
                .collect(),
            ..AuthorizationRequest::default()
        }),
        authorization_response: Some(AuthorizationResponse {
            allowed_upstream_headers: list(http.headers_to_upstream_on_allow.iter()),
            allowed_client_headers: list(http.headers_to_downstream_on_deny.iter()),
            allowed_client_headers_on_success: list(http.headers_to_downstream_on_allow.iter()),
            ..AuthorizationResponse::default()
        }),
        ..HttpService::default()
    }
}

fn body(body: RequestBody) -> BufferSettings {
    BufferSettings {
        max_request_bytes: body.max_request_bytes,
        allow_partial_message: body.allow_partial_message,
        pack_as_bytes: body.pack_as_bytes,
    }
}

fn timeout(timeout: Option<Timeout>) -> protobuf::Duration {
    let seconds = timeout.map(|it| i64::try_from(it.0.as_secs()).unwrap_or(i64::MAX));
    let nanos = timeout.map_or(0, |it| it.0.subsec_nanos().cast_signed());
    protobuf::Duration {
        seconds: seconds.unwrap_or(TIMEOUT_SECONDS),
        nanos,
    }
}

/// Names of headers, where a star stands for anything at either end.
fn list<'n>(names: impl Iterator<Item = &'n String>) -> Option<ListStringMatcher> {
    let patterns: Vec<_> = names
        .map(|name| {
            let pattern = match (name.strip_suffix('*'), name.strip_prefix('*')) {
                (Some(prefix), _) if !prefix.is_empty() => MatchPattern::Prefix(prefix.to_owned()),
                (_, Some(suffix)) if !suffix.is_empty() => MatchPattern::Suffix(suffix.to_owned()),
                _ => MatchPattern::Exact(name.clone()),
            };
            StringMatcher {
                ignore_case: true,
                ..matcher(pattern)
            }
        })
        .collect();
    (!patterns.is_empty()).then_some(ListStringMatcher { patterns })
}

fn matcher(pattern: MatchPattern) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(pattern),
        ..StringMatcher::default()
    }
}
