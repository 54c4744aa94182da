//! Manifests of people who have never heard of the mesh.

use serde_json::Value;

use super::demo::{Demos, namespaces_work, text};

/// What tutorials are made of: images this machine does not have, a database in which the server
/// speaks first, a cache, configuration, storage, an Ingress, probes that run the image's programs.
pub(super) const TUTORIAL: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: web-config}
data: {nginx.conf: "events {}", greeting: hello}
---
apiVersion: v1
kind: Secret
metadata: {name: db-secret}
type: Opaque
stringData: {password: secret}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: db-data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
        - name: wait
          image: busybox
          command: [sh, -c, "test -e /etc/nginx-config/nginx.conf"]
          volumeMounts: [{name: config, mountPath: /etc/nginx-config}]
      containers:
        - name: nginx
          image: nginx:1.27
          env:
            - {name: GREETING, valueFrom: {configMapKeyRef: {name: web-config, key: greeting}}}
            - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
          ports: [{name: http, containerPort: 80}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 5}
          volumeMounts: [{name: config, mountPath: /usr/share/nginx/html}]
      volumes:
        - {name: config, configMap: {name: web-config}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: mysql}
spec:
  serviceName: mysql
  selector: {matchLabels: {app: mysql}}
  template:
    metadata: {labels: {app: mysql}}
    spec:
      containers:
        - name: mysql
          image: mysql:8
          env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: db-secret, key: password}}}]
          ports: [{containerPort: 3306, name: mysql}]
          livenessProbe: {exec: {command: [mysqladmin, ping]}}
          readinessProbe: {exec: {command: [mysql, -h, 127.0.0.1, -e, SELECT 1]}}
          volumeMounts: [{name: data, mountPath: /var/lib/mysql, subPath: mysql}]
      volumes:
        - {name: data, persistentVolumeClaim: {claimName: db-data}}
---
apiVersion: v1
kind: Service
metadata: {name: mysql}
spec: {clusterIP: None, selector: {app: mysql}, ports: [{port: 3306}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis}
spec:
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec: {containers: [{name: redis, image: redis}]}
---
apiVersion: v1
kind: Service
metadata: {name: redis}
spec: {selector: {app: redis}, ports: [{port: 6379}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: migrate, image: busybox, command: ["true"]}]}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
"#;

#[test]
fn a_tutorial_works_as_it_is() {
    if !namespaces_work() {
        return;
    }
    let demos = Demos::new();
    let manifests = demos.manifests(&[("tutorial.yaml", TUTORIAL)]);
    let manifests = manifests.to_str().expect("path");
    let output = demos.output(&[
        "demo",
        "--without-mesh",
        "--once",
        "--json",
        "--manifests",
        manifests,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let report: Value = serde_json::from_str(&output.stdout).expect("json");
    let calls = report["calls"].as_array().expect("calls");
    let urls: Vec<&str> = calls
        .iter()
        .filter_map(|call| call["url"].as_str())
        .collect();
    for url in ["http://web.default:80", "tcp://redis.default:6379"] {
        assert!(urls.contains(&url), "{urls:?}");
    }
    assert!(
        urls.iter().any(|url| url.starts_with("first://10.244.")),
        "{urls:?}"
    );
    let said = text(&output);
    assert!(said.contains("left out: Ingress web"), "{said}");
    assert!(said.contains("echo stands in for nginx:1.27"), "{said}");
    demos.assert_gone(&[]);
}
