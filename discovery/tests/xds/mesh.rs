//! A control plane on loopback, fed by a directory of manifests.

use std::{fs, sync::Arc, time::Instant};

use tokio::{net::TcpListener, sync::watch};
use weir_discovery::{
    manifests::Directory,
    model::Index,
    rules,
    xds::{AdsServer, Generator, Hub, serve_connection},
};

pub(crate) struct Mesh {
    pub(crate) hub: Arc<Hub>,
    pub(crate) address: String,
    files: tempfile::TempDir,
    directory: Directory,
    index: Index,
    pub(crate) stop: watch::Sender<bool>,
}

impl Mesh {
    /// Serves, and knows nothing yet: not even that there is nothing.
    pub(crate) async fn unsynced() -> Self {
        Self::serving(|server| server).await
    }

    /// The same with a server that is set up in another way.
    pub(crate) async fn serving(set_up: impl FnOnce(AdsServer) -> AdsServer) -> Self {
        let files = tempfile::tempdir().expect("temporary directory");
        let (directory, _) =
            Directory::open(files.path(), rules::Settings::default()).expect("directory");
        let hub = Arc::new(Hub::new(Generator::default()));
        let (stop, stopped) = watch::channel(false);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = format!("http://{}", listener.local_addr().expect("address"));
        let server = set_up(AdsServer::new(hub.clone()));
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let server = server.clone().for_peer(peer);
                tokio::spawn(serve_connection(stream, server, stopped.clone()));
            }
        });
        Self {
            hub,
            address,
            files,
            directory,
            index: Index::default(),
            stop,
        }
    }

    /// Serves these manifests.
    pub(crate) async fn of(manifests: &str) -> Self {
        let mut mesh = Self::unsynced().await;
        mesh.write("mesh.yaml", manifests);
        mesh
    }

    /// Replaces a file of manifests and publishes what that means.
    pub(crate) fn write(&mut self, name: &str, manifests: &str) {
        // Written beside and moved, so that each version has an inode of its own.
        let (new, path) = (self.files.path().join("new"), self.files.path().join(name));
        fs::write(&new, manifests).expect("write");
        fs::rename(&new, &path).expect("rename");
        self.publish();
    }

    pub(crate) fn publish(&mut self) {
        // The second look takes in what the first one saw.
        let looks = [self.directory.refresh(), self.directory.refresh()];
        for event in looks.into_iter().flatten() {
            self.index.apply(event);
        }
        if let Some((snapshot, changes)) = self.index.commit() {
            self.hub.publish(&snapshot, &changes, Instant::now());
        }
    }
}

/// A service with these endpoints, all of them ready.
pub(crate) fn service(name: &str, address: &str, endpoints: &[&str]) -> String {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|address| format!("{{addresses: [{address}]}}"))
        .collect();
    format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{clusterIP: {address}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints: [{}]
",
        endpoints.join(", ")
    )
}
