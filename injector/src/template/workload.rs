//! The workload a pod belongs to, as people know it.

use crate::pod::Pod;

/// Label of a ReplicaSet's pods whose value ends the ReplicaSet's name.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// A CronJob names its Jobs by the scheduled minute since 1970, which has eight digits until 2160.
const CRON_DIGITS: usize = 8;

/// Name and kind of the workload that owns a pod.
pub(super) struct Workload {
    /// Such as `web`.
    pub(super) name: String,
    /// Such as `Deployment`.
    pub(super) kind: String,
}

// === impl Workload ===

impl Workload {
    /// The workload behind a pod, read from its controller. A Deployment is behind its ReplicaSet
    /// and a CronJob behind its Job; both are told by how the inner one is named.
    pub(super) fn of(pod: &Pod<'_>) -> Self {
        let workload = |kind: &str, name: &str| Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
        };
        let Some(owner) = &pod.owner else {
            let name = pod.name.or(pod.generate_name).unwrap_or_default();
            return workload("Pod", name.trim_end_matches('-'));
        };
        let outer = match owner.kind {
            "ReplicaSet" => {
                let hash = pod.labels.get(TEMPLATE_HASH);
                let name = hash.and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'));
                name.map(|name| workload("Deployment", name))
            }
            "Job" => cron_job(owner.name).map(|name| workload("CronJob", name)),
            _ => None,
        };
        outer.unwrap_or_else(|| workload(owner.kind, owner.name))
    }
}

fn cron_job(job: &str) -> Option<&str> {
    let (name, minute) = job.rsplit_once('-')?;
    let scheduled = minute.len() == CRON_DIGITS && minute.bytes().all(|b| b.is_ascii_digit());
    (scheduled && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_outer_workload_is_named() {
        for (kind, name, expected_kind, expected) in [
            ("ReplicaSet", "web-5d9c8", "Deployment", "web"),
            ("ReplicaSet", "bare-set", "ReplicaSet", "bare-set"),
            ("StatefulSet", "db", "StatefulSet", "db"),
            ("Job", "backup-29384756", "CronJob", "backup"),
            ("Job", "migrate-v2", "Job", "migrate-v2"),
        ] {
            let pod = json!({
                "metadata": {
                    "generateName": format!("{name}-"),
                    "labels": {"pod-template-hash": "5d9c8"},
                    "ownerReferences": [{"kind": kind, "name": name, "controller": true}],
                },
                "spec": {"containers": []},
            });
            let workload = Workload::of(&Pod::read(&pod).expect("pod"));
            assert_eq!(
                (&*workload.kind, &*workload.name),
                (expected_kind, expected)
            );
        }
        let pod = json!({"metadata": {"generateName": "run-"}, "spec": {"containers": []}});
        assert_eq!(Workload::of(&Pod::read(&pod).expect("pod")).name, "run");
    }
}
