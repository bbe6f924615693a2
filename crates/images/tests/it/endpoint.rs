//! The script that presets AWS clients, with a metadata service of a few lines behind its `curl`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use images::endpoint::SYSTEMD_FILES;

const CURL: &str = r#"#!/bin/sh
for last; do :; done
case $last in
*/latest/api/token) echo TOKEN ;;
*/latest/dynamic/nube/endpoint) [ "$TELLS" ] && echo https://api.nube.internal ;;
*/latest/meta-data/placement/region) echo eu-central-1 ;;
*/latest/dynamic/nube/ca.pem) echo OURS ;;
*) exit 22 ;;
esac
"#;

fn boot(root: &Path, tells: &str) {
    let path = format!("{}:{}", root.join("bin").display(), std::env::var("PATH").unwrap());
    let mut script = Command::new("sh");
    script.arg("-c").arg(SYSTEMD_FILES[0].2).env("NUBE_ROOT", root).env("PATH", path).env("TELLS", tells);
    assert!(script.status().unwrap().success());
}

#[test]
fn presets_are_written_at_each_boot_beside_what_users_set_and_forgotten_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for folder in ["bin", "etc/ssl/certs"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("bin/curl"), CURL).unwrap();
    fs::set_permissions(root.join("bin/curl"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("etc/ssl/certs/ca-certificates.crt"), "THEIRS\n").unwrap();
    fs::write(root.join("etc/environment"), "EDITOR=vi\n").unwrap();
    let environment = || fs::read_to_string(root.join("etc/environment")).unwrap();
    for _ in 0..2 {
        boot(root, "yes");
        let lines = environment();
        let set: Vec<&str> = lines.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            set,
            [
                "AWS_ENDPOINT_URL=https://api.nube.internal",
                "AWS_REGION=eu-central-1",
                "AWS_DEFAULT_REGION=eu-central-1",
                "AWS_CA_BUNDLE=/run/nube/ca-bundle.pem",
                "EDITOR=vi",
            ]
        );
    }
    assert_eq!(fs::read_to_string(root.join("run/nube/ca-bundle.pem")).unwrap(), "THEIRS\nOURS\n");
    boot(root, "");
    assert_eq!(environment(), "EDITOR=vi\n");
    assert_eq!(fs::read_to_string(root.join("run/nube/endpoint.env")).unwrap(), "");
}
