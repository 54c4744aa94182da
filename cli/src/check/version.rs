//! The API server's version.

use k8s_openapi::apimachinery::pkg::version::Info;

use super::finding::Finding;

const CHECK: &str = "api-server";
/// The webhooks' match conditions are stable from here on.
const LEAST_MINOR: u32 = 30;

pub(super) fn check(version: &Info) -> Vec<Finding> {
    let found = format!("Kubernetes {}.{}", version.major, version.minor);
    let finding = match number(&version.minor).filter(|_| version.major == "1") {
        Some(minor) if minor >= LEAST_MINOR => Finding::ok(CHECK, format!("{found} answers")),
        Some(_) => Finding::failure(
            CHECK,
            format!("{found} is older than 1.{LEAST_MINOR}"),
            format!("upgrade the cluster to 1.{LEAST_MINOR} or later"),
        ),
        None => Finding::warning(
            CHECK,
            format!("{found} is a version that Weir does not know"),
            format!("make sure that it is at least 1.{LEAST_MINOR}"),
        ),
    };
    vec![finding]
}

/// The number at the beginning of a minor version: providers write `29+`.
pub(super) fn number(minor: &str) -> Option<u32> {
    let digits = minor
        .find(|c: char| !c.is_ascii_digit())
        .map_or(minor, |end| &minor[..end]);
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Level, *};

    #[test]
    fn old_servers_fail_and_providers_suffixes_do_not_matter() {
        let level = |major: &str, minor: &str| {
            let info = Info {
                major: major.to_owned(),
                minor: minor.to_owned(),
                ..Info::default()
            };
            check(&info).remove(0).level
        };
        assert_eq!(level("1", "30"), Level::Ok);
        assert_eq!(level("1", "33+"), Level::Ok);
        assert_eq!(level("1", "29+"), Level::Failure);
        assert_eq!(level("2", "0"), Level::Warning);
        assert_eq!(level("1", ""), Level::Warning);
    }
}
