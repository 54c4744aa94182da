//! A directory of manifests as it changes under the eyes of the registry.

use std::{
    fs,
    path::{Path, PathBuf},
};

use weir_discovery::{
    manifests::{Directory, ManifestError},
    model::{Event, NamespacedName, ObjectKey},
    rules::{self, RuleKind as _, peer_authentication},
};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        // A new inode each time: time stamps are too coarse for a test.
        let new = self.path(".new");
        fs::write(&new, text).expect("write");
        fs::rename(new, self.path(name)).expect("rename");
    }

    fn open(&self) -> (Directory, Vec<Event>) {
        Directory::open(self.0.path(), rules::Settings::default()).expect("directory")
    }

    fn errors(&self) -> Vec<String> {
        let errors =
            Directory::open(self.0.path(), rules::Settings::default()).expect_err("errors");
        let place = format!("{}/", self.0.path().display());
        errors
            .iter()
            .map(|error| error.to_string().replace(&place, ""))
            .collect()
    }
}

fn service(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n")
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::Service(NamespacedName::new("shop", name))
}

fn applied(events: &[Event]) -> Vec<ObjectKey> {
    let applied = events.iter().filter_map(|event| match event {
        Event::Applied(object) => Some(object.key()),
        Event::Deleted(_) => None,
    });
    applied.collect()
}

