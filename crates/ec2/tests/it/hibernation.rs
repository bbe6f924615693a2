//! Hibernation as its callers see it, and what their host is told.

use crate::instance::{Cloud, IMAGE, cloud};
use model::InstanceId;
use model::host::{DesiredBody, Devices, InstanceDesired, InstancePhase, ObjectKey, Power, StopCause};
use std::sync::Arc;

const CONFIGURED: (&str, &str) = ("HibernationOptions.Configured", "true");
const ROOT: (&str, &str) = ("BlockDeviceMapping.1.DeviceName", "/dev/xvda");
const ENCRYPTED: (&str, &str) = ("BlockDeviceMapping.1.Ebs.Encrypted", "true");

fn key(id: &str) -> ObjectKey {
    ObjectKey::Instance(InstanceId::parse(id).unwrap())
}

async fn wished(cloud: &Cloud, id: &str) -> Arc<InstanceDesired> {
    cloud.settled(key(id)).await;
    match cloud.host.object(key(id)).unwrap().body {
        Some(DesiredBody::Instance(instance)) => instance,
        other => panic!("{other:?}"),
    }
}

async fn sleeper(cloud: &Cloud) -> String {
    cloud.running(&[CONFIGURED, ROOT, ENCRYPTED]).await
}

async fn hibernate(cloud: &Cloud, id: &str) {
    cloud.ok("StopInstances", &[("InstanceId.1", id), ("Hibernate", "true")]).await;
}

#[tokio::test]
async fn a_launch_must_meet_the_conditions_of_hibernation() {
    let cloud = cloud().await;
    let code = async |kind: &'static str, more: &[(&'static str, &'static str)]| {
        let mut asked =
            vec![("ImageId", IMAGE), ("InstanceType", kind), ("MinCount", "1"), ("MaxCount", "1")];
        asked.push(CONFIGURED);
        asked.extend(more);
        cloud.code("RunInstances", &asked).await
    };
    let unsupported = "UnsupportedHibernationConfiguration";
    assert_eq!(code("t3.micro", &[]).await, unsupported, "its root volume is not encrypted");
    assert_eq!(
        code("t3.large", &[ROOT, ENCRYPTED]).await,
        unsupported,
        "its root volume is smaller than its memory"
    );
    let slow = ("BlockDeviceMapping.1.Ebs.VolumeType", "standard");
    assert_eq!(code("t3.micro", &[ROOT, ENCRYPTED, slow]).await, unsupported);
    let large = ("BlockDeviceMapping.1.Ebs.VolumeSize", "500");
    assert_eq!(
        code("x1.16xlarge", &[ROOT, ENCRYPTED, large]).await,
        unsupported,
        "its type knows no hibernation"
    );
    let dry = ("DryRun", "true");
    assert_eq!(code("t3.micro", &[ROOT, ENCRYPTED, dry]).await, "DryRunOperation");
}

#[tokio::test]
async fn an_account_that_encrypts_by_default_need_not_say_so() {
    let cloud = cloud().await;
    cloud.ok("EnableEbsEncryptionByDefault", &[]).await;
    let id = cloud.running(&[CONFIGURED]).await;
    assert_eq!(cloud.shown(&id, "hibernationOptions/configured").await, "true");
}

#[tokio::test]
async fn who_is_configured_is_shown_and_found() {
    let cloud = cloud().await;
    let (one, other) = (sleeper(&cloud).await, cloud.running(&[]).await);
    for (value, id) in [("true", &one), ("false", &other)] {
        assert_eq!(cloud.shown(id, "hibernationOptions/configured").await, value);
        let filter = [("Filter.1.Name", "hibernation-options.configured"), ("Filter.1.Value.1", value)];
        let found = cloud.ok("DescribeInstances", &filter).await;
        assert_eq!(found.one("reservationSet/item/instancesSet/item/instanceId"), *id);
    }
}

