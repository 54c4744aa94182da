//! What a pod's annotations ask for, read over the administrator's defaults.
//!
//! A bad value of an annotation that says what is captured, or what the sidecar may use, is
//! refused: the pod would run, but not as asked. A bad value of any other is a warning and counts
//! as absent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use weir_api::{
    CaptureSpec,
    annotations::{self as names, KNOWN},
    capture::{self, CaptureMode},
    identity,
    inbound_demands::InboundDemands,
};

use crate::{
    Config, Place,
    config::{SidecarKind, SidecarMode},
    pod::{Pod, Quantities},
};

mod resources;
mod unknown;

pub(crate) use unknown::{nearest, unknown};

/// An annotation whose value cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAnnotation {
    /// Name of the annotation.
    pub annotation: String,
    /// What is wrong with its value.
    pub reason: String,
}

/// What one pod's sidecar is like.
pub(crate) struct Settings {
    pub(crate) capture: CaptureSpec,
    pub(crate) image: String,
    pub(crate) sidecar: SidecarKind,
    pub(crate) requests: Quantities,
    pub(crate) limits: Quantities,
    pub(crate) log_level: Option<String>,
    pub(crate) concurrency: Option<u32>,
    /// Whether to write that other sidecars speak mutual TLS with this one.
    pub(crate) mutual_tls: bool,
    /// What it is told that rules demand of whoever connects to the pod, where that is not the usual.
    pub(crate) inbound: Option<InboundDemands>,
    /// User the sidecar runs as, unless its own container says another.
    pub(crate) user: u32,
    /// User that a container of the pod's own, named like the sidecar, asks for.
    pub(crate) own_user: Option<u32>,
    /// Whether that container has a postStart hook.
    pub(crate) own_hook: bool,
}

/// Most worker threads a pod may ask for; more than any node has cores is a slip of the finger.
const MAX_CONCURRENCY: u32 = 1024;

/// Annotations and the configured defaults behind them, and what was found wrong so far.
struct Reader<'a> {
    annotations: &'a BTreeMap<&'a str, &'a str>,
    defaults: &'a BTreeMap<String, String>,
    /// The pod must not run with these.
    refused: Vec<BadAnnotation>,
    /// The pod runs, and these count as absent.
    ignored: Vec<BadAnnotation>,
}

// === impl Settings ===

