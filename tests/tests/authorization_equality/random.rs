//! Policies and calls out of a few words, so that they meet often.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

/// A sequence of numbers by its seed (xorshift64*, Marsaglia 2003 and Vigna 2016).
pub(crate) struct Random(u64);

/// A call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) is_request: bool,
    pub(crate) principal: Option<String>,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) server_name: &'static str,
    pub(crate) method: &'static str,
    pub(crate) host: &'static str,
    pub(crate) path: &'static str,
    /// Values of `x-a` and `x-b`, if they are there.
    pub(crate) headers: [Option<&'static str>; 2],
}

const HEADERS: [&str; 2] = ["x-a", "x-b"];
const METHODS: [&str; 4] = ["GET", "POST", "DELETE", "get"];
const HOSTS: [&str; 4] = ["web.shop", "WEB.shop:8080", "other", "a.b.c"];
const PATHS: [&str; 12] = [
    "/",
    "/admin",
    "/admin/users",
    "/admin/users/7",
    "/a/b",
    "/a//b",
    "/admin?x=/a",
    "/files/",
    "/files/a/b",
    "/Admin",
    "/a",
    "/users/7/orders",
];
const NAMES: [&str; 4] = ["", "web.shop.svc", "a.example", "b.example"];

// === impl Random ===

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).expect("31 bits") % bound
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Once in so many.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn some(&mut self, of: &[&str]) -> Vec<String> {
        let count = 1 + self.below(2);
        (0..count).map(|_| self.one(of).to_owned()).collect()
    }

    /// One to three policies.
    pub(crate) fn policies(&mut self) -> Vec<Value> {
        let count = 1 + self.below(3);
        (0..count).map(|index| self.policy(index)).collect()
    }

    fn policy(&mut self, index: usize) -> Value {
        let action = self.one(&["ALLOW", "ALLOW", "DENY", "DENY", "AUDIT"]);
        let root = self.once_in(4);
        let namespace = if root { "weir-system" } else { "shop" };
        let dry_run = if self.once_in(10) { "true" } else { "false" };
        let least = usize::from(action != "ALLOW");
        let count = least + self.below(3);
        let rules: Vec<_> = (0..count).map(|_| self.rule()).collect();
        json!({
            "metadata": {
                "name": format!("p{index}"),
                "namespace": namespace,
                "annotations": {"istio.io/dry-run": dry_run},
            },
            "spec": {"action": action, "rules": rules},
        })
    }

    fn rule(&mut self) -> Value {
        let mut rule = Map::new();
        if !self.once_in(3) {
            let count = 1 + self.below(2);
            let from: Vec<_> = (0..count)
                .map(|_| json!({"source": self.source()}))
                .collect();
            rule.insert("from".to_owned(), json!(from));
        }
        if !self.once_in(3) {
            let count = 1 + self.below(2);
            let to: Vec<_> = (0..count)
                .map(|_| json!({"operation": self.operation()}))
                .collect();
            rule.insert("to".to_owned(), json!(to));
        }
        if self.once_in(2) {
            let count = 1 + self.below(2);
            let when: Vec<_> = (0..count).map(|_| self.when()).collect();
            rule.insert("when".to_owned(), json!(when));
        }
        Value::Object(rule)
    }

    fn source(&mut self) -> Value {
        let mut fields = Map::new();
        if self.once_in(3) {
            // Accounts stand beside neither principals nor namespaces.
            self.field(&mut fields, "serviceAccounts", ACCOUNTS);
        } else {
            let count = 1 + self.below(2);
            for _ in 0..count {
                let (field, values) = self.one(SOURCE);
                self.field(&mut fields, field, values);
            }
        }
        if self.once_in(4) {
            self.field(&mut fields, "ipBlocks", NETWORKS);
        }
        Value::Object(fields)
    }

    fn operation(&mut self) -> Value {
        let mut fields = Map::new();
        let count = 1 + self.below(2);
        for _ in 0..count {
            let (field, values) = self.one(OPERATION);
            self.field(&mut fields, field, values);
        }
        Value::Object(fields)
    }

    /// The field, or the one that excludes, or both.
    fn field(&mut self, fields: &mut Map<String, Value>, name: &str, of: &[&str]) {
        let mut first = name.chars();
        let start = first.next().expect("a name").to_ascii_uppercase();
        let not = format!("not{start}{}", first.as_str());
        let which = self.below(5);
        if which != 0 {
            fields.insert(name.to_owned(), json!(self.some(of)));
        }
        if which < 2 {
            fields.insert(not, json!(self.some(of)));
        }
    }

    fn when(&mut self) -> Value {
        let (key, values) = self.one(WHEN);
        match self.below(4) {
            0 => json!({"key": key, "notValues": self.some(values)}),
            1 => json!({"key": key, "values": self.some(values), "notValues": self.some(values)}),
            _ => json!({"key": key, "values": self.some(values)}),
        }
    }

    pub(crate) fn call(&mut self) -> Call {
        let principal = self.once_in(5);
        let domain = self.one(&["mesh.example", "mesh.example", "cluster.local", "other"]);
        let namespace = self.one(&["shop", "shop", "shops", "web-shop"]);
        let account = self.one(&["teller", "guest", "tell"]);
        let identity = format!("spiffe://{domain}/ns/{namespace}/sa/{account}");
        let header = |random: &mut Self| {
            let value = random.one(&["1", "12", "", "b21"]);
            (!random.once_in(3)).then_some(value)
        };
        Call {
            is_request: !self.once_in(4),
            principal: (!principal).then_some(identity),
            source: self
                .one(&[[10, 0, 0, 1], [10, 0, 1, 1], [192, 168, 0, 1]])
                .into(),
            destination: self.one(&[[10, 5, 0, 1], [10, 6, 0, 1]]).into(),
            server_name: self.one(&NAMES),
            method: self.one(&METHODS),
            host: self.one(&HOSTS),
            path: self.one(&PATHS),
            headers: [header(self), header(self)],
        }
    }
}