#[tokio::test]
async fn an_instance_hibernates_and_its_start_is_one_like_any_other() {
    let cloud = cloud().await;
    let id = sleeper(&cloud).await;
    let address = cloud.shown(&id, "privateIpAddress").await;
    hibernate(&cloud, &id).await;
    assert_eq!(cloud.shown(&id, "instanceState/name").await, "stopping");
    assert_eq!(wished(&cloud, &id).await.power, Power::Hibernate);
    cloud.observe(&id, InstancePhase::Stopped { run: 1, cause: StopCause::Hibernated }).await;
    assert_eq!(cloud.shown(&id, "instanceState/name").await, "stopped");
    assert_eq!(cloud.shown(&id, "stateReason/code").await, "Client.UserInitiatedHibernate");
    assert_eq!(cloud.shown(&id, "privateIpAddress").await, address);
    assert_eq!(wished(&cloud, &id).await.power, Power::Hibernate);
    // Once more changes nothing.
    hibernate(&cloud, &id).await;
    cloud.ok("StopInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(cloud.shown(&id, "stateReason/code").await, "Client.UserInitiatedHibernate");
    cloud.ok("StartInstances", &[("InstanceId.1", &id)]).await;
    let started = wished(&cloud, &id).await;
    assert_eq!((started.power, started.run), (Power::On, 2));
    assert!(started.interfaces[0].addresses[0].public.is_some(), "a new one");
    let running = InstancePhase::Running { run: 2, since: testkit::START, devices: Devices::default() };
    cloud.observe(&id, running).await;
    assert_eq!(cloud.shown(&id, "instanceState/name").await, "running");
    // A stop without more shuts it down.
    cloud.ok("StopInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(wished(&cloud, &id).await.power, Power::Off);
    assert_eq!(cloud.shown(&id, "stateReason/code").await, "Client.UserInitiatedShutdown");
}

#[tokio::test]
async fn an_instance_that_could_not_be_hibernated_is_stopped_and_says_why() {
    let cloud = cloud().await;
    let id = sleeper(&cloud).await;
    hibernate(&cloud, &id).await;
    let cause = StopCause::NotHibernated { reason: "no space left on the device".into() };
    cloud.observe(&id, InstancePhase::Stopped { run: 1, cause }).await;
    assert_eq!(cloud.shown(&id, "instanceState/name").await, "stopped");
    assert_eq!(cloud.shown(&id, "stateReason/code").await, "Server.InternalError");
    cloud.ok("StartInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(wished(&cloud, &id).await.power, Power::On);
}

#[tokio::test]
async fn a_hibernation_in_progress_can_be_cut_short() {
    let cloud = cloud().await;
    let (forced, ended) = (sleeper(&cloud).await, sleeper(&cloud).await);
    hibernate(&cloud, &forced).await;
    hibernate(&cloud, &ended).await;
    cloud.ok("StopInstances", &[("InstanceId.1", &forced), ("Force", "true")]).await;
    assert_eq!(wished(&cloud, &forced).await.power, Power::ForceOff);
    cloud.ok("TerminateInstances", &[("InstanceId.1", &ended)]).await;
    assert_eq!(wished(&cloud, &ended).await.power, Power::Off);
}

#[tokio::test]
async fn only_what_was_configured_for_it_is_hibernated_and_nothing_by_force() {
    let cloud = cloud().await;
    let (plain, id) = (cloud.running(&[]).await, sleeper(&cloud).await);
    let hibernation = ("Hibernate", "true");
    assert_eq!(
        cloud.code("StopInstances", &[("InstanceId.1", &plain), hibernation]).await,
        "UnsupportedHibernationConfiguration"
    );
    let both = [("InstanceId.1", id.as_str()), ("InstanceId.2", plain.as_str()), hibernation];
    assert_eq!(cloud.code("StopInstances", &both).await, "UnsupportedHibernationConfiguration");
    let forced = [("InstanceId.1", id.as_str()), hibernation, ("Force", "true")];
    assert_eq!(cloud.code("StopInstances", &forced).await, "InvalidParameterCombination");
    for id in [&plain, &id] {
        assert_eq!(cloud.shown(id, "instanceState/name").await, "running");
    }
    let pending = cloud.launch(&[CONFIGURED, ROOT, ENCRYPTED]).await.one("instancesSet/item/instanceId");
    assert_eq!(
        cloud.code("StopInstances", &[("InstanceId.1", &pending), hibernation]).await,
        "IncorrectInstanceState"
    );
}