impl Settings {
    /// Reads what `pod` asks for. Warnings go to `warnings`; everything that is refused is in the
    /// error, not just the first of it.
    pub(crate) fn read(
        pod: &Pod<'_>,
        place: Place<'_>,
        config: &Config,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Vec<BadAnnotation>> {
        let mut reader = Reader::new(&pod.annotations, &config.default_annotations);
        let mut settings = reader.settings(Some(pod), config);
        settings.sidecar = reader.sidecar().unwrap_or_else(|| by_config(place, config));
        settings.inbound = place.inbound.filter(|it| !it.is_usual()).cloned();
        if let Some(user) = place.last_user() {
            settings.user = user;
            settings.capture.proxy_uids = vec![user];
        }
        let ignored = reader
            .ignored
            .iter()
            .map(|bad| format!("{bad}; it is ignored"));
        warnings.extend(ignored);
        if reader.refused.is_empty() {
            Ok(settings)
        } else {
            Err(reader.refused)
        }
    }
}

/// Whether a pod gets a native or a classic sidecar.
pub(crate) fn sidecar_kind(pod: &Pod<'_>, place: Place<'_>, config: &Config) -> SidecarKind {
    let mut reader = Reader::new(&pod.annotations, &config.default_annotations);
    reader.sidecar().unwrap_or_else(|| by_config(place, config))
}

fn by_config(place: Place<'_>, config: &Config) -> SidecarKind {
    match config.sidecar {
        SidecarMode::Auto if place.is_old() => SidecarKind::Classic,
        SidecarMode::Auto | SidecarMode::Native => SidecarKind::Native,
        SidecarMode::Classic => SidecarKind::Classic,
    }
}

/// What is wrong with annotations that an administrator sets as defaults.
pub(crate) fn check_defaults(defaults: &BTreeMap<String, String>) -> Vec<BadAnnotation> {
    let annotations = defaults
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    let none = BTreeMap::new();
    let mut reader = Reader::new(&annotations, &none);
    reader.settings(None, &Config::default());
    reader.sidecar();
    let Reader {
        refused, ignored, ..
    } = reader;
    let per_pod = |key: &&str| [names::INJECT, names::STATUS].contains(key);
    let misplaced = annotations
        .keys()
        .copied()
        .filter(|key| !KNOWN.contains(key) || per_pod(key));
    let misplaced = misplaced.map(|key| BadAnnotation {
        annotation: key.to_owned(),
        reason: "not an annotation that can have a default".to_owned(),
    });
    refused
        .into_iter()
        .chain(ignored)
        .chain(misplaced)
        .collect()
}

/// All of them in one line.
pub(crate) fn join(bad: &[BadAnnotation]) -> String {
    bad.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn new(
        annotations: &'a BTreeMap<&'a str, &'a str>,
        defaults: &'a BTreeMap<String, String>,
    ) -> Self {
        Self {
            annotations,
            defaults,
            refused: Vec::new(),
            ignored: Vec::new(),
        }
    }

    fn settings(&mut self, pod: Option<&Pod<'_>>, config: &Config) -> Settings {
        let (requests, limits) = self.resources(pod);
        let capture = self.capture();
        let image = self.image(config);
        let mode = self.insist(names::TLS_MODE, tls_mode);
        // An image of another's choice may be of before there were certificates, and where nothing
        // is captured nobody takes TLS.
        let takes_tls = image.is_none() && capture.mode != CaptureMode::None;
        Settings {
            mutual_tls: takes_tls && mode.is_none_or(|mode| mode == names::TLS_MODE_MUTUAL),
            capture,
            image: image.unwrap_or_else(|| config.image.clone()),
            sidecar: SidecarKind::Native,
            requests,
            limits,
            log_level: self.tolerate(names::LOG_LEVEL, log_level),
            concurrency: self.tolerate(names::CONCURRENCY, concurrency),
            inbound: None,
            user: identity::PROXY_UID,
            own_user: None,
            own_hook: false,
        }
    }

    /// The image the pod asks for; the administrator's own default needs no listing.
    fn image(&mut self, config: &Config) -> Option<String> {
        let is_its_own = self.annotations.contains_key(names::PROXY_IMAGE);
        let image = self.tolerate(names::PROXY_IMAGE, image)?;
        if is_its_own && !config.allows_image(&image) {
            self.refused.push(BadAnnotation {
                annotation: names::PROXY_IMAGE.to_owned(),
                reason: format!("{image:?} is neither Weir's nor in the injector's allowedImages"),
            });
        }
        Some(image)
    }

    fn value(&self, annotation: &str) -> Option<&'a str> {
        let default = || self.defaults.get(annotation).map(String::as_str);
        self.annotations.get(annotation).copied().or_else(default)
    }

