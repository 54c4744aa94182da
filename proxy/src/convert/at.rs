//! Where in a resource the converter is, what it found wrong there, and [`take`], which makes
//! every field of a message somebody's decision.

use std::{borrow::Cow, cell::RefCell, fmt, sync::Arc};

use weir_api::xds::google::protobuf::{BoolValue, UInt32Value};

use super::{ConfigError, Problem};
use crate::config::dns_cache::DnsCacheConfig;

/// Problems found so far, and what must exist beside the resource.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    needs: RefCell<Vec<Need>>,
    /// Caches of names, which several may share.
    caches: RefCell<Vec<Arc<DnsCacheConfig>>>,
}

/// Something that a resource refers to.
#[derive(Debug)]
pub(super) struct Need {
    /// The problem, if it is missing.
    pub(super) problem: Problem,
    /// What it is.
    pub(super) what: Needed,
}

/// What a resource refers to.
#[derive(Debug)]
pub(super) enum Needed {
    /// The cluster of this name, of a route that asks for the check.
    Cluster(String),
    /// The secret of this name, of the bootstrap.
    Secret(String),
    /// The aggregated stream.
    Ads,
}

/// A place in a resource: the resource itself, or a field or an entry of the place before.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    report: &'a Report,
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Resource(&'a str),
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

/// A value that may be unset, which in protobuf often means: have its default.
pub(super) trait MaybeSet {
    /// The value for an error message; none if unset.
    fn shown(&self) -> Option<String>;
}

/// A number or a boolean that may be unset.
pub(super) trait MaybeScalar<T> {
    /// The value, if set.
    fn scalar(&self) -> Option<T>;
}

/// Takes a message apart, field by field, and brings the supported ones into scope. The compiler
/// refuses a list that lacks a field, so that nothing a person sets is ignored unseen.
///
/// - `supported`: brought into scope;
/// - `fixed`: must be unset or have this value, which is what the proxy does;
/// - `ignored`: may be set; the reason says why that is harmless;
/// - `refused`: must be unset.
///
/// `docs/supported-configuration.md` is made from these lists.
macro_rules! take {
    ($at:expr, $message:expr => $type:path {
        $(supported: $($supported:ident),+;)?
        $(fixed: $($fixed:ident = $value:expr),+;)?
        $(ignored: $($ignored:ident = $reason:literal),+;)?
        $(refused: $($refused:ident),+;)?
    }) => {
        #[allow(deprecated)]
        let $type {
            $($($supported,)+)?
            $($($fixed,)+)?
            $($($ignored: _,)+)?
            $($($refused,)+)?
        } = $message;
        let _ = &$at;
        $($($at.only(stringify!($fixed), $crate::convert::at::MaybeScalar::scalar(&$fixed), $value);)+)?
        $($($at.refuse_field(stringify!($refused), &$refused);)+)?
    };
}
pub(super) use take;

// === impl Report ===

impl Report {
    /// The place to start from.
    pub(super) fn resource<'a>(&'a self, resource: &'a str) -> At<'a> {
        At {
            report: self,
            parent: None,
            step: Step::Resource(resource),
        }
    }

    /// What resources refer to.
    pub(super) fn needs(&self) -> Vec<Need> {
        self.needs.take()
    }

    /// Adds a problem found elsewhere.
    pub(super) fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// The value, if nothing was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, ConfigError> {
        let problems = self.problems.into_inner();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(ConfigError { problems }),
        }
    }
}

// === impl At ===

impl<'a> At<'a> {
    /// A field of the message here.
    pub(super) fn field(&'a self, name: &'a str) -> Self {
        self.step(Step::Field(name))
    }

    /// An entry of the list here.
    pub(super) fn index(&'a self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    /// An entry of the map here.
    pub(super) fn key(&'a self, key: &'a str) -> Self {
        self.step(Step::Key(key))
    }

    fn step(&'a self, step: Step<'a>) -> Self {
        At {
            report: self.report,
            parent: Some(self),
            step,
        }
    }

    /// Says what is wrong here.
    pub(super) fn error(&self, reason: impl Into<Cow<'static, str>>) {
        self.say(reason.into());
    }

    // Apart from what is generic, and so compiled for each caller: there are some hundred.
    #[cold]
    fn say(&self, reason: Cow<'static, str>) {
        self.report.push(self.problem(reason.into_owned()));
    }

    /// Says that the value here is not supported.
    pub(super) fn unsupported(&self, value: impl fmt::Display) {
        self.error(format!("not supported: {value}"));
    }

    /// The value of something required; says so if it is missing.
    pub(super) fn required<T>(&self, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.error("required");
        }
        value
    }

    /// Refuses a value that is set.
    pub(super) fn refuse(&self, value: &dyn MaybeSet) {
        if let Some(value) = value.shown() {
            self.unsupported(value);
        }
    }

    /// Refuses a field of the message here that is set. Some hundred fields are: one function for all
    /// types and no copy of it in each converter make the program smaller.
    #[inline(never)]
    pub(super) fn refuse_field(&self, name: &'static str, value: &dyn MaybeSet) {
        self.field(name).refuse(value);
    }

