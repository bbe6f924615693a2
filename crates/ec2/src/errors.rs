//! EC2's errors, spelled as EC2 spells them. The model names none, so this table does.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html>

use std::fmt::Display;
use wire::ApiError;

pub use control::errors::{invalid_parameter_combination, invalid_parameter_value, missing_parameter};

/// Any error of the caller's making.
pub fn client(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(code, 400, message.into())
}

pub fn dependency_violation(message: impl Into<String>) -> ApiError {
    client("DependencyViolation", message)
}

pub fn operation_not_permitted(message: impl Into<String>) -> ApiError {
    client("OperationNotPermitted", message)
}

/// How the errors about one kind of id are spelled.
#[derive(Debug, Clone, Copy)]
pub struct IdErrors {
    /// What the sentences call it, such as `instance ID`.
    pub called: &'static str,
    pub not_found: &'static str,
    pub malformed: &'static str,
}

impl IdErrors {
    /// `The instance ID 'i-…' does not exist`.
    pub fn not_found(&self, id: impl Display) -> ApiError {
        client(self.not_found, format!("The {} '{id}' does not exist", self.called))
    }

    /// Several at once, as EC2 lists them.
    pub fn none_found(&self, ids: &[String]) -> ApiError {
        match ids {
            [id] => self.not_found(id),
            ids => client(self.not_found, format!("The {}s '{}' do not exist", self.called, ids.join(", "))),
        }
    }

    pub fn malformed(&self, id: &str) -> ApiError {
        let shown: String = id.chars().take(64).collect();
        client(self.malformed, format!("Invalid id: \"{shown}\""))
    }
}

pub const INSTANCE: IdErrors = IdErrors {
    called: "instance ID",
    not_found: "InvalidInstanceID.NotFound",
    malformed: "InvalidInstanceID.Malformed",
};
pub const IMAGE: IdErrors =
    IdErrors { called: "image id", not_found: "InvalidAMIID.NotFound", malformed: "InvalidAMIID.Malformed" };
pub const KEY_PAIR: IdErrors =
    IdErrors { called: "key pair", not_found: "InvalidKeyPair.NotFound", malformed: "InvalidParameterValue" };
pub const VOLUME: IdErrors = IdErrors {
    called: "volume",
    not_found: "InvalidVolume.NotFound",
    malformed: "InvalidVolumeID.Malformed",
};
pub const SNAPSHOT: IdErrors = IdErrors {
    called: "snapshot",
    not_found: "InvalidSnapshot.NotFound",
    malformed: "InvalidSnapshotID.Malformed",
};
pub const VPC: IdErrors =
    IdErrors { called: "vpc ID", not_found: "InvalidVpcID.NotFound", malformed: "InvalidVpcId.Malformed" };
pub const SUBNET: IdErrors = IdErrors {
    called: "subnet ID",
    not_found: "InvalidSubnetID.NotFound",
    malformed: "InvalidSubnetId.Malformed",
};
pub const SECURITY_GROUP: IdErrors = IdErrors {
    called: "security group",
    not_found: "InvalidGroup.NotFound",
    malformed: "InvalidGroupId.Malformed",
};
pub const SECURITY_GROUP_RULE: IdErrors = IdErrors {
    called: "security group rule ID",
    not_found: "InvalidSecurityGroupRuleId.NotFound",
    malformed: "InvalidSecurityGroupRuleId.Malformed",
};
pub const NETWORK_INTERFACE: IdErrors = IdErrors {
    called: "networkInterface ID",
    not_found: "InvalidNetworkInterfaceID.NotFound",
    malformed: "InvalidNetworkInterfaceId.Malformed",
};
pub const INTERNET_GATEWAY: IdErrors = IdErrors {
    called: "internetGateway ID",
    not_found: "InvalidInternetGatewayID.NotFound",
    malformed: "InvalidInternetGatewayId.Malformed",
};
pub const EGRESS_ONLY_INTERNET_GATEWAY: IdErrors = IdErrors {
    called: "egressOnlyInternetGateway ID",
    not_found: "InvalidGatewayID.NotFound",
    malformed: "InvalidEgressOnlyInternetGatewayId.Malformed",
};
pub const VPC_PEERING_CONNECTION: IdErrors = IdErrors {
    called: "vpcPeeringConnection ID",
    not_found: "InvalidVpcPeeringConnectionID.NotFound",
    malformed: "InvalidVpcPeeringConnectionId.Malformed",
};
pub const NAT_GATEWAY: IdErrors =
    IdErrors { called: "natGateway ID", not_found: "NatGatewayNotFound", malformed: "NatGatewayMalformed" };
