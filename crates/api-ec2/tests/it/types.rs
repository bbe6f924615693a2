//! The generated types: names, lookup, equality, and secrets in `Debug`.

use api_ec2::{RunInstancesRequest, SERVICE, ops};
use wire::{Operation, ValueRef, fill, member};

#[test]
fn every_operation_is_found_by_its_name() {
    assert_eq!(SERVICE.operations.len(), 765);
    for operation in SERVICE.operations {
        assert!(SERVICE.operation(operation.name).is_some_and(|found| std::ptr::eq(found, *operation)));
    }
    assert!(SERVICE.operation("RunInstance").is_none());
    assert_eq!(SERVICE.unknown_action("RunInstance").code(), "InvalidAction");
    assert_eq!(SERVICE.not_built(ops::RunInstances::SHAPE).code(), "UnsupportedOperation");
    assert!(SERVICE.not_built(ops::RunInstances::SHAPE).message().contains("RunInstances"));
}

#[test]
fn a_clone_is_equal_until_it_changes() {
    let request: RunInstancesRequest = fill::filled();
    let mut other = request.clone();
    assert_eq!(request, other);
    other.tag_specifications.as_mut().expect("filled")[0].tags = None;
    assert_ne!(request, other);
}

#[test]
fn debug_masks_secrets_and_leaves_out_what_is_absent() {
    let request = RunInstancesRequest { user_data: Some("hidden".to_owned()), ..Default::default() };
    assert_eq!(format!("{request:?}"), "RunInstancesRequest { MaxCount: 0, MinCount: 0, UserData: *** }");
    let data = api_ec2::UserData { data: Some("hidden".to_owned()) };
    assert_eq!(format!("{data:?}"), "UserData(***)");
}

#[test]
fn members_are_found_by_name() {
    let request = RunInstancesRequest { dry_run: Some(true), ..Default::default() };
    assert!(matches!(member(&request, "DryRun"), ValueRef::Boolean(true)));
    assert!(matches!(member(&request, "ClientToken"), ValueRef::Absent));
    assert!(matches!(member(&request, "NoSuchMember"), ValueRef::Absent));
    let token = ops::RunInstances::SHAPE.input.members.iter().find(|member| member.idempotency_token);
    assert_eq!(token.map(|member| member.name), Some("ClientToken"));
}

#[test]
fn every_shape_agrees_with_its_values() {
    macro_rules! all {
        ($($operation:ident)*) => { $(agrees::<ops::$operation>();)* };
    }
    fn agrees<O: Operation>() {
        let (input, output): (O::Input, O::Output) = (fill::filled(), fill::filled());
        assert_eq!(wire::Structure::shape(&input).name, O::SHAPE.input.name);
        assert_eq!(wire::Structure::shape(&output).name, O::SHAPE.output.name);
        assert_eq!(input.clone(), input);
        assert_eq!(output.clone(), output);
    }
    api_ec2::each_operation!(all);
}