    /// Refuses a field of the message here that is set to anything but `only`.
    #[inline(never)]
    pub(super) fn only<T: Copy + PartialEq + fmt::Display>(
        &self,
        name: &'static str,
        value: Option<T>,
        only: T,
    ) {
        if let Some(value) = value.filter(|value| *value != only) {
            self.field(name)
                .unsupported(format!("{value} (only {only} is)"));
        }
    }

    /// Notes that the cluster named here must exist.
    pub(super) fn refers_to_cluster(&self, cluster: &str) {
        let problem = self.problem(format!("unknown cluster {cluster:?}"));
        self.need(problem, Needed::Cluster(cluster.to_owned()));
    }

    /// Notes that the bootstrap must have the secret named here.
    pub(super) fn refers_to_secret(&self, secret: &str) {
        let problem = self.problem(format!("unknown secret {secret:?}"));
        self.need(problem, Needed::Secret(secret.to_owned()));
    }

    /// Notes that what is here comes over the aggregated stream.
    pub(super) fn needs_ads(&self) {
        let reason = "not supported: ads without dynamic_resources.ads_config";
        self.need(self.problem(reason.to_owned()), Needed::Ads);
    }

    /// The cache of this name: of all that is converted together, one.
    pub(super) fn shared_cache(&self, cache: DnsCacheConfig) -> Arc<DnsCacheConfig> {
        let mut caches = self.report.caches.borrow_mut();
        let known = caches.iter().find(|known| known.name == cache.name);
        if let Some(known) = known {
            if **known != cache {
                self.error(format!(
                    "{:?} has other settings elsewhere, and must have the same",
                    cache.name
                ));
            }
            return Arc::clone(known);
        }
        let cache = Arc::new(cache);
        caches.push(Arc::clone(&cache));
        cache
    }

    fn need(&self, problem: Problem, what: Needed) {
        self.report.needs.borrow_mut().push(Need { problem, what });
    }

    fn problem(&self, reason: String) -> Problem {
        let mut path = String::new();
        let resource = self.write(&mut path);
        Problem {
            resource,
            path,
            reason,
        }
    }

    /// Writes the path to here, and returns the resource it starts from.
    fn write(&self, path: &mut String) -> String {
        let resource = self
            .parent
            .map(|parent| parent.write(path))
            .unwrap_or_default();
        match self.step {
            Step::Resource(resource) => return resource.to_owned(),
            Step::Field(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name.trim_start_matches("r#"));
            }
            Step::Index(index) => path.push_str(&format!("[{index}]")),
            Step::Key(key) => path.push_str(&format!("[{key:?}]")),
        }
        resource
    }
}

// === impl MaybeSet ===

impl MaybeSet for bool {
    fn shown(&self) -> Option<String> {
        self.then(|| "true".to_owned())
    }
}

impl MaybeSet for String {
    fn shown(&self) -> Option<String> {
        (!self.is_empty()).then(|| shorten(format!("{self:?}")))
    }
}

macro_rules! numbers_are_set_unless_zero {
    ($($number:ty)+) => {$(
        impl MaybeSet for $number {
            fn shown(&self) -> Option<String> {
                (*self != 0).then(|| self.to_string())
            }
        }
    )+};
}
numbers_are_set_unless_zero!(i32 i64 u32 u64);

impl<T: fmt::Debug> MaybeSet for Option<T> {
    fn shown(&self) -> Option<String> {
        self.as_ref().map(|value| shorten(format!("{value:?}")))
    }
}

impl<T: fmt::Debug> MaybeSet for Vec<T> {
    fn shown(&self) -> Option<String> {
        (!self.is_empty()).then(|| shorten(format!("{self:?}")))
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> MaybeSet for std::collections::HashMap<K, V, S> {
    fn shown(&self) -> Option<String> {
        (!self.is_empty()).then(|| shorten(format!("{:?}", self.keys().collect::<Vec<_>>())))
    }
}

/// Cuts the debug text of a message to what a line of a log can hold, and a wrapper to its value.
fn shorten(text: String) -> String {
    const ENOUGH: usize = 100;
    let wrapped = text
        .split_once("Value { value: ")
        .filter(|(name, _)| !name.contains(' '));
    if let Some(value) = wrapped.and_then(|(_, value)| value.strip_suffix(" }")) {
        return value.to_owned();
    }
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

// === impl MaybeScalar ===

impl MaybeScalar<bool> for Option<BoolValue> {
    fn scalar(&self) -> Option<bool> {
        self.as_ref().map(|value| value.value)
    }
}

impl MaybeScalar<u32> for Option<UInt32Value> {
    fn scalar(&self) -> Option<u32> {
        self.as_ref().map(|value| value.value)
    }
}

impl MaybeScalar<i32> for i32 {
    fn scalar(&self) -> Option<i32> {
        (*self != 0).then_some(*self)
    }
}
