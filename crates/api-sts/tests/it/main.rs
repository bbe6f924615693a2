//! The query protocol over the real shapes of sts.

use api_sts::{AssumeRoleRequest, GetCallerIdentityRequest, GetCallerIdentityResponse, SERVICE, errors, ops};
use wire::{ApiError, Form, Operation, query};

fn form(body: &str) -> Form {
    Form::parse(body.as_bytes()).expect("well-formed")
}

#[test]
fn a_role_is_assumed_with_tags() {
    let request: AssumeRoleRequest = query::decode(&form(
        "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fdemo&RoleSessionName=s1&\
         Tags.member.1.Key=a&Tags.member.1.Value=b&DurationSeconds=900",
    ))
    .expect("readable");
    assert_eq!(request.role_session_name, "s1");
    assert_eq!(request.duration_seconds, Some(900));
    assert_eq!(
        request.tags.map(|tags| (tags[0].key.clone(), tags[0].value.clone())),
        Some(("a".into(), "b".into()))
    );
}

#[test]
fn bounds_are_validation_errors() {
    let body =
        "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fdemo&RoleSessionName=s1&DurationSeconds=899";
    let error = query::decode::<AssumeRoleRequest>(&form(body)).expect_err("too short");
    let error = query::api_error(&error);
    assert_eq!((error.code(), error.status()), ("ValidationError", 400));
    assert!(error.message().contains("'durationSeconds'"), "{}", error.message());
}

#[test]
fn the_identity_of_the_caller_is_wrapped() {
    let output = GetCallerIdentityResponse { account: Some("123456789012".to_owned()), ..Default::default() };
    assert!(
        query::decode::<GetCallerIdentityRequest>(&form("Action=GetCallerIdentity&Version=2011-06-15"))
            .is_ok()
    );
    assert_eq!(
        query::encode(&SERVICE, ops::GetCallerIdentity::SHAPE, &output, "req-1"),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>req-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    );
}

#[test]
fn errors_of_the_model_bring_their_code_and_status() {
    let error = ApiError::of(&errors::REGION_DISABLED_EXCEPTION, "off");
    assert_eq!((error.code(), error.status(), error.message()), ("RegionDisabledException", 403, "off"));
    assert!(ops::AssumeRoleWithWebIdentity::SHAPE.unsigned && !ops::AssumeRole::SHAPE.unsigned);
}
