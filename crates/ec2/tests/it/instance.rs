//! What the tests of instances share, and the life of an instance as its owner sees it.

use control::host::Connection;
use model::host::{
    Architecture, Capacity, Desired, Devices, FromAgent, Hello, InstancePhase, ObjectKey, Observed,
    ObservedBody, Reply, StopCause, ToAgent,
};
use model::record::image::{Image, ImageDevice};
use model::{GiB, ImageId, InstanceId, MiB, Timestamp, VolumeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Answer, BOB, Kit};
use tokio::sync::mpsc;

/// The image of [`cloud`].
pub const IMAGE: &str = "ami-00000000000000001";

/// A cloud with one public image and a roomy host, whose reconcilers run.
pub async fn cloud() -> Cloud {
    cloud_with(ROOMY).await
}

pub const ROOMY: Capacity = Capacity { vcpus: 64, memory: MiB(1 << 20) };

pub async fn cloud_with(capacity: Capacity) -> Cloud {
    cloud_of(Kit::new().await, capacity).await
}

pub async fn cloud_of(kit: Kit, capacity: Capacity) -> Cloud {
    let region = kit.region();
    let image = image(IMAGE, Architecture::X86_64);
    let put = |txn: &mut control::Txn<'_>| {
        txn.put(&region, image.clone());
        Ok(())
    };
    kit.cloud.transact(control::cloud::Mode::Shared, put).await.unwrap();
    let reconcilers = ec2::instance::start(kit.cloud.clone());
    let console = Reply::ConsoleOutput { text: b"login: ".to_vec().into(), at: Some(testkit::START) };
    let host = FakeHost::connect(&kit.cloud, capacity, console);
    kit.cloud.host.connected().await;
    Cloud { kit, host, _objects: reconcilers }
}

pub fn image(id: &str, architecture: Architecture) -> Image {
    Image {
        image: ImageId::parse(id).unwrap(),
        owner: model::AccountId::from_number(999_999_999_999),
        owner_alias: Some("amazon".into()),
        name: "nano".into(),
        description: None,
        architecture,
        root_device: "/dev/xvda".into(),
        devices: vec![ImageDevice {
            device: "/dev/xvda".into(),
            size: GiB(1),
            snapshot: None,
            delete_on_termination: true,
            volume_type: "gp3".into(),
            iops: None,
            throughput: None,
            encryption: None,
        }],
        host_image: Some("nano".into()),
        digest: None,
        direct_kernel: true,
        public: true,
        min_memory_mib: 64,
        default_user: None,
        created_at: Timestamp::default(),
        traits: model::record::image::Traits::default(),
        registration: model::record::image::Registration::default(),
        tags: model::record::Tags::default(),
    }
}

pub struct Cloud {
    pub kit: Kit,
    pub host: FakeHost,
    _objects: Arc<control::reconcile::Driver<ec2::instance::Objects>>,
}

impl Cloud {
    pub async fn ok(&self, action: &str, parameters: &[(&str, &str)]) -> Answer {
        self.kit.call(action, parameters).await.unwrap_or_else(|error| panic!("{action}: {error}"))
    }

    /// The code of the error that a call must answer with.
    pub async fn code(&self, action: &str, parameters: &[(&str, &str)]) -> String {
        match self.kit.call(action, parameters).await {
            Err(error) => error.code().to_owned(),
            Ok(answer) => panic!("{action} {parameters:?} succeeded: {}", answer.0),
        }
    }

    pub async fn launch(&self, more: &[(&str, &str)]) -> Answer {
        let mut parameters = vec![("ImageId", IMAGE)];
        if !more.iter().any(|(name, _)| *name == "InstanceType") {
            parameters.push(("InstanceType", "t3.micro"));
        }
        if !more.iter().any(|(name, _)| *name == "MinCount") {
            parameters.extend([("MinCount", "1"), ("MaxCount", "1")]);
        }
        parameters.extend(more);
        self.ok("RunInstances", &parameters).await
    }

    /// Launches one and sees it run.
    pub async fn running(&self, more: &[(&str, &str)]) -> String {
        let id = self.launch(more).await.one("instancesSet/item/instanceId");
        self.observe(
            &id,
            InstancePhase::Running { run: 1, since: testkit::START, devices: Devices::default() },
        )
        .await;
        assert_eq!(self.state(&id).await, "running");
        id
    }

