use std::{path::Path, process::Command, sync::Arc};

use rcgen::KeyPair;
use weir_api::spiffe::TrustDomain;
use weir_process::command::{LIMIT, execute};

use super::*;
use crate::certificates::{
    Signing, SigningRequest,
    rotation::{Change, Origin, Policy},
    stored::{Data, Reading, Stored, key},
};

const NAME: &str = "weir-control.weir-system.svc";
const HOUR: Duration = Duration::from_secs(3600);

fn openssl(directory: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    command.current_dir(directory).args(arguments.split(' '));
    execute(&mut command, "", LIMIT).unwrap_or_else(|error| panic!("{arguments}: {error}"));
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).expect("a file")
}

/// An intermediate CA with a key made so, as OpenSSL and cert-manager write them: key, certificate,
/// root.
fn intermediate(key: &str) -> [String; 3] {
    let directory = tempfile::tempdir().expect("directory");
    let directory = directory.path();
    let extensions = "basicConstraints=critical,CA:TRUE,pathlen:0\n\
                      keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
    std::fs::write(directory.join("ca.ext"), extensions).expect("written");
    for arguments in [
        "req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.crt -subj /O=you/CN=root \
         -addext keyUsage=critical,keyCertSign,cRLSign",
        key,
        "req -new -key int.key -subj /O=you/CN=intermediate -out int.csr",
        "x509 -req -in int.csr -CA root.crt -CAkey root.key -CAcreateserial -days 20 -extfile \
         ca.ext -out int.crt",
    ] {
        openssl(directory, arguments);
    }
    ["int.key", "int.crt", "root.crt"].map(|name| read(directory, name))
}

const EC: &str = "ecparam -name prime256v1 -genkey -noout -out int.key";
const RSA: &str = "genrsa -traditional -out int.key 2048";

#[test]
fn openssl_accepts_what_an_intermediate_of_yours_signs() {
    for make in [EC, RSA] {
        let [key, certificate, root] = intermediate(make);
        assert!(!key.contains("BEGIN PRIVATE KEY"), "not of PKCS #8");
        let authority = Authority::given(&key, &certificate, &root).expect("a CA");
        assert_eq!(authority.key_pem(), key);
        let request = CertificateParams::default();
        let request = request.serialize_request(&KeyPair::generate().expect("a key"));
        let request = request.expect("a request").pem().expect("PEM");
        let request = SigningRequest::parse(&request).expect("taken");
        let id = TrustDomain::default()
            .id("shop", "web")
            .expect("an identity");
        let signing = Signing::new(Arc::new(authority), &root);
        let chain = signing.sign(&request, &id, HOUR, SystemTime::now());
        let chain = chain.expect("signed");
        assert_eq!(chain.len(), 3, "leaf, intermediate, root");
        assert_eq!(chain[2], root);
        let directory = tempfile::tempdir().expect("directory");
        for (name, text) in ["leaf", "between", "root"].iter().zip(&chain) {
            std::fs::write(directory.path().join(name), text).expect("written");
        }
        openssl(
            directory.path(),
            "verify -x509_strict -purpose sslclient -CAfile root -untrusted between leaf",
        );
    }
}

#[test]
fn files_that_make_no_ca_are_refused_with_the_reason() {
    let [key, certificate, root] = intermediate(EC);
    let [other_key, _, other_root] = intermediate(EC);
    let leaf = Authority::create(SystemTime::now(), HOUR).expect("a CA");
    let now = SystemTime::now();
    let leaf = leaf
        .issue(&[NAME.to_owned()], now, now + HOUR)
        .expect("a leaf");
    let ended = Authority::create(now - HOUR * 3, HOUR).expect("a CA");
    for (key, certificate, root, reason) in [
        (
            &*other_key,
            &*certificate,
            &*root,
            "is not for the private key",
        ),
        (&key, &certificate, &other_root, "ca.crt does not accept"),
        (&key, &certificate, "junk", "ca.crt does not accept"),
        (&leaf.key_pem, &leaf.pem, &root, "is not a CA's"),
        ("junk", &certificate, &root, "no private key"),
        (&key, "junk", &root, "no certificate"),
        (ended.key_pem(), ended.pem(), ended.pem(), "has ended"),
    ] {
        let error = Authority::given(key, certificate, root).expect_err(reason);
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(!error.contains("PRIVATE"), "{error}");
    }
}

/// From a CA that was made here to one of the user's, and to the next of the user's with another
/// root: at each step what is served is accepted by those with the bundle of before and of after.
#[test]
fn a_ca_of_yours_takes_over_in_steps() {
    let given = || {
        let [key, certificate, root] = intermediate(EC);
        Arc::new(Authority::given(&key, &certificate, &root).expect("a CA"))
    };
    let policy = |origin| Policy {
        origin,
        names: vec![NAME.to_owned()],
        ca_life: HOUR * 24 * 365,
        serving_life: HOUR * 24,
        workload_life: HOUR * 24,
    };
    let accepts = |stored: &Stored, bundle: &str, now| {
        let leaf = stored.serving.as_ref().expect("a certificate");
        verify::verify(&leaf.issued().certified.cert, bundle, NAME, now)
    };
    let mut now = SystemTime::now();
    let mut stored = policy(Origin::Own).create(now).expect("made");
    for given in [given(), given()] {
        let policy = policy(Origin::Given(Ok(given.clone())));
        let mut seen = Vec::new();
        while !seen.contains(&Change::Retired) {
            let advanced = policy.advance(&stored, None, true, now).expect("advances");
            if let Some((next, changes)) = advanced {
                for bundle in [stored.bundle(), next.bundle()] {
                    accepts(&next, &bundle, now).expect("the new one is accepted");
                }
                seen.extend(changes);
                stored = read_again(&next);
            }
            now += policy.wait(&stored, now).max(Duration::from_secs(60));
        }
        let steps = [Change::Prepared, Change::Promoted, Change::Retired];
        seen.retain(|change| steps.contains(change));
        assert_eq!(seen, steps);
        assert!(stored.active.is(&given));
        assert_eq!(stored.bundle().trim_end(), given.roots().trim_end());
    }
    // Files that are of no use change nothing.
    let broken = policy(Origin::Given(Err("no file".to_owned())));
    if let Some((next, changes)) = broken.advance(&stored, None, true, now).expect("advances") {
        assert_eq!(changes, [Change::Issued]);
        assert!(next.active.is(&stored.active));
    }
    assert_eq!(broken.create(now).expect_err("no CA"), "no file");
}

/// By way of the Secret.
fn read_again(stored: &Stored) -> Stored {
    let mut data = Data::new();
    stored.write(&mut data);
    let is_given = !stored.active.above().is_empty();
    assert_eq!(data.contains_key(key::ROOT), is_given);
    match Stored::read(&data) {
        Ok(Reading::Good(read, left_out)) => {
            assert_eq!(left_out, Vec::<String>::new());
            *read
        }
        other => panic!("{other:?}"),
    }
}
