//! Chains of filters, driven as the exchange drives them.

use crate::config::request_buffer::RequestBuffer;
use std::cell::Cell;

use super::*;
use crate::{
    config::{
        RouteConfiguration,
        domains::DomainIndex,
        format::{Command, Format},
        header::{AppendAction, HeaderAddition},
        http_filter::{
            Buffer, FilterOverride, HeaderMutation, Mutations, PerFilterConfig,
            RouteSpecificFilterConfig, header_mutation::FieldMutation,
        },
        route::{PathMatch, Route, RouteAction, RouteMatch, VirtualHost},
    },
    http::{codec::h1::request::Request, route},
    reason::Reason,
};

/// Formats find nothing but what is in heads.
pub(super) struct NoInfo;

impl Values for NoInfo {
    fn append(&self, _: &Command, _: &mut String) -> bool {
        false
    }
}

/// A request and all that filters may see of it.
pub(super) struct Fixture {
    pub(super) request: Request,
    pub(super) has_body: bool,
    pub(super) routes: RouteConfiguration,
    pub(super) runtime: Runtime,
    pub(super) now: Instant,
    pub(super) random: Cell<u64>,
    pub(super) connection: ConnectionAttributes<'static>,
}

impl Fixture {
    /// `head` without its last line. The one route serves all paths, and says of filters what
    /// `per_filter` says.
    pub(super) fn new(head: &str, per_filter: Vec<FilterOverride>) -> Self {
        let mut request = Request::default();
        let read = request.parse(format!("{head}\r\n\r\n").as_bytes(), 100);
        read.expect(head);
        let address = |text: &str| text.parse().expect(text);
        Self {
            request,
            has_body: false,
            routes: routes(per_filter),
            runtime: Runtime::default(),
            now: Instant::now(),
            random: Cell::new(0),
            connection: ConnectionAttributes {
                source: address("10.0.0.1:1000"),
                direct_remote: address("10.0.0.2:2000"),
                remote: address("10.0.0.3:0"),
                destination: address("10.1.0.1:8080"),
                server_name: "sni.example",
                tls: None,
            },
        }
    }

    pub(super) fn matched(&self) -> Option<Matched<'_>> {
        route::resolve(&self.routes, &self.request, &self.runtime, 0)
    }

    /// Takes the next step of the decoders.
    pub(super) fn decode<'c>(
        &'c self,
        filters: &mut ActiveFilters<'c>,
        edits: &mut Edits<'c>,
        metadata: &mut Metadata,
    ) -> Step {
        let find =
            |request: &dyn RequestHead| route::resolve(&self.routes, request, &self.runtime, 0);
        filters.on_request_headers(&mut Decoding {
            head: &self.request,
            edits,
            has_body: self.has_body,
            route: CachedRoute::new(&find),
            stream: self.stream(metadata, &|| self.random.get()),
        })
    }

    /// Lets a response pass through the encoders.
    pub(super) fn encode<'c>(
        &'c self,
        filters: &mut ActiveFilters<'c>,
        response: &dyn ResponseHead,
        metadata: &mut Metadata,
    ) -> Edits<'c> {
        let mut edits = Edits::default();
        filters.on_response_headers(&mut Encoding {
            head: response,
            edits: &mut edits,
            request: &self.request,
            route: self.matched(),
            stream: self.stream(metadata, &|| self.random.get()),
        });
        edits
    }

    /// Lets a response's trailers pass through the encoders.
    fn trailers<'c>(
        &'c self,
        filters: &mut ActiveFilters<'c>,
        metadata: &mut Metadata,
    ) -> Edits<'c> {
        let mut edits = Edits::default();
        filters.on_response_trailers(&mut Trailers {
            fields: &self.request,
            edits: &mut edits,
            request: &self.request,
            response: None,
            route: self.matched(),
            stream: self.stream(metadata, &|| self.random.get()),
        });
        edits
    }

    fn stream<'r>(&'r self, metadata: &'r mut Metadata, random: &'r dyn Fn() -> u64) -> Stream<'r> {
        static NOTHING: FilterState = FilterState::EMPTY;
        Stream {
            info: &NoInfo,
            connection: &self.connection,
            runtime: &self.runtime,
            random,
            metadata,
            filter_state: &NOTHING,
            clusters: None,
            now: self.now,
        }
    }
}

