//! Answers: the XML that clients parse.

use api_ec2::{
    DescribeInstancesResult, Instance, InstanceState, InstanceStateName, Reservation, SERVICE, ops,
};
use wire::{ApiError, Blob, Operation, Timestamp, ec2};

fn encode<O: Operation>(output: &O::Output) -> String {
    ec2::encode(&SERVICE, O::SHAPE, output, "req-1")
}

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

#[test]
fn an_answer_has_the_form_of_ec2() {
    let instance = Instance {
        instance_id: Some("i-1".to_owned()),
        state: Some(InstanceState { code: Some(16), name: Some(InstanceStateName::Running) }),
        launch_time: Some(Timestamp::from_millis(1_763_715_600_007)),
        ebs_optimized: Some(false),
        security_groups: Some(Vec::new()),
        key_name: Some("a<b>&\u{1b}".to_owned()),
        ..Instance::default()
    };
    let reservation = Reservation { instances: Some(vec![instance]), ..Reservation::default() };
    let output = DescribeInstancesResult {
        reservations: Some(vec![reservation]),
        ..DescribeInstancesResult::default()
    };
    let expected = "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>req-1</requestId>\
        <reservationSet><item><instancesSet><item><ebsOptimized>false</ebsOptimized><groupSet/><instanceId>i-1</instanceId>\
        <instanceState><code>16</code><name>running</name></instanceState><keyName>a&lt;b&gt;&amp;\u{FFFD}</keyName>\
        <launchTime>2025-11-21T09:00:00.007Z</launchTime></item></instancesSet></item></reservationSet></DescribeInstancesResponse>";
    let body = encode::<ops::DescribeInstances>(&output);
    // Members come in the order of the model, which is not ours to know: compare the elements.
    let sorted = |text: &str| {
        let mut parts: Vec<String> = text.split_inclusive('>').map(str::to_owned).collect();
        parts.sort();
        parts
    };
    assert_eq!(sorted(&body), sorted(&(HEAD.to_owned() + expected)), "{body}");
}

#[test]
fn an_operation_without_output_answers_true() {
    assert_eq!(
        encode::<ops::DeleteVpc>(&api_ec2::DeleteVpcResult::default()),
        HEAD.to_owned()
            + "<DeleteVpcResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>req-1</requestId>\
               <return>true</return></DeleteVpcResponse>"
    );
}

#[test]
fn an_error_has_the_form_of_ec2_and_keeps_its_source() {
    let error = ApiError::new("InvalidVpcID.NotFound", 400, "The vpc ID '<x>' does not exist")
        .with_source(std::io::Error::other("the secret cause"));
    assert_eq!(
        ec2::encode_error(&error, "req-1"),
        HEAD.to_owned()
            + "<Response><Errors><Error><Code>InvalidVpcID.NotFound</Code>\
               <Message>The vpc ID '&lt;x&gt;' does not exist</Message></Error></Errors><RequestID>req-1</RequestID></Response>"
    );
    assert_eq!(
        std::error::Error::source(&error).map(ToString::to_string).as_deref(),
        Some("the secret cause")
    );
}

#[test]
fn bytes_travel_as_base64() {
    let request = api_ec2::ImportKeyPairRequest {
        key_name: "k".to_owned(),
        public_key_material: Blob(vec![0, 1, 254]),
        ..Default::default()
    };
    let form = [("KeyName", "k"), ("PublicKeyMaterial", "AAH+")].into_iter().collect();
    assert_eq!(ec2::decode::<api_ec2::ImportKeyPairRequest>(&form), Ok(request));
}
