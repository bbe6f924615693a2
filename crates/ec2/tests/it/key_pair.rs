//! Key pairs: what is made works with OpenSSH and OpenSSL, and what these make is taken.
//! Needs `ssh-keygen` (openssh-client) and `openssl`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::{Answer, BOB, Kit};

fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap().trim().to_owned()
}

/// `(stdin)= aa:bb:…` of `openssl dgst -c`.
fn digest(kind: &str, der: &[u8]) -> String {
    let shown = text(run("openssl", &["dgst", kind, "-c"], der));
    shown.rsplit("= ").next().unwrap().to_owned()
}

fn save(folder: &Path, material: &str) -> PathBuf {
    let path = folder.join("key");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(material.as_bytes()).unwrap();
    path
}

fn generated(folder: &Path, arguments: &[&str]) -> String {
    let path = folder.join("own");
    let path = path.to_str().unwrap();
    run("ssh-keygen", &[arguments, &["-q", "-N", "", "-C", "me@here", "-f", path]].concat(), b"");
    std::fs::read_to_string(format!("{path}.pub")).unwrap()
}

async fn create(kit: &Kit, name: &str, key_type: &str) -> Answer {
    kit.call("CreateKeyPair", &[("KeyName", name), ("KeyType", key_type)]).await.unwrap()
}

async fn import(kit: &Kit, name: &str, material: &[u8]) -> Result<Answer, wire::ApiError> {
    let material = STANDARD.encode(material);
    kit.call("ImportKeyPair", &[("KeyName", name), ("PublicKeyMaterial", &material)]).await
}

async fn public_key(kit: &Kit, name: &str) -> String {
    let asked = [("KeyName.1", name), ("IncludePublicKey", "true")];
    kit.call("DescribeKeyPairs", &asked).await.unwrap().one("keySet/item/publicKey")
}

#[tokio::test]
async fn a_created_rsa_key_works_and_has_the_fingerprint_that_aws_documents() {
    let kit = Kit::new().await;
    let made = kit.call("CreateKeyPair", &[("KeyName", "web")]).await.unwrap();
    let material = made.one("keyMaterial");
    assert!(material.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), &material);
    let path = path.to_str().unwrap();
    let der = run("openssl", &["pkcs8", "-in", path, "-topk8", "-nocrypt", "-outform", "DER"], b"");
    assert_eq!(made.one("keyFingerprint"), digest("-sha1", &der));
    let public = text(run("ssh-keygen", &["-y", "-f", path], b""));
    assert_eq!(public_key(&kit, "web").await, format!("{public} web"));
    let signed = run("openssl", &["dgst", "-sha256", "-sign", path], b"message");
    let signature = folder.path().join("signature");
    std::fs::write(&signature, signed).unwrap();
    let public_pem = folder.path().join("public.pem");
    run("openssl", &["rsa", "-in", path, "-pubout", "-out", public_pem.to_str().unwrap()], b"");
    let signature = signature.to_str().unwrap();
    let verify = ["dgst", "-sha256", "-verify", public_pem.to_str().unwrap(), "-signature", signature];
    assert_eq!(text(run("openssl", &verify, b"message")), "Verified OK");
}

#[tokio::test]
async fn a_created_ed25519_key_works_and_has_the_fingerprint_of_openssh_with_padding() {
    let kit = Kit::new().await;
    let made = create(&kit, "web", "ed25519").await;
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), &made.one("keyMaterial"));
    let path = path.to_str().unwrap();
    let public = text(run("ssh-keygen", &["-y", "-f", path], b""));
    let line = public_key(&kit, "web").await;
    assert_eq!(line.split(' ').collect::<Vec<_>>()[..2], public.split(' ').collect::<Vec<_>>()[..2]);
    let listed = text(run("ssh-keygen", &["-l", "-f", path], b""));
    let shown = listed.split(' ').nth(1).unwrap().strip_prefix("SHA256:").unwrap().to_owned();
    assert_eq!(made.one("keyFingerprint"), format!("{shown}="));
    run("ssh-keygen", &["-Y", "sign", "-q", "-n", "file", "-f", path], b"message");
}

