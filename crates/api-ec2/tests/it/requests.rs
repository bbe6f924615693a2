//! Requests: what is read, and which error answers what cannot be.

use api_ec2::{DescribeInstancesRequest, InstanceType, RunInstancesRequest, TerminateInstancesRequest};
use proptest::prelude::*;
use wire::{ApiError, DecodeError, Fault, Form, Structure, ec2};

fn read<T: Structure + Default>(body: &str) -> Result<T, DecodeError> {
    ec2::decode(&Form::parse(body.as_bytes())?)
}

fn refused<T: Structure + Default + std::fmt::Debug>(body: &str) -> ApiError {
    ec2::api_error(&read::<T>(body).expect_err(body))
}

#[test]
fn a_launch_as_boto3_sends_it_is_read() {
    let body = "Action=RunInstances&Version=2016-11-15&ImageId=ami-1&InstanceType=t3.micro&MinCount=1&MaxCount=2&\
        SecurityGroupId.1=sg-1&SecurityGroupId.2=sg-2&SubnetId=subnet-1&ClientToken=abc&TagSpecification.1.ResourceType=instance\
        &TagSpecification.1.Tag.1.Key=Name&TagSpecification.1.Tag.1.Value=a+b&BlockDeviceMapping.1.Ebs.VolumeSize=8&DryRun=true";
    let request: RunInstancesRequest = read(body).expect("readable");
    assert_eq!(request.instance_type, Some(InstanceType::T3_MICRO));
    assert_eq!((request.min_count, request.max_count), (1, 2));
    assert_eq!(request.security_group_ids, Some(vec!["sg-1".to_owned(), "sg-2".to_owned()]));
    assert_eq!(request.dry_run, Some(true));
    let tags = request.tag_specifications.as_ref().and_then(|all| all[0].tags.as_ref()).expect("tags");
    assert_eq!((tags[0].key.as_deref(), tags[0].value.as_deref()), (Some("Name"), Some("a b")));
    let mappings = request.block_device_mappings.expect("mappings");
    assert_eq!(mappings[0].ebs.as_ref().and_then(|ebs| ebs.volume_size), Some(8));
    assert_eq!(request.network_interfaces, None);
}

#[test]
fn a_presigned_query_is_read() {
    let query = "Action=DescribeInstances&Version=2016-11-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00&InstanceId.1=i-1";
    let request: DescribeInstancesRequest = read(query).expect("readable");
    assert_eq!(request.instance_ids, Some(vec!["i-1".to_owned()]));
}

#[test]
fn list_items_come_in_the_order_of_their_indices() {
    let request: DescribeInstancesRequest =
        read("InstanceId.10=c&InstanceId.9=b&InstanceId.2=a&InstanceId.999999999=d").expect("readable");
    assert_eq!(request.instance_ids, Some(["a", "b", "c", "d"].map(str::to_owned).to_vec()));
}

#[test]
fn a_list_of_one_text_needs_no_index() {
    let request: DescribeInstancesRequest = read("InstanceId=i-1").expect("readable");
    assert_eq!(request.instance_ids, Some(vec!["i-1".to_owned()]));
}

#[test]
fn what_is_unknown_is_refused_by_name() {
    for (body, path) in [
        ("Nonsense=1", "Nonsense"),
        ("instanceId.1=i-1", "instanceId.1"),
        ("Filter=x", "Filter"),
        ("InstanceId.one=i-1", "InstanceId.one"),
        ("InstanceId.1.2=i-1", "InstanceId.1.2"),
        ("InstanceId.-1=i-1", "InstanceId.-1"),
        ("InstanceId.4294967296=i-1", "InstanceId.4294967296"),
        ("Filter.1=x", "Filter.1"),
        ("Filter.1.Name=x&Filter.1.Nmae=x", "Filter.1.Nmae"),
        ("Filter.1.Value.member.1=x", "Filter.1.Value.member.1"),
        ("DryRun.x=true", "DryRun.x"),
        ("=1", ""),
        (".=1", "."),
        ("Filter.=1", "Filter."),
    ] {
        let error = refused::<DescribeInstancesRequest>(body);
        assert_eq!((error.code(), error.status()), ("UnknownParameter", 400), "{body}");
        assert_eq!(error.message(), format!("The parameter {path} is not recognized"));
    }
}

#[test]
fn what_is_required_is_missed_by_path() {
    let error = refused::<RunInstancesRequest>("MinCount=1");
    assert_eq!((error.code(), error.status()), ("MissingParameter", 400));
    assert_eq!(error.message(), "The request must contain the parameter MaxCount");
    let error = refused::<TerminateInstancesRequest>("");
    assert_eq!(error.message(), "The request must contain the parameter InstanceId");
    let nested = "MinCount=1&MaxCount=1&CreditSpecification.X=1";
    assert_eq!(refused::<RunInstancesRequest>(nested).code(), "UnknownParameter");
    let nested = "InstanceCreditSpecification.1.CpuCredits=standard";
    let error = refused::<api_ec2::ModifyInstanceCreditSpecificationRequest>(nested);
    assert_eq!(
        error.message(),
        "The request must contain the parameter InstanceCreditSpecification.1.InstanceId"
    );
}