    pub async fn describe(&self, id: &str) -> Answer {
        self.ok("DescribeInstances", &[("InstanceId.1", id)]).await
    }

    pub async fn state(&self, id: &str) -> String {
        self.describe(id).await.one("reservationSet/item/instancesSet/item/instanceState/name")
    }

    /// One member of the described instance.
    pub async fn shown(&self, id: &str, path: &str) -> String {
        self.describe(id).await.one(&format!("reservationSet/item/instancesSet/item/{path}"))
    }

    pub async fn shown_all(&self, id: &str, path: &str) -> Vec<String> {
        self.describe(id).await.all(&format!("reservationSet/item/instancesSet/item/{path}"))
    }

    /// The host says what it sees of the present wish.
    pub async fn observe(&self, id: &str, phase: InstancePhase) {
        let key = ObjectKey::Instance(InstanceId::parse(id).unwrap());
        self.observe_object(key, ObservedBody::Instance(phase)).await;
    }

    pub async fn gone(&self, id: &str) {
        let key = ObjectKey::Instance(InstanceId::parse(id).unwrap());
        self.observe_object(key, ObservedBody::Removed).await;
    }

    pub async fn volume_gone(&self, id: &str) {
        let key = ObjectKey::Volume(VolumeId::parse(id).unwrap());
        self.observe_object(key, ObservedBody::Removed).await;
    }

    pub async fn observe_object(&self, key: ObjectKey, body: ObservedBody) {
        let generation = self.settled(key).await;
        let observed = Observed { key, generation, at: testkit::START, body };
        ec2::instance::absorb(&self.kit.cloud, observed).await;
    }

    /// The generation of an object once the host has been told the wish that the records now give.
    pub async fn settled(&self, key: ObjectKey) -> u64 {
        let region = self.kit.region();
        let told = async {
            loop {
                let wanted = {
                    let tables = self.kit.cloud.view.read();
                    ec2::instance::desired::object(&self.kit.cloud.root, &tables, &region, key)
                };
                let told = self.host.object(key).filter(|told| told.body == wanted);
                if let Some(told) = told {
                    return told.generation;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), told)
            .await
            .unwrap_or_else(|_| panic!("the host is never told of {key}"))
    }
}

/// A host that writes down what it is told, and says nothing by itself.
pub struct FakeHost {
    told: Arc<Mutex<Told>>,
    to_server: mpsc::UnboundedSender<FromAgent>,
    listener: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
pub struct Told {
    pub objects: BTreeMap<ObjectKey, Desired>,
    /// Every message's key, in order.
    pub order: Vec<ObjectKey>,
    pub syncs: usize,
}

impl FakeHost {
    /// Connects to the cloud and answers each request with `reply`.
    pub fn connect(cloud: &Arc<control::Cloud>, capacity: Capacity, reply: Reply) -> Self {
        let (to_agent, mut from_server) = mpsc::unbounded_channel();
        let (to_server, from_agent) = mpsc::unbounded_channel();
        let told = Arc::new(Mutex::new(Told::default()));
        tokio::spawn(cloud.host.clone().serve(Connection { to_agent, from_agent }, |_| {}));
        let hello = Hello { host: "fake".into(), boot_id: "1".into(), epoch: 1, capacity };
        to_server.send(FromAgent::Hello(hello)).unwrap();
        let (written, answers) = (told.clone(), to_server.clone());
        let listener = tokio::spawn(async move {
            while let Some(message) = from_server.recv().await {
                match message {
                    ToAgent::Sync { objects } => {
                        let mut told = written.lock().unwrap();
                        told.syncs += 1;
                        told.objects = objects.into_iter().map(|o| (o.key, o)).collect();
                    }
                    ToAgent::Set { object } => {
                        let mut told = written.lock().unwrap();
                        told.order.push(object.key);
                        told.objects.insert(object.key, *object);
                    }
                    ToAgent::Request { id, .. } => {
                        answers.send(FromAgent::Reply { id, reply: reply.clone() }).unwrap();
                    }
                }
            }
        });
        Self { told, to_server, listener }
    }

    pub fn object(&self, key: ObjectKey) -> Option<Desired> {
        self.told.lock().unwrap().objects.get(&key).cloned()
    }

    pub fn told<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&self.told.lock().unwrap())
    }

