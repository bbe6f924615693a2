//! Instances and their host: what it is told, in which order, and what its observations change.

use crate::instance::{FakeHost, cloud, image};
use model::host::{
    Architecture, Bandwidth, Burst, Capacity, DesiredBody, InstanceDesired, InstancePhase, ObjectKey,
    Observed, ObservedBody, Power, Rate, Reply, StopCause,
};
use model::record::network_interface::NetworkInterface;
use model::{InstanceId, MiB, VolumeId};
use std::sync::Arc;
use testkit::{Kit, START};

fn key(id: &str) -> ObjectKey {
    ObjectKey::Instance(InstanceId::parse(id).unwrap())
}

fn wished(host: &FakeHost, id: &str) -> Option<Arc<InstanceDesired>> {
    match host.object(key(id))?.body? {
        DesiredBody::Instance(instance) => Some(instance),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_host_is_told_of_an_instance_after_all_it_stands_on() {
    let cloud = cloud().await;
    let user_data = [("UserData", "IyEvYmluL3NoCg==")];
    let id = cloud.launch(&user_data).await.one("instancesSet/item/instanceId");
    cloud.settled(key(&id)).await;
    let instance = wished(&cloud.host, &id).unwrap();
    assert_eq!((instance.power, instance.run), (Power::On, 1));
    assert_eq!((instance.machine.vcpus, instance.machine.memory), (2, MiB(1024)));
    assert_eq!(instance.machine.direct_kernel.as_deref(), Some("nano"));
    assert_eq!(instance.metadata.user_data.as_ref().unwrap().as_slice(), b"#!/bin/sh\n");
    let interface = &instance.interfaces[0];
    assert_eq!(interface.domain, "ec2.internal");
    assert_eq!(
        interface.hostname,
        format!("ip-{}", interface.addresses[0].private.to_string().replace('.', "-"))
    );
    assert!(interface.addresses[0].public.is_some());
    let rate = Rate { base: 8_000_000, burst: Some(Burst { rate: 625_000_000, seconds: 300 }) };
    assert_eq!(interface.bandwidth, Some(Bandwidth { instance: instance.instance, rate }), "a t3.micro's");
    let before = [
        ObjectKey::Vpc(interface.vpc),
        ObjectKey::SecurityGroup(interface.security_groups[0]),
        ObjectKey::Volume(instance.volumes[0].volume),
    ];
    let order = cloud.host.told(|told| told.order.clone());
    let at = |key: ObjectKey| order.iter().position(|k| *k == key).unwrap();
    for dependency in before {
        assert!(at(dependency) < at(key(&id)), "{dependency} comes first");
        assert!(cloud.host.object(dependency).unwrap().body.is_some());
    }
}

#[tokio::test]
async fn what_no_instance_needs_is_taken_away_once_it_is_gone() {
    let cloud = cloud().await;
    let (first, second) = (cloud.running(&[]).await, cloud.running(&[]).await);
    let instance = wished(&cloud.host, &first).unwrap();
    let vpc = ObjectKey::Vpc(instance.interfaces[0].vpc);
    let group = ObjectKey::SecurityGroup(instance.interfaces[0].security_groups[0]);
    let volume = ObjectKey::Volume(instance.volumes[0].volume);
    // The guest is asked first, unless the caller wants that skipped.
    cloud.ok("TerminateInstances", &[("InstanceId.1", &first)]).await;
    cloud.settled(key(&first)).await;
    assert_eq!(wished(&cloud.host, &first).unwrap().power, Power::Off);
    cloud.observe(&first, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    assert_eq!(cloud.shown(&first, "instanceState/name").await, "shutting-down");
    cloud.ok("TerminateInstances", &[("InstanceId.1", &second), ("SkipOsShutdown", "true")]).await;
    for id in [&first, &second] {
        cloud.settled(key(id)).await;
        assert!(wished(&cloud.host, id).is_none());
    }
    assert!(cloud.host.object(vpc).unwrap().body.is_some(), "machines still run in it");
    cloud.gone(&first).await;
    cloud.settled(volume).await;
    assert!(cloud.host.object(volume).unwrap().body.is_none());
    assert!(cloud.host.object(vpc).unwrap().body.is_some());
    cloud.gone(&second).await;
    for dependency in [vpc, group] {
        cloud.settled(dependency).await;
        assert!(cloud.host.object(dependency).unwrap().body.is_none());
    }
    cloud.observe_object(vpc, ObservedBody::Removed).await;
    assert_eq!(cloud.kit.cloud.host.generation(vpc), None);
}

#[tokio::test]
async fn power_and_reboots_follow_what_the_owner_asks() {
    let cloud = cloud().await;
    let id = cloud.running(&[]).await;
    cloud.ok("RebootInstances", &[("InstanceId.1", &id)]).await;
    cloud.settled(key(&id)).await;
    assert_eq!(wished(&cloud.host, &id).unwrap().reboots, 1);
    cloud.ok("StopInstances", &[("InstanceId.1", &id)]).await;
    cloud.settled(key(&id)).await;
    assert_eq!(wished(&cloud.host, &id).unwrap().power, Power::Off);
    cloud.ok("StopInstances", &[("InstanceId.1", &id), ("Force", "true")]).await;
    cloud.settled(key(&id)).await;
    assert_eq!(wished(&cloud.host, &id).unwrap().power, Power::ForceOff);
    cloud.observe(&id, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    cloud.ok("StartInstances", &[("InstanceId.1", &id)]).await;
    cloud.settled(key(&id)).await;
    let instance = wished(&cloud.host, &id).unwrap();
    assert_eq!((instance.power, instance.run, instance.reboots), (Power::On, 2, 0));
}

#[tokio::test]
async fn a_change_of_groups_reaches_the_host() {
    let cloud = cloud().await;
    let id = cloud.running(&[]).await;
    let made = [("GroupName", "web"), ("GroupDescription", "web")];
    let group = cloud.ok("CreateSecurityGroup", &made).await.one("groupId");
    cloud.ok("ModifyInstanceAttribute", &[("InstanceId", &id), ("GroupId.1", &group)]).await;
    cloud.settled(key(&id)).await;
    assert_eq!(wished(&cloud.host, &id).unwrap().interfaces[0].security_groups[0].to_string(), group);
    assert_eq!(cloud.shown(&id, "groupSet/item/groupName").await, "web");
    let group = ObjectKey::SecurityGroup(model::SecurityGroupId::parse(&group).unwrap());
    cloud.settled(group).await;
    assert!(cloud.host.object(group).unwrap().body.is_some());
}

#[tokio::test]
async fn what_happens_to_a_machine_unasked_is_told_with_its_reason() {
    let cloud = cloud().await;
    let crashed = cloud.running(&[]).await;
    let cause = StopCause::Crashed { detail: "signal 9".into() };
    cloud.observe(&crashed, InstancePhase::Stopped { run: 1, cause }).await;
    assert_eq!(cloud.state(&crashed).await, "stopped");
    assert_eq!(cloud.shown(&crashed, "stateReason/code").await, "Server.InternalError");

    let off = cloud.running(&[]).await;
    cloud.observe(&off, InstancePhase::Stopped { run: 1, cause: StopCause::GuestShutdown }).await;
    assert_eq!(cloud.state(&off).await, "stopped");
    assert_eq!(cloud.shown(&off, "stateReason/code").await, "Client.InstanceInitiatedShutdown");

    let fleeting = cloud.running(&[("InstanceInitiatedShutdownBehavior", "terminate")]).await;
    cloud.observe(&fleeting, InstancePhase::Stopped { run: 1, cause: StopCause::GuestShutdown }).await;
    assert_eq!(cloud.state(&fleeting).await, "shutting-down");
    cloud.gone(&fleeting).await;
    assert_eq!(cloud.state(&fleeting).await, "terminated");

    let hopeless = cloud.launch(&[]).await.one("instancesSet/item/instanceId");
    cloud.observe(&hopeless, InstancePhase::Unstartable { run: 1, reason: "no such image".into() }).await;
    assert_eq!(cloud.state(&hopeless).await, "shutting-down");
    cloud.gone(&hopeless).await;
    assert_eq!(cloud.shown(&hopeless, "stateReason/code").await, "Server.InternalError");
}

#[tokio::test]
async fn an_observation_of_an_earlier_wish_changes_nothing() {
    let cloud = cloud().await;
    let id = cloud.running(&[]).await;
    let earlier = cloud.settled(key(&id)).await;
    cloud.ok("RebootInstances", &[("InstanceId.1", &id)]).await;
    assert!(cloud.settled(key(&id)).await > earlier);
    let body = ObservedBody::Instance(InstancePhase::Stopped { run: 1, cause: StopCause::GuestShutdown });
    let late = Observed { key: key(&id), generation: earlier, at: START, body };
    ec2::instance::absorb(&cloud.kit.cloud, late).await;
    assert_eq!(cloud.state(&id).await, "running");
}

#[tokio::test]
async fn a_server_that_starts_again_tells_its_host_everything() {
    let kit = Kit::new().await;
    let region = kit.region();
    let image = image(crate::instance::IMAGE, Architecture::X86_64);
    let put = |txn: &mut control::Txn<'_>| {
        txn.put(&region, image.clone());
        Ok(())
    };
    kit.cloud.transact(control::cloud::Mode::Shared, put).await.unwrap();
    // No host and no reconcilers yet: the launch is admitted and waits.
    let launch = [("ImageId", crate::instance::IMAGE), ("MinCount", "2"), ("MaxCount", "2")];
    let ids = kit.call("RunInstances", &launch).await.unwrap().all("instancesSet/item/instanceId");
    kit.call("TerminateInstances", &[("InstanceId.1", &ids[1])]).await.unwrap();
    let capacity = Capacity { vcpus: 8, memory: MiB(8192) };
    let host = FakeHost::connect(&kit.cloud, capacity, Reply::NotFound);
    kit.cloud.host.connected().await;
    assert_eq!(host.told(|told| told.syncs), 0, "nothing is known to be complete");
    let _reconcilers = ec2::instance::start(kit.cloud.clone());
    let told = async {
        while host.told(|told| told.syncs) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), told).await.expect("the host is synced");
    assert_eq!(wished(&host, &ids[0]).unwrap().power, Power::On);
    assert!(host.object(key(&ids[1])).unwrap().body.is_none(), "its removal is asked for");
    let objects = host.told(|told| told.objects.len());
    // Two instances, the two volumes, their VPC and their group.
    assert_eq!(objects, 6);
}

#[tokio::test]
async fn the_console_is_asked_of_the_host() {
    let cloud = cloud().await;
    let id = cloud.running(&[]).await;
    let answer = cloud.ok("GetConsoleOutput", &[("InstanceId", &id)]).await;
    assert_eq!(answer.one("output"), "bG9naW46IA==");
    assert_eq!(answer.one("timestamp"), "2026-01-01T00:00:00.000Z");
    let unknown = [("InstanceId", "i-0123456789abcdef0")];
    assert_eq!(cloud.code("GetConsoleOutput", &unknown).await, "InvalidInstanceID.NotFound");
}

#[tokio::test]
async fn an_end_observed_twice_is_the_same_as_once() {
    let cloud = cloud().await;
    let id = cloud.running(&[]).await;
    let volume = cloud.shown(&id, "blockDeviceMapping/item/ebs/volumeId").await;
    cloud.ok("TerminateInstances", &[("InstanceId.1", &id)]).await;
    let generation = cloud.settled(key(&id)).await;
    let gone = Observed { key: key(&id), generation, at: START, body: ObservedBody::Removed };
    ec2::instance::absorb(&cloud.kit.cloud, gone.clone()).await;
    ec2::instance::absorb(&cloud.kit.cloud, gone).await;
    assert_eq!(cloud.state(&id).await, "terminated");
    let volume = VolumeId::parse(&volume).unwrap();
    cloud.settled(ObjectKey::Volume(volume)).await;
    let region = cloud.kit.region();
    let tables = cloud.kit.cloud.view.read();
    assert_eq!(tables.all::<NetworkInterface>(&region).count(), 0);
}
