//! VPC endpoints.

use super::{IndexValue, Record, Tags};
use crate::{
    AccountId, GatewayService, NetworkInterfaceId, Region, SecurityGroupId, SubnetId, Timestamp,
    VpcEndpointId, VpcEndpointServiceId, VpcId, Zone,
};
use serde::{Deserialize, Serialize};

/// A way from a VPC to a service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VpcEndpoint {
    pub endpoint: VpcEndpointId,
    pub account: AccountId,
    pub region: Region,
    pub vpc: VpcId,
    #[serde(flatten)]
    pub kind: EndpointKind,
    /// As it was given; none: everybody may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    pub tags: Tags,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EndpointKind {
    Interface(InterfaceEndpoint),
    /// The route tables that lead to it say so themselves.
    Gateway {
        #[serde(rename = "gateway")]
        service: GatewayService,
    },
}

/// An endpoint to one of the cloud's own services or to an account's, at addresses of the VPC.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InterfaceEndpoint {
    pub service: EndpointService,
    #[serde(default, skip_serializing_if = "Connection::is_available")]
    pub connection: Connection,
    /// The interfaces that it owns, one a subnet.
    pub interfaces: Vec<EndpointInterface>,
    /// Of all its interfaces.
    pub groups: Vec<SecurityGroupId>,
    /// Whether the service's own names lead to it within the VPC.
    pub private_dns: bool,
    /// What makes its DNS names hard to guess.
    pub label: String,
    /// Which addresses its interfaces have.
    #[serde(default, skip_serializing_if = "Addressing::is_ipv4")]
    pub addressing: Addressing,
    /// Which of them its names lead to.
    #[serde(default, skip_serializing_if = "Addressing::is_ipv4")]
    pub named: Addressing,
}

/// Versions of addresses; at least one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Addressing {
    #[default]
    Ipv4,
    Ipv6,
    Dualstack,
}

impl Addressing {
    pub const ALL: [Self; 3] = [Self::Ipv4, Self::Ipv6, Self::Dualstack];

    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Dualstack => "dualstack",
        }
    }

    pub const fn is_ipv4(&self) -> bool {
        matches!(self, Self::Ipv4)
    }

    pub const fn has_ipv4(self) -> bool {
        matches!(self, Self::Ipv4 | Self::Dualstack)
    }

    pub const fn has_ipv6(self) -> bool {
        matches!(self, Self::Ipv6 | Self::Dualstack)
    }
}

/// What an interface endpoint leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EndpointService {
    Api(ApiService),
    /// An account's, see [`super::vpc_endpoint_service`].
    Shared(VpcEndpointServiceId),
}

impl EndpointService {
    /// The account's service, if it is one.
    pub const fn shared(self) -> Option<VpcEndpointServiceId> {
        match self {
            Self::Api(_) => None,
            Self::Shared(service) => Some(service),
        }
    }
}

/// How far an endpoint's connection to its service has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connection {
    /// The service's owner has not said anything yet.
    PendingAcceptance,
    #[default]
    Available,
    Rejected,
}

impl Connection {
    pub const fn is_available(&self) -> bool {
        matches!(self, Self::Available)
    }
}

/// A service of the cloud itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiService {
    Ebs,
    Ec2,
    Kms,
    Rbin,
    Sts,
}

impl ApiService {
    pub const ALL: [Self; 5] = [Self::Ebs, Self::Ec2, Self::Kms, Self::Rbin, Self::Sts];

    /// As the names of endpoints tell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ebs => "ebs",
            Self::Ec2 => "ec2",
            Self::Kms => "kms",
            Self::Rbin => "rbin",
            Self::Sts => "sts",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointInterface {
    pub subnet: SubnetId,
    pub zone: Zone,
    pub interface: NetworkInterfaceId,
}

impl VpcEndpoint {
    pub const fn is_there(&self) -> bool {
        self.deleted_at.is_none()
    }

    /// The account's service that it leads to.
    pub const fn shared(&self) -> Option<VpcEndpointServiceId> {
        match &self.kind {
            EndpointKind::Interface(own) => own.service.shared(),
            EndpointKind::Gateway { .. } => None,
        }
    }

    pub const fn interface(&self) -> Option<&InterfaceEndpoint> {
        match &self.kind {
            EndpointKind::Interface(own) => Some(own),
            EndpointKind::Gateway { .. } => None,
        }
    }
}

owned!(VpcEndpoint);

impl Record for VpcEndpoint {
    const NOUN: &'static str = "vpc-endpoint";
    type Id = VpcEndpointId;

    fn id(&self) -> VpcEndpointId {
        self.endpoint
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        let mut indexes = vec![("account", self.account.into()), ("vpc", self.vpc.into())];
        indexes.extend(self.shared().map(|service| ("service", service.into())));
        indexes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_before_there_were_kinds_is_an_interface_endpoint() {
        let head = r#"{"endpoint": "vpce-0123456789abcdef0", "account": "000000000001", "region": "us-east-1",
            "vpc": "vpc-0123456789abcdef0", "created_at": 7, "deleted_at": null, "tags": {}"#;
        let before = format!(
            r#"{head}, "service": "ec2", "interfaces": [], "groups": [], "private_dns": true, "label": "a"}}"#
        );
        let read: VpcEndpoint = serde_json::from_str(&before).unwrap();
        assert!(read.interface().is_some_and(|own| own.service == EndpointService::Api(ApiService::Ec2)
            && own.private_dns
            && own.connection.is_available()));
        let gateway: VpcEndpoint = serde_json::from_str(&format!(r#"{head}, "gateway": "s3"}}"#)).unwrap();
        assert!(matches!(gateway.kind, EndpointKind::Gateway { service: GatewayService::S3 }));
        let shared = before.replace("\"ec2\"", "\"vpce-svc-0123456789abcdef0\"");
        let shared: VpcEndpoint = serde_json::from_str(&shared).unwrap();
        assert_eq!(shared.shared(), VpcEndpointServiceId::parse("vpce-svc-0123456789abcdef0").ok());
        for record in [read, gateway, shared] {
            let written = serde_json::to_string(&record).unwrap();
            let again: VpcEndpoint = serde_json::from_str(&written).unwrap();
            assert_eq!(serde_json::to_string(&again).unwrap(), written);
        }
    }
}
