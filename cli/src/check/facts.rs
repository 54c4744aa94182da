//! What is read from the API server before anything is judged. What may not be read costs the
//! findings that need it, and nothing else.

use futures_util::{StreamExt as _, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        apps::v1::{DaemonSet, Deployment},
        core::v1::{ConfigMap, Namespace, Node, Pod, Secret, Service},
        discovery::v1::EndpointSlice,
        events::v1::Event,
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::version::Info,
};
use kube::{Api, Client, Resource, api::ListParams};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use weir_api::sidecar;

use super::{
    CheckArgs, Names, certificate,
    dry_run::{self, DryRun},
    finding::Finding,
    nodes,
    permissions::{self, Access},
    pods::{self, Census, LookedFor},
    rules::{self, Rule},
    scope::Scope,
    unconnected::{self, Accused},
};
use crate::cluster::reason;

/// Objects a page, so that a large cluster costs no more memory than a small one.
pub(crate) const PAGE: u32 = 500;

/// Something that was read, or why it was not.
pub(super) type Read<T> = Result<T, Unread>;

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unread(String);

/// All that the checks look at.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) names: Names,
    pub(super) version: Info,
    pub(super) scope: Scope,
    pub(super) namespaces: Read<Vec<Namespace>>,
    pub(super) nodes: Read<Vec<Node>>,
    pub(super) mutating: Read<Vec<MutatingWebhookConfiguration>>,
    pub(super) validating: Read<Vec<ValidatingWebhookConfiguration>>,
    pub(super) cilium: Read<Vec<ConfigMap>>,
    pub(super) daemon_sets: Read<Vec<DaemonSet>>,
    pub(super) services: Read<Vec<Service>>,
    pub(super) deployment: Read<Option<Deployment>>,
    pub(super) control_pods: Read<Vec<Pod>>,
    pub(super) endpoints: Read<Vec<EndpointSlice>>,
    /// The injector's configuration, as its ConfigMap has it.
    pub(super) config: Read<Option<ConfigMap>>,
    /// Secret with the serving certificate.
    pub(super) secret: Read<Option<Secret>>,
    /// ConfigMaps with what sidecars trust.
    pub(super) roots: Read<Vec<ConfigMap>>,
    pub(super) user_access: Read<Vec<Access>>,
    pub(super) control_access: Read<Vec<Access>>,
    pub(super) dry_runs: Vec<DryRun>,
    pub(super) pods: Read<Census>,
    /// Pods whose sidecar never reached the control plane, as Events have it.
    pub(super) unconnected: Read<Accused>,
    pub(super) policies: Read<Vec<NetworkPolicy>>,
    /// What people say of who may connect.
    pub(super) rules: Read<Vec<Rule>>,
}

// === impl Facts ===

