//! The certificate is cert-manager's: somebody else writes files and caBundle.

use std::{fs, thread};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use weir_tests::helm::{NAMESPACE, data};

use crate::{
    control_plane::ControlPlane,
    life::{ASKING, USER},
    release::Cluster,
};

#[test]
fn with_a_certificate_of_cert_manager_the_control_plane_needs_fewer_rights() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let kinds = fs::read_to_string(data().join("crds.yaml")).unwrap();
    cluster.server.apply(&kinds).unwrap();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": ASKING, "labels": {"weir.dev/injection": "enabled"}}});
    cluster.server.apply(&namespace.to_string()).unwrap();
    cluster.await_account(ASKING);
    cluster
        .upgrade("weir", "certManager.enabled=true", &[])
        .unwrap();
    cluster.issue();
    cluster
        .server
        .serve_service(NAMESPACE, "weir-control", 443, 15017)
        .unwrap();
    thread::scope(|scope| {
        let _running = ControlPlane::start(scope, &cluster);
        cluster.is_injected_as("native");
    });
    cluster.rights_are_enough();
    for (verb, what) in [
        ("get", "secrets/weir-ca"),
        ("create", "secrets"),
        ("patch", "mutatingwebhookconfigurations/weir-injector"),
    ] {
        let user = format!("--as={USER}");
        let command = ["auth", "can-i", verb, what, "--namespace", NAMESPACE, &user];
        let refused = cluster.server.kubectl(&command);
        assert!(refused.is_err(), "{verb} {what}");
    }
}

// === impl Cluster ===

impl Cluster {
    /// cert-manager's part: the files that the Secret is mounted as, and caBundle.
    fn issue(&self) {
        let directory = self.server.dir().join("serving");
        fs::create_dir(&directory).unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let certificate = self
            .server
            .get(NAMESPACE, "certificate", "weir-serving-cert")
            .unwrap();
        let names: Vec<String> =
            serde_json::from_value(certificate["spec"]["dnsNames"].clone()).unwrap();
        let serving = CertificateParams::new(names).unwrap();
        let key = KeyPair::generate().unwrap();
        let serving = serving.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        for (file, content) in [
            ("tls.crt", serving.pem()),
            ("tls.key", key.serialize_pem()),
            ("ca.crt", ca_pem.clone()),
        ] {
            fs::write(directory.join(file), content).unwrap();
        }
        self.write_bundles(&ca_pem);
    }
}