/// A response's head for encoders.
pub(super) fn response(status: u16, fields: &[(&str, &str)]) -> ::http::response::Parts {
    let mut response = ::http::Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(()).expect("a response").into_parts().0
}

/// One route for all requests, which go to the cluster `web`.
fn routes(per_filter: Vec<FilterOverride>) -> RouteConfiguration {
    let route = Route {
        name: "all".to_owned(),
        criteria: RouteMatch {
            path: PathMatch::Prefix("/".to_owned()),
            case_sensitive: true,
            headers: Vec::new(),
            query: Vec::new(),
            grpc: false,
            fraction: None,
        },
        action: RouteAction::Forward(Box::new(forward())),
        headers: crate::config::header::HeaderMutations::default(),
        per_filter: PerFilterConfig::new(per_filter),
        metadata: Metadata::default(),
        request_buffer: RequestBuffer::default(),
    };
    let domains = vec!["*".to_owned()];
    let domains_index = DomainIndex::new([domains.as_slice()]).expect("one domain");
    RouteConfiguration {
        name: String::new(),
        virtual_hosts: vec![VirtualHost {
            name: "v".to_owned(),
            domains,
            routes: vec![route],
            headers: crate::config::header::HeaderMutations::default(),
            per_filter: PerFilterConfig::default(),
            retry_policy: None,
            cors: None,
            include_request_attempt_count: false,
            request_buffer: RequestBuffer::default(),
        }],
        domains: domains_index,
        headers: crate::config::header::HeaderMutations::default(),
        per_filter: PerFilterConfig::default(),
        ignore_port_in_host_matching: false,
        most_specific_header_mutations_wins: false,
    }
}

fn forward() -> crate::config::route::Forward {
    crate::config::route::Forward {
        priority: crate::config::circuit_breakers::RoutingPriority::Default,
        target: crate::config::route::ForwardTarget::Cluster("web".to_owned()),
        timeout: None,
        idle_timeout: None,
        idle_timeout_set: false,
        retry_policy: None,
        path_rewrite: None,
        host_rewrite: crate::config::route::HostRewrite::Keep,
        append_x_forwarded_host: false,
        metadata_match: None,
        hash_policy: Vec::new(),
        upgrades: Vec::new(),
        cors: None,
        mirrors: Vec::new(),
        cluster_not_found_status: 503,
    }
}

/// A chain of these filters.
pub(super) fn chain(filters: Vec<(&str, HttpFilterConfig)>) -> (HttpFilters, Registry) {
    let registry = Registry::default();
    let filters: Arc<[HttpFilter]> = filters
        .into_iter()
        .map(|(name, config)| HttpFilter {
            name: name.to_owned(),
            disabled: false,
            config,
        })
        .collect();
    let filters = HttpFilters::new(&filters, &registry, &Scope::http("in"));
    (filters, registry)
}

/// What a registry holds, by name; what is nothing is left out.
pub(super) fn stats(registry: &Registry) -> Vec<(String, u64)> {
    let scopes = registry.read();
    let values = scopes.iter().flat_map(|scope| &scope.values);
    values
        .map(|value| match value.reading {
            crate::stats::Reading::Counter(count) => (value.name.to_string(), count),
            crate::stats::Reading::Gauge(count) => (value.name.to_string(), count as u64),
            crate::stats::Reading::Histogram(_) => (value.name.to_string(), 0),
        })
        .filter(|(_, count)| *count > 0)
        .collect()
}

pub(super) fn overridden(
    name: &str,
    config: Option<RouteSpecificFilterConfig>,
    disabled: Option<bool>,
) -> FilterOverride {
    FilterOverride {
        name: name.to_owned(),
        disabled,
        config,
    }
}

fn append(name: &str, value: &str) -> FieldMutation {
    FieldMutation::Append(HeaderAddition {
        name: name.to_owned(),
        value: Format::parse(value).expect(value),
        append: AppendAction::AppendIfExistsOrAdd,
        keep_empty_value: false,
    })
}

