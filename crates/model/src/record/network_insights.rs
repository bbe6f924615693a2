//! Questions of who reaches whom, and what was found when they were asked.

use super::{IndexValue, Record, Tags};
use crate::packet::Walk;
use crate::{
    AccountId, EgressOnlyInternetGatewayId, InstanceId, InternetGatewayId, NetworkInsightsAnalysisId,
    NetworkInsightsPathId, NetworkInterfaceId, Timestamp, VpcId,
};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetworkInsightsPath {
    pub path: NetworkInsightsPathId,
    pub account: AccountId,
    pub created_at: Timestamp,
    pub source: Endpoint,
    pub destination: Option<Endpoint>,
    pub source_ip: Option<IpAddr>,
    pub destination_ip: Option<IpAddr>,
    pub protocol: PathProtocol,
    pub destination_port: Option<u16>,
    pub filter_at_source: Option<PathFilter>,
    pub filter_at_destination: Option<PathFilter>,
    pub tags: Tags,
}

/// What a path begins or ends at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Endpoint {
    Instance(InstanceId),
    Interface(NetworkInterfaceId),
    InternetGateway(InternetGatewayId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathProtocol {
    Tcp,
    Udp,
}

/// What packets look like at one end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathFilter {
    pub source_address: Option<IpAddr>,
    pub source_ports: Option<(u16, u16)>,
    pub destination_address: Option<IpAddr>,
    pub destination_ports: Option<(u16, u16)>,
}

/// What was found at the instant when it was asked for; later changes do not change it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetworkInsightsAnalysis {
    pub analysis: NetworkInsightsAnalysisId,
    pub account: AccountId,
    pub path: NetworkInsightsPathId,
    pub started_at: Timestamp,
    pub filter_in: Vec<String>,
    pub filter_out: Vec<String>,
    pub found: bool,
    pub there: Walk,
    pub back: Option<Walk>,
    /// Ends of the path that have no interface.
    pub missing: Vec<Endpoint>,
    /// What the filters name and the way does not pass, or what it must not and does.
    pub restricted: Vec<String>,
    /// Whose the interfaces on the way were.
    pub instances: Vec<(NetworkInterfaceId, InstanceId)>,
    /// The gateways of the VPCs on the way.
    pub gateways: Vec<(VpcId, Option<InternetGatewayId>, Option<EgressOnlyInternetGatewayId>)>,
    pub tags: Tags,
}

owned!(NetworkInsightsPath);

impl Record for NetworkInsightsPath {
    const NOUN: &'static str = "network-insights-path";
    type Id = NetworkInsightsPathId;

    fn id(&self) -> NetworkInsightsPathId {
        self.path
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into())]
    }
}

owned!(NetworkInsightsAnalysis);

impl Record for NetworkInsightsAnalysis {
    const NOUN: &'static str = "network-insights-analysis";
    type Id = NetworkInsightsAnalysisId;

    fn id(&self) -> NetworkInsightsAnalysisId {
        self.analysis
    }

    fn indexes(&self) -> Vec<(&'static str, IndexValue)> {
        vec![("account", self.account.into()), ("path", self.path.into())]
    }
}
