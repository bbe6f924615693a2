//! The walk of a user of the AWS SDK for Rust: from a key pair to a terminated instance. Settings come from the
//! environment alone. Prints the instance's id.

use aws_config::BehaviorVersion;
use aws_sdk_ec2::client::Waiters as _;
use aws_sdk_ec2::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::types::{
    AttributeValue, Filter, Instance, InstanceAttributeName, InstanceStateName, InstanceType, IpPermission, IpRange,
    KeyType, ResourceType, Tag, TagSpecification,
};
use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// `#!/bin/sh\ntrue\n`
const USER_DATA: &str = "IyEvYmluL3NoCnRydWUK";
const PATIENCE: Duration = Duration::from_secs(300);

/// The call failed with this error code, and in the service, not in the client.
fn refused<T: Debug, E>(code: &str, outcome: std::result::Result<T, SdkError<E>>)
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match outcome {
        Ok(answer) => panic!("{code} was expected, not {answer:?}"),
        Err(SdkError::ServiceError(error)) => {
            assert_eq!(error.err().code(), Some(code), "{:?}", error.err().message());
            assert!(error.err().message().is_some_and(|message| !message.is_empty()));
        }
        Err(other) => panic!("{code} was expected, not {}", DisplayErrorContext(other)),
    }
}

fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

async fn describe(ec2: &aws_sdk_ec2::Client, id: &str) -> Result<Instance> {
    let answer = ec2.describe_instances().instance_ids(id).send().await?;
    Ok(answer.reservations()[0].instances()[0].clone())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let (ec2, sts) = (aws_sdk_ec2::Client::new(&config), aws_sdk_sts::Client::new(&config));
    let name = format!("walk-rust-{}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos());

    let identity = sts.get_caller_identity().send().await?;
    assert_eq!(identity.account().map(str::len), Some(12));
    let images = ec2.describe_images().owners("amazon").filters(filter("name", "nube/*")).send().await?;
    let image = images.images()[0].image_id().ok_or("an image has an id")?;
    let vpcs = ec2.describe_vpcs().filters(filter("is-default", "true")).send().await?;
    let vpc = vpcs.vpcs()[0].vpc_id().ok_or("a VPC has an id")?;
    let subnets = ec2.describe_subnets().filters(filter("vpc-id", vpc)).send().await?;
    let subnet = subnets.subnets()[0].subnet_id().ok_or("a subnet has an id")?;

    let key = ec2.create_key_pair().key_name(&name).key_type(KeyType::Ed25519).send().await?;
    assert!(key.key_material().is_some_and(|material| material.contains("PRIVATE KEY")));
    refused("InvalidKeyPair.Duplicate", ec2.create_key_pair().key_name(&name).send().await);
    let group = ec2.create_security_group().group_name(&name).description("the walk").vpc_id(vpc).send().await?;
    let group = group.group_id().ok_or("a group has an id")?;
    let ssh = IpPermission::builder()
        .ip_protocol("tcp")
        .from_port(22)
        .to_port(22)
        .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build())
        .build();
    let rules = ec2.authorize_security_group_ingress().group_id(group).ip_permissions(ssh).send().await?;
    assert_eq!(rules.security_group_rules()[0].cidr_ipv4(), Some("0.0.0.0/0"));

    let tag = Tag::builder().key("Name").value(&name).build();
    let launch = ec2
        .run_instances()
        .image_id(image)
        .instance_type(InstanceType::T3Nano)
        .min_count(1)
        .max_count(1)
        .key_name(&name)
        .subnet_id(subnet)
        .security_group_ids(group)
        .user_data(USER_DATA)
        .client_token(&name)
        .tag_specifications(
            TagSpecification::builder().resource_type(ResourceType::Instance).tags(tag.clone()).build(),
        );
    refused("DryRunOperation", launch.clone().dry_run(true).send().await);
    let launched = launch.clone().send().await?;
    let id = launched.instances()[0].instance_id().ok_or("an instance has an id")?;
    assert_eq!(launch.clone().send().await?.instances()[0].instance_id(), Some(id), "the same token launches once");
    refused("IdempotentParameterMismatch", launch.clone().instance_type(InstanceType::T3Micro).send().await);
    ec2.wait_until_instance_running().instance_ids(id).wait(PATIENCE).await?;

    let running = describe(&ec2, id).await?;
    assert_eq!(running.state().and_then(|state| state.name()), Some(&InstanceStateName::Running));
    assert_eq!(running.tags(), [tag]);
    assert_eq!(running.security_groups()[0].group_name(), Some(&*name));
    assert!(running.public_ip_address().is_some() && running.launch_time().is_some());
    let attribute =
        ec2.describe_instance_attribute().instance_id(id).attribute(InstanceAttributeName::UserData).send().await?;
    assert_eq!(attribute.user_data().and_then(AttributeValue::value), Some(USER_DATA));

    let mut pages = ec2
        .describe_instances()
        .filters(filter("tag:Name", &name))
        .filters(filter("instance-state-name", "running"))
        .into_paginator()
        .page_size(5)
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page?;
        let instances = page.reservations().iter().flat_map(|reservation| reservation.instances());
        found.extend(instances.filter_map(|instance| instance.instance_id().map(str::to_owned)));
    }
    assert_eq!(found, [id]);
    let mut types = ec2
        .describe_instance_types()
        .filters(filter("instance-type", "t3.*"))
        .into_paginator()
        .page_size(5)
        .items()
        .send();
    let mut kinds = 0;
    while let Some(kind) = types.next().await {
        kind?;
        kinds += 1;
    }
    assert_eq!(kinds, 7);

    let text = Tag::builder().key("with space").value("a, b & <ü>").build();
    ec2.create_tags().resources(id).tags(text).send().await?;
    let tags = ec2.describe_tags().filters(filter("resource-id", id)).filters(filter("key", "with*")).send().await?;
    assert_eq!(tags.tags()[0].value(), Some("a, b & <ü>"));

    let micro = || AttributeValue::builder().value("t3.micro").build();
    let modify = || ec2.modify_instance_attribute().instance_id(id).instance_type(micro());
    refused("IncorrectInstanceState", modify().send().await);
    ec2.stop_instances().instance_ids(id).send().await?;
    ec2.wait_until_instance_stopped().instance_ids(id).wait(PATIENCE).await?;
    modify().send().await?;
    ec2.start_instances().instance_ids(id).send().await?;
    ec2.wait_until_instance_running().instance_ids(id).wait(PATIENCE).await?;
    assert_eq!(describe(&ec2, id).await?.instance_type(), Some(&InstanceType::T3Micro));

    let nobody = ec2.describe_instances().instance_ids("i-0123456789abcdef0").send().await;
    refused("InvalidInstanceID.NotFound", nobody);
    refused("InvalidInstanceID.Malformed", ec2.describe_instances().instance_ids("i-wrong").send().await);
    refused("DependencyViolation", ec2.delete_security_group().group_id(group).send().await);

    ec2.terminate_instances().instance_ids(id).send().await?;
    ec2.wait_until_instance_terminated().instance_ids(id).wait(PATIENCE).await?;
    ec2.delete_security_group().group_id(group).send().await?;
    ec2.delete_key_pair().key_name(&name).send().await?;
    println!("{id}");
    Ok(())
}