    fn parse<T, E: fmt::Display>(
        &self,
        annotation: &str,
        parse: impl FnOnce(&'a str) -> Result<T, E>,
    ) -> Result<Option<T>, BadAnnotation> {
        let parsed = self.value(annotation).map(parse).transpose();
        parsed.map_err(|reason| BadAnnotation {
            annotation: annotation.to_owned(),
            reason: reason.to_string(),
        })
    }

    /// Reads an annotation the pod must not run without, if it is there.
    fn insist<T, E: fmt::Display>(
        &mut self,
        annotation: &str,
        parse: impl FnOnce(&'a str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = self.parse(annotation, parse);
        parsed.unwrap_or_else(|bad| {
            self.refused.push(bad);
            None
        })
    }

    /// Reads an annotation the pod can run without.
    fn tolerate<T, E: fmt::Display>(
        &mut self,
        annotation: &str,
        parse: impl FnOnce(&'a str) -> Result<T, E>,
    ) -> Option<T> {
        let parsed = self.parse(annotation, parse);
        parsed.unwrap_or_else(|bad| {
            self.ignored.push(bad);
            None
        })
    }

    /// What the pod asks for.
    fn sidecar(&mut self) -> Option<SidecarKind> {
        let native = self.tolerate(names::NATIVE_SIDECAR, boolean)?;
        Some(match native {
            true => SidecarKind::Native,
            false => SidecarKind::Classic,
        })
    }

    fn capture(&mut self) -> CaptureSpec {
        let mut spec = CaptureSpec::default();
        if let Some(mode) = self.insist(names::CAPTURE_MODE, mode) {
            spec.mode = mode;
        }
        if let Some(cidrs) = self.insist(names::INCLUDE_OUTBOUND_CIDRS, |text| {
            capture::parse_selection(text, capture::parse_cidrs)
        }) {
            spec.include_outbound_cidrs = cidrs;
        }
        if let Some(ports) = self.insist(names::INCLUDE_INBOUND_PORTS, |text| {
            capture::parse_selection(text, capture::parse_ports)
        }) {
            spec.include_inbound_ports = ports;
        }
        let mut ports = |name| self.insist(name, capture::parse_ports).unwrap_or_default();
        spec.include_outbound_ports = ports(names::INCLUDE_OUTBOUND_PORTS);
        spec.exclude_outbound_ports = ports(names::EXCLUDE_OUTBOUND_PORTS);
        let mut known: BTreeSet<_> = spec.exclude_inbound_ports.iter().copied().collect();
        let new = ports(names::EXCLUDE_INBOUND_PORTS).into_iter();
        spec.exclude_inbound_ports
            .extend(new.filter(|port| known.insert(*port)));
        spec.exclude_outbound_cidrs = self
            .insist(names::EXCLUDE_OUTBOUND_CIDRS, capture::parse_cidrs)
            .unwrap_or_default();
        spec.exclude_interfaces = self
            .insist(names::EXCLUDE_INTERFACES, capture::parse_interfaces)
            .unwrap_or_default();
        spec
    }
}

fn mode(text: &str) -> Result<CaptureMode, String> {
    match text
        .parse()
        .map_err(|error: capture::CaptureValueError| error.to_string())?
    {
        CaptureMode::Tproxy => {
            Err("\"tproxy\" is not supported yet; use redirect or none".to_owned())
        }
        mode => Ok(mode),
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is neither \"true\" nor \"false\""))
}

fn tls_mode(text: &str) -> Result<&str, String> {
    let (mutual, disabled) = (names::TLS_MODE_MUTUAL, names::TLS_MODE_DISABLED);
    match text == mutual || text == disabled {
        true => Ok(text),
        false => Err(format!("{text:?} is neither {mutual:?} nor {disabled:?}")),
    }
}

fn concurrency(text: &str) -> Result<u32, String> {
    let threads = text
        .parse()
        .ok()
        .filter(|threads| (1..=MAX_CONCURRENCY).contains(threads));
    threads.ok_or_else(|| format!("{text:?} is not a number from 1 to {MAX_CONCURRENCY}"))
}

fn image(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not the name of an image"))
    }
}

fn log_level(text: &str) -> Result<String, String> {
    let is_level = |word: &str| {
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        levels.iter().any(|level| word.eq_ignore_ascii_case(level))
    };
    let is_target = |c: char| c.is_ascii_alphanumeric() || "_:-".contains(c);
    let is_directive = |directive: &str| match directive.split_once('=') {
        Some((target, level)) => target.chars().all(is_target) && is_level(level),
        None => is_level(directive),
    };
    if text.split(',').all(is_directive) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a log level such as info or weir_proxy=debug,info"
        ))
    }
}

// === impl BadAnnotation ===

impl fmt::Display for BadAnnotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "annotation {}: {}", self.annotation, self.reason)
    }
}

#[cfg(test)]
mod tests;