impl Facts {
    pub(super) async fn read(
        client: Client,
        version: Info,
        names: Names,
        args: &CheckArgs,
    ) -> Self {
        let mutating = list::<MutatingWebhookConfiguration>(&client, &ListParams::default()).await;
        let namespaces = list::<Namespace>(&client, &ListParams::default()).await;
        let config: Read<Option<ConfigMap>> =
            get(&client, &names.namespace, &names.config_map()).await;
        let ours = mutating.as_ref().ok().and_then(|all| {
            all.iter()
                .find(|one| one.metadata.name.as_deref() == Some(&names.injector()))
        });
        let all = ListParams::default();
        let nodes: Read<Vec<Node>> = list(&client, &all).await;
        let least = nodes
            .as_ref()
            .ok()
            .and_then(|nodes| nodes::least_kubelet(nodes));
        let known = config.as_ref().ok().and_then(Option::as_ref);
        let scope = Scope::new(ours, known, &names, least);
        let secret = certificate::secret_of(ours, &names);
        let installed = ours.is_some() && !args.pre;
        let deployment = get(&client, &names.namespace, &names.control()).await;
        let account = control_account(&deployment, &names);
        let mine = all.clone().labels("app.kubernetes.io/name=weir-control");
        let service = format!("kubernetes.io/service-name={}", names.control());
        let named = |name: &str| ListParams::default().fields(&format!("metadata.name={name}"));
        let reason = format!("reason={}", sidecar::UNCONNECTED);
        let unconnected = match installed {
            true => list::<Event>(&client, &all.clone().fields(&reason)).await,
            false => Ok(Vec::new()),
        };
        let unconnected = unconnected.map(|events| unconnected::accused(&events));
        // Most clusters have no such pod, and need not be asked for more.
        let accused = unconnected.as_ref().ok().filter(|pods| !pods.is_empty());
        let policies = match accused {
            Some(_) => list(&client, &all).await,
            None => Ok(Vec::new()),
        };
        let rules = match installed {
            true => rules::read(&client, &names).await,
            false => Ok(Vec::new()),
        };
        Self {
            nodes,
            validating: list(&client, &all).await,
            cilium: list(&client, &named("cilium-config")).await,
            daemon_sets: list(&client, &all).await,
            services: list(&client, &all).await,
            control_pods: list_in(&client, &names.namespace, &mine).await,
            endpoints: list_in(&client, &names.namespace, &all.clone().labels(&service)).await,
            secret: get(&client, &names.namespace, &secret).await,
            roots: list(&client, &named(sidecar::CA_CONFIG_MAP)).await,
            user_access: permissions::read_of_user(&client, &names).await,
            control_access: match installed {
                true => permissions::read_of_account(&client, &names, &account).await,
                false => Ok(Vec::new()),
            },
            dry_runs: match installed {
                true => {
                    dry_run::run(
                        &client,
                        &scope,
                        namespaces.as_deref().unwrap_or_default(),
                        &names,
                        args.dry_run_in.as_deref(),
                    )
                    .await
                }
                false => Vec::new(),
            },
            pods: match (&namespaces, installed) {
                (Ok(namespaces), true) => {
                    let none = Accused::new();
                    let looked_for = LookedFor {
                        accused: accused.unwrap_or(&none),
                        rules: rules.as_deref().unwrap_or_default(),
                    };
                    pods::read(&client, &scope, namespaces, &looked_for).await
                }
                (Err(unread), true) => Err(unread.clone()),
                (_, false) => Ok(Census::default()),
            },
            names,
            version,
            scope,
            namespaces,
            mutating,
            config,
            deployment,
            unconnected,
            policies,
            rules,
        }
    }

    /// A cluster of which nothing is known but the webhooks.
    #[cfg(test)]
    pub(super) fn assume(
        names: Names,
        version: Info,
        mutating: Vec<MutatingWebhookConfiguration>,
    ) -> Self {
        let ours = mutating
            .iter()
            .find(|one| one.metadata.name.as_deref() == Some(&names.injector()));
        Self {
            scope: Scope::new(ours, None, &names, None),
            mutating: Ok(mutating),
            names,
            version,
            namespaces: Ok(Vec::new()),
            nodes: Ok(Vec::new()),
            validating: Ok(Vec::new()),
            cilium: Ok(Vec::new()),
            daemon_sets: Ok(Vec::new()),
            services: Ok(Vec::new()),
            deployment: Ok(None),
            control_pods: Ok(Vec::new()),
            endpoints: Ok(Vec::new()),
            config: Ok(None),
            secret: Ok(None),
            roots: Ok(Vec::new()),
            user_access: Ok(Vec::new()),
            control_access: Ok(Vec::new()),
            dry_runs: Vec::new(),
            pods: Ok(Census::default()),
            unconnected: Ok(Accused::new()),
            policies: Ok(Vec::new()),
            rules: Ok(Vec::new()),
        }
    }

    /// Whether there is an installation of this revision, or what is left of one.
    pub(super) fn is_installed(&self) -> bool {
        self.injector().is_some()
    }