fn mutations(request: Vec<FieldMutation>, response: Vec<FieldMutation>) -> Mutations {
    Mutations {
        request,
        response,
        ..Mutations::default()
    }
}

fn header_mutation(mutations: Mutations) -> HttpFilterConfig {
    HttpFilterConfig::HeaderMutation(Box::new(HeaderMutation {
        mutations,
        most_specific_header_mutations_wins: false,
    }))
}

fn added(edits: &Edits<'_>) -> Vec<(String, String)> {
    let added = edits.added();
    added
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn texts(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn a_chain_with_nothing_in_it_holds_no_memory() {
    let (filters, _) = chain(Vec::new());
    let fixture = Fixture::new("GET / HTTP/1.1\r\nHost: h", Vec::new());
    let active = ActiveFilters::new(&filters, fixture.matched().as_ref());
    assert!(filters.is_empty() && active.is_empty());
    assert_eq!(active.filters.capacity(), 0);
}

#[test]
fn decoders_run_in_order_and_encoders_in_reverse() {
    let (filters, _) = chain(vec![
        (
            "one",
            header_mutation(mutations(
                vec![append("x-q", "1")],
                vec![append("x-s", "1%RESP(X-S)%")],
            )),
        ),
        (
            "two",
            header_mutation(mutations(
                vec![append("x-q", "2%REQ(X-Q)%")],
                vec![append("x-s", "2")],
            )),
        ),
    ]);
    let fixture = Fixture::new("GET / HTTP/1.1\r\nHost: h", Vec::new());
    let mut active = ActiveFilters::new(&filters, fixture.matched().as_ref());
    let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
    let step = fixture.decode(&mut active, &mut edits, &mut metadata);
    assert!(matches!(step, Step::Continue));
    assert_eq!(added(&edits), texts(&[("x-q", "1"), ("x-q", "21")]));
    let edits = fixture.encode(&mut active, &response(200, &[]), &mut metadata);
    assert_eq!(added(&edits), texts(&[("x-s", "2"), ("x-s", "12")]));
}

#[test]
fn the_most_specific_level_is_worked_in_first_unless_it_is_to_win() {
    for (wins, expected) in [
        (false, [("x", "filter"), ("x", "route"), ("x", "config")]),
        (true, [("x", "filter"), ("x", "config"), ("x", "route")]),
    ] {
        let of = |value| mutations(vec![append("x", value)], Vec::new());
        let (filters, _) = chain(vec![(
            "hm",
            HttpFilterConfig::HeaderMutation(Box::new(HeaderMutation {
                mutations: of("filter"),
                most_specific_header_mutations_wins: wins,
            })),
        )]);
        let level = |value| {
            let config = RouteSpecificFilterConfig::HeaderMutation(Box::new(of(value)));
            overridden("hm", Some(config), None)
        };
        let mut fixture = Fixture::new("GET / HTTP/1.1\r\nHost: h", vec![level("route")]);
        fixture.routes.per_filter = PerFilterConfig::new(vec![level("config")]);
        let mut active = ActiveFilters::new(&filters, fixture.matched().as_ref());
        let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
        fixture.decode(&mut active, &mut edits, &mut metadata);
        assert_eq!(added(&edits), texts(&expected), "{wins}");
    }
}

#[test]
fn trailers_are_asked_for_where_somebody_changes_them() {
    let trailers = || Mutations {
        request_trailers: vec![append("x", "1")],
        response_trailers: vec![append("y", "2"), FieldMutation::Remove("z".to_owned())],
        ..Mutations::default()
    };
    for (of_filter, of_route, asked) in [
        (false, false, false),
        (true, false, true),
        (false, true, true),
    ] {
        let mutations = if of_filter {
            trailers()
        } else {
            Mutations::default()
        };
        let (filters, _) = chain(vec![("hm", header_mutation(mutations))]);
        let config =
            of_route.then(|| RouteSpecificFilterConfig::HeaderMutation(Box::new(trailers())));
        let per_filter = vec![overridden("hm", config, None)];
        let fixture = Fixture::new("GET / HTTP/1.1\r\nHost: h", per_filter);
        let mut active = ActiveFilters::new(&filters, fixture.matched().as_ref());
        let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
        fixture.decode(&mut active, &mut edits, &mut metadata);
        assert_eq!(active.wants_request_trailers(), asked);
        assert_eq!(active.wants_response_trailers(), asked);
        if asked {
            let edits = fixture.trailers(&mut active, &mut metadata);
            assert_eq!(added(&edits), texts(&[("y", "2")]));
            assert!(!edits.keeps(b"z"));
        }
    }
}

#[test]
fn a_route_says_which_filters_take_part() {
    for (disabled, by_route, takes_part) in [
        (false, None, true),
        (true, None, false),
        (false, Some(true), false),
        (true, Some(false), true),
    ] {
        let filters: Arc<[HttpFilter]> = Arc::new([HttpFilter {
            name: "b".to_owned(),
            disabled,
            config: HttpFilterConfig::Buffer(Buffer {
                max_request_bytes: 10,
            }),
        }]);
        let filters = HttpFilters::new(&filters, &Registry::default(), &Scope::http("in"));
        let per_filter = vec![overridden("b", None, by_route)];
        let fixture = Fixture::new("GET / HTTP/1.1\r\nHost: h", per_filter);
        let active = ActiveFilters::new(&filters, fixture.matched().as_ref());
        assert_eq!(!active.is_empty(), takes_part, "{disabled} {by_route:?}");
    }
}

#[test]
fn a_request_with_a_body_is_read_whole_as_the_route_says() {
    let buffer = |bytes| Buffer {
        max_request_bytes: bytes,
    };
    let of_route = |config| Some(RouteSpecificFilterConfig::Buffer(config));
    for (has_body, config, limit) in [
        (false, None, None),
        (true, None, Some(10)),
        (true, of_route(Some(buffer(20))), Some(20)),
        (true, of_route(None), None),
    ] {
        let text = format!("{has_body} {config:?}");
        let (filters, _) = chain(vec![
            ("b", HttpFilterConfig::Buffer(buffer(10))),
            (
                "hm",
                header_mutation(mutations(vec![append("x", "after")], Vec::new())),
            ),
        ]);
        let mut fixture = Fixture::new(
            "POST / HTTP/1.1\r\nHost: h",
            vec![overridden("b", config, None)],
        );
        fixture.has_body = has_body;
        let mut active = ActiveFilters::new(&filters, fixture.matched().as_ref());
        let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
        let step = fixture.decode(&mut active, &mut edits, &mut metadata);
        if let Some(expected) = limit {
            assert!(
                matches!(step, Step::WholeBody { limit } if limit == expected),
                "{text}"
            );
            assert!(edits.is_empty(), "{text}");
            let step = fixture.decode(&mut active, &mut edits, &mut metadata);
            assert!(matches!(step, Step::Continue), "{text}");
        } else {
            assert!(matches!(step, Step::Continue), "{text}");
        }
        assert_eq!(added(&edits), texts(&[("x", "after")]), "{text}");
    }
}

#[test]
fn every_encoder_sees_a_reply_of_the_first_decoder() {
    let (filters, registry) = chain(vec![
        (
            "fault",
            HttpFilterConfig::Fault(Box::new(fault::abort_all(429))),
        ),
        (
            "hm",
            header_mutation(mutations(
                vec![append("x", "never")],
                vec![append("x", "always")],
            )),
        ),
    ]);
    let fixture = Fixture::new("GET / HTTP/1.1\r\nHost: h", Vec::new());
    let mut active = ActiveFilters::new(&filters, fixture.matched().as_ref());
    let (mut edits, mut metadata) = (Edits::default(), Metadata::default());
    let Step::Reply(reply) = fixture.decode(&mut active, &mut edits, &mut metadata) else {
        panic!("no reply");
    };
    assert_eq!((reply.status, reply.reason), (429, Reason::FaultInjected));
    assert!(edits.is_empty());
    let edits = fixture.encode(&mut active, &response(429, &[]), &mut metadata);
    assert_eq!(added(&edits), texts(&[("x", "always")]));
    drop(active);
    assert_eq!(stats(&registry), [("fault.aborts_injected".to_owned(), 1)]);
}
