use rcgen::{
    CertificateParams, DnType, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData,
    SanType,
};
use weir_process::command::LIMIT;

use super::*;

fn csr(params: &CertificateParams, key: &KeyPair) -> String {
    let request = params.serialize_request(key).expect("a request");
    request.pem().expect("PEM")
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// A request of `openssl req`.
fn openssl(arguments: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("directory");
    let mut command = std::process::Command::new("openssl");
    command.args(["req", "-new", "-nodes", "-subj", "/O=shop", "-keyout"]);
    command.arg(directory.path().join("key")).args(arguments);
    let ran = weir_process::command::execute(&mut command, "", LIMIT);
    ran.expect("openssl")
}

#[test]
fn keys_of_the_usual_kinds_are_taken() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ED25519,
    ] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let request = SigningRequest::parse(&csr(&CertificateParams::default(), &key));
        let request = request.expect("taken");
        assert_eq!(request.public_key.der_bytes(), key.public_key_raw());
        assert!(request.names.is_empty());
    }
    for (arguments, taken) in [
        (["-newkey", "rsa:2048", "-sha256"].as_slice(), Ok(())),
        (&["-newkey", "rsa:2048", "-sha512"], Ok(())),
        (&["-newkey", "rsa:1024"], Err("RSA of 1024 bits")),
        (
            &["-newkey", "rsa:2048", "-sha1"],
            Err("not signed by its own key"),
        ),
        (
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
            Err("curve 1.3.132.0.10"),
        ),
        (
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
            Ok(()),
        ),
    ] {
        let parsed = SigningRequest::parse(&openssl(arguments));
        match (parsed, taken) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(reason)) => {
                assert!(error.to_string().contains(reason), "{arguments:?}: {error}");
            }
            (parsed, _) => panic!("{arguments:?}: {parsed:?}"),
        }
    }
}

#[test]
fn names_of_all_kinds_are_told() {
    let mut params = CertificateParams::new(["web.shop".to_owned(), "10.4.0.7".to_owned()]);
    let params = params.as_mut().expect("names");
    let id = "spiffe://cluster.local/ns/shop/sa/web";
    let uri = id.try_into().expect("ASCII");
    params.subject_alt_names.push(SanType::URI(uri));
    params
        .distinguished_name
        .push(DnType::CommonName, "ignored");
    let request = SigningRequest::parse(&csr(params, &key())).expect("read");
    assert_eq!(request.names.len(), 3, "{:?}", request.names);
    assert_eq!(request.names[2], id);
}

#[test]
fn nonsense_is_named() {
    let good = csr(&CertificateParams::default(), &key());
    let other = csr(&CertificateParams::default(), &key());
    let block = |der: &[u8]| {
        let body = data_encoding(der);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
    };
    let der = |pem: &str| {
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).expect("a block");
        der.to_vec()
    };
    let mut flipped = der(&good);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    // The key of one, the signature of the other.
    let (ours, theirs) = (der(&good), der(&other));
    let tail = 75;
    let mixed = [&ours[..ours.len() - tail], &theirs[theirs.len() - tail..]].concat();
    let trailing = [der(&good), vec![0]].concat();
    for (pem, reason) in [
        (String::new(), "not one PEM block"),
        ("garbage".to_owned(), "not one PEM block"),
        (format!("{good}{other}"), "not one PEM block"),
        (good.replace("REQUEST", "TEST"), "not one PEM block"),
        (block(b"garbage"), "cannot be read"),
        (block(&der(&good)[..40]), "cannot be read"),
        (block(&trailing), "something follows it"),
        (block(&flipped), "not signed by its own key"),
        (block(&mixed), ""),
        (" ".repeat(LONGEST + 1), "16385 bytes"),
    ] {
        let error = SigningRequest::parse(&pem).expect_err(reason).to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
    // Every cut and every flipped byte is refused or read, and nothing else happens.
    let whole = der(&good);
    for at in 0..whole.len() {
        let _ = SigningRequest::parse(&block(&whole[..at]));
        let mut flipped = whole.clone();
        flipped[at] ^= 0xff;
        let _ = SigningRequest::parse(&block(&flipped));
    }
}

fn data_encoding(der: &[u8]) -> String {
    use k8s_openapi::ByteString;
    let text = serde_json::to_value(ByteString(der.to_vec())).expect("base64");
    text.as_str().expect("text").to_owned()
}