const ACCOUNTS: &[&str] = &["teller", "shop/teller", "shop/guest", "shops/teller"];
const NETWORKS: &[&str] = &[
    "10.0.0.0/24",
    "10.0.0.1",
    "0.0.0.0/0",
    "192.168.0.0/16",
    "fd00::/8",
];
const SOURCE: &[(&str, &[&str])] = &[
    (
        "principals",
        &[
            "cluster.local/ns/shop/sa/teller",
            "mesh.example/ns/shop/sa/teller",
            "other/ns/shop/sa/*",
            "cluster.local/ns/shop*",
            "cluster.local*",
            "*/sa/guest",
            "*teller",
            "*",
        ],
    ),
    ("namespaces", &["shop", "shop*", "*shop", "*", "web", "s*"]),
    (
        "trustDomains",
        &["cluster.local", "mesh.example", "mesh*", "*local", "*"],
    ),
    ("ipBlocks", NETWORKS),
    ("remoteIpBlocks", NETWORKS),
];
const OPERATION: &[(&str, &[&str])] = &[
    (
        "hosts",
        &["web.shop", "WEB.*", "*shop:8080", "*", "*.c", "other"],
    ),
    ("methods", &["GET", "POST", "DEL*", "*T", "*"]),
    (
        "paths",
        &[
            "/",
            "/admin*",
            "/admin",
            "*/users",
            "*",
            "/admin/{*}",
            "/admin/{**}",
            "/{*}/b",
            "/users/{*}/orders",
            "/files/{**}",
            "/a/b",
            "/{**}",
        ],
    ),
    ("ports", &["8080", "9000"]),
];
const WHEN: &[(&str, &[&str])] = &[
    ("request.headers[x-a]", &["1", "1*", "*1", "*", "b21"]),
    ("request.headers[X-B]", &["1", "12", "*2", "*"]),
    ("source.ip", NETWORKS),
    ("remote.ip", NETWORKS),
    ("destination.ip", &["10.5.0.0/16", "10.6.0.1"]),
    ("destination.port", &["8080", "443"]),
    ("connection.sni", &["web.shop.svc", "*.example", "*", "a*"]),
    ("source.namespace", &["shop", "*shop", "*"]),
    ("source.serviceAccount", ACCOUNTS),
    ("source.trustDomain", &["cluster.local", "*"]),
];

// === impl Call ===

impl Call {
    /// The lines of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let all = HEADERS.into_iter().zip(self.headers);
        let found = all.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found
            .filter_map(|(_, value)| value.map(str::to_owned))
            .collect()
    }

    /// Its head as HTTP/1.1 has it.
    pub(crate) fn head(&self) -> String {
        let Self {
            method, path, host, ..
        } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
        for (name, value) in HEADERS.into_iter().zip(self.headers) {
            head.extend(value.map(|value| format!("{name}: {value}\r\n")));
        }
        head + "\r\n"
    }
}
