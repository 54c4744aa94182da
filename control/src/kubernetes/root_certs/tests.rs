use serde_json::Value;
use tokio::task::JoinHandle;

use super::*;
use crate::kubernetes::{
    fake::FakeApi,
    trust::{self, Source},
};

const SHOP: &str = "namespaces/shop/configmaps/weir-ca-root-cert";

struct Kept {
    api: FakeApi,
    namespaces: Arc<Namespaces>,
    source: Source,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn kept() -> Kept {
    let api = FakeApi::new();
    let (source, trust) = trust::channel();
    let namespaces = Arc::new(Namespaces::default());
    let keeper = RootCertKeeper::new(api.client(), Shared::default(), trust, namespaces.clone());
    let tasks = vec![
        tokio::spawn(keeper.run()),
        tokio::spawn(namespaces.clone().watch(api.client())),
    ];
    source.bundle.send_replace(Some("one".into()));
    Kept {
        api,
        namespaces,
        source,
        tasks,
    }
}

impl Kept {
    /// Waits for an object, while look-ups are answered.
    async fn until(&mut self, path: &str, wanted: impl Fn(Option<&Value>) -> bool) -> Value {
        let api = self.api.clone();
        let answer = async {
            while let Some(reply) = self.source.look_ups.recv().await {
                let _ = reply.send(());
            }
        };
        tokio::select! {
            object = api.until(path, wanted) => object,
            () = answer => unreachable!("look-ups do not end"),
        }
    }

    /// Lets everything that can happen within a minute happen.
    async fn settle(&mut self) {
        let minute = tokio::time::sleep(Duration::from_secs(60));
        tokio::pin!(minute);
        loop {
            tokio::select! {
                () = &mut minute => return,
                Some(reply) = self.source.look_ups.recv() => drop(reply.send(())),
            }
        }
    }

    fn namespace(&self, name: &str, labels: &Value) {
        let object = json!({"metadata": {"labels": labels}});
        self.api.put(&format!("namespaces/{name}"), object);
    }
}

fn holds(pem: &str) -> impl Fn(Option<&Value>) -> bool {
    move |object| object.is_some_and(|object| object["data"]["root-cert.pem"] == pem)
}

#[tokio::test(start_paused = true)]
async fn a_labelled_namespace_gets_the_bundle_and_what_is_edited_or_deleted_is_put_right() {
    let mut kept = kept();
    kept.namespace("shop", &json!({"weir.dev/injection": "enabled"}));
    let mut object = kept.until(SHOP, holds("one")).await;
    assert_eq!(
        object["metadata"]["labels"]["app.kubernetes.io/part-of"],
        "weir"
    );

    object["data"] = json!({"root-cert.pem": "another", "note": "of somebody else"});
    kept.api.put(SHOP, object);
    let object = kept.until(SHOP, holds("one")).await;
    assert_eq!(object["data"]["note"], "of somebody else");

    kept.api.remove(SHOP);
    kept.until(SHOP, holds("one")).await;
    kept.source.bundle.send_replace(Some("one and two".into()));
    kept.until(SHOP, holds("one and two")).await;
}

#[tokio::test(start_paused = true)]
async fn only_namespaces_that_may_have_sidecars_get_one() {
    let mut kept = kept();
    kept.namespace("plain", &json!({}));
    kept.namespace(
        "off",
        &json!({"weir.dev/injection": "disabled", "weir.dev/rev": "canary"}),
    );
    kept.namespace("canary", &json!({"weir.dev/rev": "canary"}));
    kept.namespace("single", &json!({}));
    kept.settle().await;
    assert_eq!(
        kept.api.writes(),
        ["PATCH configmaps canary/weir-ca-root-cert"]
    );

    // A pod of it was injected, because the pod asked for it.
    kept.namespaces.has_sidecar("single");
    kept.settle().await;
    assert_eq!(
        kept.api.writes(),
        ["PATCH configmaps single/weir-ca-root-cert"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_right_is_not_written_and_what_fails_is_tried_again() {
    let mut kept = kept();
    kept.api
        .put(SHOP, json!({"data": {"root-cert.pem": "one"}}));
    kept.namespace("shop", &json!({"weir.dev/injection": "enabled"}));
    kept.settle().await;
    assert_eq!(kept.api.writes(), Vec::<String>::new());

    kept.api.fail(Some(("PATCH", 500)));
    kept.source.bundle.send_replace(Some("two".into()));
    kept.settle().await;
    kept.api.fail(None);
    kept.until(SHOP, holds("two")).await;
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_being_deleted_is_left_alone() {
    let mut kept = kept();
    let object = json!({"metadata": {"labels": {"weir.dev/injection": "enabled"},
                                     "deletionTimestamp": "2026-01-01T00:00:00Z"}});
    kept.api.put("namespaces/shop", object);
    kept.settle().await;
    assert_eq!(kept.api.writes(), Vec::<String>::new());
}
