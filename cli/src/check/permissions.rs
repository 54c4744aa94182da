//! Permissions: the user's, to install Weir, and the control plane's, to do its work. The API
//! server is asked; roles are not read.

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use weir_api::sidecar;

use super::{
    Names,
    facts::{Facts, Read, each},
    finding::Finding,
};

const CHECK: &str = "permissions";

/// Whether somebody may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Access {
    /// Such as `patch mutatingwebhookconfigurations.admissionregistration.k8s.io`.
    what: String,
    allowed: bool,
}

/// Where a resource is, for the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Cluster,
    Own,
}

/// What the chart makes.
const OF_CHART: [(&str, &str, Place); 13] = [
    ("", "namespaces", Place::Cluster),
    ("rbac.authorization.k8s.io", "clusterroles", Place::Cluster),
    (
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        Place::Cluster,
    ),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        Place::Cluster,
    ),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        Place::Cluster,
    ),
    ("", "serviceaccounts", Place::Own),
    ("", "services", Place::Own),
    ("", "configmaps", Place::Own),
    // Helm keeps its releases in Secrets.
    ("", "secrets", Place::Own),
    ("apps", "deployments", Place::Own),
    ("policy", "poddisruptionbudgets", Place::Own),
    ("rbac.authorization.k8s.io", "roles", Place::Own),
    ("rbac.authorization.k8s.io", "rolebindings", Place::Own),
];
const VERBS_OF_CHART: [&str; 4] = ["create", "get", "patch", "delete"];

/// What the control plane reads everywhere.
const READ_BY_CONTROL: [(&str, &str); 5] = [
    ("", "services"),
    ("", "pods"),
    ("", "namespaces"),
    ("", "nodes"),
    ("discovery.k8s.io", "endpointslices"),
];

pub(super) fn of_user(facts: &Facts) -> Vec<Finding> {
    let finding = match &facts.user_access {
        Err(unread) => unread.finding(CHECK),
        Ok(access) => match refused(access) {
            None => Finding::ok(CHECK, "you may install Weir"),
            Some(refused) => Finding::failure(
                CHECK,
                format!("you may not {refused}"),
                "install as somebody who may, such as a cluster administrator",
            ),
        },
    };
    vec![finding]
}

pub(super) fn of_control_plane(facts: &Facts) -> Vec<Finding> {
    let finding = match &facts.control_access {
        Err(unread) => unread.finding(CHECK),
        Ok(access) => match refused(access) {
            None => Finding::ok(CHECK, "the control plane may do all it has to"),
            Some(refused) => Finding::failure(
                CHECK,
                format!("the control plane may not {refused}"),
                "install the chart again, and see that nothing changes its ClusterRole and Role",
            ),
        },
    };
    vec![finding]
}

/// What is not allowed, if anything.
fn refused(access: &[Access]) -> Option<String> {
    let refused = access.iter().filter(|access| !access.allowed);
    let refused: Vec<&str> = refused.map(|access| access.what.as_str()).collect();
    (!refused.is_empty()).then(|| refused.join("; "))
}

/// Asks what the user may do of what an installation needs.
pub(super) async fn read_of_user(client: &Client, names: &Names) -> Read<Vec<Access>> {
    let questions = OF_CHART.iter().flat_map(|&(group, resource, place)| {
        VERBS_OF_CHART.map(|verb| question(verb, group, resource, "", place, names))
    });
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answers = each(questions.collect(), async |question: ResourceAttributes| {
        let what = describe(&question);
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(question),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = api.create(&PostParams::default(), &review).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        Ok(Access { what, allowed })
    });
    answers.await.into_iter().collect()
}

/// Asks what the control plane's service account may do of what it has to.
pub(super) async fn read_of_account(
    client: &Client,
    names: &Names,
    account: &str,
) -> Read<Vec<Access>> {
    let user = format!("system:serviceaccount:{}:{account}", names.namespace);
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{}", names.namespace),
    ];
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answers = each(duties(names), async |question: ResourceAttributes| {
        let what = describe(&question);
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.clone()),
                groups: Some(groups.to_vec()),
                resource_attributes: Some(question),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = api.create(&PostParams::default(), &review).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        Ok(Access { what, allowed })
    });
    answers.await.into_iter().collect()
}

/// What the control plane has to be allowed.
fn duties(names: &Names) -> Vec<ResourceAttributes> {
    let ask = |verb, group, resource, name: &str, place| {
        question(verb, group, resource, name, place, names)
    };
    let mut all = Vec::new();
    for (group, resource) in READ_BY_CONTROL {
        for verb in ["list", "watch"] {
            all.push(ask(verb, group, resource, "", Place::Cluster));
        }
    }
    all.push(ask(
        "create",
        "authentication.k8s.io",
        "tokenreviews",
        "",
        Place::Cluster,
    ));
    let (roots, config) = (sidecar::CA_CONFIG_MAP, names.config_map());
    all.push(ask("patch", "", "configmaps", roots, Place::Cluster));
    all.push(ask("watch", "", "configmaps", &config, Place::Own));
    all
}

fn question(
    verb: &str,
    group: &str,
    resource: &str,
    name: &str,
    place: Place,
    names: &Names,
) -> ResourceAttributes {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ResourceAttributes {
        verb: text(verb),
        group: text(group),
        resource: text(resource),
        name: text(name),
        namespace: (place == Place::Own).then(|| names.namespace.clone()),
        ..ResourceAttributes::default()
    }
}

fn describe(question: &ResourceAttributes) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let mut text = format!("{} {}", part(&question.verb), part(&question.resource));
    if let Some(group) = &question.group {
        text.push_str(&format!(".{group}"));
    }
    if let Some(name) = &question.name {
        text.push_str(&format!(" {name}"));
    }
    if let Some(namespace) = &question.namespace {
        text.push_str(&format!(" in {namespace}"));
    }
    text
}
