//! What a user of a nano instance counts on.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use images::{Architecture, Silent, cache, nano};

use crate::scene::{Scene, guest, image, said};

fn fingerprint(console: &str) -> String {
    let line =
        console.lines().rfind(|line| line.ends_with("(ED25519)")).expect("the console shows the fingerprint");
    line.split(' ').nth(2).unwrap().to_owned()
}

#[test]
fn a_first_boot_logs_in_grows_the_disk_and_runs_user_data_once_as_root() {
    let scene = Scene::new();
    let disk = scene.new_disk("3G");
    let mut first = scene.boot(&disk);
    println!("QEMU to ssh banner: {:?}", first.boot_to_banner);
    assert_eq!(
        scene.ssh(&first, "ec2-user", "ed25519", "id -un; hostname; sudo id -un").trim(),
        "ec2-user\nip-169-254-5-5\nroot"
    );
    assert_eq!(scene.ssh(&first, "root", "ed25519", "cat /root/ran").trim(), "root");
    assert!(first.console().contains("\nuser data on ip-169-254-5-5\n"), "{}", first.console());
    let kib: u64 =
        scene.ssh(&first, "root", "ed25519", "df -k / | awk 'END { print $2 }'").trim().parse().unwrap();
    assert!(kib > 2_900_000, "the filesystem has {kib} KiB of a volume of 3 GiB");
    let serial = scene.ssh(
        &first,
        "root",
        "ed25519",
        "cd /dev/disk/by-id; readlink -f virtio-vol0123456789abcdef0; readlink -f /dev/xvda",
    );
    assert_eq!(serial.trim(), "/dev/vda\n/dev/vda");
    let key = fingerprint(&first.console());
    let machine_id = scene.ssh(&first, "root", "ed25519", "cat /etc/machine-id");
    let took = first.press_power_button();
    assert!(took < Duration::from_secs(10), "power-off took {took:?}");

    // The same instance again, with another name: the name follows, user data and host keys do not change.
    scene.imds.set("meta-data/local-hostname", "renamed.ec2.internal");
    let mut second = scene.boot(&disk);
    assert_eq!(fingerprint(&second.console()), key);
    assert_eq!(
        scene.ssh(&second, "root", "ed25519", "cat /root/ran; hostname; cat /etc/machine-id"),
        format!("root\nrenamed\n{machine_id}")
    );
    second.press_power_button();

    // A copy of the disk as another instance, launched with an RSA key.
    scene.imds.set("meta-data/instance-id", "i-00000000000000002");
    scene.launch_with_key("rsa");
    let mut other = scene.boot(&disk);
    assert_ne!(fingerprint(&other.console()), key);
    assert_eq!(scene.ssh(&other, "ec2-user", "rsa", "sudo cat /root/ran").trim(), "root\nroot");
    assert_ne!(scene.ssh(&other, "root", "rsa", "cat /etc/machine-id"), machine_id);
    scene.ssh_and_lose(&other, "ec2-user", "rsa", "sudo poweroff");
    other.wait_for_end();
}

#[test]
fn files_travel_by_sftp_and_zipped_user_data_runs_while_cloud_config_is_named_and_left_alone() {
    let scene = Scene::new();
    let script = scene.path("script");
    fs::write(&script, "#!/bin/sh\necho unzipped\n").unwrap();
    let packed = Command::new("gzip").arg("-c").stdin(fs::File::open(&script).unwrap()).output().unwrap();
    scene.imds.set("user-data", packed.stdout);
    let disk = scene.new_disk("1G");
    let mut machine = scene.boot(&disk);
    assert!(machine.console().contains("\nunzipped\n"), "{}", machine.console());
    for extra in [&[][..], &["-O"]] {
        let copied = Command::new("scp")
            .args(extra)
            .args(scene.options("ed25519"))
            .args(["-P", &machine.port.to_string(), script.to_str().unwrap(), "ec2-user@127.0.0.1:copy"])
            .stdin(Stdio::null())
            .output();
        said("scp", copied.unwrap());
        assert_eq!(
            scene.ssh(&machine, "ec2-user", "ed25519", "cat copy && rm copy"),
            "#!/bin/sh\necho unzipped\n"
        );
    }
    scene.imds.set("meta-data/instance-id", "i-00000000000000003");
    scene.imds.set("user-data", "#cloud-config\npackages: [nginx]\n");
    scene.ssh_and_lose(&machine, "root", "ed25519", "reboot");
    machine.wait_for_end();
    let machine = scene.boot(&disk);
    assert!(
        machine.console().contains("user data is #cloud-config; nano runs scripts only"),
        "{}",
        machine.console()
    );
}

#[test]
fn the_same_inputs_give_the_same_digest_and_the_cache_knows_the_image() {
    let first = image();
    let again = tempfile::tempdir().unwrap();
    // Copies spare the second download.
    fs::create_dir(again.path().join(".packages")).unwrap();
    for entry in fs::read_dir(first.folder.join("../.packages")).unwrap().flatten() {
        fs::copy(entry.path(), again.path().join(".packages").join(entry.file_name())).unwrap();
    }
    let manifest = nano::build(again.path(), Architecture::X86_64, &guest(), &Silent).unwrap();
    assert_eq!(manifest, first.manifest);
    let listed = cache::list(again.path()).unwrap();
    assert_eq!(listed.iter().map(|image| &image.manifest).collect::<Vec<_>>(), [&manifest]);
    let stray: Vec<_> = fs::read_dir(again.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name != "nano" && name != ".packages")
        .collect();
    assert!(stray.is_empty(), "the build left {stray:?}");
}

#[test]
fn a_guest_agent_that_is_not_static_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let error = nano::build(cache.path(), Architecture::X86_64, "/bin/sh".as_ref(), &Silent).unwrap_err();
    assert!(error.to_string().contains("not static"), "{error}");
}