#[test]
fn values_of_another_type_are_refused() {
    for (body, message) in [
        (
            "MinCount=one&MaxCount=1",
            "Value (one) for parameter MinCount is invalid. Expecting an integer of 32 bits.",
        ),
        (
            "MinCount=99999999999&MaxCount=1",
            "Value (99999999999) for parameter MinCount is invalid. Expecting an integer of 32 bits.",
        ),
        (
            "MinCount=1&MaxCount=1&DryRun=yes",
            "Value (yes) for parameter DryRun is invalid. Expecting true or false.",
        ),
    ] {
        let error = refused::<RunInstancesRequest>(body);
        assert_eq!((error.code(), error.message()), ("InvalidParameterValue", message));
    }
    let error = refused::<api_ec2::DescribeSpotPriceHistoryRequest>("StartTime=yesterday");
    assert_eq!(error.code(), "InvalidParameterValue");
    let error = refused::<api_ec2::ImportKeyPairRequest>("KeyName=k&PublicKeyMaterial=%21%21");
    assert_eq!(error.message(), "Value (***) for parameter PublicKeyMaterial is invalid. Expecting base64.");
}

#[test]
fn bounds_of_the_model_are_held() {
    for (body, expecting) in
        [("MaxResults=4", "a value of at least 5"), ("MaxResults=1001", "a value of at most 1000")]
    {
        let error = refused::<api_ec2::DescribeVpcsRequest>(body);
        assert_eq!(error.code(), "InvalidParameterValue");
        assert!(error.message().ends_with(&format!("Expecting {expecting}.")), "{}", error.message());
    }
    assert!(read::<api_ec2::DescribeVpcsRequest>("MaxResults=1000").is_ok());
    let error = refused::<api_ec2::DescribeLaunchTemplatesRequest>("LaunchTemplateName.1=ab");
    assert_eq!(
        error.message(),
        "Value (ab) for parameter LaunchTemplateName.1 is invalid. Expecting a length of at least 3."
    );
    let many: Vec<String> = (1..=101).map(|index| format!("InstanceType.{index}=t3.micro")).collect();
    let error = refused::<api_ec2::DescribeInstanceTypesRequest>(&many.join("&"));
    assert!(error.message().starts_with("Value (101 items)"), "{}", error.message());
}

#[test]
fn what_is_given_twice_is_refused() {
    for body in ["DryRun=true&DryRun=true", "InstanceId.1=a&InstanceId.01=b", "InstanceId.1=a&InstanceId.1=a"]
    {
        assert_eq!(refused::<DescribeInstancesRequest>(body).code(), "InvalidQueryParameter", "{body}");
    }
}

#[test]
fn values_that_the_model_does_not_know_are_kept() {
    use wire::OpenEnum as _;
    let request: RunInstancesRequest =
        read("MinCount=1&MaxCount=1&InstanceType=z9.huge&InstanceInitiatedShutdownBehavior=dance")
            .expect("readable");
    assert!(request.instance_type.is_some_and(|kind| !kind.is_known() && kind.as_str() == "z9.huge"));
    assert_eq!(
        request.instance_initiated_shutdown_behavior,
        Some(api_ec2::ShutdownBehavior::Other("dance".into()))
    );
}

#[test]
fn depth_is_bounded() {
    let body = format!("Filter{}=1", ".1".repeat(5_000));
    let fault = read::<DescribeInstancesRequest>(&body).expect_err("nonsense").fault;
    assert_eq!(fault, Fault::Unknown);
}

fn pieces() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        Just("Filter"),
        Just("Name"),
        Just("Value"),
        Just("InstanceId"),
        Just("1"),
        Just("01"),
        Just("2"),
        Just("999999999999"),
        Just(""),
        Just("BlockDeviceMapping"),
        Just("Ebs"),
        Just("VolumeSize"),
        Just("MinCount"),
        Just("MaxCount"),
        Just("é"),
        Just("TagSpecification"),
        Just("Tag"),
        Just("Key"),
        Just("member"),
        Just("entry"),
        Just("X-Amz-Date"),
        Just("NetworkInterface"),
    ];
    let key = prop::collection::vec(segment, 0..6).prop_map(|segments| segments.join("."));
    let value = prop_oneof![
        Just(String::new()),
        Just("1".to_owned()),
        Just("-1".to_owned()),
        ".{0,8}",
        Just("true".to_owned())
    ];
    prop::collection::vec((key, value), 0..12).prop_map(|pairs| {
        pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn no_form_makes_the_decoder_panic(body in pieces()) {
        for error in [
            read::<RunInstancesRequest>(&body).err(),
            read::<DescribeInstancesRequest>(&body).err(),
        ].into_iter().flatten() {
            prop_assert_eq!(ec2::api_error(&error).status(), 400);
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(form) = Form::parse(&body) {
            let _ = ec2::decode::<RunInstancesRequest>(&form);
        }
    }
}