#[tokio::test]
async fn an_imported_rsa_key_has_the_md5_of_its_public_half_in_every_format() {
    let kit = Kit::new().await;
    let folder = tempfile::tempdir().unwrap();
    let line = generated(folder.path(), &["-t", "rsa", "-b", "2048", "-m", "PEM"]);
    let own = folder.path().join("own");
    let own = own.to_str().unwrap();
    let public = format!("{own}.pub");
    let der = run("openssl", &["rsa", "-in", own, "-pubout", "-outform", "DER"], b"");
    let pem = run("openssl", &["rsa", "-in", own, "-pubout"], b"");
    let pkcs1 = run("openssl", &["rsa", "-in", own, "-RSAPublicKey_out"], b"");
    let ssh2 = run("ssh-keygen", &["-e", "-m", "RFC4716", "-f", &public], b"");
    let expected = digest("-md5", &der);
    let der64 = STANDARD.encode(&der).into_bytes();
    let line64 = STANDARD.encode(&line).into_bytes();
    let formats = [line.into_bytes(), line64, der, der64, pem, pkcs1, ssh2];
    for (number, material) in formats.iter().enumerate() {
        let name = format!("key {number}");
        let imported = import(&kit, &name, material).await.unwrap();
        assert_eq!(imported.one("keyFingerprint"), expected, "format {number}");
        let stored = public_key(&kit, &name).await;
        let from_disk = std::fs::read_to_string(&public).unwrap();
        assert_eq!(stored.split(' ').nth(1), from_disk.split(' ').nth(1), "format {number}");
    }
}

#[tokio::test]
async fn an_imported_ed25519_key_has_the_fingerprint_of_openssh() {
    let kit = Kit::new().await;
    let folder = tempfile::tempdir().unwrap();
    let line = generated(folder.path(), &["-t", "ed25519"]);
    let public = folder.path().join("own.pub");
    let listed = text(run("ssh-keygen", &["-l", "-f", public.to_str().unwrap()], b""));
    let shown = listed.split(' ').nth(1).unwrap().strip_prefix("SHA256:").unwrap().to_owned();
    let imported = import(&kit, "me", line.as_bytes()).await.unwrap();
    assert_eq!(imported.one("keyFingerprint"), format!("{shown}="));
    let described = kit.call("DescribeKeyPairs", &[]).await.unwrap();
    assert_eq!(described.one("keySet/item/keyType"), "ed25519");
}

#[tokio::test]
async fn what_is_no_public_key_of_a_known_kind_is_refused() {
    let kit = Kit::new().await;
    let folder = tempfile::tempdir().unwrap();
    let ecdsa = generated(folder.path(), &["-t", "ecdsa"]);
    let private = std::fs::read_to_string(folder.path().join("own")).unwrap();
    let second = tempfile::tempdir().unwrap();
    let odd = generated(second.path(), &["-t", "rsa", "-b", "3072"]);
    let wrong = ["", "garbage", "ssh-rsa AAAA", "ssh-rsa", &ecdsa, &private, &odd];
    for material in wrong {
        let refused = import(&kit, "me", material.as_bytes()).await.unwrap_err();
        assert_eq!(refused.code(), "InvalidKey.Format", "{material}");
    }
    assert!(kit.call("DescribeKeyPairs", &[]).await.unwrap().all("keySet/item").is_empty());
}

#[tokio::test]
async fn a_name_is_taken_once_in_an_account() {
    let kit = Kit::new().await;
    create(&kit, "web", "ed25519").await;
    let again = [("KeyName", "web"), ("KeyType", "ed25519")];
    let refused = kit.call("CreateKeyPair", &again).await.unwrap_err();
    assert_eq!(refused.code(), "InvalidKeyPair.Duplicate");
    kit.call_as(BOB, "ec2", "CreateKeyPair", &again).await.unwrap();
    assert_eq!(kit.call("DescribeKeyPairs", &[]).await.unwrap().all("keySet/item").len(), 1);
}

#[tokio::test]
async fn a_dry_run_makes_no_key() {
    let kit = Kit::new().await;
    let refused = kit.call("CreateKeyPair", &[("KeyName", "web"), ("DryRun", "true")]).await.unwrap_err();
    assert_eq!(refused.code(), "DryRunOperation");
    assert!(kit.call("DescribeKeyPairs", &[]).await.unwrap().all("keySet/item").is_empty());
}