pub const VPC_ENDPOINT: IdErrors = IdErrors {
    called: "Vpc Endpoint Id",
    not_found: "InvalidVpcEndpointId.NotFound",
    malformed: "InvalidVpcEndpointId.Malformed",
};
pub const VPC_ENDPOINT_SERVICE: IdErrors = IdErrors {
    called: "VpcEndpointService Id",
    not_found: "InvalidVpcEndpointServiceId.NotFound",
    malformed: "InvalidVpcEndpointServiceId.Malformed",
};
pub const TRANSIT_GATEWAY: IdErrors = IdErrors {
    called: "transitGateway ID",
    not_found: "InvalidTransitGatewayID.NotFound",
    malformed: "InvalidTransitGatewayID.Malformed",
};
pub const TRANSIT_GATEWAY_ATTACHMENT: IdErrors = IdErrors {
    called: "transitGatewayAttachment ID",
    not_found: "InvalidTransitGatewayAttachmentID.NotFound",
    malformed: "InvalidTransitGatewayAttachmentID.Malformed",
};
pub const TRANSIT_GATEWAY_ROUTE_TABLE: IdErrors = IdErrors {
    called: "transitGatewayRouteTable ID",
    not_found: "InvalidRouteTableID.NotFound",
    malformed: "InvalidRouteTableId.Malformed",
};
pub const CUSTOMER_GATEWAY: IdErrors = IdErrors {
    called: "customerGateway ID",
    not_found: "InvalidCustomerGatewayID.NotFound",
    malformed: "InvalidCustomerGatewayId.Malformed",
};
pub const VPN_GATEWAY: IdErrors = IdErrors {
    called: "vpnGateway ID",
    not_found: "InvalidVpnGatewayID.NotFound",
    malformed: "InvalidVpnGatewayId.Malformed",
};
pub const VPN_CONNECTION: IdErrors = IdErrors {
    called: "vpnConnection ID",
    not_found: "InvalidVpnConnectionID.NotFound",
    malformed: "InvalidVpnConnectionId.Malformed",
};
pub const PUBLIC_IPV4_POOL: IdErrors = IdErrors {
    called: "pool ID",
    not_found: "InvalidPublicIpv4PoolID.NotFound",
    malformed: "InvalidPublicIpv4PoolID.Malformed",
};
pub const PREFIX_LIST: IdErrors = IdErrors {
    called: "prefix list ID",
    not_found: "InvalidPrefixListID.NotFound",
    malformed: "InvalidPrefixListId.Malformed",
};
pub const SUBNET_CIDR_RESERVATION: IdErrors = IdErrors {
    called: "subnet CIDR reservation ID",
    not_found: "InvalidSubnetCidrReservationID.NotFound",
    malformed: "InvalidSubnetCidrReservationId.Malformed",
};
pub const ROUTE_TABLE: IdErrors = IdErrors {
    called: "routeTable ID",
    not_found: "InvalidRouteTableID.NotFound",
    malformed: "InvalidRouteTableId.Malformed",
};
pub const ALLOCATION: IdErrors = IdErrors {
    called: "allocation ID",
    not_found: "InvalidAllocationID.NotFound",
    malformed: "InvalidAllocationID.Malformed",
};
pub const NETWORK_ACL: IdErrors = IdErrors {
    called: "networkAcl ID",
    not_found: "InvalidNetworkAclID.NotFound",
    malformed: "InvalidNetworkAclId.Malformed",
};
pub const DHCP_OPTIONS: IdErrors = IdErrors {
    called: "dhcpOptions ID",
    not_found: "InvalidDhcpOptionID.NotFound",
    malformed: "InvalidDhcpOptionsId.Malformed",
};
pub const NETWORK_INSIGHTS_PATH: IdErrors = IdErrors {
    called: "network insights path ID",
    not_found: "InvalidNetworkInsightsPathId.NotFound",
    malformed: "InvalidNetworkInsightsPathId.Malformed",
};
pub const NETWORK_INSIGHTS_ANALYSIS: IdErrors = IdErrors {
    called: "network insights analysis ID",
    not_found: "InvalidNetworkInsightsAnalysisId.NotFound",
    malformed: "InvalidNetworkInsightsAnalysisId.Malformed",
};
pub const IMPORT_TASK: IdErrors = IdErrors {
    called: "import task ID",
    not_found: "InvalidConversionTaskId",
    malformed: "InvalidConversionTaskId.Malformed",
};
pub const EXPORT_TASK: IdErrors = IdErrors {
    called: "export task ID",
    not_found: "InvalidExportTaskID.NotFound",
    malformed: "InvalidExportTaskID.Malformed",
};
pub const FLOW_LOG: IdErrors = IdErrors {
    called: "flow log ID",
    not_found: "InvalidFlowLogId.NotFound",
    malformed: "InvalidFlowLogId.Malformed",
};
pub const TRAFFIC_MIRROR_TARGET: IdErrors = IdErrors {
    called: "traffic mirror target ID",
    not_found: "InvalidTrafficMirrorTargetId.NotFound",
    malformed: "InvalidTrafficMirrorTargetId.Malformed",
};
pub const TRAFFIC_MIRROR_FILTER: IdErrors = IdErrors {
    called: "traffic mirror filter ID",
    not_found: "InvalidTrafficMirrorFilterId.NotFound",
    malformed: "InvalidTrafficMirrorFilterId.Malformed",
};
pub const TRAFFIC_MIRROR_FILTER_RULE: IdErrors = IdErrors {
    called: "traffic mirror filter rule ID",
    not_found: "InvalidTrafficMirrorFilterRuleId.NotFound",
    malformed: "InvalidTrafficMirrorFilterRuleId.Malformed",
};
pub const TRAFFIC_MIRROR_SESSION: IdErrors = IdErrors {
    called: "traffic mirror session ID",
    not_found: "InvalidTrafficMirrorSessionId.NotFound",
    malformed: "InvalidTrafficMirrorSessionId.Malformed",
};