#[test]
fn changes_are_told_object_by_object() {
    let files = Files::new();
    files.write("a.yaml", &(service("a") + &service("b")));
    let (mut directory, events) = files.open();
    assert_eq!(applied(&events), [key("a"), key("b")]);
    assert!(directory.refresh().is_empty());

    files.write("c.json", r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c", "namespace": "shop"}}"#);
    files.write("a.yaml", &service("b"));
    files.write("notes.txt", "not a manifest");
    assert!(
        directory.refresh().is_empty(),
        "a file is read once it is the same twice"
    );
    let events = directory.refresh();
    assert_eq!(
        events,
        [vec![Event::Deleted(key("a"))], events[1..].to_vec()].concat()
    );
    assert_eq!(applied(&events), [key("c")]);
    assert!(directory.refresh().is_empty());
}

#[test]
fn a_file_that_does_not_parse_keeps_what_it_said_last() {
    let files = Files::new();
    files.write("a.yaml", &service("a"));
    let (mut directory, _) = files.open();
    files.write("a.yaml", "apiVersion: v1\nkind: [Serv");
    files.write("b.yaml", &service("b"));
    directory.refresh();
    let events = directory.refresh();
    assert_eq!(applied(&events), [key("b")]);
    assert_eq!(events.len(), 1, "nothing is gone");
    files.write("a.yaml", &service("c"));
    directory.refresh();
    assert_eq!(directory.refresh()[0], Event::Deleted(key("a")));
}

#[test]
fn a_file_that_is_replaced_may_be_gone_for_a_moment() {
    let files = Files::new();
    files.write("a.yaml", &service("a"));
    let (mut directory, _) = files.open();
    fs::remove_file(files.path("a.yaml")).expect("remove");
    assert!(directory.refresh().is_empty());
    files.write("a.yaml", &service("a"));
    assert!(directory.refresh().is_empty());
    assert!(directory.refresh().is_empty());
    fs::remove_file(files.path("a.yaml")).expect("remove");
    directory.refresh();
    assert_eq!(directory.refresh(), [Event::Deleted(key("a"))]);
}

#[test]
fn a_directory_that_cannot_be_read_any_more_says_nothing_new() {
    let files = Files::new();
    files.write("a.yaml", &service("a"));
    let (mut directory, _) = files.open();
    fs::remove_dir_all(files.0.path()).expect("remove");
    assert!(directory.refresh().is_empty());
    assert!(directory.refresh().is_empty());
    assert_eq!(directory.object_count(), 1);
}

#[test]
fn at_first_every_error_is_named_with_file_document_and_field() {
    let files = Files::new();
    files.write("a.yaml", &service("a"));
    files.write("b.yaml", &(service("b") + "spec: {ports: [{port: x}]}\n"));
    files.write("c.yaml", &(service("c") + &service("a")));
    files.write("d.yml", "{");
    let errors = files.errors();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(
        errors[0].starts_with("b.yaml: document 1: spec.ports[0].port: "),
        "{errors:?}"
    );
    assert!(errors[1].starts_with("d.yml: document 1: "), "{errors:?}");
    let twice = "c.yaml: document 2: metadata.name: Service shop/a is also in a.yaml, document 1";
    assert_eq!(errors[2], twice);

    let missing = Directory::open(files.path("nowhere"), rules::Settings::default())
        .expect_err("no such directory");
    assert!(
        matches!(&missing[0], ManifestError::Read { path, .. } if path == &files.path("nowhere"))
    );
}

#[test]
fn links_of_a_mounted_config_map_are_followed() {
    let files = Files::new();
    let link = |version: &str| {
        let link = files.path("..new");
        std::os::unix::fs::symlink(version, &link).expect("link");
        fs::rename(link, files.path("..data")).expect("rename");
    };
    for (version, name) in [("..1", "a"), ("..2", "b")] {
        fs::create_dir(files.path(version)).expect("directory");
        fs::write(files.path(version).join("mesh.yaml"), service(name)).expect("write");
    }
    link("..1");
    std::os::unix::fs::symlink(Path::new("..data/mesh.yaml"), files.path("mesh.yaml"))
        .expect("link");
    let (mut directory, events) = files.open();
    assert_eq!(applied(&events), [key("a")]);
    link("..2");
    directory.refresh();
    assert_eq!(applied(&directory.refresh()), [key("b")]);
}

#[test]
fn kinds_that_are_not_known_are_named_with_what_that_means() {
    let files = Files::new();
    let object = |version: &str, kind: &str, name: &str| {
        format!(
            "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\n"
        )
    };
    let silent = [
        ("v1", "ConfigMap"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("policy/v1", "PodDisruptionBudget"),
        ("apps/v1", "Deployment"),
    ];
    let mut text = service("a");
    for (version, kind) in silent {
        text += &object(version, kind, "quiet");
    }
    text += &object(
        "security.istio.io/v1alpha1",
        "RequestAuthentication",
        "deny-all",
    );
    text += &object("networking.k8s.io/v1", "NetworkPolicy", "deny-all");
    text += &object("gateway.networking.k8s.io/v1", "TLSRoute", "canary");
    text += &object("apps/v1beta1", "Deployment", "old");
    files.write("a.yaml", &text);
    let (directory, events) = files.open();
    assert_eq!(applied(&events), [key("a")]);
    let place = format!("{}/", files.0.path().display());
    let problems = directory.problems().iter();
    let problems: Vec<String> = problems.map(|it| it.replace(&place, "")).collect();
    let left_out = "is of a kind that is not known here and left out";
    let forbids = "what it forbids or demands of traffic is not enforced";
    assert_eq!(
        problems,
        [
            format!(
                "a.yaml: document 6: RequestAuthentication shop/deny-all (security.istio.io/v1alpha1) \
                 {left_out}: {forbids}"
            ),
            format!(
                "a.yaml: document 7: NetworkPolicy shop/deny-all (networking.k8s.io/v1) \
                 {left_out}: {forbids}"
            ),
            format!(
                "a.yaml: document 8: TLSRoute shop/canary (gateway.networking.k8s.io/v1) \
                 {left_out}: it has no effect"
            ),
            format!(
                "a.yaml: document 9: Deployment shop/old (apps/v1beta1) {left_out}: it has no effect"
            ),
        ]
    );
}

#[test]
fn a_rule_that_becomes_wrong_stays_as_it_was_and_at_the_start_it_is_an_error() {
    let rule = |version: &str, mode: &str| {
        format!(
            "apiVersion: security.istio.io/{version}\nkind: PeerAuthentication\n\
             metadata: {{name: default, namespace: shop}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
        )
    };
    let named = peer_authentication::Spec::rule(NamespacedName::new("shop", "default"));
    let key = ObjectKey::Attachment(named);
    let files = Files::new();
    files.write("rule.yaml", &rule("v1beta1", "STRICT"));
    let (mut directory, events) = files.open();
    assert_eq!(applied(&events), std::slice::from_ref(&key));

    files.write("rule.yaml", &rule("v1", "Strict"));
    directory.refresh();
    assert!(directory.refresh().is_empty(), "it stays");
    let problem = directory.problems().iter().next().expect("a problem");
    let field = "rule.yaml: document 1: spec.mtls.mode: unknown variant `Strict`";
    assert!(problem.contains(field), "{problem}");
    assert!(files.errors()[0].starts_with(field), "{:?}", files.errors());

    files.write("rule.yaml", &rule("v1", "DISABLE"));
    directory.refresh();
    assert_eq!(applied(&directory.refresh()), std::slice::from_ref(&key));
    fs::remove_file(files.path("rule.yaml")).expect("remove");
    directory.refresh();
    assert_eq!(directory.refresh(), [Event::Deleted(key)]);
}
