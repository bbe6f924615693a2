//! From names to services, and to empty inputs and outputs of their operations.

use wire::{Operation, ServiceShape, Structure};

type Shapes = (Box<dyn Structure>, Box<dyn Structure>);

pub fn service(name: &str) -> Option<&'static ServiceShape> {
    let all =
        [&api_ebs::SERVICE, &api_ec2::SERVICE, &api_kms::SERVICE, &api_rbin::SERVICE, &api_sts::SERVICE];
    all.into_iter().find(|service| service.name == name)
}

/// An empty input and an empty output of an operation.
pub fn shapes(service: &ServiceShape, operation: &str) -> Option<Shapes> {
    match service.name {
        "ebs" => ebs(operation),
        "ec2" => ec2(operation),
        "kms" => kms(operation),
        "rbin" => rbin(operation),
        "sts" => sts(operation),
        _ => None,
    }
}

fn empty<O: Operation>() -> Shapes {
    (Box::new(O::Input::default()), Box::new(O::Output::default()))
}

fn ec2(name: &str) -> Option<Shapes> {
    macro_rules! choose {
        ($($operation:ident)*) => {
            match name { $(stringify!($operation) => Some(empty::<api_ec2::ops::$operation>()),)* _ => None }
        };
    }
    api_ec2::each_operation!(choose)
}

fn sts(name: &str) -> Option<Shapes> {
    macro_rules! choose {
        ($($operation:ident)*) => {
            match name { $(stringify!($operation) => Some(empty::<api_sts::ops::$operation>()),)* _ => None }
        };
    }
    api_sts::each_operation!(choose)
}

fn kms(name: &str) -> Option<Shapes> {
    macro_rules! choose {
        ($($operation:ident)*) => {
            match name { $(stringify!($operation) => Some(empty::<api_kms::ops::$operation>()),)* _ => None }
        };
    }
    api_kms::each_operation!(choose)
}

fn ebs(name: &str) -> Option<Shapes> {
    macro_rules! choose {
        ($($operation:ident)*) => {
            match name { $(stringify!($operation) => Some(empty::<api_ebs::ops::$operation>()),)* _ => None }
        };
    }
    api_ebs::each_operation!(choose)
}

fn rbin(name: &str) -> Option<Shapes> {
    macro_rules! choose {
        ($($operation:ident)*) => {
            match name { $(stringify!($operation) => Some(empty::<api_rbin::ops::$operation>()),)* _ => None }
        };
    }
    api_rbin::each_operation!(choose)
}
