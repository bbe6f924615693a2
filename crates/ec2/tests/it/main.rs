//! EC2 as its callers see it: whole operations through the dispatch, on a control plane in memory; a file per noun.
#![allow(clippy::disallowed_methods, reason = "keys are tried with the real ssh-keygen and openssl")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod address;
mod byoip;
mod dhcp_options;
mod encryption;
mod flow_log;
mod gateway_endpoint;
mod hibernation;
mod host_view;
mod image;
mod image_make;
mod image_share;
mod instance;
mod instance_encoded;
mod instance_host;
mod instance_launch;
mod instance_store;
mod instance_type;
mod internet_gateway;
mod ipv6;
mod ipv6_only;
mod key_pair;
mod nat_gateway;
mod network_acl;
mod network_insights;
mod network_interface;
mod network_interface_address;
mod network_interface_attach;
mod network_interface_ipv6_prefix;
mod network_interface_prefix;
mod prefix_list;
mod public_image;
mod recycle_bin;
mod region;
mod route_edge;
mod route_table;
mod route_target;
mod security_group;
mod snapshot;
mod snapshot_fast;
mod snapshot_share;
mod snapshot_tier;
mod subnet;
mod tag;
mod traffic_mirror;
mod transfer;
mod transit_gateway;
mod transit_gateway_peering;
mod volume;
mod volume_attach;
mod volume_modify;
mod volume_share;
mod vpc;
mod vpc_endpoint;
mod vpc_endpoint_service;
mod vpc_peering_connection;
mod vpn;

use testkit::{Answer, Kit};

/// The code of the error that a call must fail with.
async fn refused(kit: &Kit, action: &str, parameters: &[(&str, &str)]) -> String {
    match kit.call(action, parameters).await {
        Ok(answer) => panic!("{action} {parameters:?} succeeded: {}", answer.0),
        Err(error) => error.code().to_owned(),
    }
}

/// A call that must succeed.
async fn done(kit: &Kit, action: &str, parameters: &[(&str, &str)]) -> Answer {
    match kit.call(action, parameters).await {
        Ok(answer) => answer,
        Err(error) => panic!("{action} {parameters:?}: {} {}", error.code(), error.message()),
    }
}

/// A new VPC of 10.0.0.0/16.
async fn vpc(kit: &Kit) -> String {
    done(kit, "CreateVpc", &[("CidrBlock", "10.0.0.0/16")]).await.one("vpc/vpcId")
}

async fn subnet(kit: &Kit, vpc: &str, cidr: &str) -> String {
    let made = done(kit, "CreateSubnet", &[("VpcId", vpc), ("CidrBlock", cidr)]).await;
    made.one("subnet/subnetId")
}

async fn group(kit: &Kit, vpc: &str, name: &str) -> String {
    let parameters = [("GroupName", name), ("GroupDescription", "for a test"), ("VpcId", vpc)];
    done(kit, "CreateSecurityGroup", &parameters).await.one("groupId")
}

async fn default_vpc(kit: &Kit) -> String {
    let filter = [("Filter.1.Name", "is-default"), ("Filter.1.Value.1", "true")];
    done(kit, "DescribeVpcs", &filter).await.one("vpcSet/item/vpcId")
}