    /// The webhook configuration of this revision.
    pub(super) fn injector(&self) -> Option<&MutatingWebhookConfiguration> {
        let name = self.names.injector();
        let all = self.mutating.as_deref().unwrap_or_default();
        all.iter()
            .find(|one| one.metadata.name.as_ref() == Some(&name))
    }

    /// The validating webhook configuration of this revision.
    pub(super) fn validator(&self) -> Option<&ValidatingWebhookConfiguration> {
        let name = self.names.validator();
        let all = self.validating.as_deref().unwrap_or_default();
        all.iter()
            .find(|one| one.metadata.name.as_ref() == Some(&name))
    }

    /// Names and objects of namespaces whose pods are injected unless they say otherwise.
    pub(super) fn meshed(&self) -> impl Iterator<Item = (&str, &Namespace)> {
        let all = self.namespaces.as_deref().unwrap_or_default().iter();
        all.filter(|namespace| self.scope.covers(namespace))
            .map(|namespace| (name_of(namespace), namespace))
    }
}

// === impl Unread ===

impl Unread {
    /// The finding that something was not looked at.
    pub(super) fn finding(&self, check: &'static str) -> Finding {
        Finding::warning(
            check,
            format!("not checked: {}", self.0),
            "run weir check as somebody who may read it",
        )
    }
}

impl From<kube::Error> for Unread {
    fn from(error: kube::Error) -> Self {
        Self(reason(&error))
    }
}

/// Name of an object; every object that was read has one.
pub(super) fn name_of(object: &impl Resource) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

/// The service account that the control plane runs as.
fn control_account(deployment: &Read<Option<Deployment>>, names: &Names) -> String {
    let deployment = deployment.as_ref().ok().and_then(Option::as_ref);
    let spec = deployment.and_then(|deployment| deployment.spec.as_ref()?.template.spec.as_ref());
    let account = spec.and_then(|spec| spec.service_account_name.clone());
    account.unwrap_or_else(|| names.control())
}

async fn list<K>(client: &Client, params: &ListParams) -> Read<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    pages(&Api::all(client.clone()), params).await
}

async fn list_in<K>(client: &Client, namespace: &str, params: &ListParams) -> Read<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    pages(&Api::namespaced(client.clone(), namespace), params).await
}

async fn pages<K>(api: &Api<K>, params: &ListParams) -> Read<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let mut all = Vec::new();
    let mut params = params.clone().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        let next = page
            .metadata
            .continue_
            .clone()
            .filter(|token| !token.is_empty());
        all.extend(page.items);
        match next {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// A page of a list.
#[derive(Debug, Deserialize)]
struct Page {
    metadata: Value,
    items: Vec<Value>,
}

/// Hands over each object of a list as the API server has it, and holds no more than a page of that
/// many.
pub(crate) async fn each_raw(
    client: &Client,
    path: &str,
    page: u32,
    mut take: impl FnMut(Value),
) -> Result<(), kube::Error> {
    let mut next = String::new();
    loop {
        let path = format!("{path}?limit={page}&continue={next}");
        let request = http::Request::get(path).body(Vec::new());
        let page: Page = client
            .request(request.map_err(kube::Error::HttpError)?)
            .await?;
        page.items.into_iter().for_each(&mut take);
        match page.metadata.get("continue").and_then(Value::as_str) {
            Some(token) if !token.is_empty() => next = token.to_owned(),
            _ => return Ok(()),
        }
    }
}

async fn get<K>(client: &Client, namespace: &str, name: &str) -> Read<Option<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    Ok(Api::<K>::namespaced(client.clone(), namespace)
        .get_opt(name)
        .await?)
}

/// Runs `ask` for each of `all`, a few at a time, and keeps their order.
pub(super) async fn each<I, T, F>(all: Vec<I>, ask: impl FnMut(I) -> F) -> Vec<T>
where
    F: Future<Output = T>,
{
    // Enough to hide the way to the API server, too few to trouble it.
    const AT_ONCE: usize = 8;
    stream::iter(all).map(ask).buffered(AT_ONCE).collect().await
}