    /// Ends the connection.
    pub fn leave(self) {
        // The listener holds the other end of the way back.
        self.listener.abort();
        drop(self.to_server);
    }
}

#[tokio::test]
async fn an_instance_is_launched_runs_stops_starts_and_ends() {
    let cloud = cloud().await;
    let id = cloud.launch(&[]).await.one("instancesSet/item/instanceId");
    assert_eq!(cloud.state(&id).await, "pending");
    assert_eq!(cloud.shown(&id, "stateReason/code").await, "pending");
    cloud
        .observe(&id, InstancePhase::Running { run: 1, since: testkit::START, devices: Devices::default() })
        .await;
    assert_eq!(cloud.state(&id).await, "running");
    assert!(cloud.shown_all(&id, "stateReason/code").await.is_empty());
    let private = cloud.shown(&id, "privateIpAddress").await;
    let public = cloud.shown(&id, "ipAddress").await;
    assert!(private.starts_with("172.31.") && public.starts_with("198.18."), "{private} {public}");
    let dashed = public.replace('.', "-");
    assert_eq!(cloud.shown(&id, "dnsName").await, format!("ec2-{dashed}.compute-1.amazonaws.com"));
    let dashed = private.replace('.', "-");
    assert_eq!(cloud.shown(&id, "privateDnsName").await, format!("ip-{dashed}.ec2.internal"));

    let stopping = cloud.ok("StopInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(stopping.one("instancesSet/item/currentState/name"), "stopping");
    assert_eq!(stopping.one("instancesSet/item/previousState/name"), "running");
    cloud.observe(&id, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    assert_eq!(cloud.state(&id).await, "stopped");
    assert_eq!(cloud.shown(&id, "reason").await, "User initiated (2026-01-01 00:00:00 GMT)");
    assert_eq!(cloud.shown(&id, "stateReason/code").await, "Client.UserInitiatedShutdown");
    assert_eq!(cloud.shown(&id, "privateIpAddress").await, private);
    assert!(cloud.shown_all(&id, "ipAddress").await.is_empty(), "a stopped instance has no public address");

    let starting = cloud.ok("StartInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(starting.one("instancesSet/item/currentState/name"), "pending");
    // A late word of the first run.
    cloud
        .observe(&id, InstancePhase::Running { run: 1, since: testkit::START, devices: Devices::default() })
        .await;
    assert_eq!(cloud.state(&id).await, "pending");
    cloud
        .observe(&id, InstancePhase::Running { run: 2, since: testkit::START, devices: Devices::default() })
        .await;
    assert_eq!(cloud.state(&id).await, "running");
    assert_eq!(cloud.shown(&id, "privateIpAddress").await, private);
    assert_eq!(cloud.shown_all(&id, "ipAddress").await.len(), 1);

    let volume = cloud.shown(&id, "blockDeviceMapping/item/ebs/volumeId").await;
    let ending = cloud.ok("TerminateInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(ending.one("instancesSet/item/currentState/name"), "shutting-down");
    cloud.gone(&id).await;
    assert_eq!(cloud.state(&id).await, "terminated");
    assert!(cloud.shown_all(&id, "vpcId").await.is_empty());
    let volumes = cloud.ok("DescribeVolumes", &[("VolumeId.1", &volume)]).await;
    assert_eq!(volumes.one("volumeSet/item/status"), "deleting");
    cloud.volume_gone(&volume).await;
    assert_eq!(cloud.code("DescribeVolumes", &[("VolumeId.1", &volume)]).await, "InvalidVolume.NotFound");
    let claims = cloud.kit.cloud.view.read().count_claims(&model::Region::global(), "public-ip/");
    assert_eq!(claims, 0, "its addresses are given back");

    cloud.kit.clock.advance(Duration::from_secs(3599));
    ec2::instance::sweep::instances(&cloud.kit.cloud).await.unwrap();
    assert_eq!(cloud.state(&id).await, "terminated");
    cloud.kit.clock.advance(Duration::from_secs(1));
    ec2::instance::sweep::instances(&cloud.kit.cloud).await.unwrap();
    assert_eq!(cloud.code("DescribeInstances", &[("InstanceId.1", &id)]).await, "InvalidInstanceID.NotFound");
}

#[tokio::test]
async fn what_the_state_does_not_allow_is_refused_for_all() {
    let cloud = cloud().await;
    let pending = cloud.launch(&[]).await.one("instancesSet/item/instanceId");
    let running = cloud.running(&[]).await;
    let both = [("InstanceId.1", running.as_str()), ("InstanceId.2", pending.as_str())];
    assert_eq!(cloud.code("StopInstances", &both).await, "IncorrectInstanceState");
    assert_eq!(cloud.state(&running).await, "running", "none of them was stopped");
    let unknown = "i-0123456789abcdef0";
    let strange = [("InstanceId.1", running.as_str()), ("InstanceId.2", unknown)];
    for action in
        ["StopInstances", "StartInstances", "RebootInstances", "TerminateInstances", "MonitorInstances"]
    {
        assert_eq!(cloud.code(action, &strange).await, "InvalidInstanceID.NotFound", "{action}");
        assert_eq!(cloud.code(action, &[("InstanceId.1", "i-xyz")]).await, "InvalidInstanceID.Malformed");
    }
    assert_eq!(cloud.state(&running).await, "running");
    let foreign = cloud.kit.call_as(BOB, "ec2", "TerminateInstances", &[("InstanceId.1", &running)]).await;
    assert_eq!(foreign.unwrap_err().code(), "InvalidInstanceID.NotFound");
}

#[tokio::test]
async fn protected_instances_stay() {
    let cloud = cloud().await;
    let id = cloud.running(&[("DisableApiTermination", "true"), ("DisableApiStop", "true")]).await;
    assert_eq!(cloud.code("TerminateInstances", &[("InstanceId.1", &id)]).await, "OperationNotPermitted");
    assert_eq!(cloud.code("StopInstances", &[("InstanceId.1", &id)]).await, "OperationNotPermitted");
    let attribute = [("InstanceId", id.as_str()), ("DisableApiTermination.Value", "false")];
    cloud.ok("ModifyInstanceAttribute", &attribute).await;
    cloud.ok("TerminateInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(cloud.state(&id).await, "shutting-down");
}

#[tokio::test]
async fn attributes_read_back_as_they_were_set() {
    let cloud = cloud().await;
    let id = cloud.running(&[]).await;
    let is = async |attribute: &str, path: &str| {
        let asked = [("InstanceId", id.as_str()), ("Attribute", attribute)];
        cloud.ok("DescribeInstanceAttribute", &asked).await.one(path)
    };
    let set = async |name: &str, value: &str| {
        cloud.ok("ModifyInstanceAttribute", &[("InstanceId", &id), (name, value)]).await
    };
    assert_eq!(is("instanceType", "instanceType/value").await, "t3.micro");
    assert_eq!(is("sourceDestCheck", "sourceDestCheck/value").await, "true");
    set("SourceDestCheck.Value", "false").await;
    assert_eq!(is("sourceDestCheck", "sourceDestCheck/value").await, "false");
    cloud.ok("ResetInstanceAttribute", &[("InstanceId", &id), ("Attribute", "sourceDestCheck")]).await;
    assert_eq!(is("sourceDestCheck", "sourceDestCheck/value").await, "true");
    set("InstanceInitiatedShutdownBehavior.Value", "terminate").await;
    let behavior = "instanceInitiatedShutdownBehavior";
    assert_eq!(is(behavior, &format!("{behavior}/value")).await, "terminate");
    let keep = [
        ("InstanceId", id.as_str()),
        ("BlockDeviceMapping.1.DeviceName", "/dev/xvda"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "false"),
    ];
    cloud.ok("ModifyInstanceAttribute", &keep).await;
    assert_eq!(is("blockDeviceMapping", "blockDeviceMapping/item/ebs/deleteOnTermination").await, "false");

    let larger = [("InstanceId", id.as_str()), ("InstanceType.Value", "t3.small")];
    assert_eq!(cloud.code("ModifyInstanceAttribute", &larger).await, "IncorrectInstanceState");
    cloud.ok("StopInstances", &[("InstanceId.1", &id)]).await;
    cloud.observe(&id, InstancePhase::Stopped { run: 1, cause: StopCause::Requested }).await;
    cloud.ok("ModifyInstanceAttribute", &larger).await;
    assert_eq!(is("instanceType", "instanceType/value").await, "t3.small");
    set("UserData.Value", "aGVsbG8=").await;
    assert_eq!(is("userData", "userData/value").await, "aGVsbG8=");

    for (wrong, code) in [
        (vec![], "InvalidParameterCombination"),
        (vec![("InstanceType.Value", "x9.huge")], "InvalidParameterValue"),
        (
            vec![("InstanceType.Value", "t3.nano"), ("DisableApiStop.Value", "true")],
            "InvalidParameterCombination",
        ),
        (vec![("Kernel.Value", "aki-1")], "UnsupportedOperation"),
        (vec![("GroupId.1", "sg-0123456789abcdef0")], "InvalidGroup.NotFound"),
    ] {
        let mut parameters = vec![("InstanceId", id.as_str())];
        parameters.extend(wrong);
        assert_eq!(cloud.code("ModifyInstanceAttribute", &parameters).await, code, "{parameters:?}");
    }
}

#[tokio::test]
async fn a_volume_that_outlives_its_instance_becomes_available() {
    let cloud = cloud().await;
    let mapping = [
        ("BlockDeviceMapping.1.DeviceName", "/dev/sdf"),
        ("BlockDeviceMapping.1.Ebs.VolumeSize", "3"),
        ("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "false"),
    ];
    let id = cloud.running(&mapping).await;
    cloud.ok("TerminateInstances", &[("InstanceId.1", &id)]).await;
    cloud.gone(&id).await;
    let filter = [("Filter.1.Name", "status"), ("Filter.1.Value.1", "available")];
    let volumes = cloud.ok("DescribeVolumes", &filter).await;
    assert_eq!(volumes.one("volumeSet/item/size"), "3");
    assert!(volumes.all("volumeSet/item/attachmentSet/item").is_empty());
}

#[tokio::test]
async fn status_checks_begin_with_the_machine() {
    let cloud = cloud().await;
    let pending = cloud.launch(&[]).await.one("instancesSet/item/instanceId");
    let running = cloud.running(&[]).await;
    let shown = cloud.ok("DescribeInstanceStatus", &[]).await;
    assert_eq!(shown.one("instanceStatusSet/item/instanceId"), running);
    assert_eq!(shown.one("instanceStatusSet/item/instanceStatus/status"), "initializing");
    assert_eq!(shown.one("instanceStatusSet/item/systemStatus/status"), "initializing");
    cloud.kit.clock.advance(Duration::from_secs(10));
    let ok = [("Filter.1.Name", "instance-status.status"), ("Filter.1.Value.1", "ok")];
    let shown = cloud.ok("DescribeInstanceStatus", &ok).await;
    assert_eq!(shown.one("instanceStatusSet/item/instanceStatus/details/item/status"), "passed");
    cloud.host.leave();
    let away = [("Filter.1.Name", "system-status.status"), ("Filter.1.Value.1", "insufficient-data")];
    let away = async {
        while cloud
            .kit
            .call("DescribeInstanceStatus", &away)
            .await
            .unwrap()
            .all("instanceStatusSet/item")
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), away).await.expect("the agent's absence shows");
    let all = [("IncludeAllInstances", "true"), ("InstanceId.1", pending.as_str())];
    let shown = cloud.kit.call("DescribeInstanceStatus", &all).await.unwrap();
    assert_eq!(shown.one("instanceStatusSet/item/instanceStatus/status"), "not-applicable");
}

#[tokio::test]
async fn metadata_options_and_monitoring_change_in_place() {
    let cloud = cloud().await;
    let id = cloud.running(&[("MetadataOptions.HttpTokens", "required")]).await;
    assert_eq!(cloud.shown(&id, "metadataOptions/httpTokens").await, "required");
    let options = [("InstanceId", id.as_str()), ("HttpTokens", "optional"), ("HttpPutResponseHopLimit", "3")];
    let answer = cloud.ok("ModifyInstanceMetadataOptions", &options).await;
    assert_eq!(answer.one("instanceMetadataOptions/httpPutResponseHopLimit"), "3");
    assert_eq!(cloud.shown(&id, "metadataOptions/httpTokens").await, "optional");
    let wrong = [("InstanceId", id.as_str()), ("HttpTokens", "sometimes")];
    assert_eq!(cloud.code("ModifyInstanceMetadataOptions", &wrong).await, "InvalidParameterValue");
    cloud.ok("MonitorInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(cloud.shown(&id, "monitoring/state").await, "enabled");
    cloud.ok("UnmonitorInstances", &[("InstanceId.1", &id)]).await;
    assert_eq!(cloud.shown(&id, "monitoring/state").await, "disabled");
}
