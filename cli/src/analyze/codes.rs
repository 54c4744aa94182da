//! Everything that can be found, in one table: docs/analyze.md has it, too.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Worth knowing.
    Info,
    /// It does not do what its author may think.
    Warning,
    /// It does not work.
    Error,
}

/// Something that can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    /// Never given to anything else.
    pub(super) code: &'static str,
    pub(super) name: &'static str,
    pub(super) severity: Severity,
    /// What it means, for people.
    pub(super) meaning: &'static str,
}

/// Declares the table, and a constant for each code.
macro_rules! codes {
    ($($constant:ident = $code:literal $name:literal $severity:ident $meaning:literal;)*) => {
        $(pub(super) const $constant: Code = Code {
            code: $code, name: $name, severity: Severity::$severity, meaning: $meaning,
        };)*
        /// All of them, in order.
        #[cfg(test)]
        pub(super) const ALL: &[Code] = &[$($constant),*];
    };
}

codes! {
    MALFORMED = "WEIR0101" "Malformed" Error
        "an object must not be written like this: the validating webhook refuses it";
    NOT_HONOURED = "WEIR0102" "NotHonoured" Warning
        "a part of an object cannot be honoured, or means something else than its author may think";
    UNKNOWN_KIND = "WEIR0103" "UnknownKind" Warning
        "a kind of Istio's or of the Gateway API that is not honoured, such as EnvoyFilter";
    DUPLICATE = "WEIR0104" "Duplicate" Error
        "files have an object twice, so that the last one applied counts";
    HOST_NOT_FOUND = "WEIR0201" "HostNotFound" Error
        "a route leads to a Service that is not there";
    PORT_NOT_FOUND = "WEIR0202" "PortNotFound" Error
        "a route leads to a port that its Service does not have";
    SUBSET_NOT_FOUND = "WEIR0203" "SubsetNotFound" Error
        "a route leads to a subset that no DestinationRule has: requests are answered 503";
    SUBSET_SELECTS_NONE = "WEIR0204" "SubsetSelectsNone" Warning
        "a subset of a DestinationRule selects no pod of its Service";
    UNKNOWN_DESTINATION = "WEIR0205" "UnknownDestination" Warning
        "a DestinationRule or VirtualService is about a host that nobody has";
    UNREACHABLE_ROUTE = "WEIR0206" "UnreachableRoute" Warning
        "a route of a VirtualService comes after one that matches everything, or the same";
    CONFLICTING_HOSTS = "WEIR0207" "ConflictingHosts" Error
        "two VirtualServices are about one host: the older one counts where both would";
    OVERRULED = "WEIR0208" "Overruled" Warning
        "a route does not count, because another one is about the same Service";
    HTTP_ROUTE_ON_TCP = "WEIR0209" "HttpRouteOnTcp" Warning
        "a route of HTTP leads from a Service of which no port speaks HTTP";
    SELECTS_NONE = "WEIR0301" "SelectsNone" Warning
        "a policy selects no pod, so that it is in force nowhere";
    HTTP_RULE_ON_TCP = "WEIR0302" "HttpRuleOnTcp" Warning
        "an AuthorizationPolicy asks for requests of HTTP at pods whose ports do not speak it";
    CONFLICTING_MODES = "WEIR0303" "ConflictingModes" Warning
        "two PeerAuthentications are about the same pods: the older one counts";
    ALLOWS_EVERYBODY = "WEIR0304" "AllowsEverybody" Warning
        "a rule that allows names no caller, no operation and no condition";
    REFUSES_EVERYBODY = "WEIR0305" "RefusesEverybody" Info
        "a policy that allows has no rule, so that it refuses everybody whom no other one allows";
    PORT_SAYS_NOTHING = "WEIR0401" "PortSaysNothing" Info
        "neither appProtocol nor the name of a Service's port says what it speaks, so that it is found out";
    SERVICE_SELECTS_NONE = "WEIR0402" "ServiceSelectsNone" Warning
        "a Service selects no pod";
    PROTOCOLS_DIFFER = "WEIR0403" "ProtocolsDiffer" Warning
        "two Services say different things of one port of a pod: one of them is believed";
    TWO_INJECTION_LABELS = "WEIR0501" "TwoInjectionLabels" Warning
        "a namespace asks for sidecars of Weir and of Istio";
    UNKNOWN_ANNOTATION = "WEIR0502" "UnknownAnnotation" Warning
        "an annotation of a pod that begins with weir.dev/ is none";
    NO_WEBHOOK = "WEIR0503" "NoWebhook" Error
        "a namespace asks for sidecars, and there is no webhook that would add them";
    NOT_INJECTED = "WEIR0504" "NotInjected" Warning
        "a pod of a namespace that asks for sidecars has none";
}