#[tokio::test]
async fn names_types_and_formats_are_checked_before_a_key_is_made() {
    let kit = Kit::new().await;
    for (parameters, code) in [
        (&[("KeyName", " web")][..], "InvalidParameterValue"),
        (&[("KeyName", "")], "InvalidParameterValue"),
        (&[("KeyName", "wéb")], "InvalidParameterValue"),
        (&[("KeyName", "web"), ("KeyType", "dsa")], "InvalidParameterValue"),
        (&[("KeyName", "web"), ("KeyFormat", "der")], "InvalidParameterValue"),
        (&[("KeyName", "web"), ("KeyFormat", "ppk")], "UnsupportedOperation"),
    ] {
        let refused = kit.call("CreateKeyPair", parameters).await.unwrap_err();
        assert_eq!(refused.code(), code, "{parameters:?}");
    }
}

#[tokio::test]
async fn key_pairs_are_found_by_name_id_and_filters() {
    let kit = Kit::new().await;
    let web = create(&kit, "web", "ed25519").await;
    let tagged = [
        ("KeyName", "db"),
        ("KeyType", "ed25519"),
        ("TagSpecification.1.ResourceType", "key-pair"),
        ("TagSpecification.1.Tag.1.Key", "team"),
        ("TagSpecification.1.Tag.1.Value", "data"),
    ];
    kit.call("CreateKeyPair", &tagged).await.unwrap();
    let (id, fingerprint) = (web.one("keyPairId"), web.one("keyFingerprint"));
    for (parameters, expected) in [
        (vec![("KeyName.1", "web")], "web"),
        (vec![("KeyPairId.1", id.as_str())], "web"),
        (vec![("Filter.1.Name", "key-name"), ("Filter.1.Value.1", "w*")], "web"),
        (vec![("Filter.1.Name", "fingerprint"), ("Filter.1.Value.1", &fingerprint)], "web"),
        (vec![("Filter.1.Name", "tag:team"), ("Filter.1.Value.1", "data")], "db"),
    ] {
        let found = kit.call("DescribeKeyPairs", &parameters).await.unwrap();
        assert_eq!(found.one("keySet/item/keyName"), expected, "{parameters:?}");
        assert!(found.all("keySet/item/publicKey").is_empty());
    }
    for (name, value, code) in [
        ("KeyName.1", "gone", "InvalidKeyPair.NotFound"),
        ("KeyPairId.1", "key-00000000000000000", "InvalidKeyPair.NotFound"),
        ("KeyPairId.1", "web", "InvalidParameterValue"),
    ] {
        let refused = kit.call("DescribeKeyPairs", &[(name, value)]).await.unwrap_err();
        assert_eq!(refused.code(), code, "{name}");
    }
}

#[tokio::test]
async fn a_deleted_key_pair_frees_its_name_and_deleting_it_again_succeeds() {
    let kit = Kit::new().await;
    let id = create(&kit, "web", "ed25519").await.one("keyPairId");
    let deleted = kit.call("DeleteKeyPair", &[("KeyName", "web")]).await.unwrap();
    assert_eq!((deleted.one("return"), deleted.one("keyPairId")), ("true".into(), id));
    let again = kit.call("DeleteKeyPair", &[("KeyName", "web")]).await.unwrap();
    assert_eq!(again.one("return"), "true");
    let id = create(&kit, "web", "ed25519").await.one("keyPairId");
    // Bob's request names a key that is not his: nothing happens to it.
    kit.call_as(BOB, "ec2", "DeleteKeyPair", &[("KeyPairId", &id)]).await.unwrap();
    kit.call("DescribeKeyPairs", &[("KeyName.1", "web")]).await.unwrap();
    kit.call("DeleteKeyPair", &[("KeyPairId", &id)]).await.unwrap();
    assert!(kit.call("DescribeKeyPairs", &[]).await.unwrap().all("keySet/item").is_empty());
    assert_eq!(kit.call("DeleteKeyPair", &[]).await.unwrap_err().code(), "MissingParameter");
}

#[tokio::test]
async fn one_name_needs_no_index() {
    let kit = Kit::new().await;
    for name in ["one", "two"] {
        kit.call("CreateKeyPair", &[("KeyName", name), ("KeyType", "ed25519")]).await.unwrap();
    }
    let asked = kit.call("DescribeKeyPairs", &[("KeyName", "two")]).await.unwrap();
    assert_eq!(asked.all("keySet/item/keyName"), ["two"]);
}
